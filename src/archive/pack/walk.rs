//! A directory and all below it, in the order of archives, dealt out to workers.
//!
//! ```text
//! names of a directory -(sorted)-> tasks, in depth-first order -(recorded by whoever took them)-> nodes
//! ```
//! Directories are recorded when they are come to, as their names are needed for what comes next. A file is opened
//! once: what is recorded and what is read are of the same file, whatever becomes of its name.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use cairn_formats::catar::Body;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, statat};

use super::encoded::{Bytes, Encoder};
use super::tree::{Directory, EXCLUDE_FILE, Tree};
use crate::archive::encoder_cache::{EncoderCache, Known};
use crate::archive::step::Named;
use crate::tree::exclude::Excludes;
use crate::tree::listing::Listing;
use crate::tree::record::{Found, Stat};
use crate::{Error, Result};

/// Names that a worker takes at once.
const BATCH: usize = 64;

/// The same where hardly any file is read, so that nobody waits for so little.
const UNREAD_BATCH: usize = 256;

/// Directories that are kept open from the innermost outwards; those further out are opened again when we come
/// back to them.
const KEPT_OPEN: usize = 128;

/// What is to be encoded next.
#[derive(Debug)]
pub(super) enum Task {
    /// One of the names in a directory, still to be recorded.
    Record(Arc<Directory>, Arc<Listing>, usize, FileType),
    /// What was recorded when it was come to; of a directory also what tells whether it is still the same, and the
    /// names in it.
    Recorded(Box<Named>, Option<(Stat, Arc<Listing>)>),
    /// One of the names in a directory: a directory that is the same as when it was archived before.
    Known(Arc<Listing>, usize, Stat, Known),
    /// The end of a directory.
    Leave,
}

/// How far the walk through a tree has come.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The directories we are in.
    open: Vec<Level>,
    has_begun: bool,
}

#[derive(Debug)]
struct Level {
    /// `None` while it is not kept open.
    directory: Option<Arc<Directory>>,
    /// Device and number, to know it again.
    identity: (u64, u64),
    path: Arc<Path>,
    names: Arc<Listing>,
    next: usize,
    /// What is left out of it.
    excludes: Excludes,
}

impl Walk {
    /// The next tasks in order; none at the end.
    pub(super) fn next(&mut self, tree: &Tree<'_>) -> Result<Vec<Task>> {
        let mut tasks = Vec::new();
        if !self.has_begun {
            self.has_begun = true;
            tasks.push(self.begin(tree)?);
        }
        let is_warm = tree.cache().is_some_and(EncoderCache::is_warm);
        let most = if is_warm { UNREAD_BATCH } else { BATCH };
        while tasks.len() < most {
            let Some(level) = self.open.last_mut() else { break };
            let (names, nth) = (Arc::clone(&level.names), level.next);
            let Some((name, kind)) = names.get(nth) else {
                self.leave()?;
                tasks.push(Task::Leave);
                continue;
            };
            level.next += 1;
            let directory = level.directory.clone().expect("the innermost directory is open");
            let kind = if kind == FileType::Unknown { kind_of(&directory, name) } else { kind };
            if level.excludes.covers(name.to_bytes(), kind == FileType::Directory) {
                continue;
            }
            if kind != FileType::Directory {
                tasks.push(Task::Record(directory, names, nth, kind));
                continue;
            }
            let excludes = level.excludes.below(name.to_bytes());
            let path = directory.path_of(name);
            if let Some((file, stat, known, inside)) = tree.known_directory(&directory, name) {
                self.enter(tree, file, &stat, path, inside, excludes)?;
                tasks.push(Task::Known(names, nth, stat, known));
                continue;
            }
            let Some(mut found) = tree.find(&directory, name, kind)? else { continue };
            let stat = found.stat;
            if let Some(file) = found.file.take_if(|_| found.node.is_directory()) {
                let named = Named::directory(name.to_bytes().to_vec(), found.node);
                let names = tree.names_in(&file, &stat, &path)?;
                let settled = tree.settled(stat).map(|stat| (stat, Arc::clone(&names)));
                self.enter(tree, file, &stat, path, names, excludes)?;
                tasks.push(Task::Recorded(Box::new(named), settled));
            } else {
                let named = tree.named(found, &directory, name)?;
                tasks.push(Task::Recorded(Box::new(named), None));
            }
        }
        Ok(tasks)
    }

