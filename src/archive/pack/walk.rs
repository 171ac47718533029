//! A directory and all below it, in the order of archives, dealt out to workers.
//!
//! ```text
//! names of a directory -(sorted)-> tasks, in depth-first order -(recorded by whoever took them)-> steps
//! ```
//! Directories are recorded when they are come to, as their names are needed for what comes next. A file is opened
//! once: what is recorded and what is read are of the same file, whatever becomes of its name.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_formats::flags;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, statat};

use super::content;
use super::notices::Notices;
use crate::archive::step::{Named, Step};
use crate::tree::Shift;
use crate::tree::exclude::Excludes;
use crate::tree::listing::Listing;
use crate::tree::record::{Failure, Found, Recorded, Recorder};
use crate::{Error, Result};

/// Names that a worker takes at once.
const BATCH: usize = 64;

/// The file that says what is to be left out of a directory and all below it.
const EXCLUDE_FILE: &CStr = c".caexclude";

/// Bytes in such a file that are read at most.
const MOST_PATTERNS: u64 = 1 << 20;

/// Directories that are kept open from the innermost outwards; those further out are opened again when we come
/// back to them.
const KEPT_OPEN: usize = 128;

/// A tree that is archived.
pub(super) struct Tree<'a> {
    /// Where it is.
    root: PathBuf,
    recorder: Recorder,
    /// Whether `.caexclude` files say what is left out.
    honours_excludes: bool,
    /// Device and number of what must not be archived: the archive itself.
    skip: Option<(u64, u64)>,
    /// Whether the bytes of files are wanted.
    reads_files: bool,
    notices: &'a Notices<'a>,
}

/// A directory that is being walked through.
#[derive(Debug)]
pub(super) struct Directory {
    /// Below the root; empty for it.
    path: PathBuf,
    file: OwnedFd,
}

/// A step, or a name that is still to be recorded.
#[derive(Debug)]
pub(super) enum Task {
    Step(Step),
    Record(Arc<Directory>, CString, FileType),
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
    path: PathBuf,
    names: Listing,
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
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = openat(CWD, &tree.root, flags, Mode::empty());
            let root = root.map_err(|e| Error::io("open", &tree.root)(e.into()))?;
            let found = tree.recorder.record_root(root);
            let found = found.map_err(|failure| tree.failed(Path::new(""), failure))?;
            tasks.push(Task::Step(self.enter(
                tree,
                found,
                PathBuf::new(),
                Vec::new(),
                Excludes::default(),
            )?));
        }
        while tasks.len() < BATCH {
            let Some(level) = self.open.last_mut() else { break };
            let Some((name, kind)) = level.names.get(level.next) else {
                self.leave(tree)?;
                tasks.push(Task::Step(Step::Leave));
                continue;
            };
            level.next += 1;
            let directory = level.directory.clone().expect("the innermost directory is open");
            let kind = if kind == FileType::Unknown { kind_of(&directory, name) } else { kind };
            if level.excludes.covers(name.to_bytes(), kind == FileType::Directory) {
                continue;
            }
            let name = name.to_owned();
            if kind != FileType::Directory {
                tasks.push(Task::Record(directory, name, kind));
                continue;
            }
            let excludes = level.excludes.below(name.to_bytes());
            let path = directory.path_of(&name);
            let Some(found) = tree.find(&directory, &name, kind)? else { continue };
            tasks.push(Task::Step(if found.node.is_directory() {
                self.enter(tree, found, path, name.into_bytes(), excludes)?
            } else {
                tree.step(found, &path, name)?
            }));
        }
        Ok(tasks)
    }

    fn enter(
        &mut self,
        tree: &Tree<'_>,
        mut found: Found,
        path: PathBuf,
        name: Vec<u8>,
        mut excludes: Excludes,
    ) -> Result<Step> {
        let file = found.file.take().expect("directories are opened");
        let names = if found.stat.is_virtual {
            Ok(Listing::default())
        } else {
            Listing::read(file.as_fd())
        };
        let names = names.map_err(|e| Error::io("read", tree.root.join(&path))(e.into()))?;
        if tree.honours_excludes && names.contains(EXCLUDE_FILE.to_bytes()) {
            excludes = tree.excludes(&file, &path, &excludes)?;
        }
        if let Some(far) = self.open.len().checked_sub(KEPT_OPEN) {
            self.open[far].directory = None;
        }
        let directory = Some(Arc::new(Directory { path: path.clone(), file }));
        let identity = (found.stat.dev, found.stat.ino);
        self.open.push(Level { directory, identity, path, names, next: 0, excludes });
        Ok(Step::Node(Box::new(Named::directory(name, found.node))))
    }

    fn leave(&mut self, tree: &Tree<'_>) -> Result<()> {
        let child = self.open.pop().and_then(|level| level.directory);
        let Some(level) = self.open.last_mut().filter(|level| level.directory.is_none()) else {
            return Ok(());
        };
        let child = child.expect("the innermost directory is open");
        let path = tree.root.join(&level.path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = openat(&child.file, c"..", flags, Mode::empty());
        let file = file.map_err(|e| Error::io("open", &path)(e.into()))?;
        let stat = fstat(&file).map_err(|e| Error::io("read", &path)(e.into()))?;
        if (stat.st_dev, stat.st_ino) != level.identity {
            return Err(Error::file(path, "was moved while it was archived"));
        }
        level.directory = Some(Arc::new(Directory { path: level.path.clone(), file }));
        Ok(())
    }
}

