//! A directory of chunk files, laid out as casync and desync do.
//!
//! ```text
//! store/
//!   4e2a/
//!     4e2a07…ab.cacnk         chunk, in one of the forms that `cairn_formats::form` tells of
//!     .tmp-cacnk.2768240641   being written; counts as nothing
//! ```
//! A chunk is written to a temporary file beside its place and renamed, so it is there whole or not
//! at all, and writers need no lock among each other. One store writes, lists and removes chunks in one
//! form, its own. It reads that form's sister, too: plain chunks beside compressed ones.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::BuildHasher;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use cairn_formats::chunker::LARGEST_CHUNK;
use cairn_formats::{ChunkId, CodedChunk, Coding, Error as FormatError, Form, WriteCoding};
use rustix::fs::OFlags;

use super::late::fails_late;
use super::lock::Lock;
use crate::{Error, Result, Store, WriteStore};

/// How the temporary files of a store begin. desync's `prune` clears them by this name.
pub(crate) const TEMPORARY_PREFIX: &str = ".tmp-cacnk.";

/// No stored chunk is longer: compression adds at most a little to what does not compress.
pub(crate) const LARGEST_FILE: u64 = (LARGEST_CHUNK + LARGEST_CHUNK / 8) as u64;

/// How exactly it is known when a chunk of a cache was used: finer would mean a change of its file on
/// every use.
const USED_AGAIN: Duration = Duration::from_secs(60);

/// When written chunks must have reached the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the system likes, as casync and desync do it. A crash of the machine may lose chunks
    /// that an index lists.
    #[default]
    None,
    /// All of them before the index is written: one flush of the file system at the end.
    Batch,
    /// Each before it takes its name.
    Each,
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "none" => Ok(Durability::None),
            "batch" => Ok(Durability::Batch),
            "each" => Ok(Durability::Each),
            _ => Err(format!("invalid durability '{name}' (none, batch or each)")),
        }
    }
}

/// How a local store is kept.
#[derive(Clone, Debug, Default)]
pub struct LocalOptions {
    /// The form in which chunks are kept. Compressed and plain are both read.
    pub form: Form,
    /// When chunks must have reached the disk.
    pub durability: Durability,
    /// Whether the chunks that are read are [trusted](CodedChunk::trusted).
    pub skip_verify: bool,
}

/// Chunks as files in a directory.
#[derive(Debug)]
pub struct LocalStore {
    pub(super) root: PathBuf,
    pub(super) options: LocalOptions,
    /// Whether only chunks in the store's own form count as being here, so that whoever reads only
    /// that form finds all that is put.
    is_written: bool,
    /// Whether reading a chunk makes its file young, so that what is used least can be told.
    is_cache: bool,
    /// Held as long as the store is open for writing.
    _lock: Option<Lock>,
    /// Whether the file system tells of failed writes only when a file is flushed.
    fails_late: bool,
    /// For names of temporary files; starts at random so that writers rarely collide.
    counter: AtomicU32,
}

impl LocalStore {
    /// Opens a directory that must exist.
    pub fn open(root: &Path, options: LocalOptions) -> Result<Self> {
        let metadata = fs::metadata(root).map_err(Error::io("open store", root))?;
        if !metadata.is_dir() {
            let place = root.display().to_string();
            return Err(Error::Unsupported { place, why: "the store is not a directory".into() });
        }
        let counter = AtomicU32::new(RandomState::new().hash_one(std::process::id()) as u32);
        let fails_late = File::open(root).is_ok_and(|directory| fails_late(&directory));
        Ok(Self {
            root: root.to_owned(),
            options,
            is_written: false,
            is_cache: false,
            _lock: None,
            fails_late,
            counter,
        })
    }

    /// Opens a directory, or makes it. Its parent must exist: a missing mount point is not filled.
    pub fn create(root: &Path, options: LocalOptions) -> Result<Self> {
        make_root(root)?;
        let lock = Some(Lock::among_writers(root)?);
        Ok(Self { is_written: true, _lock: lock, ..Self::open(root, options)? })
    }