    fn begin(&mut self, tree: &Tree<'_>) -> Result<Task> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, &tree.root, flags, Mode::empty());
        let root = root.map_err(|e| Error::io("open", &tree.root)(e.into()))?;
        let found = tree.recorder.record_root(root);
        let Found { node, file, stat } = found.map_err(|failure| failure.at(&tree.root))?;
        let file = file.expect("directories are opened");
        let names = tree.names_in(&file, &stat, &tree.root)?;
        self.enter(tree, file, &stat, tree.root.as_path().into(), names, Excludes::default())?;
        Ok(Task::Recorded(Box::new(Named::directory(Vec::new(), node)), None))
    }

    fn enter(
        &mut self,
        tree: &Tree<'_>,
        file: OwnedFd,
        stat: &Stat,
        path: Arc<Path>,
        names: Arc<Listing>,
        mut excludes: Excludes,
    ) -> Result<()> {
        if tree.honours_excludes && names.contains(EXCLUDE_FILE.to_bytes()) {
            excludes = tree.excludes(&file, &path, &excludes)?;
        }
        if let Some(far) = self.open.len().checked_sub(KEPT_OPEN) {
            self.open[far].directory = None;
        }
        let directory = Some(Arc::new(Directory { path: Arc::clone(&path), file }));
        let identity = (stat.dev, stat.ino);
        self.open.push(Level { directory, identity, path, names, next: 0, excludes });
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        let child = self.open.pop().and_then(|level| level.directory);
        let Some(level) = self.open.last_mut().filter(|level| level.directory.is_none()) else {
            return Ok(());
        };
        let child = child.expect("the innermost directory is open");
        let path = Arc::clone(&level.path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = openat(&child.file, c"..", flags, Mode::empty());
        let file = file.map_err(|e| Error::io("open", &path)(e.into()))?;
        let stat = fstat(&file).map_err(|e| Error::io("read", &path)(e.into()))?;
        if (stat.st_dev, stat.st_ino) != level.identity {
            return Err(Error::file(path, "was moved while it was archived"));
        }
        level.directory = Some(Arc::new(Directory { path, file }));
        Ok(())
    }
}

impl Task {
    /// Records what is still to be recorded, unless it is left out.
    pub(super) fn encode<'a>(self, tree: &Tree<'a>, encoder: &mut Encoder<'a>) -> Result<()> {
        let (directory, names, nth, kind) = match self {
            Task::Record(directory, names, nth, kind) => (directory, names, nth, kind),
            Task::Recorded(named, settled) => {
                let (stat, names) = settled.unzip();
                encoder.add_node(*named, stat, names);
                return Ok(());
            }
            Task::Known(names, nth, stat, known) => {
                if let (Some((name, _)), Some(cache)) = (names.get(nth), tree.cache()) {
                    encoder.add_known(Bytes::Directory(None), name.to_bytes(), stat, &known, cache);
                }
                return Ok(());
            }
            Task::Leave => {
                encoder.leave();
                return Ok(());
            }
        };
        let Some((name, _)) = names.get(nth) else { return Ok(()) };
        if kind == FileType::RegularFile && tree.encode_known(&directory, name, encoder) {
            return Ok(());
        }
        let Some(found) = tree.find(&directory, name, kind)? else { return Ok(()) };
        if found.node.is_directory() {
            // It was none when its name was read, and what is in it cannot come any more.
            tree.notices.changed(tree.below(&directory.path_of(name)));
            return Ok(());
        }
        let stat = found.stat;
        let named = tree.named(found, &directory, name)?;
        let is_whole = matches!(named.node.body, Body::File(_)) && named.node.size() == stat.size;
        encoder.add_node(named, tree.settled(stat).filter(|_| is_whole), None);
        Ok(())
    }
}

/// What a name stands for where the file system does not tell with the name.
fn kind_of(directory: &Directory, name: &CStr) -> FileType {
    statat(&directory.file, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}