impl Task {
    /// Records what is still to be recorded. `None` if it is left out.
    pub(super) fn step(self, tree: &Tree<'_>) -> Result<Option<Step>> {
        let (directory, name, kind) = match self {
            Task::Step(step) => return Ok(Some(step)),
            Task::Record(directory, name, kind) => (directory, name, kind),
        };
        let Some(found) = tree.find(&directory, &name, kind)? else { return Ok(None) };
        let path = directory.path_of(&name);
        if found.node.is_directory() {
            // It was none when its name was read, and what is in it cannot come any more.
            tree.notices.changed(&path);
            return Ok(None);
        }
        tree.step(found, &path, name).map(Some)
    }
}

impl<'a> Tree<'a> {
    /// The tree at `root`, to be recorded as a feature word says.
    pub(super) fn new(
        root: &Path,
        features: u64,
        shift: Option<Shift>,
        skip: Option<(u64, u64)>,
        notices: &'a Notices<'a>,
    ) -> Self {
        Self {
            root: root.to_owned(),
            recorder: Recorder::new(features, shift),
            honours_excludes: features & flags::EXCLUDE_FILE != 0,
            skip,
            reads_files: true,
            notices,
        }
    }

    /// Files have their lengths, but their bytes are not read.
    pub(super) fn without_bytes(self) -> Self {
        Self { reads_files: false, ..self }
    }

    fn find(&self, directory: &Directory, name: &CStr, kind: FileType) -> Result<Option<Found>> {
        let recorded = self.recorder.record(directory.file.as_fd(), name, kind);
        match recorded {
            Ok(Recorded::Found(found)) => {
                let is_skipped = self.skip == Some((found.stat.dev, found.stat.ino));
                if is_skipped {
                    self.notices.itself(&directory.path_of(name));
                }
                Ok(Some(*found).filter(|_| !is_skipped))
            }
            Ok(Recorded::LeftOut(why)) => {
                self.notices.left_out(&directory.path_of(name), why);
                Ok(None)
            }
            Err(failure) => Err(self.failed(&directory.path_of(name), failure)),
        }
    }

    /// What is left out of a directory that has a file saying so.
    fn excludes(&self, directory: &OwnedFd, path: &Path, above: &Excludes) -> Result<Excludes> {
        let path = self.root.join(path).join(OsStr::from_bytes(EXCLUDE_FILE.to_bytes()));
        // A pipe of that name must not make us wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(directory, EXCLUDE_FILE, flags, Mode::empty());
        let file = File::from(file.map_err(|e| Error::io("open", &path)(e.into()))?);
        let mut text = Vec::new();
        let read = file.take(MOST_PATTERNS + 1).read_to_end(&mut text);
        read.map_err(Error::io("read", &path))?;
        if text.len() as u64 > MOST_PATTERNS {
            return Err(Error::file(path, format!("more than {MOST_PATTERNS} bytes of patterns")));
        }
        above.with_file(&text).map_err(|why| Error::file(path, why))
    }

    fn step(&self, mut found: Found, path: &Path, name: CString) -> Result<Step> {
        let size = found.node.size();
        let content = match self.reads_files {
            true => content::of(&mut found),
            false => Ok(content::unread(&found)),
        };
        let content = content.map_err(|e| Error::io("read", self.root.join(path))(e))?;
        if found.node.size() != size {
            self.notices.changed(path);
        }
        Ok(Step::Node(Box::new(Named { name: name.into_bytes(), node: found.node, content })))
    }

    fn failed(&self, path: &Path, failure: Failure) -> Error {
        let path = if path == Path::new("") { self.root.clone() } else { self.root.join(path) };
        Error::Io { doing: failure.what, path, source: failure.source }
    }
}

impl Directory {
    fn path_of(&self, name: &CStr) -> PathBuf {
        self.path.join(OsStr::from_bytes(name.to_bytes()))
    }
}

/// What a name stands for where the file system does not tell with the name.
fn kind_of(directory: &Directory, name: &CStr) -> FileType {
    statat(&directory.file, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Silent;

    #[test]
    fn a_small_file_that_shrank_is_told() {
        let root = tempfile::tempdir().unwrap();
        let name = root.path().join("file");
        fs::write(&name, [7; 100]).unwrap();
        let notices = Notices::new(&Silent);
        let tree = Tree::new(root.path(), flags::normalised(flags::ALL), None, None, &notices);
        let file = OwnedFd::from(File::open(root.path()).unwrap());
        tree.recorder.record_root(file.try_clone().unwrap()).unwrap();
        let directory = Directory { path: PathBuf::new(), file };
        for (len, changed) in [(100, 0), (40, 1), (0, 2)] {
            fs::write(&name, [7; 100]).unwrap();
            let found = tree.find(&directory, c"file", FileType::RegularFile).unwrap().unwrap();
            File::options().write(true).open(&name).unwrap().set_len(len).unwrap();
            let step = tree.step(found, Path::new("file"), c"file".to_owned()).unwrap();
            let Step::Node(named) = step else { panic!("{step:?}") };
            assert_eq!((named.node.size(), notices.counts()), (len, (0, changed)));
        }
    }
}
