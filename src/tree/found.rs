//! What was found at a name.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_formats::catar::Node;
use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags, makedev, openat, statx};
use rustix::io::Errno;
use rustix::path::Arg;

use super::attributes::FileSystem;
use crate::Error;

const NANOSECONDS: i128 = 1_000_000_000;

/// What came of a name.
#[derive(Debug)]
pub enum Recorded {
    /// It is to be in the archive.
    Found(Box<Found>),
    /// It is not, and that is as it should be.
    LeftOut(Why),
}

/// Why something is not in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Links, devices, pipes or sockets are not recorded.
    Kind,
    /// It is marked "no dump".
    NoDump,
    /// It is in another mount.
    OtherMount,
    /// It was removed before it could be looked at.
    Vanished,
}

/// Something that is to be in the archive.
#[derive(Debug)]
pub struct Found {
    /// What is to be recorded of it. The size of a file is what it was at this moment.
    pub node: Node,
    /// A file or a directory, open for reading; nothing else is.
    pub file: Option<OwnedFd>,
    /// What tells whether it is still the same.
    pub stat: Stat,
}

/// What tells whether a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The device its file system is on.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// Its bytes, whatever the node says.
    pub size: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub mtime: i64,
    /// When anything of it last changed, in nanoseconds since 1970.
    pub ctime: i64,
    /// Who owns it.
    pub uid: u32,
    /// Which group does.
    pub gid: u32,
    /// Its kind and permissions.
    pub mode: u16,
    /// Whether the kernel makes it up. A file then counts as empty, and so must a directory.
    pub is_virtual: bool,
    /// How long after a change another one may still give it the same times, in nanoseconds; `None` where they say
    /// nothing, or nobody has asked.
    pub lag: Option<i64>,
}

/// What could not be found out, of a file whose path the caller knows.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} it: {source}")]
pub struct Failure {
    /// The operation, as in "cannot …".
    pub what: &'static str,
    /// The system's answer.
    pub source: io::Error,
}

impl Stat {
    /// What an open file is at this moment.
    pub(crate) fn of_open(file: BorrowedFd<'_>) -> io::Result<Self> {
        Self::of_open_with(file, FileSystem::lag)
    }

    /// As [`Stat::of_open`], for who minds no change that began before: its lag is that of the clock alone.
    pub(crate) fn of_ticking(file: BorrowedFd<'_>) -> io::Result<Self> {
        Self::of_open_with(file, FileSystem::tick)
    }

    fn of_open_with(file: BorrowedFd<'_>, lag: fn(FileSystem) -> Option<i64>) -> io::Result<Self> {
        let stat = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        Ok(Self::with_lag(&stat, Some(FileSystem::of(file)?), lag))
    }

    /// What `statx` says, of a file in this kind of file system if that is known.
    pub(super) fn of(stat: &Statx, kind: Option<FileSystem>) -> Self {
        Self::with_lag(stat, kind, FileSystem::lag)
    }

    fn with_lag(
        stat: &Statx,
        kind: Option<FileSystem>,
        lag: fn(FileSystem) -> Option<i64>,
    ) -> Self {
        // Those of ext3 and the like are whole seconds.
        let are_whole = (stat.stx_mtime.tv_nsec, stat.stx_ctime.tv_nsec) == (0, 0);
        // The root of a subvolume of btrfs may become read-only at no time at all.
        let is_subvolume = kind == Some(FileSystem::Btrfs) && stat.stx_ino == 256;
        let lag = kind.and_then(lag).filter(|_| !is_subvolume);
        // Times no archive could hold still tell change, cut to what is left of them.
        let time = |sec, nsec| nanoseconds(sec, nsec) as i64;
        Self {
            dev: makedev(stat.stx_dev_major, stat.stx_dev_minor),
            ino: stat.stx_ino,
            size: stat.stx_size,
            mtime: time(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            ctime: time(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mode: stat.stx_mode,
            is_virtual: kind == Some(FileSystem::Virtual),
            lag: lag.map(|lag| if are_whole { lag.max(2_000_000_000) } else { lag }),
        }
    }

    /// Whether it last changed so long before a moment, in nanoseconds since 1970, that whatever changes it from then
    /// on shows in its times.
    pub(crate) fn is_settled(&self, before: i64) -> bool {
        self.lag.is_some_and(|lag| self.ctime.saturating_add(lag) < before)
    }
}

impl Failure {
    /// The error of a job, of the file that has this path.
    pub fn at(self, path: impl AsRef<Path>) -> Error {
        Error::io(self.what, path)(self.source)
    }
}

/// Opens a file so that the time of its last reading stays, which only its owner may do; others leave a trace.
pub(crate) fn open_unseen(
    directory: BorrowedFd<'_>,
    name: impl Arg + Copy,
    how: OFlags,
) -> Result<OwnedFd, Errno> {
    match openat(directory, name, how | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(directory, name, how, Mode::empty()),
        opened => opened,
    }
}

/// Opens a file that was found before for reading. What is in its place by now may be a pipe, which is not waited for,
/// or a link, which is not followed.
pub(crate) fn open_again(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Whether an open file is one of this length, modified at this time in nanoseconds since 1970 if that is known.
pub(crate) fn is_still(file: &File, size: u64, modified: Option<i64>) -> io::Result<bool> {
    let now = file.metadata()?;
    let mtime = i128::from(now.mtime()) * NANOSECONDS + i128::from(now.mtime_nsec());
    let is_unmodified = modified.is_none_or(|modified| modified == mtime as i64);
    Ok(now.is_file() && now.len() == size && is_unmodified)
}

/// The time in nanoseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A time since 1970.
pub(super) fn nanoseconds(sec: i64, nsec: u32) -> i128 {
    i128::from(sec) * NANOSECONDS + i128::from(nsec)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_changed_a_moment_ago_is_not_settled() {
        let made_up = File::open("/proc/self/stat").unwrap();
        for stat in [Stat::of_open, Stat::of_ticking] {
            let made_up = stat(made_up.as_fd()).unwrap();
            assert!(!made_up.is_settled(i64::MAX));
            let changed = |ctime| Stat { ctime, lag: Some(10), ..made_up };
            assert!(changed(89).is_settled(100) && !changed(90).is_settled(100));
            assert!(!changed(i64::MAX).is_settled(i64::MAX), "it is in the far future");
        }
    }
}
