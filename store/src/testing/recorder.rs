//! A store that writes down what it is asked.

use std::sync::{Mutex, PoisonError};

use cairn_formats::{ChunkId, CodedChunk, WriteCoding};

use crate::{Result, Store, WriteStore};

/// One call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `get`, and so `fetch`.
    Get(ChunkId),
    /// `has`, or one question of `has_many`.
    Has(ChunkId),
    /// `put`.
    Put(ChunkId),
    /// `sync`.
    Sync,
}

/// Passes everything on and keeps a list of the calls.
#[derive(Debug, Default)]
pub struct Recorder<S> {
    store: S,
    calls: Mutex<Vec<Call>>,
}

impl<S> Recorder<S> {
    /// A recorder in front of a store.
    pub fn new(store: S) -> Self {
        Self { store, calls: Mutex::default() }
    }

    /// The store behind it.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The calls so far, and forgets them.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, call: Call) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

impl<S: Store> Store for Recorder<S> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.note(Call::Get(*id));
        self.store.get(id)
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.note(Call::Has(*id));
        self.store.has(id)
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        ids.iter().for_each(|id| self.note(Call::Get(*id)));
        self.store.get_many(ids, each);
    }

    fn has_many(&self, ids: &[ChunkId]) -> Vec<Result<bool>> {
        ids.iter().for_each(|id| self.note(Call::Has(*id)));
        self.store.has_many(ids)
    }

    fn name(&self) -> String {
        self.store.name()
    }
}

impl<S: WriteStore> WriteStore for Recorder<S> {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        self.note(Call::Put(chunk.id()));
        self.store.put(chunk)
    }

    fn put_many(&self, chunks: &[CodedChunk]) -> Vec<Result<()>> {
        chunks.iter().for_each(|chunk| self.note(Call::Put(chunk.id())));
        self.store.put_many(chunks)
    }

    fn coding(&self) -> WriteCoding {
        self.store.coding()
    }

    fn sync(&self) -> Result<()> {
        self.note(Call::Sync);
        self.store.sync()
    }
}
