//! A file, however it was opened, and the calls that change what is said of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use cairn_formats::catar::Node;
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat,
    fchmod, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr, futimens, getxattr, listxattr,
    removexattr, setxattr, utimensat,
};
use rustix::io::Errno;

use crate::tree::beneath::by_descriptor;

/// A file that is given something.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A file or a directory that is open.
    Open(BorrowedFd<'a>),
    /// Something that was opened only by its path, such as a link or a device.
    Path(BorrowedFd<'a>),
}

impl AsFd for Target<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Open(fd) | Self::Path(fd) => *fd,
        }
    }
}

impl Target<'_> {
    pub(super) fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(match self {
            Self::Open(fd) => fchown(fd, uid, gid),
            Self::Path(fd) => chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH),
        }?)
    }

    pub(super) fn chmod(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        Ok(match self {
            Self::Open(fd) => fchmod(fd, mode),
            Self::Path(fd) => chmodat(CWD, by_descriptor(fd), mode, AtFlags::empty()),
        }?)
    }

    pub(super) fn set_time(&self, seconds: i64, nanoseconds: i64) -> io::Result<()> {
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
    pub(super) fn set(&self, name: &[u8], value: &[u8], is_new: bool) -> io::Result<()> {
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
    pub(super) fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        let read = |value: &mut [u8]| match self {
            Self::Open(fd) => fgetxattr(fd, name, value),
            Self::Path(fd) => getxattr(by_descriptor(fd), name, value),
        };
        // Into nothing, it says how long it is.
        let mut value = vec![0; read(&mut []).ok()?];
        let len = read(&mut value).ok()?;
        value.truncate(len);
        Some(value)
    }

    /// Removes an attribute, if it is there: to be refused what is not needed is no loss.
    pub(super) fn unset(&self, name: &[u8]) -> io::Result<()> {
        if self.get(name).is_none() {
            return Ok(());
        }
        Ok(match self {
            Self::Open(fd) => fremovexattr(fd, name),
            Self::Path(fd) => removexattr(by_descriptor(fd), name),
        }?)
    }

    /// Removes all attributes that are the user's to give and are not the node's.
    pub(super) fn remove_others(&self, node: &Node) -> io::Result<()> {
        let list = |names: &mut [u8]| match self {
            Self::Open(fd) => flistxattr(fd, names),
            Self::Path(fd) => listxattr(by_descriptor(fd), names),
        };
        // Into nothing, it says how long it is.
        let len = match list(&mut []) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
            len => len?,
        };
        let mut names = vec![0; len];
        let got = list(&mut names)?;
        for name in names[..got].split(|&byte| byte == 0) {
            let is_given = name.starts_with(b"user.") || name.starts_with(b"trusted.");
            if is_given && !node.xattrs.iter().any(|xattr| xattr.name == name) {
                self.unset(name)?;
            }
        }
        Ok(())
    }
}
