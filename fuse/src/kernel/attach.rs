//! A mount point -> an open device on which the kernel asks.
//!
//! ```text
//! root            open /dev/fuse, mount(2) with its descriptor
//! anybody else    fusermount3, which does the same and passes the descriptor back
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::statfs;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{getegid, geteuid};

use super::MountOptions;

const DEVICE: &str = "/dev/fuse";

/// The kind of file system in tables of mounts.
const KIND: &str = "fuse.cairn";

/// Who mounts for those who may not.
const FUSERMOUNT: &str = "fusermount3";

/// Words behind `-o` that are flags of the system call rather than options of the file system.
const FLAGS: [(&str, MountFlags, bool); 13] = [
    ("ro", MountFlags::RDONLY, true),
    ("suid", MountFlags::NOSUID, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("dev", MountFlags::NODEV, false),
    ("nodev", MountFlags::NODEV, true),
    ("exec", MountFlags::NOEXEC, false),
    ("noexec", MountFlags::NOEXEC, true),
    ("sync", MountFlags::SYNCHRONOUS, true),
    ("async", MountFlags::SYNCHRONOUS, false),
    ("atime", MountFlags::NOATIME, false),
    ("noatime", MountFlags::NOATIME, true),
    ("diratime", MountFlags::NODIRATIME, false),
    ("nodiratime", MountFlags::NODIRATIME, true),
];

/// Words that are for those who read tables of what is to be mounted, and say nothing here.
const SAY_NOTHING: [&str; 8] =
    ["defaults", "auto", "noauto", "nofail", "user", "nouser", "_netdev", "default_permissions"];

/// Why something could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The kernel cannot do it.
    #[error(
        "{DEVICE} is not there: this kernel has no FUSE, or its module is not loaded (modprobe fuse)"
    )]
    NoDevice,
    /// The program that mounts for users is not there.
    #[error(
        "only root may mount without {FUSERMOUNT}, and there is none: install the package fuse3"
    )]
    NoHelper,
    /// The mount point cannot be used.
    #[error("{}: {why}", .point.display())]
    Point {
        /// The mount point.
        point: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system refused.
    #[error("cannot mount at {}: {source}", .point.display())]
    System {
        /// The mount point.
        point: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

impl Refused {
    pub(super) fn handshake(point: &Path, source: io::Error) -> Self {
        Self::System { point: point.to_owned(), source }
    }

    fn point(point: &Path, why: impl Into<String>) -> Self {
        Self::Point { point: point.to_owned(), why: why.into() }
    }
}

/// What was mounted.
pub(super) struct Attached {
    /// Where: the one path that leads there from everywhere, through no link.
    pub(super) path: PathBuf,
    /// On which the kernel asks.
    pub(super) device: OwnedFd,
    /// Of the file system: major and minor number, if that can be found out.
    pub(super) number: Option<(u32, u32)>,
}

/// Mounts at a directory.
pub(super) fn attach(point: &Path, options: &MountOptions) -> Result<Attached, Refused> {
    if options.options.iter().any(|word| word == "rw") {
        let why = "what is mounted can only be read, so that there is no `rw`";
        return Err(Refused::point(point, why));
    }
    let found = fs::metadata(point).and_then(|found| match statfs(point) {
        // The kernel may still know the directory, but never how much room there is.
        Err(Errno::NOTCONN) => Err(Errno::NOTCONN.into()),
        _ => Ok(found),
    });
    let found = found.map_err(|e| match Errno::from_io_error(&e) {
        Some(Errno::NOTCONN) => Refused::point(
            point,
            format!(
                "what was mounted there ended without being unmounted: run `{FUSERMOUNT} -u {}`",
                point.display()
            ),
        ),
        _ => Refused::point(point, e.to_string()),
    })?;
    if !found.is_dir() {
        return Err(Refused::point(point, "is no directory, on which something could be mounted"));
    }
    let path = point.canonicalize().map_err(|e| Refused::point(point, e.to_string()))?;
    let system = |source| Refused::System { point: point.to_owned(), source };
    let device = match by_system_call(&path, options, found.permissions().mode()) {
        Err(e) if e.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
            by_fusermount(&path, options)?
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Refused::NoDevice),
        mounted => mounted.map_err(system)?,
    };
    let number = number_of(&path);
    Ok(Attached { path, device, number })
}

fn by_system_call(path: &Path, options: &MountOptions, mode: u32) -> io::Result<OwnedFd> {
    if !geteuid().is_root() {
        return Err(Errno::PERM.into());
    }
    let device = OpenOptions::new().read(true).write(true).open(DEVICE)?;
    let mut flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let mut data = format!(
        "fd={},rootmode={mode:o},user_id={uid},group_id={gid},default_permissions",
        device.as_raw_fd()
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    for word in said(options) {
        match FLAGS.iter().find(|(name, ..)| name == word) {
            Some((_, flag, is_set)) => flags.set(*flag, *is_set),
            None if word == "default_permissions"
                || word == "allow_other" && options.allow_other => {}
            None => {
                data.push(',');
                data.push_str(word);
            }
        }
    }
    let data = std::ffi::CString::new(data)?;
    mount(options.source.as_str(), path, KIND, flags, Some(&*data))?;
    Ok(device.into())
}

/// The options that somebody has to know of.
fn said(options: &MountOptions) -> impl Iterator<Item = &String> {
    let says = |word: &&String| !word.starts_with("x-") && !SAY_NOTHING.contains(&&word[..]);
    options.options.iter().filter(says)
}

/// Has a file system mounted by the program that may. Its standard input is the socket on which the device comes.
fn by_fusermount(path: &Path, options: &MountOptions) -> Result<OwnedFd, Refused> {
    let system = |source| Refused::System { point: path.to_owned(), source };
    let (ours, theirs) = UnixStream::pair().map_err(system)?;
    // What stands in the name would be taken for options.
    let source = options.source.replace('\\', "\\\\").replace(',', "\\,");
    let mut words = format!("ro,default_permissions,subtype=cairn,fsname={source}");
    if options.allow_other {
        words.push_str(",allow_other");
    }
    for word in said(options) {
        words.push(',');
        words.push_str(word);
    }
    let program = std::env::var_os("FUSERMOUNT_PATH").unwrap_or_else(|| FUSERMOUNT.into());
    let child = Command::new(program)
        .args(["-o", &words, "--"])
        .arg(path)
        .env("_FUSE_COMMFD", "0")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Refused::NoHelper),
        child => child.map_err(system)?,
    };
    let received = receive(&ours);
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        let _ = stderr.take(4096).read_to_string(&mut said);
    }
    let _ = child.wait();
    match received {
        Ok(Some(device)) => Ok(device),
        _ if !Path::new(DEVICE).exists() => Err(Refused::NoDevice),
        _ => {
            let said = said.trim();
            let why = if said.is_empty() { "it said nothing of why" } else { said };
            Err(Refused::point(path, format!("{FUSERMOUNT} refused: {why}")))
        }
    }
}

/// The descriptor that comes over a socket; none if it was closed without.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let how = RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, how)?;
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(descriptors.next())
}

/// The number of the device that is mounted last at a path.
pub(super) fn number_of(path: &Path) -> Option<(u32, u32)> {
    let mut table = String::new();
    File::open("/proc/self/mountinfo").ok()?.read_to_string(&mut table).ok()?;
    let path = escaped(path)?;
    let line = table.lines().rev().find(|line| line.split(' ').nth(4) == Some(path.as_str()))?;
    let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A path as tables of mounts have it.
fn escaped(path: &Path) -> Option<String> {
    let path = path.to_str()?;
    Some(
        path.replace('\\', "\\134")
            .replace(' ', "\\040")
            .replace('\t', "\\011")
            .replace('\n', "\\012"),
    )
}
