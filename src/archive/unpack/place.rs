//! Directories that are being filled.
//!
//! A directory gets its owner, mode and time when everything in it is done, whoever does the last of it: so the
//! deepest come first, and none waits for the end of the archive.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cairn_formats::catar::Node;
use cairn_store::local::fails_late;
use rustix::fs::{AtFlags, Mode, fchmod, fstat, statat};
use rustix::io::Errno;

use super::{Unpack, failed};
use crate::flow::lock;
use crate::tree::apply::{Before, Target, passes_on, undo_immutable};
use crate::tree::beneath::Directory;
use crate::tree::named;
use crate::{Error, Result};

/// What a file is in its file system: device and inode.
type Identity = (u64, u64);

/// A directory that is being filled.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: Arc<Directory>,
    parent: Option<Arc<Place>>,
    /// What is said of it, unless it is to stay as it is.
    node: Option<Node>,
    before: Before,
    /// Whether nothing was in it, so that nothing can be in the way of a new file.
    pub(super) is_blank: bool,
    /// Whether its file system says only when a file is flushed that it could not be written.
    pub(super) fails_late: bool,
    /// Whether what is made in it starts with more than it is given.
    passes_on: bool,
    /// What is in it and is not done, and one more while more may come.
    pending: AtomicUsize,
    /// Whether all that the archive has in it has come.
    is_whole: AtomicBool,
    /// The mode to leave it with if the archive does not say.
    mode: Option<u32>,
    /// The names the archive has in it, where others are to be removed.
    names: Mutex<HashSet<Box<[u8]>>>,
}

impl Place {
    /// The root of what is restored, which is made if it is missing. Without a node it stays as it is but for what
    /// comes into it.
    pub(super) fn root(unpack: &Unpack<'_>, node: Option<Node>) -> Result<Arc<Self>> {
        let path = unpack.target;
        let failed = |doing| Error::io(doing, path);
        let is_new = make_root(unpack, node.as_ref())?;
        let directory = Directory::root(path).map_err(failed("open"))?;
        let is_empty =
            || -> io::Result<bool> { Ok(named::names(directory.fd()?)?.next().is_none()) };
        let is_blank = is_new || is_empty().map_err(failed("read"))?;
        let file = directory.fd().and_then(|fd| fd.try_clone()).map(File::from);
        let mut place = Self {
            fails_late: fails_late(&file.map_err(failed("open"))?),
            directory: Arc::clone(&directory),
            parent: None,
            node,
            before: Before { is_new: false, inherits: false },
            is_blank,
            passes_on: false,
            pending: AtomicUsize::new(1),
            is_whole: AtomicBool::new(false),
            mode: None,
            names: Mutex::default(),
        };
        place.prepare(unpack).map_err(failed("open"))?;
        Ok(Arc::new(place))
    }

