//! All that is to be said of a file.
//!
//! ```text
//! name -> kind wanted? -> open -> statx -> kind as expected? -> this mount? -> no dump? -> node
//!             |            |                    |                  |             |
//!             |         vanished           once again              |             |
//!             +------------+------------> left out <---------------+-------------+
//! ```
//! Files and directories are opened, and all is asked of what is then open: a name can be given to something
//! else at any moment. Links are read by name. Pipes, sockets and devices are only ever held, because
//! opening one can wait forever or rewind a tape.
//!
//! A small file costs an open, a `statx`, a list of extended attributes, which is most often empty, and
//! where a file system has such things a call for its attributes and one for its project.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use cairn_formats::catar::{Body, Node, Shift};
use cairn_formats::flags;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, makedev, openat,
    readlinkat, statx,
};
use rustix::io::Errno;

use super::attributes::{self, FileSystem};
use super::devices::Devices;
use super::found::{nanoseconds, open_unseen};
use super::names::Names;
use super::owners::Owners;
use super::rules;
use super::xattrs::{self, Reach};

pub use super::found::{Failure, Found, Recorded, Stat, Why};

/// How often a name may turn out to be of another kind than a moment ago.
const TRIES: u32 = 8;

/// Says what archives with a certain feature word record of files.
#[derive(Debug)]
pub struct Recorder {
    features: u64,
    owners: Owners,
    devices: Devices,
    /// The mount the root is in.
    mount: OnceLock<u64>,
}

impl Recorder {
    /// For an archive with this feature word, which must be normalised, and ids shifted down if that is wanted.
    pub fn new(features: u64, shift: Option<Shift>) -> Self {
        let owners = Owners::new(features, shift);
        Self { features, owners, devices: Devices::default(), mount: OnceLock::new() }
    }

    /// Looks at the root of a tree, open for reading. To be done once, before all else.
    pub fn record_root(&self, directory: OwnedFd) -> Result<Found, Failure> {
        let stat = stat_of(directory.as_fd())?;
        if kind_of(&stat) != FileType::Directory {
            return Err(failed("record")(Errno::NOTDIR.into()));
        }
        let has_mount = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
        if self.features & flags::EXCLUDE_SUBMOUNTS != 0 && !has_mount {
            let why = "the kernel tells no mounts apart, which takes Linux 5.8";
            return Err(failed("find the mount of")(io::Error::other(why)));
        }
        let _ = self.mount.set(stat.stx_mnt_id);
        let (kind, attributes) = self.attributes(directory.as_fd(), &stat)?;
        self.describe(directory, &stat, kind, attributes)
    }

