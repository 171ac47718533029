//! Whatever is no directory and is in memory as a whole: made, given everything, and put in its place.
//!
//! In a directory that was made in this run nothing is in the way, and a file has its name from the
//! beginning. Elsewhere it is made under another name first, so that the old one is there until the new one is
//! complete.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use cairn_formats::catar::{Body, Node};
use rustix::fs::{
    AtFlags, FileType, Mode, Stat, fstat, ftruncate, makedev, mknodat, readlinkat, statat,
    symlinkat, unlinkat,
};

use super::place::Place;
use super::{Unpack, Worker, content};
use crate::tree::apply::refusals::Refused;
use crate::tree::apply::{Before, Target, undo_immutable};
use crate::tree::named::{self, temporary_name};
use crate::{Error, Result};

/// What is to be made, and where.
#[derive(Debug)]
pub(super) struct Small {
    pub(super) place: Arc<Place>,
    pub(super) name: Box<[u8]>,
    pub(super) node: Box<Node>,
    /// Where its bytes begin in the archive.
    pub(super) at: u64,
}

/// What was being done when something failed.
type Failed = (&'static str, io::Error);

/// For `map_err`.
fn during(doing: &'static str) -> impl Fn(io::Error) -> Failed {
    move |e| (doing, e)
}

impl Small {
    /// Makes it; `bytes` are those of a file.
    pub(super) fn make(
        &self,
        unpack: &Unpack<'_>,
        bytes: &[u8],
        worker: &mut Worker,
    ) -> Result<()> {
        let fd = self.place.fd()?;
        let made = match &self.node.body {
            Body::File(_) => self.make_file(unpack, fd.as_fd(), bytes, worker),
            _ => self.make_other(unpack, fd.as_fd()),
        };
        made.map_err(|(doing, e)| Error::io(doing, self.place.path_of(&self.name))(e))
    }

    fn make_file(
        &self,
        unpack: &Unpack<'_>,
        directory: BorrowedFd<'_>,
        bytes: &[u8],
        worker: &mut Worker,
    ) -> std::result::Result<(), Failed> {
        // What cannot be read is replaced.
        if let Some(had) = existing(unpack, &self.place, directory, &self.name, &self.node)
            && content::is_same(&had, 0, bytes, &mut worker.compared).unwrap_or(false)
        {
            let target = Target::Open(had.as_fd());
            let before = Before { is_new: false, inherits: false };
            if unpack.options.undo_immutable {
                undo_immutable(had.as_fd()).map_err(during("set the attributes of"))?;
            }
            self.give(unpack, target, before)?;
            return self.finish(unpack, target, before);
        }
        if !bytes.is_empty() {
            for twin in unpack.twins_of(&self.node, &self.name, directory) {
                let is_same = content::is_same(&twin.file, 0, bytes, &mut worker.compared);
                // What cannot be read, or not be linked, is written.
                if is_same.unwrap_or(false) {
                    let linked = unpack.link(&twin, directory, &self.name);
                    if linked.map_err(during("replace"))? {
                        return Ok(());
                    }
                }
            }
        }
        let mode = unpack.apply.first_mode(&self.node);
        if self.place.is_blank {
            match named::create(directory, &self.name, mode) {
                Ok(file) => {
                    let filled = self.fill(unpack, &file, bytes, worker);
                    if filled.is_err() {
                        let _ = unlinkat(directory, &*self.name, AtFlags::empty());
                    }
                    filled?;
                    return self.finish(unpack, Target::Open(file.as_fd()), self.place.for_new());
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(("create", e)),
            }
        }
        let temporary = temporary_name(&self.name);
        let file = named::create(directory, &temporary, mode).map_err(during("create"))?;
        let placed = self.fill(unpack, &file, bytes, worker).and_then(|()| {
            let installed = unpack.install(directory, &temporary, &self.name, true);
            installed.map_err(during("replace"))
        });
        if placed.is_err() {
            let _ = unlinkat(directory, temporary, AtFlags::empty());
        }
        placed?;
        self.finish(unpack, Target::Open(file.as_fd()), self.place.for_new())
    }

    fn fill(
        &self,
        unpack: &Unpack<'_>,
        file: &File,
        bytes: &[u8],
        worker: &mut Worker,
    ) -> std::result::Result<(), Failed> {
        let path = || self.place.path_of(&self.name);
        unpack
            .apply
            .begin(Target::Open(file.as_fd()), &self.node, self.place.for_new(), &path)
            .map_err(during("set the attributes of"))?;
        let end = self.at + bytes.len() as u64;
        let shared = unpack.share(self.at..end, file).map_err(during("write"))?;
        let is_full = if shared.is_empty() {
            content::write(file, 0, bytes, !unpack.options.is_full).map_err(during("write"))?
        } else {
            let put = unpack.put(&shared, file, 0, bytes, &mut worker.compared);
            put.map_err(during("write"))?;
            true
        };
        if !is_full && !bytes.is_empty() {
            ftruncate(file, bytes.len() as u64).map_err(|e| ("size", e.into()))?;
        }
        if self.place.fails_late {
            file.sync_all().map_err(during("write"))?;
        }
        self.give(unpack, Target::Open(file.as_fd()), self.place.for_new())
    }

    fn make_other(
        &self,
        unpack: &Unpack<'_>,
        directory: BorrowedFd<'_>,
    ) -> std::result::Result<(), Failed> {
        if !self.place.is_blank
            && let Some(had) = self.existing_other(directory)
        {
            let before = Before { is_new: false, inherits: false };
            return self.give(unpack, Target::Path(had.as_fd()), before);
        }
        let temporary;
        let name: &[u8] = if self.place.is_blank {
            &self.name
        } else {
            temporary = temporary_name(&self.name);
            &temporary
        };
        match self.create_other(directory, name) {
            Err(e) if self.is_device() && e.kind() == io::ErrorKind::PermissionDenied => {
                let path = || self.place.path_of(&self.name);
                unpack.apply.refusals().count(Refused::Device, &path, &e.to_string());
                return Ok(());
            }
            created => created.map_err(during("create"))?,
        }
        let finish = || {
            let file = named::open_path(directory, name).map_err(during("open"))?;
            let target = Target::Path(file.as_fd());
            self.give(unpack, target, self.place.for_new())?;
            if name != &*self.name {
                let installed = unpack.install(directory, name, &self.name, false);
                installed.map_err(during("replace"))?;
            }
            Ok(())
        };
        let finished = finish();
        if finished.is_err() {
            let _ = unlinkat(directory, name, AtFlags::empty());
        }
        finished
    }

    /// What is there, if it is the same link or device, and has no other name.
    fn existing_other(&self, directory: BorrowedFd<'_>) -> Option<OwnedFd> {
        let had = named::open_path(directory, &self.name).ok()?;
        let stat = fstat(&had).ok()?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_device = |major, minor| stat.st_rdev == makedev(major, minor);
        let is_same = match &self.node.body {
            Body::Symlink(target) => {
                kind == FileType::Symlink
                    && readlinkat(&had, "", Vec::new()).is_ok_and(|had| had.as_bytes() == target)
            }
            Body::Block { major, minor } => {
                kind == FileType::BlockDevice && is_device(*major, *minor)
            }
            Body::Character { major, minor } => {
                kind == FileType::CharacterDevice && is_device(*major, *minor)
            }
            Body::Fifo => kind == FileType::Fifo,
            Body::Socket => kind == FileType::Socket,
            Body::File(_) | Body::Directory => unreachable!("made elsewhere"),
        };
        (is_same && stat.st_nlink == 1).then_some(had)
    }

    fn create_other(&self, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        let node =
            |kind, device| mknodat(directory, name, kind, Mode::from_raw_mode(0o600), device);
        Ok(match &self.node.body {
            Body::Symlink(target) => symlinkat(target.as_slice(), directory, name),
            Body::Block { major, minor } => node(FileType::BlockDevice, makedev(*major, *minor)),
            Body::Character { major, minor } => {
                node(FileType::CharacterDevice, makedev(*major, *minor))
            }
            Body::Fifo => node(FileType::Fifo, 0),
            Body::Socket => node(FileType::Socket, 0),
            Body::File(_) | Body::Directory => unreachable!("made elsewhere"),
        }?)
    }

    fn is_device(&self) -> bool {
        matches!(self.node.body, Body::Block { .. } | Body::Character { .. })
    }

    fn give(
        &self,
        unpack: &Unpack<'_>,
        target: Target<'_>,
        before: Before,
    ) -> std::result::Result<(), Failed> {
        let path = || self.place.path_of(&self.name);
        let given = unpack.apply.apply(target, &self.node, before, &path);
        given.map_err(during("set the attributes of"))
    }

    /// What comes when it has its name.
    fn finish(
        &self,
        unpack: &Unpack<'_>,
        target: Target<'_>,
        before: Before,
    ) -> std::result::Result<(), Failed> {
        let path = || self.place.path_of(&self.name);
        let ended = unpack.apply.end(target, &self.node, before, &path);
        ended.map_err(during("set the attributes of"))
    }
}

/// The file that is there, if it is of the node's length and has no other name. One of another owner than the node's
/// is not meant: he may have it open, and write to it whoever it belongs to by then.
pub(super) fn existing(
    unpack: &Unpack<'_>,
    place: &Place,
    directory: BorrowedFd<'_>,
    name: &[u8],
    node: &Node,
) -> Option<File> {
    if place.is_blank {
        return None;
    }
    let fits = |stat: &Stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_size as u64 == node.size()
            && stat.st_nlink == 1
            && unpack.apply.may_keep(node, stat.st_uid)
    };
    // Looked at first, as to open a device may do more than that.
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok().filter(fits)?;
    let file = named::open(directory, name).ok()?;
    fstat(&file).is_ok_and(|stat| fits(&stat)).then_some(file)
}
