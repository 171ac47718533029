//! A directory and all below it, in the order of archives, dealt out to workers.
//!
//! ```text
//! names of a directory -(sorted)-> tasks, in depth-first order -(recorded by whoever took them)-> steps
//! ```
//! Directories are recorded when they are come to, as their names are needed for what comes next. A file is opened
//! once: what is recorded and what is read are of the same file, whatever becomes of its name.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_formats::catar::Body;
use cairn_formats::flags;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, statat};

use super::PackOptions;
use super::content;
use super::encoded::{Bytes, Encoder};
use super::later::Later;
use super::notices::Notices;
use crate::archive::encoder_cache::{EncoderCache, Known};
use crate::archive::step::Named;
use crate::tree::exclude::Excludes;
use crate::tree::listing::Listing;
use crate::tree::record::{Found, Recorded, Recorder, Stat};
use crate::{Error, Result};

/// Names that a worker takes at once.
const BATCH: usize = 64;

/// The same where hardly any file is read, so that nobody waits for so little.
const UNREAD_BATCH: usize = 512;

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
    features: u64,
    /// What is known of it from an earlier time.
    cache: Option<&'a EncoderCache>,
}

/// A directory that is being walked through.
#[derive(Debug)]
pub(super) struct Directory {
    /// With that of the root in front.
    path: Arc<Path>,
    file: OwnedFd,
}

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
        let is_warm = tree.cache.is_some_and(EncoderCache::is_warm);
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
    pub(super) fn encode(self, tree: &Tree<'_>, encoder: &mut Encoder) -> Result<()> {
        let (directory, names, nth, kind) = match self {
            Task::Record(directory, names, nth, kind) => (directory, names, nth, kind),
            Task::Recorded(named, settled) => {
                let (stat, names) = settled.unzip();
                encoder.add_node(*named, stat, names);
                return Ok(());
            }
            Task::Known(names, nth, stat, known) => {
                if let (Some((name, _)), Some(cache)) = (names.get(nth), tree.cache) {
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

impl<'a> Tree<'a> {
    /// The tree at `root`, to be recorded as the options say.
    pub(super) fn new(
        root: &Path,
        options: &PackOptions,
        notices: &'a Notices<'a>,
        cache: Option<&'a EncoderCache>,
    ) -> Self {
        let &PackOptions { features, shift, skip, .. } = options;
        Self {
            root: root.to_owned(),
            recorder: Recorder::new(features, shift),
            honours_excludes: features & flags::EXCLUDE_FILE != 0,
            skip,
            reads_files: true,
            notices,
            features,
            cache,
        }
    }

    /// Files have their lengths, but their bytes are not read.
    pub(super) fn without_bytes(self) -> Self {
        Self { reads_files: false, ..self }
    }

    /// What is recorded.
    pub(super) fn features(&self) -> u64 {
        self.features
    }

    /// What is known of it from an earlier time.
    pub(super) fn cache(&self) -> Option<&'a EncoderCache> {
        self.cache
    }

    /// Lets the cache know what owners are called.
    pub(super) fn name_owners(&self) {
        if let Some(cache) = self.cache {
            cache.name_owners(self.recorder.names());
        }
    }

    /// What tells whether something is still the same, if all that may change from now on will show.
    fn settled(&self, stat: Stat) -> Option<Stat> {
        Some(stat).filter(|stat| self.cache.is_some_and(|cache| cache.is_settled(stat)))
    }

    /// Encodes a file if it is the same as when it was archived before.
    fn encode_known(&self, directory: &Directory, name: &CStr, encoder: &mut Encoder) -> bool {
        let Some(cache) = self.cache else { return false };
        let Some(stat) = self.recorder.glance(directory.file.as_fd(), name) else { return false };
        let is_skipped = self.skip == Some((stat.dev, stat.ino));
        let Some(known) = cache.find(&stat).filter(|_| !is_skipped) else { return false };
        let bytes = Bytes::Later(stat.size, Later::new(&directory.path, &stat));
        encoder.add_known(bytes, name.to_bytes(), stat, &known, cache);
        true
    }

    /// Opens a directory that is the same as when it was archived before.
    fn known_directory(
        &self,
        directory: &Directory,
        name: &CStr,
    ) -> Option<(OwnedFd, Stat, Known, Arc<Listing>)> {
        let cache = self.cache.filter(|cache| cache.is_warm())?;
        let (file, stat) = self.recorder.open_directory(directory.file.as_fd(), name)?;
        let known = cache.find(&stat).filter(|_| !cache.is_in(&stat))?;
        let names = Listing::again(&cache.bytes()?[known.names.clone()])?;
        Some((file, stat, known, Arc::new(names)))
    }

    /// The names in a directory.
    fn names_in(&self, directory: &OwnedFd, stat: &Stat, path: &Path) -> Result<Arc<Listing>> {
        if stat.is_virtual {
            return Ok(Arc::default());
        }
        let names = Listing::read(directory.as_fd());
        Ok(Arc::new(names.map_err(|e| Error::io("read", path)(e.into()))?))
    }

    fn find(&self, directory: &Directory, name: &CStr, kind: FileType) -> Result<Option<Found>> {
        let recorded = self.recorder.record(directory.file.as_fd(), name, kind);
        match recorded {
            Ok(Recorded::Found(found)) => {
                let is_archive = self.skip == Some((found.stat.dev, found.stat.ino));
                let is_cache = self.cache.is_some_and(|cache| cache.is_in(&found.stat));
                if is_archive || is_cache {
                    self.notices.own(self.below(&directory.path_of(name)), is_cache);
                    return Ok(None);
                }
                Ok(Some(*found))
            }
            Ok(Recorded::LeftOut(why)) => {
                self.notices.left_out(self.below(&directory.path_of(name)), why);
                Ok(None)
            }
            Err(failure) => Err(failure.at(directory.path_of(name))),
        }
    }

    /// What is left out of a directory that has a file saying so.
    fn excludes(&self, directory: &OwnedFd, path: &Path, above: &Excludes) -> Result<Excludes> {
        let path = path.join(OsStr::from_bytes(EXCLUDE_FILE.to_bytes()));
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

    /// What was found in a directory, with what is in it.
    fn named(&self, mut found: Found, directory: &Directory, name: &CStr) -> Result<Named> {
        let size = found.node.size();
        let content = match self.reads_files {
            true => content::of(&mut found),
            false => Ok(content::unread(&found)),
        };
        let content = content.map_err(|e| Error::io("read", directory.path_of(name))(e))?;
        if found.node.size() != size {
            self.notices.changed(self.below(&directory.path_of(name)));
        }
        Ok(Named { name: name.to_bytes().to_vec(), node: found.node, content })
    }

    /// A path without that of the root.
    fn below<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

impl Directory {
    fn path_of(&self, name: &CStr) -> Arc<Path> {
        self.path.join(OsStr::from_bytes(name.to_bytes())).into()
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
        let features = flags::normalised(flags::ALL);
        let options = PackOptions { features, shift: None, skip: None, workers: 1 };
        let tree = Tree::new(root.path(), &options, &notices, None);
        let file = OwnedFd::from(File::open(root.path()).unwrap());
        tree.recorder.record_root(file.try_clone().unwrap()).unwrap();
        let directory = Directory { path: root.path().into(), file };
        for (len, changed) in [(100, 0), (40, 1), (0, 2)] {
            fs::write(&name, [7; 100]).unwrap();
            let found = tree.find(&directory, c"file", FileType::RegularFile).unwrap().unwrap();
            File::options().write(true).open(&name).unwrap().set_len(len).unwrap();
            let named = tree.named(found, &directory, c"file").unwrap();
            assert_eq!((named.node.size(), notices.counts()), (len, (0, changed)));
        }
    }
}
