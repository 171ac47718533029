//! Is every chunk in a store what its name says?
//!
//! ```text
//! store -(list)-> ids -(get, decode one behind the other, xN)-> plain bytes -(hash at once)-> bad ones
//! ```
//! No index tells how long the chunks are, so a worker's buffer grows with what it finds.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::{fmt, mem};

use cairn_formats::chunker::LARGEST_CHUNK;
use cairn_formats::coding::Decoder;
use cairn_formats::{Chunk, ChunkId, Digest, Error as FormatError};
use cairn_store::{Error as StoreError, PruneStore, Stored};

use crate::flow::{Stop, crew, lock};
use crate::{Monitor, Result, Unit};

/// Plain bytes hashed at once by one worker: several chunks for each lane of the hash kernel. Usually
/// all that were taken at once fit: a small rest would leave lanes empty.
const BATCH: usize = 4 << 20;

/// Ids a worker takes at once. They lie in the same directories or in neighbouring ones.
const IDS_AT_ONCE: usize = 32;

/// How a store is verified.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// What ids are made with.
    pub digest: Digest,
    /// Whether bad chunks are removed. Then nobody must be writing to the store.
    pub repair: bool,
    /// How many threads work, at least 1.
    pub workers: usize,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyStats {
    /// Chunks looked at.
    pub chunks: u64,
    /// Plain bytes in the good ones.
    pub bytes: u64,
    /// Chunks that are bad, the removed ones among them.
    pub bad: u64,
    /// Bad chunks that were removed.
    pub removed: u64,
}

/// A chunk that is not what its name says. Displayed in desync's words.
#[derive(Debug)]
pub struct BadChunk {
    /// Its name.
    pub id: ChunkId,
    /// What is wrong with it.
    pub error: StoreError,
    /// The digest that it is named by, if that is merely another one. Such a chunk is never removed.
    pub named_by: Option<Digest>,
    /// Whether it is gone now.
    pub removed: bool,
}

impl fmt::Display for BadChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, error, named_by, removed } = self;
        match error {
            StoreError::Invalid { source: FormatError::WrongId { actual, .. }, .. } => {
                write!(f, "chunk id {id} does not match its hash {actual}")?;
            }
            StoreError::Invalid { source: FormatError::WrongSize { expected, .. }, .. } => {
                write!(f, "invalid chunk {id}: it has more than {expected} bytes")?;
            }
            StoreError::Invalid { source, .. } => {
                let cause = source.to_string();
                let name = format!("chunk {id}: ");
                write!(f, "invalid {name}{}", cause.strip_prefix(&name).unwrap_or(&cause))?;
            }
            other => write!(f, "invalid chunk {id}: {other}")?,
        }
        if let Some(digest) = named_by {
            write!(f, ": it is named by its {digest}, see --digest")?;
        }
        f.write_str(if *removed { ": removed" } else { "" })
    }
}

/// Reads and hashes all chunks of a store in its own form. `found` is told of each bad one.
///
/// A chunk that vanishes meanwhile is no error. One that cannot be read counts as bad, but is not
/// removed: that says more about the disk or the permissions than about the chunk. Nor is one that
/// another digest names: it is good, and a forgotten flag must not empty a store.
pub fn verify(
    store: &dyn PruneStore,
    options: &VerifyOptions,
    monitor: &dyn Monitor,
    found: &(dyn Fn(&BadChunk) + Sync),
) -> Result<VerifyStats> {
    let (sender, receiver) = mpsc::channel();
    let (sender, receiver) = (Mutex::new(Some(sender)), Mutex::new(receiver));
    let stop = Stop::default();
    let job = Job { store, options, monitor, found, stop: &stop, counts: Counts::default() };
    monitor.start("Verifying", Unit::Chunks, None);
    let outcome = crew(options.workers, &stop, || {
        // One of them lists before it joins the others: they need not wait for the end of the list.
        let sender = lock(&sender).take();
        sender.map_or(Ok(()), |sender| job.list(&sender))?;
        let mut reader = Reader::default();
        while !stop.is_stopped() {
            let received = lock(&receiver).recv();
            let Ok(ids) = received else { break };
            job.verify(&mut reader, &ids)?;
        }
        Ok(())
    });
    monitor.finish();
    outcome.map(|()| job.counts.stats())
}

/// Ends a listing.
pub(super) fn ended() -> StoreError {
    StoreError::Unsupported { place: String::new(), why: "interrupted".to_owned() }
}

/// What the workers share.
struct Job<'a> {
    store: &'a dyn PruneStore,
    options: &'a VerifyOptions,
    monitor: &'a dyn Monitor,
    found: &'a (dyn Fn(&BadChunk) + Sync),
    stop: &'a Stop,
    counts: Counts,
}

