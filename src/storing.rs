//! Chunks into a store that may have some of them already.
//!
//! ```text
//! chunks -(not seen in this job)-> fresh -(has? all at once)-> missing -(encode, put)-> store
//! ```
//! A store far away gets many at once, so that they travel beside each other.
//!
//! Used by all jobs that cut or read a blob, by many workers at once.

use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_formats::coding::{Decoder, Encoder};
use cairn_formats::{Chunk, ChunkId, CodedChunk, Digest};
use cairn_store::WriteStore;

use crate::Result;
use crate::flow::lock;
use crate::ids::IdSet;

/// Plain bytes in the chunks that one worker puts at once into a store far away.
const BATCH: usize = 8 << 20;

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

/// Chunks to be put, and the plain bytes in them.
#[derive(Default)]
struct Batch {
    coded: Vec<CodedChunk>,
    bytes: usize,
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
        let good = self.good(&fresh, coders)?;
        // Where nobody waits for an answer each is put while it is in the processor's cache.
        let most = if self.store.in_flight() == 0 { 0 } else { BATCH };
        let mut batch = Batch::default();
        for (chunk, _) in fresh.into_iter().zip(good).filter(|(_, is_good)| !is_good) {
            if !go_on()? {
                return Ok(());
            }
            batch.coded.push(coders.encoder.encode(chunk, self.store.coding()));
            batch.bytes += chunk.data().len();
            if batch.bytes >= most {
                self.put(mem::take(&mut batch))?;
            }
        }
        self.put(batch)
    }

    /// Whether each of these is in the store, or was put there in this job. If what is there is to be looked at, the
    /// answer is no, as that takes its bytes.
    pub(crate) fn have(&self, ids: &[ChunkId]) -> Result<Vec<bool>> {
        if self.repair.is_some() {
            return Ok(vec![false; ids.len()]);
        }
        let mut have: Vec<bool> = {
            let seen = lock(&self.seen);
            ids.iter().map(|id| seen.contains(id)).collect()
        };
        let unseen: Vec<usize> = (0..ids.len()).filter(|&at| !have[at]).collect();
        let asked: Vec<ChunkId> = unseen.iter().map(|&at| ids[at]).collect();
        for (at, there) in unseen.into_iter().zip(self.store.has_many(&asked)) {
            have[at] = there?;
        }
        Ok(have)
    }

    fn put(&self, batch: Batch) -> Result<()> {
        self.store.put_many(&batch.coded).into_iter().collect::<cairn_store::Result<()>>()?;
        self.stored.fetch_add(batch.coded.len() as u64, Ordering::Relaxed);
        self.stored_bytes.fetch_add(batch.bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the store has each of the chunks, and what it has is that chunk if this is to be
    /// looked at.
    fn good(&self, chunks: &[&Chunk<'_>], coders: &mut Coders) -> Result<Vec<bool>> {
        let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id()).collect();
        let there = self.store.has_many(&ids).into_iter();
        let mut good = there.collect::<cairn_store::Result<Vec<bool>>>()?;
        let Some(digest) = self.repair else { return Ok(good) };
        let at: Vec<usize> = (0..chunks.len()).filter(|&at| good[at]).collect();
        let ids: Vec<ChunkId> = at.iter().map(|&at| ids[at]).collect();
        let mut failure = None;
        self.store.get_many(&ids, &mut |place, answer| {
            let chunk = chunks[at[place]];
            good[at[place]] = match answer {
                Ok(None) => false,
                Ok(Some(coded)) => {
                    let opened = coded.open(digest, &mut coders.decoder, chunk.data().len());
                    // Compared, for what comes from a store that is not to be verified opens anyway.
                    opened.is_ok_and(|opened| opened.data() == chunk.data())
                }
                Err(e) if e.is_damage() => false,
                Err(e) => {
                    failure.get_or_insert(e);
                    true
                }
            };
        });
        failure.map_or(Ok(good), |e| Err(e.into()))
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
