//! All that is said of a file, said of it again.
//!
//! ```text
//! owner -> mode -> lists of access -> attributes with names -> capabilities, label -> time
//! ```
//! That order matters: who changes the owner loses set-user-id bits and capabilities, and every change but
//! that of the time changes the time. What the system refuses is counted by what it is, and everything
//! else goes on.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use cairn_formats::catar::{Body, Node};
use cairn_formats::flags;
use rustix::fs::{
    Gid, Uid,
    AtFlags, CWD, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, XattrFlags, chmodat,
    chownat, fchmod, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr, fstat, futimens,
    getxattr, listxattr, removexattr, setxattr, utimensat,
};

use super::beneath::by_descriptor;
use super::refusals::{Refusals, Refused};

/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

/// Bits that let somebody write.
const WRITE: u32 = 0o222;

const NANOSECONDS: i64 = 1_000_000_000;

/// The attribute that holds capabilities.
const CAPABILITIES: &str = "security.capability";

/// The attribute that holds a label of SELinux.
const LABEL: &str = "security.selinux";

/// The longest value of an attribute.
const LONGEST_VALUE: usize = 65536;

/// Gives files what nodes of an archive say of them.
#[derive(Debug)]
pub struct Apply {
    /// What is wished for, in the bits of a feature word.
    wish: u64,
    /// What of that the archive has.
    features: OnceLock<u64>,
    refusals: Refusals,
}

/// A file that is given something.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A file or a directory that is open.
    Open(BorrowedFd<'a>),
    /// Something that was opened only by its path, such as a link or a device.
    Path(BorrowedFd<'a>),
}

/// What is known of a file before it is given something.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// Whether it was made just now, so that it has nothing that it was not given.
    pub is_new: bool,
    /// Whether it may have inherited access control lists from the directory it is in.
    pub inherits: bool,
}

impl Apply {
    /// Gives what these bits of a feature word say, as far as the archive has it.
    pub fn new(wish: u64) -> Self {
        Self { wish, features: OnceLock::new(), refusals: Refusals::default() }
    }

    /// Learns the feature word of the archive. Without it, nothing is given.
    pub fn learn(&self, archive: u64) {
        self.features.get_or_init(|| flags::common(archive, self.wish));
    }

    /// Whether files are given modes.
    pub fn gives_modes(&self) -> bool {
        self.has(flags::PERMISSIONS | flags::ACL | flags::READ_ONLY)
    }

    /// What the system refused.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The mode a new file should have until it has all it is to have: nobody else may look in before, if it
    /// is known who may.
    pub fn first_mode(&self, node: &Node) -> u32 {
        match (self.has(flags::PERMISSIONS | flags::ACL), node.is_directory()) {
            (true, true) => 0o700,
            (true, false) => 0o600 | node.permissions & 0o100,
            (false, true) => 0o777,
            (false, false) => 0o666,
        }
    }

    /// Gives a file everything.
    pub fn apply(
        &self,
        target: Target<'_>,
        node: &Node,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        let stat = fstat(target)?;
        let is_link = matches!(node.body, Body::Symlink(_));
        let is_owned = self.give_owner(target, node, &stat, path)?;
        if !is_link {
            self.give_mode(target, node, &stat, is_owned, path)?;
        }
        self.give_xattrs(target, node, before, path)?;
        self.give_time(target, node, &stat, before, path)
    }

    fn has(&self, bits: u64) -> bool {
        self.features.get().is_some_and(|features| features & bits != 0)
    }

