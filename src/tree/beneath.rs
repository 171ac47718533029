//! Directories below a root that are written to, and what is done in them by name.
//!
//! ```text
//! root --name--> directory --name--> directory      every arrow is one open, by one name, of no link
//!   |               (closed)            |
//!   +---- opened again on the way ------+           where too many are open
//! ```
//! No path is ever looked up: a file is reached through the open directory it is in, by one name, and never
//! through a symbolic link. Whoever swaps directories for links under the writer makes it fail, and
//! leads it nowhere.
//!
//! Of all directories a bounded number is open. One that was closed is reached again by its name from the one it
//! is in, and must then be the one it was.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, chmodat, fstat, openat};
use rustix::io::Errno;

use crate::flow::lock;

/// How a directory is opened.
pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Directories that are open at once, besides those that are in use and the root. Less than the 1024 files that a
/// process may have open if nobody says otherwise.
const MOST_OPEN: usize = 512;

/// Directories on the way to one that was closed that stay open when it is reached again: the next to be reached
/// are most often those.
const KEPT_ON_THE_WAY: usize = 384;

/// What a file is in its file system: device and inode.
pub(super) type Identity = (u64, u64);

/// A directory below a root.
#[derive(Debug)]
pub struct Directory {
    /// None for the root.
    parent: Option<Arc<Directory>>,
    /// One component; of the root the path that the user gave.
    name: Box<[u8]>,
    identity: Identity,
    /// The mode it had before it was made readable.
    unreadable: Option<u32>,
    fd: Mutex<Option<Arc<OwnedFd>>>,
    open: Arc<Open>,
}

/// The directories of one root that are open.
#[derive(Debug, Default)]
struct Open {
    count: AtomicUsize,
    /// In the order in which they were opened.
    order: Mutex<VecDeque<Weak<Directory>>>,
}

impl Directory {
    /// The root of a tree. Links on the way to it are the user's own and are followed.
    pub fn root(path: &Path) -> io::Result<Arc<Self>> {
        let fd = openat(CWD, path, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty())?;
        let fd = Mutex::new(Some(Arc::new(fd)));
        let identity = identity(lock(&fd).as_ref().expect("it was put there"))?;
        let name = path.as_os_str().as_bytes().into();
        Ok(Arc::new(Self {
            parent: None,
            name,
            identity,
            unreadable: None,
            fd,
            open: Arc::default(),
        }))
    }

    /// Opens a directory in this one.
    pub fn child(self: &Arc<Self>, name: &[u8]) -> io::Result<Arc<Self>> {
        let (fd, unreadable) = open_directory(self.fd()?.as_fd(), name)?;
        let child = Arc::new(Self {
            parent: Some(Arc::clone(self)),
            name: name.into(),
            identity: identity(&fd)?,
            unreadable,
            fd: Mutex::new(None),
            open: Arc::clone(&self.open),
        });
        child.hold(fd);
        Ok(child)
    }

    /// The mode it had, if it could not be read and was made readable.
    pub fn unreadable(&self) -> Option<u32> {
        self.unreadable
    }

    /// Its path below the root, for people; the root's own before it.
    pub fn path(&self) -> PathBuf {
        let mut names = vec![&self.name];
        let mut next = self.parent.as_ref();
        while let Some(directory) = next {
            names.push(&directory.name);
            next = directory.parent.as_ref();
        }
        names.into_iter().rev().map(|name| OsStr::from_bytes(name)).collect()
    }