    /// Opens a directory as a cache, or makes it, like `create`.
    ///
    /// Chunks in every coding count as being here, and the time of a chunk's file tells when it was
    /// used last, to the minute. No lock is held: whoever uses a cache can do without what is removed
    /// from it.
    pub fn cache(root: &Path, options: LocalOptions) -> Result<Self> {
        make_root(root)?;
        Ok(Self { is_cache: true, ..Self::open(root, options)? })
    }

    /// Opens a directory that must exist, and keeps all writers out of it. An error if there is one.
    pub fn alone(root: &Path, options: LocalOptions) -> Result<Self> {
        let store = Self::open(root, options)?;
        Ok(Self { is_written: true, _lock: Some(Lock::alone(root)?), ..store })
    }

    /// The form in which its chunks are kept.
    pub fn form(&self) -> &Form {
        &self.options.form
    }

    /// Where a chunk lies in the store's own form.
    pub(super) fn path(&self, id: &ChunkId) -> PathBuf {
        self.root.join(self.options.form.path(id))
    }

    /// The two places where a chunk may lie, the likelier first, and whether it is compressed there.
    fn paths(&self, id: &ChunkId) -> [(PathBuf, bool); 2] {
        let paths = self.options.form.paths(id);
        paths.map(|(path, compressed)| (self.root.join(path), compressed))
    }

    /// The copies of a chunk that can be had, the likelier first. An error is of one copy.
    fn copies(&self, id: &ChunkId) -> impl Iterator<Item = Result<CodedChunk>> {
        self.paths(id).into_iter().filter_map(|place| self.read_copy(id, place).transpose())
    }

    /// Reads a chunk in one of its places; `None` if there is none.
    fn read_copy(
        &self,
        id: &ChunkId,
        (path, compressed): (PathBuf, bool),
    ) -> Result<Option<CodedChunk>> {
        let coding = if compressed { Coding::Zstd } else { Coding::Plain };
        let touch = self.is_cache;
        let Some(bytes) = read_chunk(id, &path, coding, touch)? else { return Ok(None) };
        let chunk = self.options.form.unseal(id, compressed, bytes);
        let chunk = chunk.map_err(Error::invalid(path.display().to_string()))?;
        Ok(Some(if self.options.skip_verify { chunk.trusted() } else { chunk }))
    }

    /// Creates the temporary file for a chunk in `directory`, which is made if it is missing.
    fn create_temporary(&self, directory: &Path) -> Result<(File, PathBuf)> {
        loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{TEMPORARY_PREFIX}{number}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, path)),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    // One level: the store itself may have been unmounted.
                    match fs::create_dir(directory) {
                        // A link that leads nowhere is there and is not: trying again would never end.
                        Err(e)
                            if e.kind() != ErrorKind::AlreadyExists || directory.is_symlink() =>
                        {
                            return Err(Error::io("create", directory)(e));
                        }
                        _ => {}
                    }
                }
                Err(e) => return Err(Error::io("create", &path)(e)),
            }
        }
    }

    fn write_chunk(&self, mut file: File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)?;
        if self.options.durability == Durability::Each || self.fails_late {
            file.sync_data()?;
        }
        Ok(())
    }
}

impl Store for LocalStore {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.copies(id).next().transpose()
    }

    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        self.copies(id).nth(tried).transpose()
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        let names = if self.is_written { 1 } else { 2 };
        let least = self.options.form.overhead() as u64;
        for (path, _) in self.paths(id).into_iter().take(names) {
            match fs::metadata(&path) {
                // A crash can leave a name without its bytes; such a chunk must be written again.
                Ok(metadata) if metadata.is_file() && metadata.len() > least => return Ok(true),
                Ok(_) => {}
                Err(e) if is_absence(&e) => {}
                Err(e) => return Err(Error::io("look for", &path)(e)),
            }
        }
        Ok(false)
    }

    fn name(&self) -> String {
        self.root.display().to_string()
    }
}

