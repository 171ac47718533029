//! A tree that holds chunks of another archive: a seed.
//!
//! ```text
//! tree -(packed, cut and hashed, but stored nowhere)-> ids, and where their bytes are in the tree
//! id   -> records and parts of files -> bytes that have it
//! ```
//! What has changed since is not handed out, so that a tree may be a seed while it is being written to. Its files
//! themselves can be asked for as well, by whoever shares their blocks or makes links to them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cairn_formats::{ChunkId, CodedChunk, Coding, Digest, Index, IndexChunk};
use cairn_store::{Result as StoreResult, Store};

use crate::archive::encoder_cache::EncoderCache;
use crate::archive::pack::{FileNumber, Input, Map, PackOptions, map};
use crate::make::MakeOptions;
use crate::tree::found::{Stat, now};
use crate::{Monitor, Result};

/// A tree whose files are a store of chunks.
#[derive(Debug)]
pub struct TreeSeed {
    root: PathBuf,
    digest: Digest,
    map: Map,
    /// Where in the archive the tree would be each chunk begins, and its length in bytes.
    chunks: HashMap<ChunkId, (u64, usize)>,
    /// All of them, by where they begin.
    order: Vec<(u64, ChunkId)>,
    /// The files of each length and time, once they are asked for.
    alike: OnceLock<HashMap<Alike, Vec<FileNumber>>>,
    /// When it began to be read, in nanoseconds since 1970.
    began: i64,
}

/// The length of a file in bytes, and when it was modified, as far as that is recorded to the nanosecond.
type Alike = (u64, Option<i64>);

impl TreeSeed {
    /// Reads a tree as the archive of an index was made: only then are chunks the same.
    pub fn scan(root: &Path, index: &Index, workers: usize, monitor: &dyn Monitor) -> Result<Self> {
        Self::scan_input(Input::Tree(root), root, index, workers, monitor)
    }

    /// As [`TreeSeed::scan`], but reads only what has changed since the last time. `cache` is the directory that keeps
    /// what is known of it, from this time on as well.
    pub fn scan_changes(
        root: &Path,
        index: &Index,
        workers: usize,
        cache: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let (options, make) = options(index, workers);
        let cache = EncoderCache::open(cache, root, options.features, options.shift, &make)?;
        let seed = Self::scan_input(Input::KnownTree(root, &cache), root, index, workers, monitor)?;
        cache.save()?;
        Ok(seed)
    }

    fn scan_input(
        input: Input<'_>,
        root: &Path,
        index: &Index,
        workers: usize,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let began = now();
        let (options, make) = options(index, workers);
        let (mut chunks, mut order) = (HashMap::new(), Vec::new());
        let mut at = 0;
        let map = map(input, &options, &make, monitor, &mut |run| {
            chunks.entry(run.id).or_insert((at, run.len));
            for _ in 0..run.count {
                order.push((at, run.id));
                at += run.len as u64;
            }
        })?;
        let (root, digest) = (root.to_owned(), index.digest());
        Ok(Self { root, digest, map, chunks, order, alike: OnceLock::new(), began })
    }

    /// The directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where in the archive the tree would be a chunk begins first.
    pub(crate) fn place_of(&self, chunk: &IndexChunk) -> Option<u64> {
        self.chunks.get(&chunk.id).filter(|&&(_, len)| len == chunk.len).map(|&(at, _)| at)
    }

    /// Whether a chunk begins at this place in the archive the tree would be.
    pub(crate) fn has_at(&self, at: u64, chunk: &IndexChunk) -> bool {
        let found = self.order.binary_search_by_key(&at, |&(at, _)| at);
        found.is_ok_and(|n| self.order[n].1 == chunk.id) && self.place_of(chunk).is_some()
    }

    /// The records that lie there from this place on.
    pub(crate) fn records(&self, at: u64) -> Option<&[u8]> {
        self.map.records(at)
    }

    /// The path of the file that lies there with all of its so many bytes.
    pub(crate) fn path_at(&self, at: u64, len: u64) -> Option<&[u8]> {
        self.map.path_at(at, len)
    }

    /// Whether an open file is as it was when the tree was read: nobody did anything to it since before.
    pub(crate) fn is_untouched(&self, file: &File) -> bool {
        Stat::of_open(file.as_fd()).is_ok_and(|stat| stat.is_settled(self.began))
    }

    /// The path of the file that has the first of these bytes of the archive the tree would be, where it has them, and
    /// how many of them it has.
    pub(crate) fn part_at(&self, part: Range<u64>) -> Option<(&[u8], u64, u64)> {
        let (file, from, found) = self.map.files_in(part.clone()).next()?;
        let path = self.map.path(file).as_os_str().as_bytes();
        (found.start == part.start).then_some((path, from, found.end - found.start))
    }