    /// Whether the owner is then the one the archive names, and did not change.
    fn give_owner(
        &self,
        target: Target<'_>,
        node: &Node,
        stat: &Stat,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<Owned> {
        let (uid, gid) = (node.uid, node.gid);
        if (stat.st_uid, stat.st_gid) == (uid, gid) {
            return Ok(Owned::Already);
        }
        if !self.has(flags::OWNERS) {
            return Ok(Owned::ByAnother);
        }
        let given = target.chown(Some(uid), Some(gid));
        if given.is_err() {
            // The group alone may be one's own to give.
            let _ = target.chown(None, Some(gid));
        }
        let is_given = self.refusals.note(Refused::Owner, path, given)?;
        Ok(if is_given { Owned::Now } else { Owned::ByAnother })
    }

    fn give_mode(
        &self,
        target: Target<'_>,
        node: &Node,
        stat: &Stat,
        owned: Owned,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        let had = stat.st_mode & 0o7777;
        let mut wanted = if self.has(flags::PERMISSIONS | flags::ACL) {
            node.permissions
        } else if self.has(flags::READ_ONLY) {
            let may_write = node.permissions & WRITE != 0;
            if !may_write {
                had & !WRITE
            } else if had & WRITE == 0 {
                had | 0o200
            } else {
                had
            }
        } else {
            return Ok(());
        };
        if owned == Owned::ByAnother && !node.is_directory() {
            // What may run as its owner must not run as another.
            wanted &= !SET_ID;
        }
        if wanted == had && owned != Owned::Now {
            return Ok(());
        }
        self.refusals.note(Refused::Mode, path, target.chmod(wanted))?;
        Ok(())
    }

    fn give_xattrs(
        &self,
        target: Target<'_>,
        node: &Node,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        if self.has(flags::XATTRS) {
            if !before.is_new {
                let removed = target.remove_others(node);
                self.refusals.note(Refused::Xattr, path, removed)?;
            }
            let mut given = Ok(());
            for xattr in &node.xattrs {
                let one = target.set(&xattr.name, &xattr.value, before.is_new);
                given = given.and(one);
            }
            self.refusals.note(Refused::Xattr, path, given)?;
        }
        if self.has(flags::FCAPS) && matches!(node.body, Body::File(_)) {
            let given = if !node.fcaps.is_empty() {
                target.set(CAPABILITIES.as_bytes(), &node.fcaps, before.is_new)
            } else if before.is_new || node.has_xattr(CAPABILITIES) {
                Ok(())
            } else {
                target.unset(CAPABILITIES)
            };
            self.refusals.note(Refused::Capabilities, path, given)?;
        }
        if self.has(flags::SELINUX) && !node.selinux.is_empty() {
            let given = target.set(LABEL.as_bytes(), &node.selinux, false);
            self.refusals.note(Refused::Label, path, given)?;
        }
        Ok(())
    }

    fn give_time(
        &self,
        target: Target<'_>,
        node: &Node,
        stat: &Stat,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        if !self.has(flags::TIMES) {
            return Ok(());
        }
        let seconds = node.mtime.div_euclid(NANOSECONDS);
        let nanoseconds = node.mtime.rem_euclid(NANOSECONDS);
        let is_so = (stat.st_mtime, stat.st_mtime_nsec as i64) == (seconds, nanoseconds);
        // What is in a directory has changed it since it was looked at.
        if is_so && !before.is_new && !node.is_directory() {
            return Ok(());
        }
        let given = target.set_time(seconds, nanoseconds);
        self.refusals.note(Refused::Time, path, given)?;
        Ok(())
    }
}

/// Whose a file is, in respect of what the archive says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owned {
    /// It was his before.
    Already,
    /// It was given to him.
    Now,
    /// It is not his.
    ByAnother,
}

trait HasXattr {
    fn has_xattr(&self, name: &str) -> bool;
}

impl HasXattr for Node {
    fn has_xattr(&self, name: &str) -> bool {
        self.xattrs.iter().any(|xattr| xattr.name == name.as_bytes())
    }
}

impl AsFd for Target<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Open(fd) | Self::Path(fd) => *fd,
        }
    }
}

impl Target<'_> {
    fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(match self {
            Self::Open(fd) => fchown(fd, uid, gid),
            Self::Path(fd) => chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH),
        }?)
    }

    fn chmod(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        Ok(match self {
            Self::Open(fd) => fchmod(fd, mode),
            Self::Path(fd) => chmodat(CWD, by_descriptor(fd), mode, AtFlags::empty()),
        }?)
    }

    fn set_time(&self, seconds: i64, nanoseconds: i64) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        };
        Ok(match self {
            Self::Open(fd) => futimens(fd, &times),
            Self::Path(fd) => utimensat(fd, "", &times, AtFlags::EMPTY_PATH),
        }?)
    }

    /// Sets an attribute, if it is not so already.
    fn set(&self, name: &[u8], value: &[u8], is_new: bool) -> io::Result<()> {
        if !is_new && self.get(name).is_some_and(|had| had == value) {
            return Ok(());
        }
        let flags = XattrFlags::empty();
        Ok(match self {
            Self::Open(fd) => fsetxattr(fd, name, value, flags),
            Self::Path(fd) => setxattr(by_descriptor(fd), name, value, flags),
        }?)
    }

    /// An attribute; `None` also if it cannot be read.
    fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        let mut value = vec![0; LONGEST_VALUE];
        let got = match self {
            Self::Open(fd) => fgetxattr(fd, name, &mut value[..]),
            Self::Path(fd) => getxattr(by_descriptor(fd), name, &mut value[..]),
        };
        value.truncate(got.ok()?);
        Some(value)
    }

    /// Removes an attribute, if it is there.
    fn unset(&self, name: impl rustix::path::Arg) -> io::Result<()> {
        let removed = match self {
            Self::Open(fd) => fremovexattr(fd, name),
            Self::Path(fd) => removexattr(by_descriptor(fd), name),
        };
        match removed {
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Removes all attributes that are the user's to give and are not the node's.
    fn remove_others(&self, node: &Node) -> io::Result<()> {
        let mut names = vec![0; LONGEST_VALUE];
        let got = match self {
            Self::Open(fd) => flistxattr(fd, &mut names[..]),
            Self::Path(fd) => listxattr(by_descriptor(fd), &mut names[..]),
        };
        let got = match got {
            Err(rustix::io::Errno::NOTSUP) => return Ok(()),
            got => got?,
        };
        for name in names[..got].split_inclusive(|&byte| byte == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
            let bytes = name.to_bytes();
            let is_given = bytes.starts_with(b"user.") || bytes.starts_with(b"trusted.");
            if is_given && !node.xattrs.iter().any(|xattr| xattr.name == bytes) {
                self.unset(name)?;
            }
        }
        Ok(())
    }
}