impl WriteStore for LocalStore {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        let path = self.path(&chunk.id());
        let bytes = self.options.form.seal(chunk).map_err(Error::invalid(self.name()))?;
        let directory = path.parent().unwrap_or(&self.root);
        let (file, temporary) = self.create_temporary(directory)?;
        let written =
            self.write_chunk(file, &bytes).map_err(Error::io("write chunk", &path)).and_then(
                |()| fs::rename(&temporary, &path).map_err(Error::io("rename chunk to", &path)),
            );
        if written.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_file(&temporary);
        } else if self.options.durability == Durability::Each {
            sync_directory(directory)?;
        }
        written
    }

    fn coding(&self) -> WriteCoding {
        self.options.form.coding()
    }

    fn sync(&self) -> Result<()> {
        if self.options.durability == Durability::None {
            return Ok(());
        }
        // One flush of the whole file system costs less than one for each of thousands of chunks,
        // and covers the directories made on the way.
        let root = File::open(&self.root).map_err(Error::io("open store", &self.root))?;
        rustix::fs::syncfs(&root).map_err(|e| Error::io("flush store", &self.root)(e.into()))
    }
}

/// Makes the directory of a store if it is missing.
fn make_root(root: &Path) -> Result<()> {
    match fs::create_dir(root) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists && !root.is_dir() => {
            Err(Error::io("create store", root)(e))
        }
        _ => Ok(()),
    }
}

/// Reads a chunk file; `None` if there is none. Id and coding are for messages. With `touch` it counts
/// as used now.
fn read_chunk(id: &ChunkId, path: &Path, coding: Coding, touch: bool) -> Result<Option<Vec<u8>>> {
    // casync's caches mark a missing chunk by a link to /dev/null, and a pipe must not block us.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if is_absence(&e) => return Ok(None),
        Err(e) => return Err(Error::io("open chunk", path)(e)),
    };
    let metadata = file.metadata().map_err(Error::io("read chunk", path))?;
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.len() > LARGEST_FILE {
        let why = format!("a file of {} bytes is too long for a chunk", metadata.len());
        let source = FormatError::BadCoding { id: *id, coding, why };
        return Err(Error::invalid(path.display().to_string())(source));
    }
    if touch {
        make_young(&file, &metadata);
    }
    let mut bytes = vec![0; metadata.len() as usize];
    file.read_exact(&mut bytes).map_err(Error::io("read chunk", path))?;
    Ok(Some(bytes))
}

/// Gives a file that was unused for a while the time of now. A file of somebody else refuses.
fn make_young(file: &File, metadata: &Metadata) {
    let now = SystemTime::now();
    let age = metadata.modified().map(|used| now.duration_since(used).unwrap_or_default());
    if age.is_ok_and(|age| age >= USED_AGAIN) {
        let _ = file.set_modified(now);
    }
}

/// Whether the error says that nothing is there. A store directory may hold a file by a chunk
/// directory's name.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::io("flush", path))
}

#[cfg(test)]
mod tests {
    use cairn_formats::coding::{DEFAULT_LEVEL, Encoder};
    use cairn_formats::{Chunk, Digest};

    use super::*;

    const CODINGS: [WriteCoding; 2] = [WriteCoding::Zstd, WriteCoding::Plain];

    fn coded(data: &[u8], coding: WriteCoding) -> CodedChunk {
        Encoder::new(DEFAULT_LEVEL).encode(&Chunk::name(Digest::default(), data), coding)
    }

    fn store(directory: &tempfile::TempDir, coding: WriteCoding) -> LocalStore {
        let form = Form::default().with_compression(coding == WriteCoding::Zstd);
        let options = LocalOptions { form, durability: Durability::Each, skip_verify: false };
        LocalStore::create(&directory.path().join("store"), options).unwrap()
    }