    /// How many chunks of an index it has.
    pub fn common(&self, index: &Index) -> usize {
        index.chunks().filter(|chunk| self.chunks.contains_key(&chunk.id)).count()
    }

    /// Where a part of the archive that is in this chunk lies in files: in which, from where, and which bytes of the
    /// archive these are. Nothing of it is verified.
    pub(crate) fn files_of(
        &self,
        chunk: &IndexChunk,
        part: &Range<u64>,
    ) -> impl Iterator<Item = (FileNumber, u64, Range<u64>)> {
        let known = self.chunks.get(&chunk.id).filter(|&&(_, len)| len == chunk.len);
        let found = known.map(|&(at, _)| {
            let here = move |place: u64| at + (place - chunk.start);
            let there = move |place: u64| chunk.start + (place - at);
            let files = self.map.files_in(here(part.start)..here(part.end));
            files.map(move |(file, from, part)| (file, from, there(part.start)..there(part.end)))
        });
        found.into_iter().flatten()
    }

    /// A file, open for reading, and its length; none if it is not what it was any more.
    pub(crate) fn file(&self, file: FileNumber) -> Option<(File, u64)> {
        self.map.file(&self.root, file).ok().flatten()
    }

    /// The path of a file.
    pub(crate) fn path(&self, file: FileNumber) -> PathBuf {
        self.root.join(self.map.path(file))
    }

    /// The files of a length that were modified at this time in nanoseconds since 1970, if that is known; those of this
    /// name come first.
    pub(crate) fn alike(
        &self,
        size: u64,
        modified: Option<i64>,
        name: &[u8],
    ) -> impl Iterator<Item = FileNumber> {
        let alike = self.alike.get_or_init(|| self.all_alike()).get(&(size, modified));
        let files = alike.map_or(&[][..], |files| files);
        let first = files.partition_point(|&file| self.name_of(file) < name);
        files[first..].iter().chain(&files[..first]).copied()
    }

    /// All files by length and time, in the order of their names.
    fn all_alike(&self) -> HashMap<Alike, Vec<FileNumber>> {
        let mut alike: HashMap<Alike, Vec<FileNumber>> = HashMap::new();
        for (file, size, modified) in self.map.files() {
            alike.entry((size, modified)).or_default().push(file);
        }
        for files in alike.values_mut() {
            files.sort_by_key(|&file| self.name_of(file));
        }
        alike
    }

    fn name_of(&self, file: FileNumber) -> &[u8] {
        self.map.path(file).file_name().map_or(&[], OsStr::as_bytes)
    }
}

/// How the archive of an index was made, as far as that is known.
fn options(index: &Index, workers: usize) -> (PackOptions, MakeOptions) {
    let (sizes, digest) = (index.sizes(), index.digest());
    let make = MakeOptions { sizes, digest, workers, ..MakeOptions::default() };
    (PackOptions { features: index.flags(), shift: None, skip: None, workers }, make)
}

impl Store for TreeSeed {
    fn get(&self, id: &ChunkId) -> StoreResult<Option<CodedChunk>> {
        let mut found = Ok(None);
        self.get_many(&[*id], &mut |_, answer| found = answer);
        found
    }

    fn get_many(
        &self,
        ids: &[ChunkId],
        each: &mut dyn FnMut(usize, StoreResult<Option<CodedChunk>>),
    ) {
        let read = |id| {
            let &(at, len) = self.chunks.get(id)?;
            // What cannot be read any more is not there any more.
            self.map.read(&self.root, at, len).unwrap_or_default()
        };
        let found: Vec<Option<Vec<u8>>> = ids.iter().map(read).collect();
        // Others count the copies of a chunk: one that is handed out damaged now must not be absent later. So it is
        // verified here, and need not be anywhere else.
        let bytes: Vec<&[u8]> = found.iter().flatten().map(Vec::as_slice).collect();
        let mut names = self.digest.hash_many(&bytes).into_iter();
        for (place, (id, bytes)) in ids.iter().zip(found).enumerate() {
            let right = bytes.filter(|_| names.next() == Some(*id));
            let coded = right.map(|bytes| CodedChunk::new(*id, Coding::Plain, bytes).trusted());
            each(place, Ok(coded));
        }
    }

    fn has(&self, id: &ChunkId) -> StoreResult<bool> {
        Ok(self.chunks.contains_key(id))
    }

    fn name(&self) -> String {
        self.root.display().to_string()
    }
}