    /// Looks at what has a name in a directory, without following links. `kind` is what the directory says it is,
    /// which may be that it does not know.
    pub fn record(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
    ) -> Result<Recorded, Failure> {
        let mut kind = kind;
        for _ in 0..TRIES {
            let attempt = self.attempt(directory, name, kind);
            match attempt {
                Ok(Some(recorded)) => return Ok(recorded),
                Ok(None) => kind = FileType::Unknown,
                Err(_) if is_gone(directory, name) => return Ok(Recorded::LeftOut(Why::Vanished)),
                Err(_) if self.is_known_elsewhere(directory, name) => {
                    return Ok(Recorded::LeftOut(Why::OtherMount));
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(failed("record")(io::Error::other("it keeps becoming something else")))
    }

    /// What tells whether a regular file is still the same, without opening it. `None` if it is anything else, or is
    /// to be looked at in whole.
    pub(crate) fn glance(&self, directory: BorrowedFd<'_>, name: &CStr) -> Option<Stat> {
        // What another machine said a minute ago is not enough.
        let how = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_FORCE_SYNC;
        let stat = statx(directory, name, how, asked()).ok()?;
        let is_plain = kind_of(&stat) == FileType::RegularFile && !self.is_other_mount(&stat);
        is_plain.then(|| Stat::of(&stat, None))
    }

    /// Opens a directory, with what tells whether it is still the same. `None` if it is anything else, or is to be
    /// looked at in whole.
    pub(crate) fn open_directory(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
    ) -> Option<(OwnedFd, Stat)> {
        let file = open(directory, name, FileType::Directory).ok()?;
        let stat = stat_of(file.as_fd()).ok()?;
        let is_plain = kind_of(&stat) == FileType::Directory && !self.is_other_mount(&stat);
        is_plain.then(|| (file, Stat::of(&stat, None)))
    }

    /// The names of owners that have been asked for.
    pub(crate) fn names(&self) -> &Names {
        self.owners.names()
    }

    /// `None` if it is of another kind.
    fn attempt(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
    ) -> Result<Option<Recorded>, Failure> {
        match kind {
            FileType::Unknown => {
                let kind = kind_of(&stat_at(directory, name)?);
                if kind == FileType::Unknown {
                    return Err(failed("record")(io::Error::other("it is of no known kind")));
                }
                self.attempt(directory, name, kind)
            }
            FileType::RegularFile | FileType::Directory => {
                self.open_and_record(directory, name, kind)
            }
            _ if self.features & feature_of(kind) == 0 => Ok(Some(Recorded::LeftOut(Why::Kind))),
            FileType::Symlink => self.record_link(directory, name),
            _ => self.hold_and_record(directory, name, kind),
        }
    }

    fn open_and_record(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
    ) -> Result<Option<Recorded>, Failure> {
        let file = match open(directory, name, kind) {
            // Signs of a link, a socket or a file in the place of what was expected.
            Err(Errno::LOOP | Errno::NXIO | Errno::NOTDIR) => return Ok(None),
            opened => opened.map_err(cannot("open"))?,
        };
        let stat = stat_of(file.as_fd())?;
        if kind_of(&stat) != kind {
            return Ok(None);
        }
        if self.is_other_mount(&stat) {
            return Ok(Some(Recorded::LeftOut(Why::OtherMount)));
        }
        let (kind, attributes) = self.attributes(file.as_fd(), &stat)?;
        if self.features & flags::EXCLUDE_NODUMP != 0 && attributes & flags::FLAG_NODUMP != 0 {
            return Ok(Some(Recorded::LeftOut(Why::NoDump)));
        }
        let found = self.describe(file, &stat, kind, attributes)?;
        Ok(Some(Recorded::Found(Box::new(found))))
    }

    fn record_link(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<Option<Recorded>, Failure> {
        let stat = stat_at(directory, name)?;
        if kind_of(&stat) != FileType::Symlink {
            return Ok(None);
        }
        if self.is_other_mount(&stat) {
            return Ok(Some(Recorded::LeftOut(Why::OtherMount)));
        }
        let target = match readlinkat(directory, name, Vec::new()) {
            Err(Errno::INVAL) => return Ok(None),
            target => target.map_err(cannot("read the link"))?.into_bytes(),
        };
        if target.is_empty() || target.len() > 4095 {
            let why = format!("a target of {} bytes", target.len());
            return Err(failed("record")(io::Error::other(why)));
        }
        let mut node = self.begin(Body::Symlink(target), &stat)?;
        if self.features & flags::SELINUX != 0 {
            let label = xattrs::label_of_link(directory, name);
            node.selinux = label.map_err(failed("read the label of"))?;
        }
        let stat = Stat::of(&stat, None);
        Ok(Some(Recorded::Found(Box::new(Found { node, file: None, stat }))))
    }

    fn hold_and_record(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
    ) -> Result<Option<Recorded>, Failure> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty()).map_err(cannot("open"))?;
        let stat = stat_of(file.as_fd())?;
        if kind_of(&stat) != kind {
            return Ok(None);
        }
        if self.is_other_mount(&stat) {
            return Ok(Some(Recorded::LeftOut(Why::OtherMount)));
        }
        let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
        let body = match kind {
            FileType::BlockDevice => Body::Block { major, minor },
            FileType::CharacterDevice => Body::Character { major, minor },
            FileType::Fifo => Body::Fifo,
            _ => Body::Socket,
        };
        let mut node = self.begin(body, &stat)?;
        self.add_xattrs(&mut node, Reach::Held(file.as_fd()))?;
        let stat = Stat::of(&stat, None);
        Ok(Some(Recorded::Found(Box::new(Found { node, file: None, stat }))))
    }

    /// What is to be said of a file or directory.
    fn describe(
        &self,
        file: OwnedFd,
        stat: &Statx,
        kind: FileSystem,
        attributes: u64,
    ) -> Result<Found, Failure> {
        let is_virtual = kind == FileSystem::Virtual;
        let body = match kind_of(stat) {
            FileType::Directory => Body::Directory,
            _ => Body::File(if is_virtual { 0 } else { stat.stx_size }),
        };
        let mut node = self.begin(body, stat)?;
        node.attributes = attributes & self.features;
        self.add_xattrs(&mut node, Reach::Open(file.as_fd()))?;
        if self.features & flags::QUOTA_PROJID != 0 {
            let projid = attributes::projid(file.as_fd(), kind);
            node.projid = projid.map_err(failed("read the project of"))?;
        }
        Ok(Found { node, file: Some(file), stat: Stat::of(stat, Some(kind)) })
    }

    /// The kind of file system a file or directory is in, and its attributes as far as they are to be recorded or to
    /// decide whether anything is.
    fn attributes(&self, file: BorrowedFd<'_>, stat: &Statx) -> Result<(FileSystem, u64), Failure> {
        let dev = makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let kind = self.devices.kind(dev, file).map_err(failed("find the file system of"))?;
        let is_excluding = self.features & flags::EXCLUDE_NODUMP != 0;
        let nodump = if is_excluding { flags::FLAG_NODUMP } else { 0 };
        let wanted = self.features & flags::ATTRIBUTES | nodump;
        let chattr = match wanted & flags::CHATTR {
            0 => Ok(0),
            // What is already known need not be asked for.
            flags::FLAG_NODUMP if stat.stx_attributes_mask.contains(StatxAttributes::NODUMP) => {
                let is_set = stat.stx_attributes.contains(StatxAttributes::NODUMP);
                Ok(if is_set { flags::FLAG_NODUMP } else { 0 })
            }
            asked => self.devices.inode_flags(dev, file).map(|found| found & asked),
        };
        let others = attributes::read(file, kind, wanted & !flags::CHATTR);
        let both = chattr.and_then(|chattr| Ok(chattr | others?));
        Ok((kind, both.map_err(failed("read the attributes of"))?))
    }

    fn add_xattrs(&self, node: &mut Node, reach: Reach<'_>) -> Result<(), Failure> {
        let mut wanted = self.features;
        if !matches!(node.body, Body::File(_)) {
            wanted &= !flags::FCAPS;
        }
        let read = xattrs::read(reach, wanted);
        let read = read.map_err(failed("read the extended attributes of"))?;
        if read.access.is_some() || read.default.is_some() {
            // Only directories have a default.
            let default = read.default.as_deref().filter(|_| node.is_directory());
            let acl = self.owners.acl(read.access.as_deref(), default);
            node.acl = acl.map_err(failed("record the access control lists of"))?;
        }
        (node.xattrs, node.selinux, node.fcaps) = (read.plain, read.selinux, read.fcaps);
        Ok(())
    }

    /// A node with what `statx` says.
    fn begin(&self, body: Body, stat: &Statx) -> Result<Node, Failure> {
        let mut node = Node::new(body);
        node.permissions = rules::permissions(&node, stat.stx_mode.into(), self.features);
        if self.features & flags::TIMES != 0 {
            let time = nanoseconds(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec);
            let time = i64::try_from(time).map_err(|_| {
                let why = "it is more than 292 years from 1970";
                failed("record the time of")(io::Error::other(why))
            })?;
            node.mtime = rules::time(time, self.features);
        }
        let owners = self.owners.record(&mut node, stat.stx_uid, stat.stx_gid);
        owners.map_err(failed("record the owner of"))?;
        Ok(node)
    }

    /// Whether what refuses to be looked at is in another mount. Those of FUSE are closed even to root, but
    /// who asks for nothing is told what the kernel itself knows.
    fn is_known_elsewhere(&self, directory: BorrowedFd<'_>, name: &CStr) -> bool {
        let how = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = statx(directory, name, how, StatxFlags::empty());
        stat.is_ok_and(|stat| {
            let told = StatxFlags::from_bits_retain(stat.stx_mask);
            told.contains(StatxFlags::MNT_ID) && self.is_other_mount(&stat)
        })
    }

    fn is_other_mount(&self, stat: &Statx) -> bool {
        self.features & flags::EXCLUDE_SUBMOUNTS != 0
            && self.mount.get().is_some_and(|&mount| mount != stat.stx_mnt_id)
    }
}

/// For `map_err`: what was being done.
fn failed(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |source| Failure { what, source }
}

fn cannot(what: &'static str) -> impl FnOnce(Errno) -> Failure {
    move |errno| Failure { what, source: errno.into() }
}

fn open(directory: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<OwnedFd, Errno> {
    // What is in the place of a file by now may be a pipe or a terminal.
    let mut how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    how |= OFlags::NOCTTY;
    if kind == FileType::Directory {
        how |= OFlags::DIRECTORY;
    }
    open_unseen(directory, name, how)
}

fn asked() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::MNT_ID
}

fn stat_of(file: BorrowedFd<'_>) -> Result<Statx, Failure> {
    statx(file, c"", AtFlags::EMPTY_PATH, asked()).map_err(cannot("stat"))
}

fn stat_at(directory: BorrowedFd<'_>, name: &CStr) -> Result<Statx, Failure> {
    let how = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(directory, name, how, asked()).map_err(cannot("stat"))
}

/// Whether nothing has this name any more, so that what went wrong with it no longer matters.
fn is_gone(directory: BorrowedFd<'_>, name: &CStr) -> bool {
    matches!(stat_at(directory, name), Err(failure) if failure.source.kind() == io::ErrorKind::NotFound)
}

fn kind_of(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

/// The feature without which such things are left out.
fn feature_of(kind: FileType) -> u64 {
    match kind {
        FileType::Symlink => flags::SYMLINKS,
        FileType::BlockDevice | FileType::CharacterDevice => flags::DEVICE_NODES,
        FileType::Fifo => flags::FIFOS,
        _ => flags::SOCKETS,
    }
}
