//! The chunks that were used last, and who fetches what.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use cairn_formats::ChunkId;

/// A chunk as an index has it: an id with a length that is not its own leads to no bytes.
pub(super) type Key = (ChunkId, usize);

/// The verified bytes of a chunk.
pub(super) type Plain = Arc<[u8]>;

/// Chunks up to so many bytes, of which those go first that were unused for longest.
pub(super) struct Cache {
    limit: usize,
    held: usize,
    chunks: HashMap<Key, (Plain, u64)>,
    /// The keys by when they were last used.
    by_use: BTreeMap<u64, Key>,
    /// Counts uses.
    now: u64,
    /// Chunks that somebody is fetching.
    coming: HashSet<Key>,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            held: 0,
            chunks: HashMap::new(),
            by_use: BTreeMap::new(),
            now: 0,
            coming: HashSet::new(),
        }
    }

    /// The bytes of a chunk, if they are here; it counts as used now.
    pub(super) fn get(&mut self, key: &Key) -> Option<Plain> {
        let (plain, used) = self.chunks.get_mut(key)?;
        self.by_use.remove(used);
        self.now += 1;
        *used = self.now;
        self.by_use.insert(self.now, *key);
        Some(Arc::clone(plain))
    }

    /// Keeps a chunk that is not here, and lets go of others for it.
    pub(super) fn put(&mut self, key: Key, plain: Plain) {
        self.now += 1;
        self.held += plain.len();
        self.by_use.insert(self.now, key);
        self.chunks.insert(key, (plain, self.now));
        while self.held > self.limit && self.chunks.len() > 1 {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            if let Some((plain, _)) = self.chunks.remove(&oldest) {
                self.held -= plain.len();
            }
        }
    }

    /// Whether the caller is to fetch the chunk: nobody else is at it.
    pub(super) fn claim(&mut self, key: Key) -> bool {
        self.coming.insert(key)
    }

    pub(super) fn unclaim(&mut self, key: &Key) {
        self.coming.remove(key);
    }
}
