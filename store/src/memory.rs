//! A store in memory, for tests and for what is thrown away.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use cairn_formats::{ChunkId, CodedChunk, WriteCoding};

use crate::{Facts, PruneStore, Result, Store, Stored, WriteStore};

/// Chunks in memory.
#[derive(Debug)]
pub struct MemoryStore {
    coding: WriteCoding,
    chunks: Mutex<HashMap<ChunkId, CodedChunk>>,
    /// No chunk is older.
    began: SystemTime,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(WriteCoding::default())
    }
}

impl MemoryStore {
    /// An empty store that wants its chunks in the given coding.
    pub fn new(coding: WriteCoding) -> Self {
        Self { coding, chunks: Mutex::default(), began: SystemTime::now() }
    }

    /// How many chunks it holds.
    pub fn len(&self) -> usize {
        self.chunks().len()
    }

    /// Whether it holds no chunk.
    pub fn is_empty(&self) -> bool {
        self.chunks().is_empty()
    }

    /// The id of what was found, if it is still here.
    fn found(&self, found: &Stored) -> Option<ChunkId> {
        match found {
            Stored::Chunk(id) => self.chunks().contains_key(id).then_some(*id),
            Stored::Leftover(_) => None,
        }
    }

    /// No operation leaves the map half changed, so a panic elsewhere does not matter.
    fn chunks(&self) -> MutexGuard<'_, HashMap<ChunkId, CodedChunk>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        Ok(self.chunks().get(id).cloned())
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        Ok(self.chunks().contains_key(id))
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

impl WriteStore for MemoryStore {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        self.chunks().insert(chunk.id(), chunk.clone());
        Ok(())
    }

    fn coding(&self) -> WriteCoding {
        self.coding
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

impl PruneStore for MemoryStore {
    fn list(&self, each: &mut dyn FnMut(Stored, Option<Facts>) -> Result<()>) -> Result<()> {
        let ids: Vec<ChunkId> = self.chunks().keys().copied().collect();
        ids.into_iter().try_for_each(|id| each(Stored::Chunk(id), None))
    }

    fn facts(&self, found: &Stored) -> Result<Option<Facts>> {
        let chunk = self.found(found).and_then(|id| self.chunks().get(&id).cloned());
        Ok(chunk.map(|chunk| Facts { modified: self.began, len: chunk.bytes().len() as u64 }))
    }

    fn remove(&self, found: &Stored) -> Result<()> {
        if let Some(id) = self.found(found) {
            self.chunks().remove(&id);
        }
        Ok(())
    }
}