    #[test]
    fn chunks_lie_where_casync_looks_for_them() {
        let directory = tempfile::tempdir().unwrap();
        for coding in CODINGS {
            let store = store(&directory, coding);
            let chunk = coded(b"hello", coding);
            store.put(&chunk).unwrap();
            let path = store.path(&chunk.id());
            assert_eq!(fs::read(&path).unwrap(), chunk.bytes());
            let siblings = fs::read_dir(path.parent().unwrap()).unwrap();
            for entry in siblings {
                let name = entry.unwrap().file_name();
                assert!(store.options.form.parse(name.to_str().unwrap()).is_some());
            }
        }
    }

    #[test]
    fn a_store_reads_both_codings() {
        let directory = tempfile::tempdir().unwrap();
        let (zstd, plain) =
            (store(&directory, WriteCoding::Zstd), store(&directory, WriteCoding::Plain));
        let chunk = coded(b"plain", WriteCoding::Plain);
        plain.put(&chunk).unwrap();
        assert_eq!(zstd.get(&chunk.id()).unwrap(), Some(chunk.clone()));
        // It would be put again for those who read zstd alone, but a reader has it.
        assert!(!zstd.has(&chunk.id()).unwrap());
        let reader = LocalStore::open(&zstd.root, LocalOptions::default()).unwrap();
        assert!(reader.has(&chunk.id()).unwrap());
        let compressed = coded(b"plain", WriteCoding::Zstd);
        zstd.put(&compressed).unwrap();
        assert_eq!(reader.get(&chunk.id()).unwrap(), Some(compressed));
        assert_eq!(reader.another(&chunk.id(), 1).unwrap(), Some(chunk.clone()));
        assert_eq!(reader.another(&chunk.id(), 2).unwrap(), None);
    }

    #[test]
    fn a_directory_that_leads_nowhere_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory, WriteCoding::Zstd);
        let chunk = coded(b"nowhere", WriteCoding::Zstd);
        let path = store.path(&chunk.id());
        let link = path.parent().unwrap();
        std::os::unix::fs::symlink(directory.path().join("unmounted"), link).unwrap();
        let error = store.put(&chunk).unwrap_err().to_string();
        assert!(error.contains(link.to_str().unwrap()), "{error}");
        fs::create_dir(directory.path().join("unmounted")).unwrap();
        store.put(&chunk).unwrap();
    }

    #[test]
    fn an_empty_file_is_no_chunk() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory, WriteCoding::Zstd);
        let chunk = coded(b"lost in a crash", WriteCoding::Zstd);
        store.put(&chunk).unwrap();
        File::create(store.path(&chunk.id())).unwrap();
        assert!(!store.has(&chunk.id()).unwrap());
        assert!(store.get(&chunk.id()).is_err());
        store.put(&chunk).unwrap();
        assert_eq!(store.get(&chunk.id()).unwrap(), Some(chunk));
    }

    #[test]
    fn who_clears_up_is_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let options = LocalOptions::default;
        let writers = [0, 1].map(|_| LocalStore::create(root, options()).unwrap());
        assert!(matches!(LocalStore::alone(root, options()), Err(Error::Busy { .. })));
        drop(writers);
        let alone = LocalStore::alone(root, options()).unwrap();
        assert!(matches!(LocalStore::alone(root, options()), Err(Error::Busy { .. })));
        // A reader is in nobody's way.
        LocalStore::open(root, options()).unwrap();
        drop(alone);
        LocalStore::create(root, options()).unwrap();
    }

    #[test]
    fn a_mark_for_a_missing_chunk_is_absence() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory, WriteCoding::Zstd);
        let id = coded(b"marked", WriteCoding::Plain).id();
        let path = store.root.join(Form::default().paths(&id)[1].0.clone());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert_eq!(store.get(&id).unwrap(), None);
        assert!(!store.has(&id).unwrap());
    }
}
