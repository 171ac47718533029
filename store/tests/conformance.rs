//! Every store does what a store must do.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::cell::Cell;
use std::collections::BTreeSet;

use cairn_formats::seal::{Cipher, Key};
use cairn_formats::{Chunk, ChunkId, CodedChunk, Form, WriteCoding};
use cairn_store::combine::Cache;
use cairn_store::local::LruStore;
use cairn_store::testing::{Pair, conformance};
use cairn_store::{
    Durability, Facts, LocalOptions, LocalStore, MemoryStore, PruneStore, Result, Store, Stored,
    WriteStore,
};

#[test]
fn memory_stores_conform() {
    for coding in [WriteCoding::Zstd, WriteCoding::Plain] {
        conformance::all(|| MemoryStore::new(coding));
    }
}

/// Runs the suite over fresh directories.
fn local_stores_conform(options: &LocalOptions) {
    let directory = tempfile::tempdir().unwrap();
    let number = Cell::new(0);
    conformance::all(|| {
        number.set(number.get() + 1);
        let path = directory.path().join(number.get().to_string());
        LocalStore::create(&path, options.clone()).unwrap()
    });
}

#[test]
fn local_stores_of_any_durability_conform() {
    for compressed in [true, false] {
        for durability in [Durability::None, Durability::Batch, Durability::Each] {
            let form = Form::default().with_compression(compressed);
            local_stores_conform(&LocalOptions { form, durability, ..LocalOptions::default() });
        }
    }
}

#[test]
fn local_stores_of_encrypted_chunks_conform() {
    for compressed in [true, false] {
        for cipher in [Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm] {
            let key = Key::new(cipher, &[7; 32]).unwrap();
            let form = Form::default().with_compression(compressed).with_key(Some(key));
            local_stores_conform(&LocalOptions { form, ..LocalOptions::default() });
        }
    }
}

#[test]
fn local_stores_with_another_suffix_conform() {
    let form = Form::default().with_compressed_suffix(".xz").unwrap();
    local_stores_conform(&LocalOptions { form, ..LocalOptions::default() });
}

#[test]
fn caches_conform() {
    for coding in [WriteCoding::Zstd, WriteCoding::Plain] {
        for side in [Side::Cache, Side::Source, Side::Either] {
            conformance::all(|| Cached::new(side, coding));
        }
    }
}

#[test]
fn a_local_cache_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let number = Cell::new(0);
    conformance::all(|| {
        number.set(number.get() + 1);
        let path = directory.path().join(number.get().to_string());
        let store = LocalStore::cache(&path, LocalOptions::default()).unwrap();
        let list = LocalStore::open(&path, LocalOptions::default()).unwrap();
        Pair { reader: LruStore::new(store, 1 << 30), writer: list }
    });
}

/// Where the chunks are that are read through a cache.
#[derive(Clone, Copy)]
enum Side {
    Cache,
    Source,
    Either,
}

/// Is written on one side of a cache, or by chance on either, and read through it.
struct Cached {
    cache: &'static MemoryStore,
    source: &'static MemoryStore,
    both: Cache<&'static MemoryStore, &'static MemoryStore>,
    side: Side,
}

impl Cached {
    fn new(side: Side, coding: WriteCoding) -> Self {
        // A few small stores for the life of a test.
        let store = || -> &'static MemoryStore { Box::leak(Box::new(MemoryStore::new(coding))) };
        let (cache, source) = (store(), store());
        Self { cache, source, both: Cache::new(cache, source, true), side }
    }

    fn side(&self, id: &ChunkId) -> &MemoryStore {
        match self.side {
            Side::Cache => self.cache,
            Side::Source => self.source,
            Side::Either if id.as_bytes()[0] < 128 => self.cache,
            Side::Either => self.source,
        }
    }
}

impl Store for Cached {
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

    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        self.both.another(id, tried)
    }

    fn keep(&self, chunk: &Chunk<'_>, coded: &CodedChunk) -> Result<()> {
        self.both.keep(chunk, coded)
    }

    fn name(&self) -> String {
        self.both.name()
    }
}

impl WriteStore for Cached {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        self.side(&chunk.id()).put(chunk)
    }

    fn coding(&self) -> WriteCoding {
        self.source.coding()
    }

    fn sync(&self) -> Result<()> {
        self.source.sync()
    }
}

impl PruneStore for Cached {
    fn list(&self, each: &mut dyn FnMut(Stored, Option<Facts>) -> Result<()>) -> Result<()> {
        let mut ids = BTreeSet::new();
        for store in [self.cache, self.source] {
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
        Ok(self.cache.facts(found)?.or(self.source.facts(found)?))
    }

    fn remove(&self, found: &Stored) -> Result<()> {
        self.cache.remove(found)?;
        self.source.remove(found)
    }
}
