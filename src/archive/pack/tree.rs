//! A tree that is archived: what is looked at in it, and what is known of it already.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_formats::flags;
use rustix::fs::{FileType, Mode, OFlags, openat};

use super::encoded::{Bytes, Encoder};
use super::later::Later;
use super::notices::Notices;
use super::{PackOptions, content};
use crate::archive::encoder_cache::{EncoderCache, Known};
use crate::archive::step::Named;
use crate::tree::exclude::Excludes;
use crate::tree::listing::Listing;
use crate::tree::record::{Found, Recorded, Recorder, Stat};
use crate::{Error, Result};

/// The file that says what is to be left out of a directory and all below it.
pub(super) const EXCLUDE_FILE: &CStr = c".caexclude";

/// Bytes in a path that the system takes, but for a few.
const LONGEST_PATH: usize = 4000;

/// Bytes in such a file that are read at most.
const MOST_PATTERNS: u64 = 1 << 20;

/// A tree that is archived.
pub(super) struct Tree<'a> {
    /// Where it is.
    pub(super) root: PathBuf,
    pub(super) recorder: Recorder,
    /// Whether `.caexclude` files say what is left out.
    pub(super) honours_excludes: bool,
    /// Device and number of what must not be archived: the archive itself.
    skip: Option<(u64, u64)>,
    /// Whether the bytes of files are wanted.
    reads_files: bool,
    pub(super) notices: &'a Notices<'a>,
    features: u64,
    /// What is known of it from an earlier time.
    cache: Option<&'a EncoderCache>,
}

/// A directory that is being walked through.
#[derive(Debug)]
pub(super) struct Directory {
    /// With that of the root in front.
    pub(super) path: Arc<Path>,
    pub(super) file: OwnedFd,
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
    pub(super) fn settled(&self, stat: Stat) -> Option<Stat> {
        Some(stat).filter(|stat| self.cache.is_some_and(|cache| cache.is_settled(stat)))
    }

    /// Encodes a file if it is the same as when it was archived before.
    pub(super) fn encode_known(
        &self,
        directory: &Directory,
        name: &CStr,
        encoder: &mut Encoder<'a>,
    ) -> bool {
        let Some(cache) = self.cache else { return false };
        // It may have to be opened by its path.
        if directory.path.as_os_str().len() + name.count_bytes() > LONGEST_PATH {
            return false;
        }
        let Some(stat) = self.recorder.glance(directory.file.as_fd(), name) else { return false };
        let is_skipped = self.skip == Some((stat.dev, stat.ino));
        let Some(known) = cache.find(&stat).filter(|_| !is_skipped) else { return false };
        let bytes = Bytes::Later(stat.size, Later::new(&directory.path, &stat));
        encoder.add_known(bytes, name.to_bytes(), stat, &known, cache);
        true
    }

    /// Opens a directory that is the same as when it was archived before.
    pub(super) fn known_directory(
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
    pub(super) fn names_in(
        &self,
        directory: &OwnedFd,
        stat: &Stat,
        path: &Path,
    ) -> Result<Arc<Listing>> {
        if stat.is_virtual {
            return Ok(Arc::default());
        }
        let names = Listing::read(directory.as_fd());
        Ok(Arc::new(names.map_err(|e| Error::io("read", path)(e.into()))?))
    }

    pub(super) fn find(
        &self,
        directory: &Directory,
        name: &CStr,
        kind: FileType,
    ) -> Result<Option<Found>> {
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
    pub(super) fn excludes(
        &self,
        directory: &OwnedFd,
        path: &Path,
        above: &Excludes,
    ) -> Result<Excludes> {
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
    pub(super) fn named(
        &self,
        mut found: Found,
        directory: &Directory,
        name: &CStr,
    ) -> Result<Named> {
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
    pub(super) fn below<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

impl Directory {
    pub(super) fn path_of(&self, name: &CStr) -> Arc<Path> {
        self.path.join(OsStr::from_bytes(name.to_bytes())).into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Silent;

    #[test]
    fn a_small_file_that_shrank_is_told() {
        let root = tempfile::tempdir().unwrap();
        let notices = Notices::new(&Silent);
        let features = flags::normalised(flags::ALL);
        let options = PackOptions { features, shift: None, skip: None, workers: 1 };
        let tree = Tree::new(root.path(), &options, &notices, None);
        let file = OwnedFd::from(File::open(root.path()).unwrap());
        tree.recorder.record_root(file.try_clone().unwrap()).unwrap();
        let directory = Directory { path: root.path().into(), file };
        for (name, len, changed) in [(c"a", 100, 0), (c"b", 40, 1), (c"c", 0, 2)] {
            let path = directory.path_of(name);
            fs::write(&path, [7; 100]).unwrap();
            let found = tree.find(&directory, name, FileType::RegularFile).unwrap().unwrap();
            File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
            let named = tree.named(found, &directory, name).unwrap();
            assert_eq!((named.node.size(), notices.counts()), (len, (0, changed)));
        }
    }
}