/// What each worker reads with.
#[derive(Default)]
struct Reader {
    decoder: Decoder,
    plain: Vec<u8>,
}

impl Job<'_> {
    /// Sends the ids of all chunks in the store.
    fn list(&self, sender: &Sender<Vec<ChunkId>>) -> Result<()> {
        let mut ids = Vec::with_capacity(IDS_AT_ONCE);
        let mut total = 0;
        let mut send = |ids: &mut Vec<ChunkId>| {
            total += ids.len() as u64;
            // That nobody receives any more means that all have failed.
            let _ = sender.send(mem::replace(ids, Vec::with_capacity(IDS_AT_ONCE)));
        };
        let mut interrupted = Ok(());
        let listed = self.store.list(&mut |found, _| {
            interrupted = self.monitor.check();
            // Any error ends the listing; whether it was this one is told by `interrupted`.
            if interrupted.is_err() || self.stop.is_stopped() {
                return Err(ended());
            }
            if let Stored::Chunk(id) = found {
                ids.push(id);
            }
            if ids.len() == IDS_AT_ONCE {
                send(&mut ids);
            }
            Ok(())
        });
        interrupted?;
        listed?;
        send(&mut ids);
        self.monitor.expect(total);
        Ok(())
    }

    fn verify(&self, reader: &mut Reader, ids: &[ChunkId]) -> Result<()> {
        let mut rest = ids;
        while !rest.is_empty() && !self.stop.is_stopped() {
            let taken = self.batch(reader, rest)?;
            self.monitor.advance(taken as u64);
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Verifies the first of these chunks, a batch full of them, and returns how many.
    fn batch(&self, reader: &mut Reader, ids: &[ChunkId]) -> Result<usize> {
        let mut decoded: Vec<(ChunkId, Range<usize>)> = Vec::new();
        let (mut taken, mut end) = (0, 0);
        for id in ids {
            if end >= BATCH {
                break;
            }
            self.monitor.check()?;
            taken += 1;
            match self.decode(reader, id, end) {
                Ok(None) => {}
                Ok(Some(len)) => {
                    decoded.push((*id, end..end + len));
                    end += len;
                }
                Err(e) => self.bad(id, e, None)?,
            }
        }
        let claims: Vec<(ChunkId, &[u8])> =
            decoded.iter().map(|(id, range)| (*id, &reader.plain[range.clone()])).collect();
        let outcomes = Chunk::verify_many(self.options.digest, &claims);
        for ((id, bytes), outcome) in claims.iter().zip(outcomes) {
            match outcome {
                Ok(_) => self.counts.good(bytes.len()),
                Err(e) => {
                    let error = StoreError::invalid(self.store.name())(e);
                    self.bad(id, error, Digest::of(id, bytes))?;
                }
            }
        }
        Ok(taken)
    }

    /// Decodes a chunk behind those that the buffer holds already. `None` if it is gone.
    fn decode(
        &self,
        reader: &mut Reader,
        id: &ChunkId,
        at: usize,
    ) -> cairn_store::Result<Option<usize>> {
        let Some(coded) = self.store.get(id)? else { return Ok(None) };
        let Reader { decoder, plain } = reader;
        let decoded = decoder.decode_growing(&coded, plain, at, LARGEST_CHUNK);
        decoded.map(Some).map_err(StoreError::invalid(self.store.name()))
    }

    fn bad(&self, id: &ChunkId, error: StoreError, named_by: Option<Digest>) -> Result<()> {
        let is_garbage = matches!(error, StoreError::Invalid { .. }) && named_by.is_none();
        let removed = self.options.repair && is_garbage;
        if removed {
            self.store.remove(&Stored::Chunk(*id))?;
        }
        self.counts.bad(removed);
        (self.found)(&BadChunk { id: *id, error, named_by, removed });
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Counts {
    good: AtomicU64,
    bytes: AtomicU64,
    bad: AtomicU64,
    removed: AtomicU64,
}

impl Counts {
    fn good(&self, len: usize) {
        self.good.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(len as u64, Ordering::Relaxed);
    }

    fn bad(&self, removed: bool) {
        self.bad.fetch_add(1, Ordering::Relaxed);
        self.removed.fetch_add(removed.into(), Ordering::Relaxed);
    }

    fn stats(&self) -> VerifyStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let bad = load(&self.bad);
        let chunks = load(&self.good) + bad;
        VerifyStats { chunks, bytes: load(&self.bytes), bad, removed: load(&self.removed) }
    }
}
