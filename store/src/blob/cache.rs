//! The chunks that were used last, of one blob or of several, and who fetches what.
//!
//! Who reads everything once must not drive out what others come back for: half of the room is for chunks that were
//! used again, and what is read in order does not count as that.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use cairn_formats::ChunkId;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// A chunk as an index has it: an id with a length that is not its own leads to no bytes.
pub(super) type Key = (ChunkId, usize);

/// The verified bytes of a chunk, where they were decoded to.
pub(super) type Plain = Arc<Box<[u8]>>;

/// Room of each part of a cache that has a lock of its own, at least: many chunks of the greatest size.
const PART: usize = 32 << 20;

/// A chunk has about so many bytes: only a guess, by which tables are made ready.
const USUAL_CHUNK: usize = 64 << 10;

/// What is kept of a chunk beside its bytes, in bytes.
const OVERHEAD: u64 = 128;

/// Plain bytes of chunks, up to a limit.
pub struct ChunkCache {
    chunks: Cache<Key, Plain, Weight, DefaultHashBuilder, DefaultLifecycle<Key, Plain>>,
    /// Chunks that somebody is fetching.
    coming: Mutex<HashSet<Key>>,
    /// Told when chunks that were on their way are not any more.
    arrived: Condvar,
}

impl ChunkCache {
    /// A cache for about so many bytes.
    pub fn new(limit: usize) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity((limit / USUAL_CHUNK).max(16))
            .weight_capacity(limit as u64)
            .shards((limit / PART).clamp(1, 16))
            .hot_allocation(0.5)
            .build()
            .expect("all that it asks for is given");
        let hasher = DefaultHashBuilder::default();
        Self {
            chunks: Cache::with_options(options, Weight, hasher, DefaultLifecycle::default()),
            coming: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    /// About how many bytes it holds at most.
    pub fn limit(&self) -> u64 {
        self.chunks.capacity()
    }

    /// The bytes of a chunk, if they are here; it counts as used if so said.
    pub(super) fn get(&self, key: &Key, is_use: bool) -> Option<Plain> {
        if is_use { self.chunks.get(key) } else { self.chunks.peek(key) }
    }

    /// Keeps a chunk, and lets go of others for it.
    pub(super) fn put(&self, key: Key, plain: Plain) {
        self.chunks.insert(key, plain);
    }

    /// Lets go of a chunk.
    pub(super) fn remove(&self, key: &Key) {
        self.chunks.remove(key);
    }

    /// Which chunks others are fetching.
    pub(super) fn coming(&self) -> MutexGuard<'_, HashSet<Key>> {
        // Also after a panic elsewhere: the set is whole between any two of its calls.
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something that was coming is not any more.
    pub(super) fn wait<'a>(
        &self,
        coming: MutexGuard<'a, HashSet<Key>>,
    ) -> MutexGuard<'a, HashSet<Key>> {
        self.arrived.wait(coming).unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all who wait that these are not coming any more.
    pub(super) fn end(&self, keys: impl Iterator<Item = Key>) {
        let mut coming = self.coming();
        for key in keys {
            coming.remove(&key);
        }
        drop(coming);
        self.arrived.notify_all();
    }
}

impl std::fmt::Debug for ChunkCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkCache").field("limit", &self.limit()).finish_non_exhaustive()
    }
}

/// Weighs chunks by the memory they take.
#[derive(Clone)]
struct Weight;

impl Weighter<Key, Plain> for Weight {
    fn weight(&self, _key: &Key, plain: &Plain) -> u64 {
        plain.len() as u64 + OVERHEAD
    }
}
