//! Two ways to one place: what is written by one is read by the other.

use cairn_formats::{Chunk, ChunkId, CodedChunk, WriteCoding};

use crate::{Facts, PruneStore, Result, Store, Stored, WriteStore};

/// Reads by one store, writes and removes by another.
#[derive(Debug)]
pub struct Pair<R, W> {
    /// What is read.
    pub reader: R,
    /// What is written.
    pub writer: W,
}

impl<R: Store, W: Send + Sync> Store for Pair<R, W> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.reader.get(id)
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        self.reader.get_many(ids, each);
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.reader.has(id)
    }

    fn has_many(&self, ids: &[ChunkId]) -> Vec<Result<bool>> {
        self.reader.has_many(ids)
    }

    fn in_flight(&self) -> usize {
        self.reader.in_flight()
    }

    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        self.reader.another(id, tried)
    }

    fn keeps(&self) -> bool {
        self.reader.keeps()
    }

    fn keep(&self, chunk: &Chunk<'_>, coded: &CodedChunk) -> Result<()> {
        self.reader.keep(chunk, coded)
    }

    fn name(&self) -> String {
        self.reader.name()
    }
}

impl<R: Store, W: WriteStore> WriteStore for Pair<R, W> {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        self.writer.put(chunk)
    }

    fn put_many(&self, chunks: &[CodedChunk]) -> Vec<Result<()>> {
        self.writer.put_many(chunks)
    }

    fn coding(&self) -> WriteCoding {
        self.writer.coding()
    }

    fn sync(&self) -> Result<()> {
        self.writer.sync()
    }
}

impl<R: Store, W: PruneStore> PruneStore for Pair<R, W> {
    fn list(&self, each: &mut dyn FnMut(Stored, Option<Facts>) -> Result<()>) -> Result<()> {
        self.writer.list(each)
    }

    fn facts(&self, found: &Stored) -> Result<Option<Facts>> {
        self.writer.facts(found)
    }

    fn facts_many(&self, found: &[Stored]) -> Vec<Result<Option<Facts>>> {
        self.writer.facts_many(found)
    }

    fn is_dated(&self) -> bool {
        self.writer.is_dated()
    }

    fn remove(&self, found: &Stored) -> Result<()> {
        self.writer.remove(found)
    }

    fn remove_many(&self, found: &[Stored]) -> Vec<Result<()>> {
        self.writer.remove_many(found)
    }
}
