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
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use cairn_formats::catar::ReadAt;
use cairn_formats::{ChunkId, Index, IndexChunk};

use self::cache::{Cache, Key, Plain};
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
    cache: Mutex<Cache>,
    /// Told when chunks that were on their way are not any more.
    arrived: Condvar,
    /// Those that nobody uses at the moment.
    fetchers: Mutex<Vec<Fetcher>>,
}

impl Blob {
    /// The blob of an index whose chunks are in a store. About so many plain bytes are kept, but always
    /// the last chunk.
    pub fn new(index: Arc<Index>, store: Arc<dyn Store>, cache_bytes: usize) -> Self {
        Self {
            index,
            store,
            zeros: OnceLock::new(),
            cache: Mutex::new(Cache::new(cache_bytes)),
            arrived: Condvar::new(),
            fetchers: Mutex::default(),
        }
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
        let wanted = at.min(self.size())..at.saturating_add(buffer.len() as u64).min(self.size());
        for batch in self.index.batches(self.positions(&wanted), BATCH) {
            let chunks = self.bring(batch.clone())?;
            for chunk in batch.map(|position| self.index.chunk(position)) {
                let from = wanted.start.max(chunk.start);
                let to = wanted.end.min(chunk.end());
                let here = &mut buffer[(from - at) as usize..(to - at) as usize];
                match chunks.get(&(chunk.id, chunk.len)) {
                    Some(plain) => {
                        let start = (from - chunk.start) as usize;
                        here.copy_from_slice(&plain[start..start + here.len()]);
                    }
                    None => here.fill(0),
                }
            }
        }
        Ok((wanted.end - wanted.start) as usize)
    }

    /// Has the chunks of a range in the cache, as long as there is room, so that reading it soon need not
    /// wait. What is there already is not fetched.
    pub fn fetch_ahead(&self, range: Range<u64>) -> Result<()> {
        let range = range.start..range.end.min(self.size());
        for batch in self.index.batches(self.positions(&range), BATCH) {
            self.bring(batch)?;
        }
        Ok(())
    }

    /// The positions of the chunks that a range of bytes touches.
    fn positions(&self, range: &Range<u64>) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        self.index.position_at(range.start)..self.index.position_at(range.end - 1) + 1
    }

    /// The bytes of these chunks, but those of zeros.
    fn bring(&self, positions: Range<usize>) -> Result<HashMap<Key, Plain>> {
        let mut here = HashMap::new();
        let mut missing: HashMap<Key, IndexChunk> = positions
            .map(|position| self.index.chunk(position))
            .filter(|chunk| !self.is_zeros(chunk))
            .map(|chunk| ((chunk.id, chunk.len), chunk))
            .collect();
        let mut cache = self.lock();
        loop {
            missing.retain(|key, _| match cache.get(key) {
                Some(plain) => here.insert(*key, plain).is_some(),
                None => true,
            });
            if missing.is_empty() {
                return Ok(here);
            }
            let mut ours: Vec<IndexChunk> = Vec::new();
            for (key, chunk) in &missing {
                if cache.claim(*key) {
                    ours.push(*chunk);
                }
            }
            if ours.is_empty() {
                cache = self.arrived.wait(cache).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(cache);
            // In the order of the blob, which is that of the store's answers at best.
            ours.sort_unstable_by_key(|chunk| chunk.start);
            let claim = Claim { blob: self, chunks: ours };
            let fetched = self.fetch(&claim.chunks)?;
            cache = self.lock();
            for (key, plain) in fetched {
                cache.put(key, Arc::clone(&plain));
                missing.remove(&key);
                here.insert(key, plain);
            }
            // Given up only now, or another one would fetch it again in between.
            cache = claim.end(cache);
        }
    }

    fn fetch(&self, chunks: &[IndexChunk]) -> Result<Vec<(Key, Plain)>> {
        let taken = self.fetchers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut fetcher = taken.unwrap_or_default();
        let mut plain = vec![0; chunks.iter().map(|chunk| chunk.len).sum()];
        let keep = |good: &[cairn_formats::Chunk<'_>]| {
            let plain = good.iter().map(|chunk| Plain::from(chunk.data()));
            chunks.iter().map(|chunk| (chunk.id, chunk.len)).zip(plain).collect()
        };
        let store = self.store.as_ref();
        let fetched = fetcher.fetch(store, self.index.digest(), chunks, &mut plain, keep);
        self.fetchers.lock().unwrap_or_else(PoisonError::into_inner).push(fetcher);
        fetched
    }

    /// Whether it is the chunk that stands for zeros of the greatest length. It is not fetched.
    fn is_zeros(&self, chunk: &IndexChunk) -> bool {
        let max = self.index.sizes().max();
        let name = || self.index.digest().hash(&vec![0; max]);
        chunk.len == max && chunk.id == *self.zeros.get_or_init(name)
    }

    /// Also after a panic elsewhere: the cache is whole between any two of its calls.
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Chunks that one thread fetches for all. However that ends, the others are told.
struct Claim<'a> {
    blob: &'a Blob,
    chunks: Vec<IndexChunk>,
}

impl Claim<'_> {
    /// Gives it up under a lock that is held already.
    fn end<'c>(mut self, mut cache: MutexGuard<'c, Cache>) -> MutexGuard<'c, Cache> {
        self.give_up(&mut cache);
        cache
    }

    fn give_up(&mut self, cache: &mut Cache) {
        for chunk in self.chunks.drain(..) {
            cache.unclaim(&(chunk.id, chunk.len));
        }
        self.blob.arrived.notify_all();
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.chunks.is_empty() {
            let blob = self.blob;
            self.give_up(&mut blob.lock());
        }
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
