//! The bytes of a blob, from any place in it: an index, a store, and what was used last.
//!
//! ```text
//! read_at -> index -> chunks -> in the cache? on their way? zeros? -> the rest in one batch from the store
//! ```
//! Every byte that is given out has been verified. May be used from many threads at once: a chunk that two
//! of them want is fetched once, and nobody waits for what another one fetches for itself. What failed is
//! not remembered: who comes next tries again.

mod cache;

use std::collections::HashMap;
use std::io;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cairn_formats::catar::ReadAt;
use cairn_formats::{Chunk, ChunkId, Index, IndexChunk};

pub use self::cache::ChunkCache;
use self::cache::{Key, Plain};
use crate::{Fetcher, Result, Store};

/// Plain bytes that a blob keeps unless told otherwise.
pub const DEFAULT_CACHE: usize = 16 << 20;

/// Plain bytes fetched at once: enough chunks to fill the lanes of the hash kernel and a round trip.
const BATCH: u64 = 2 << 20;

/// Random access to the blob of an index.
pub struct Blob {
    index: Arc<Index>,
    store: Arc<dyn Store>,
    /// What a chunk of zeros is called, as soon as somebody needs to know.
    zeros: OnceLock<ChunkId>,
    cache: Arc<ChunkCache>,
    /// Those that nobody uses at the moment.
    idle: Mutex<Vec<Fetcher>>,
}

/// Verified bytes.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// A part of what others have as well.
    Shared(Arc<Box<[u8]>>, Range<usize>),
    /// Put together.
    Own(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Shared(bytes, range) => &bytes[range.clone()],
            Bytes::Own(bytes) => bytes,
        }
    }
}

impl Blob {
    /// The blob of an index whose chunks are in a store. What is fetched stays in a cache as long as there is room.
    pub fn new(index: Arc<Index>, store: Arc<dyn Store>, cache: Arc<ChunkCache>) -> Self {
        Self { index, store, zeros: OnceLock::new(), cache, idle: Mutex::default() }
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The store its chunks are in.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// How many bytes the blob has.
    pub fn size(&self) -> u64 {
        self.index.blob_size()
    }

    /// Fills `buffer` with what is at byte `at`, and returns how much that was: less than there is room for
    /// only at the end of the blob.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<usize> {
        let wanted = self.inside(at..at.saturating_add(buffer.len() as u64));
        let mut rest = buffer;
        self.each_part(&wanted, |part, len| {
            let (here, behind) = std::mem::take(&mut rest).split_at_mut(len);
            rest = behind;
            match part {
                Some(part) => here.copy_from_slice(part),
                None => here.fill(0),
            }
        })?;
        Ok((wanted.end - wanted.start) as usize)
    }

    /// Calls `each` with what each chunk has of a range inside of the blob, and how long that is; with nothing where it
    /// is zeros.
    fn each_part(
        &self,
        wanted: &Range<u64>,
        mut each: impl FnMut(Option<&[u8]>, usize),
    ) -> Result<()> {
        for batch in self.index.batches(self.positions(wanted), BATCH) {
            let chunks = self.bring(batch.clone(), true)?;
            for chunk in batch.map(|position| self.index.chunk(position)) {
                let part = part_of(&chunk, wanted);
                let plain = chunks.get(&(chunk.id, chunk.len));
                each(plain.map(|plain| &plain[part.clone()]), part.len());
            }
        }
        Ok(())
    }