    /// The open directory. It is opened again if it was closed.
    pub fn fd(self: &Arc<Self>) -> io::Result<Arc<OwnedFd>> {
        if let Some(fd) = lock(&self.fd).as_ref() {
            return Ok(Arc::clone(fd));
        }
        // From the nearest that is open, downwards.
        let mut way = Vec::new();
        let mut next = self.parent.as_ref();
        let mut fd = loop {
            let directory = next.expect("the root is never closed");
            if let Some(fd) = lock(&directory.fd).as_ref() {
                break Arc::clone(fd);
            }
            way.push(directory);
            next = directory.parent.as_ref();
        };
        while let Some(directory) = way.pop() {
            fd = Arc::new(directory.open_again(&fd)?);
            if way.len() < KEPT_ON_THE_WAY {
                directory.keep(&fd);
            }
        }
        let fd = Arc::new(self.open_again(&fd)?);
        self.keep(&fd);
        Ok(fd)
    }

    /// Opens the directory this one is in by way of this one, should it be closed: where a deep tree is left again,
    /// that is one step instead of all from the root.
    pub fn reach_parent(&self) {
        let Some(parent) = &self.parent else { return };
        let Some(own) = lock(&self.fd).clone() else { return };
        if lock(&parent.fd).is_none()
            && let Ok(fd) = openat(own, "..", DIRECTORY, Mode::empty())
            && identity(&fd).is_ok_and(|found| found == parent.identity)
        {
            parent.hold(fd);
        }
    }

    fn open_again(&self, parent: &OwnedFd) -> io::Result<OwnedFd> {
        let (fd, _) = open_directory(parent.as_fd(), &self.name)?;
        if identity(&fd)? == self.identity {
            Ok(fd)
        } else {
            Err(io::Error::other("another directory took its place meanwhile"))
        }
    }

    fn hold(self: &Arc<Self>, fd: OwnedFd) {
        self.keep(&Arc::new(fd));
    }

    fn keep(self: &Arc<Self>, fd: &Arc<OwnedFd>) {
        if lock(&self.fd).replace(Arc::clone(fd)).is_none() {
            self.open.add(self);
        }
    }

    /// Closes it, unless it is in use or the root.
    fn close(&self) {
        if self.parent.is_some() && lock(&self.fd).take().is_some() {
            self.open.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.close();
        // One after the other: a deep tree would overflow the stack.
        let mut next = self.parent.take();
        while let Some(directory) = next {
            next = Arc::into_inner(directory).and_then(|mut directory| {
                directory.close();
                directory.parent.take()
            });
        }
    }
}

impl Open {
    /// Notes one more, and closes the oldest if there are too many.
    fn add(&self, directory: &Arc<Directory>) {
        let mut order = lock(&self.order);
        order.push_back(Arc::downgrade(directory));
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut too_many = count.saturating_sub(MOST_OPEN);
        let mut old = Vec::new();
        while too_many > 0
            && let Some(oldest) = order.pop_front()
        {
            if let Some(oldest) = oldest.upgrade() {
                old.push(oldest);
                too_many -= 1;
            }
        }
        if order.len() > 4 * MOST_OPEN {
            order.retain(|directory| directory.strong_count() > 0);
        }
        drop(order);
        for oldest in old {
            oldest.close();
        }
    }
}

pub(super) fn identity(fd: impl AsFd) -> io::Result<Identity> {
    let stat = fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Opens a directory by one name. One of our own that we may not read is made readable first: as it is now is
/// how it was left, not what is wanted of it. The mode it had is then returned as well.
pub(super) fn open_directory(
    parent: BorrowedFd<'_>,
    name: &[u8],
) -> io::Result<(OwnedFd, Option<u32>)> {
    match openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = openat(parent, name, path, Mode::empty())?;
            let had = fstat(&found)?.st_mode & 0o7777;
            let mode = Mode::from_raw_mode(had) | Mode::RWXU;
            chmodat(CWD, by_descriptor(&found), mode, AtFlags::empty())
                .map_err(|_| Errno::ACCESS)?;
            Ok((openat(parent, name, DIRECTORY, Mode::empty())?, Some(had)))
        }
        opened => Ok((opened?, None)),
    }
}

/// The path by which a file is reached that was opened without access to its content.
pub fn by_descriptor(fd: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}
