//! Two stores that are read as one, and written each by itself.

use std::collections::BTreeSet;

use cairn_formats::{Chunk, ChunkId, CodedChunk, WriteCoding};
use cairn_store::{Facts, MemoryStore, PruneStore, Result, Store, Stored, WriteStore};

/// A store that several may hold: a small one, for the life of the test.
pub fn shared(coding: WriteCoding) -> &'static MemoryStore {
    Box::leak(Box::new(MemoryStore::new(coding)))
}

/// On which side the chunks are.
#[derive(Clone, Copy)]
pub enum Side {
    Near,
    Far,
    Either,
}

/// Is written on one of two sides, or by chance on either, and read through what joins them.
pub struct Spread {
    near: &'static MemoryStore,
    far: &'static MemoryStore,
    both: Box<dyn Store>,
    side: Side,
}

impl Spread {
    /// Joins two stores, of which the near one is asked first.
    pub fn new<S: Store + 'static>(
        side: Side,
        coding: WriteCoding,
        join: impl FnOnce(&'static MemoryStore, &'static MemoryStore) -> S,
    ) -> Self {
        let (near, far) = (shared(coding), shared(coding));
        Self { near, far, both: Box::new(join(near, far)), side }
    }

    fn side(&self, id: &ChunkId) -> &MemoryStore {
        match self.side {
            Side::Near => self.near,
            Side::Far => self.far,
            Side::Either if id.as_bytes()[0] < 128 => self.near,
            Side::Either => self.far,
        }
    }
}

impl Store for Spread {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.both.get(id)
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.both.has(id)
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        self.both.get_many(ids, each);
    }

    fn has_many(&self, ids: &[ChunkId]) -> Vec<Result<bool>> {
        self.both.has_many(ids)
    }

    fn in_flight(&self) -> usize {
        self.both.in_flight()
    }

    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        self.both.another(id, tried)
    }

    fn keeps(&self) -> bool {
        self.both.keeps()
    }

    fn keep(&self, chunk: &Chunk<'_>, coded: &CodedChunk) -> Result<()> {
        self.both.keep(chunk, coded)
    }

    fn name(&self) -> String {
        self.both.name()
    }
}

impl WriteStore for Spread {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        self.side(&chunk.id()).put(chunk)
    }

    fn coding(&self) -> WriteCoding {
        self.far.coding()
    }

    fn sync(&self) -> Result<()> {
        self.far.sync()
    }
}

impl PruneStore for Spread {
    fn list(&self, each: &mut dyn FnMut(Stored, Option<Facts>) -> Result<()>) -> Result<()> {
        let mut ids = BTreeSet::new();
        for store in [self.near, self.far] {
            store.list(&mut |found, _| {
                if let Stored::Chunk(id) = found {
                    ids.insert(id);
                }
                Ok(())
            })?;
        }
        ids.into_iter().try_for_each(|id| each(Stored::Chunk(id), None))
    }

    fn facts(&self, found: &Stored) -> Result<Option<Facts>> {
        Ok(self.near.facts(found)?.or(self.far.facts(found)?))
    }

    fn remove(&self, found: &Stored) -> Result<()> {
        self.near.remove(found)?;
        self.far.remove(found)
    }
}