    /// The bytes of a range; what of it is behind the end of the blob is left out.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let wanted = self.inside(range);
        let positions = self.positions(&wanted);
        if positions.len() == 1 {
            let chunk = self.index.chunk(positions.start);
            if let Some(plain) = self.bring(positions, true)?.remove(&(chunk.id, chunk.len)) {
                return Ok(Bytes::Shared(plain, part_of(&chunk, &wanted)));
            }
        }
        let mut bytes = Vec::with_capacity((wanted.end - wanted.start) as usize);
        self.each_part(&wanted, |part, len| match part {
            Some(part) => bytes.extend_from_slice(part),
            None => bytes.resize(bytes.len() + len, 0),
        })?;
        Ok(Bytes::Own(bytes))
    }

    /// The bytes of a range if all of them are in the cache, as [`Blob::read`] would return them. Chunks that are used
    /// again stay longer there than others: whether this counts as a use is for the caller to say.
    pub fn at_hand(&self, range: Range<u64>, is_use: bool) -> Option<Bytes> {
        let wanted = self.inside(range);
        let mut bytes = Vec::new();
        for position in self.positions(&wanted) {
            let chunk = self.index.chunk(position);
            let part = part_of(&chunk, &wanted);
            if self.is_zeros(&chunk) {
                bytes.resize(bytes.len() + part.len(), 0);
                continue;
            }
            let plain = self.cache.get(&(chunk.id, chunk.len), is_use)?;
            if part.len() as u64 == wanted.end - wanted.start {
                return Some(Bytes::Shared(plain, part));
            }
            bytes.reserve_exact((wanted.end - wanted.start) as usize - bytes.len());
            bytes.extend_from_slice(&plain[part]);
        }
        Some(Bytes::Own(bytes))
    }

    /// Has the chunks of a range in the cache, as long as there is room, so that reading it soon need not
    /// wait. What is there already is not fetched.
    pub fn fetch_ahead(&self, range: Range<u64>) -> Result<()> {
        for batch in self.index.batches(self.positions(&self.inside(range)), BATCH) {
            self.bring(batch, false)?;
        }
        Ok(())
    }

    /// Lets go of the chunks that end in a range: nobody is likely to come back for them, and new ones get their memory.
    pub fn let_go(&self, range: Range<u64>) {
        let range = self.inside(range);
        for position in self.positions(&range) {
            let chunk = self.index.chunk(position);
            if chunk.end() <= range.end {
                self.cache.remove(&(chunk.id, chunk.len));
            }
        }
    }

    /// What of a range there is.
    fn inside(&self, range: Range<u64>) -> Range<u64> {
        let end = range.end.min(self.size());
        range.start.min(end)..end
    }

    /// The positions of the chunks that a range of bytes touches.
    fn positions(&self, range: &Range<u64>) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        self.index.position_at(range.start)..self.index.position_at(range.end - 1) + 1
    }

    /// The bytes of these chunks, but those of zeros. That counts as a use, or not.
    fn bring(&self, positions: Range<usize>, is_use: bool) -> Result<HashMap<Key, Plain>> {
        let mut here = HashMap::new();
        let mut missing: HashMap<Key, IndexChunk> = positions
            .map(|position| self.index.chunk(position))
            .filter(|chunk| !self.is_zeros(chunk))
            .map(|chunk| ((chunk.id, chunk.len), chunk))
            .collect();
        self.take(&mut missing, &mut here, is_use);
        while !missing.is_empty() {
            let mut coming = self.cache.coming();
            // Again under the lock: what came meanwhile was in the cache before it was not coming any more.
            self.take(&mut missing, &mut here, is_use);
            let news = missing.iter().filter(|(key, _)| coming.insert(**key));
            let mut ours: Vec<IndexChunk> = news.map(|(_, chunk)| *chunk).collect();
            if ours.is_empty() {
                if !missing.is_empty() {
                    drop(self.cache.wait(coming));
                }
                continue;
            }
            drop(coming);
            // In the order of the blob, which is that of the store's answers at best.
            ours.sort_unstable_by_key(|chunk| chunk.start);
            let claim = Claim { cache: &self.cache, chunks: &ours };
            for (key, plain) in self.fetch(&ours)? {
                self.cache.put(key, Arc::clone(&plain));
                missing.remove(&key);
                here.insert(key, plain);
            }
            // Given up only now, or another one would fetch it again in between.
            drop(claim);
        }
        Ok(here)
    }

    /// Takes what is in the cache of what is missing.
    fn take(
        &self,
        missing: &mut HashMap<Key, IndexChunk>,
        here: &mut HashMap<Key, Plain>,
        is_use: bool,
    ) {
        missing.retain(|key, _| match self.cache.get(key, is_use) {
            Some(plain) => here.insert(*key, plain).is_some(),
            None => true,
        });
    }

    /// Fetches chunks, each into memory of its own, where it stays.
    fn fetch(&self, chunks: &[IndexChunk]) -> Result<Vec<(Key, Plain)>> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut fetcher = taken.unwrap_or_default();
        let mut plain: Vec<Box<[u8]>> =
            chunks.iter().map(|chunk| vec![0; chunk.len].into_boxed_slice()).collect();
        let mut places: Vec<&mut [u8]> = plain.iter_mut().map(|plain| &mut **plain).collect();
        let (store, digest) = (self.store.as_ref(), self.index.digest());
        let fetched = fetcher.fetch_apart(store, digest, chunks, &mut places, |_| ());
        idle().push(fetcher);
        fetched?;
        let keys = chunks.iter().map(|chunk| (chunk.id, chunk.len));
        Ok(keys.zip(plain.into_iter().map(Arc::new)).collect())
    }

    /// Whether it is the chunk that stands for zeros of the greatest length. It is not fetched.
    fn is_zeros(&self, chunk: &IndexChunk) -> bool {
        let max = self.index.sizes().max();
        let name = || Chunk::zeros(self.index.digest(), max).id();
        chunk.len == max && chunk.id == *self.zeros.get_or_init(name)
    }
}

/// The bytes of a chunk that are in a range which touches it.
fn part_of(chunk: &IndexChunk, range: &Range<u64>) -> Range<usize> {
    let from = range.start.max(chunk.start) - chunk.start;
    let to = range.end.min(chunk.end()) - chunk.start;
    from as usize..to as usize
}

/// Chunks that one thread fetches for all. However that ends, the others are told.
struct Claim<'a> {
    cache: &'a ChunkCache,
    chunks: &'a [IndexChunk],
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.cache.end(self.chunks.iter().map(|chunk| (chunk.id, chunk.len)));
    }
}

impl ReadAt for Blob {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Blob::read_at(self, at, buffer).map_err(io::Error::other)
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob").field("size", &self.size()).finish_non_exhaustive()
    }
}