    /// A directory in this one, which is made if it is missing.
    pub(super) fn enter(
        self: &Arc<Self>,
        unpack: &Unpack<'_>,
        name: &[u8],
        node: Node,
    ) -> Result<Arc<Self>> {
        let path = || self.path_of(name);
        let failed = |doing| failed(doing, &path);
        let own = self.fd()?;
        let is_new = match unpack.apply.make_directory(own.as_fd(), name, &node) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(failed("create")(e)),
        };
        let directory = self.directory.child(name).map_err(|e| match Errno::from_io_error(&e) {
            Some(Errno::NOTDIR | Errno::LOOP) => Error::file(
                self.path_of(name),
                "it exists and is not a directory, as in the archive: remove it and try again",
            ),
            _ => failed("open")(e),
        })?;
        self.pending.fetch_add(1, Ordering::Relaxed);
        let mut place = Self {
            directory,
            fails_late: self.fails_late,
            parent: Some(Arc::clone(self)),
            node: Some(node),
            before: Before { is_new, inherits: self.passes_on },
            is_blank: is_new,
            passes_on: false,
            pending: AtomicUsize::new(1),
            is_whole: AtomicBool::new(false),
            mode: None,
            names: Mutex::default(),
        };
        place.prepare(unpack).map_err(failed("open"))?;
        Ok(Arc::new(place))
    }

    /// Makes it ready for what comes into it: also one of ours that forbids it.
    fn prepare(&mut self, unpack: &Unpack<'_>) -> io::Result<()> {
        let fd = self.directory.fd()?;
        if !self.before.is_new && self.node.is_some() {
            if unpack.options.undo_immutable {
                undo_immutable(fd.as_fd())?;
            }
            if let Some(node) = &self.node {
                unpack.apply.unseal(fd.as_fd(), node)?;
            }
            let mode = fstat(&fd)?.st_mode & 0o7777;
            let is_changed =
                mode & 0o700 != 0o700 && fchmod(&fd, Mode::from_raw_mode(mode | 0o700)).is_ok();
            let had = self.directory.unreadable().or(is_changed.then_some(mode));
            self.mode = had.filter(|_| !unpack.apply.gives_modes());
        }
        if let Some(node) = &self.node {
            let path = || self.directory.path();
            unpack.apply.begin(Target::Open(fd.as_fd()), node, self.before, &path)?;
        }
        let has_attributes = self.node.as_ref().is_some_and(|node| node.attributes != 0);
        let is_plain = self.before.is_new && !self.before.inherits && !has_attributes;
        self.passes_on = !is_plain && passes_on(fd.as_fd());
        Ok(())
    }

    /// The open directory.
    pub(super) fn fd(&self) -> Result<Arc<OwnedFd>> {
        self.directory.fd().map_err(failed("open", &|| self.directory.path()))
    }

    /// What new files in it start with.
    pub(super) fn for_new(&self) -> Before {
        Before { is_new: true, inherits: self.passes_on }
    }

    /// The path of something in it, for people.
    pub(super) fn path_of(&self, name: &[u8]) -> PathBuf {
        self.directory.path().join(OsStr::from_bytes(name))
    }

    /// Notes that the archive has such a name here, if others are to be removed.
    pub(super) fn list(&self, unpack: &Unpack<'_>, name: &[u8]) {
        if unpack.options.delete && !self.is_blank {
            lock(&self.names).insert(name.into());
        }
    }

    /// All that the archive has in it has come.
    pub(super) fn complete(&self) {
        self.is_whole.store(true, Ordering::Release);
    }

    /// One more is to be done in it.
    pub(super) fn hold(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// One less is to be done in it. After the last it is finished, and so may be those it is in.
    pub(super) fn release(self: &Arc<Self>, unpack: &Unpack<'_>) -> Result<()> {
        let mut place = self;
        while place.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            place.finish(unpack)?;
            let Some(parent) = &place.parent else { break };
            place.directory.reach_parent();
            place = parent;
        }
        Ok(())
    }

    fn finish(self: &Arc<Self>, unpack: &Unpack<'_>) -> Result<()> {
        let Some(node) = &self.node else { return Ok(()) };
        let path = || self.directory.path();
        let failed = |doing| failed(doing, &path);
        let fd = self.directory.fd().map_err(failed("open"))?;
        // Of an archive that broke off nobody knows what else it has.
        if unpack.options.delete && !self.is_blank && self.is_whole.load(Ordering::Acquire) {
            self.remove_others(unpack)?;
        }
        let target = Target::Open(fd.as_fd());
        unpack
            .apply
            .apply(target, node, self.before, &path)
            .map_err(failed("set the attributes of"))?;
        if let Some(mode) = self.mode {
            fchmod(&fd, Mode::from_raw_mode(mode))
                .map_err(|e| failed("set the mode of")(e.into()))?;
        }
        unpack
            .apply
            .end(target, node, self.before, &path)
            .map_err(failed("set the attributes of"))?;
        Ok(())
    }

    /// Removes what the archive does not have.
    fn remove_others(&self, unpack: &Unpack<'_>) -> Result<()> {
        let path = || self.directory.path();
        let failed = |doing| failed(doing, &path);
        let fd = self.directory.fd().map_err(failed("open"))?;
        let known = lock(&self.names);
        let names = named::names(&fd).and_then(|names| names.collect::<io::Result<Vec<_>>>());
        let names: Vec<_> = names.map_err(failed("read"))?.into_iter().map(|it| it.0).collect();
        let identity = |name: &[u8]| {
            let stat = statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            Some((stat.st_dev, stat.st_ino))
        };
        for name in others(&names, &known, &identity) {
            unpack.monitor.check()?;
            unpack
                .unlocked(fd.as_fd(), name, || {
                    named::remove(fd.as_fd(), name, unpack.options.undo_immutable)
                })
                .map_err(|e| Error::io("remove", self.path_of(name))(e))?;
        }
        Ok(())
    }
}

/// Which of the names in a directory are not known, and are not how the file system spells one that is: where it takes
/// small letters and capitals for the same, a name that is not there leads to a file all the same.
fn others<'n>(
    names: &'n [Vec<u8>],
    known: &HashSet<Box<[u8]>>,
    identity: &dyn Fn(&[u8]) -> Option<Identity>,
) -> Vec<&'n [u8]> {
    let (present, mut others): (Vec<&[u8]>, Vec<&[u8]>) =
        names.iter().map(Vec::as_slice).partition(|&name| known.contains(name));
    if !others.is_empty() {
        let present: HashSet<&[u8]> = present.into_iter().collect();
        let absent = known.iter().filter(|name| !present.contains(&***name));
        let spelled: HashSet<_> = absent.filter_map(|name| identity(name)).collect();
        others.retain(|name| {
            spelled.is_empty() || identity(name).is_none_or(|it| !spelled.contains(&it))
        });
    }
    others
}

impl Drop for Place {
    fn drop(&mut self) {
        // One after the other: a deep tree would overflow the stack.
        let mut next = self.parent.take();
        while let Some(place) = next {
            next = Arc::into_inner(place).and_then(|mut place| place.parent.take());
        }
    }
}

/// Makes the root, and directories it is in, unless it is there. Whether that was needed.
fn make_root(unpack: &Unpack<'_>, node: Option<&Node>) -> Result<bool> {
    let path = unpack.target;
    let make = || match (node, path.parent(), path.file_name()) {
        (Some(node), Some(parent), Some(name)) if unpack.apply.wants_subvolume(node) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            unpack.apply.make_directory(File::open(parent)?.as_fd(), name.as_bytes(), node)
        }
        _ => std::fs::create_dir(path),
    };
    match make() {
        Ok(()) => return Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(false),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let why = "it exists and is not a directory: name another target, or remove it";
            return Err(Error::file(path, why));
        }
        Err(e) => return Err(Error::io("create", path)(e)),
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    make().map_err(Error::io("create", path))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_spelled_otherwise_is_kept() {
        let names = ["KEPT", "gone", "same"].map(|name| name.as_bytes().to_vec());
        let known: HashSet<Box<[u8]>> =
            ["kept", "same", "nowhere"].map(|name| name.as_bytes().into()).into();
        let folded = |name: &[u8]| match &*name.to_ascii_lowercase() {
            b"kept" => Some((1, 1)),
            // Another name of the same file.
            b"same" | b"gone" => Some((1, 2)),
            _ => None,
        };
        assert_eq!(others(&names, &known, &folded), [b"gone"]);
        let exact = |name: &[u8]| if name == b"kept" { None } else { folded(name) };
        assert_eq!(others(&names, &known, &exact), [&b"KEPT"[..], b"gone"]);
    }
}
