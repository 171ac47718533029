//! Chunks into a store that may have some of them already.
//!
//! ```text
//! chunks -(not seen in this job)-> fresh -(has? all at once)-> missing -(encode, put)-> store
//! ```
//! Used by all jobs that cut or read a blob, by many workers at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_formats::coding::{Decoder, Encoder};
use cairn_formats::{Chunk, ChunkId, Digest};
use cairn_store::{Error as StoreError, WriteStore};

use crate::Result;
use crate::flow::lock;
use crate::ids::IdSet;

/// A store, and what went into it.
pub(crate) struct Storing<'a> {
    store: &'a dyn WriteStore,
    level: i32,
    /// With what to check chunks that are there; `None` to trust in them.
    repair: Option<Digest>,
    seen: Mutex<IdSet>,
    stored: AtomicU64,
    stored_bytes: AtomicU64,
}

/// What each worker codes with.
pub(crate) struct Coders {
    encoder: Encoder,
    decoder: Decoder,
}

impl<'a> Storing<'a> {
    /// Into this store, compressed at this zstd level where it wants that.
    pub(crate) fn new(store: &'a dyn WriteStore, level: i32) -> Self {
        Self {
            store,
            level,
            repair: None,
            seen: Mutex::default(),
            stored: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
        }
    }

    /// Also reads what is there already, and writes again what is damaged.
    pub(crate) fn repairing(self, digest: Digest) -> Self {
        Self { repair: Some(digest), ..self }
    }

    /// For one worker.
    pub(crate) fn coders(&self) -> Coders {
        Coders { encoder: Encoder::new(self.level), decoder: Decoder::new() }
    }

    /// Puts those chunks that are not in the store. `go_on` is asked before each: with `false` the
    /// rest is left.
    pub(crate) fn put_missing(
        &self,
        chunks: &[Chunk<'_>],
        coders: &mut Coders,
        go_on: impl Fn() -> Result<bool>,
    ) -> Result<()> {
        let fresh: Vec<&Chunk<'_>> = {
            let mut seen = lock(&self.seen);
            chunks.iter().filter(|chunk| seen.insert(chunk.id())).collect()
        };
        let ids: Vec<ChunkId> = fresh.iter().map(|chunk| chunk.id()).collect();
        let there = self.store.has_many(&ids);
        for (chunk, there) in fresh.into_iter().zip(there) {
            if there? && !self.is_to_repair(chunk, coders)? {
                continue;
            }
            if !go_on()? {
                break;
            }
            self.store.put(&coders.encoder.encode(chunk, self.store.coding()))?;
            self.stored.fetch_add(1, Ordering::Relaxed);
            self.stored_bytes.fetch_add(chunk.data().len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether what the store has under the chunk's name is something else.
    fn is_to_repair(&self, chunk: &Chunk<'_>, coders: &mut Coders) -> Result<bool> {
        let Some(digest) = self.repair else { return Ok(false) };
        match self.store.get(&chunk.id()) {
            Ok(None) | Err(StoreError::Invalid { .. }) => Ok(true),
            Ok(Some(coded)) => {
                let opened = coded.open(digest, &mut coders.decoder, chunk.data().len());
                // Compared, for what comes from a store that is not to be verified opens anyway.
                Ok(!opened.is_ok_and(|opened| opened.data() == chunk.data()))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// How many chunks were put.
    pub(crate) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// The plain bytes in these.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored_bytes.load(Ordering::Relaxed)
    }
}
