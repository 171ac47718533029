//! Chunks from one store into another: fills a cache.
//!
//! ```text
//! indexes - ignored -> distinct chunks -(batches; target has? else fetch, verify, put, xN)-> target
//! ```
//! What a source holds is put as it is if the target wants that coding; only else is it coded anew.

use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_formats::coding::{DEFAULT_LEVEL, Encoder};
use cairn_formats::{Chunk, ChunkId, CodedChunk, Digest, Index, IndexChunk};
use cairn_store::{Fetcher, Store, WriteStore};

use crate::buffer::Buffer;
use crate::flow::{each, lock};
use crate::ids::IdSet;
use crate::{Error, Monitor, Result, Silent, Unit};

/// Plain bytes fetched at once by one worker.
const BATCH: usize = 2 << 20;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyStats {
    /// Distinct chunks that were asked for.
    pub chunks: u64,
    /// Those that the target did not have.
    pub copied: u64,
    /// Plain bytes in these.
    pub copied_bytes: u64,
}

/// The distinct chunks of some indexes, without those to ignore, in their order.
pub fn distinct_chunks(indexes: &[Index], ignored: IdSet) -> Vec<IndexChunk> {
    let mut seen = ignored;
    let chunks = indexes.iter().flat_map(Index::chunks);
    chunks.filter(|chunk| seen.insert(chunk.id)).collect()
}

/// Copies the chunks that `target` does not have. A chunk that no source has is an error.
///
/// When this returns, all of them are in the target, as durable as it was asked to make them.
pub fn copy(
    chunks: &[IndexChunk],
    digest: Digest,
    source: &dyn Store,
    target: &dyn WriteStore,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<CopyStats> {
    // desync is silent where there is nothing to do.
    let monitor = if chunks.is_empty() { &Silent } else { monitor };
    let copied = Copied::default();
    let state = || Worker {
        route: Route {
            source,
            target,
            encoder: Mutex::new(Encoder::new(DEFAULT_LEVEL)),
            kept: Mutex::default(),
        },
        fetcher: Fetcher::new(),
        buffer: Buffer::default(),
    };
    monitor.start("", Unit::Chunks, Some(chunks.len() as u64));
    let outcome = each(workers, batches(chunks), state, |worker, batch| {
        monitor.check()?;
        worker.copy(digest, batch, &copied)?;
        monitor.advance(batch.len() as u64);
        Ok::<(), Error>(())
    });
    monitor.finish();
    outcome?;
    target.sync()?;
    Ok(CopyStats {
        chunks: chunks.len() as u64,
        copied: copied.chunks.into_inner(),
        copied_bytes: copied.bytes.into_inner(),
    })
}

/// Runs of chunks that fill a batch together, at least one each.
fn batches(chunks: &[IndexChunk]) -> impl Iterator<Item = &[IndexChunk]> + Send {
    let mut rest = chunks;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|chunk| {
            bytes += chunk.len;
            bytes <= BATCH
        });
        let count = fitting.count().max(1).min(rest.len());
        let (batch, behind) = rest.split_at(count);
        rest = behind;
        (!batch.is_empty()).then_some(batch)
    })
}

#[derive(Debug, Default)]
struct Copied {
    chunks: AtomicU64,
    bytes: AtomicU64,
}

/// What each worker has.
struct Worker<'a> {
    route: Route<'a>,
    fetcher: Fetcher,
    buffer: Buffer,
}

impl Worker<'_> {
    fn copy(&mut self, digest: Digest, batch: &[IndexChunk], copied: &Copied) -> Result<()> {
        let ids: Vec<ChunkId> = batch.iter().map(|chunk| chunk.id).collect();
        let mut missing: Vec<IndexChunk> = Vec::with_capacity(batch.len());
        for (chunk, there) in batch.iter().zip(self.route.target.has_many(&ids)) {
            if !there? {
                missing.push(*chunk);
            }
        }
        let bytes = missing.iter().map(|chunk| chunk.len).sum();
        let plain = self.buffer.front(bytes);
        self.fetcher.fetch(&self.route, digest, &missing, plain, |_| ())?;
        self.route.put_kept()?;
        copied.chunks.fetch_add(missing.len() as u64, Ordering::Relaxed);
        copied.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// The source as a store that keeps what has been verified, in the target.
struct Route<'a> {
    source: &'a dyn Store,
    target: &'a dyn WriteStore,
    /// Each worker has a route of its own, so nobody ever waits for it.
    encoder: Mutex<Encoder>,
    /// What the target, which is far away, will get at once.
    kept: Mutex<Vec<CodedChunk>>,
}

impl Route<'_> {
    fn put_kept(&self) -> Result<()> {
        let kept = mem::take(&mut *lock(&self.kept));
        Ok(self.target.put_many(&kept).into_iter().collect::<cairn_store::Result<()>>()?)
    }
}

impl Store for Route<'_> {
    fn get(&self, id: &ChunkId) -> cairn_store::Result<Option<CodedChunk>> {
        // Verified even if the source is trusted: who reads the target may not know of that.
        Ok(self.source.get(id)?.map(CodedChunk::distrusted))
    }

    fn has(&self, id: &ChunkId) -> cairn_store::Result<bool> {
        self.source.has(id)
    }

    fn get_many(
        &self,
        ids: &[ChunkId],
        each: &mut dyn FnMut(usize, cairn_store::Result<Option<CodedChunk>>),
    ) {
        self.source.get_many(ids, &mut |place, answer| {
            each(place, answer.map(|coded| coded.map(CodedChunk::distrusted)));
        });
    }

    fn another(&self, id: &ChunkId, tried: usize) -> cairn_store::Result<Option<CodedChunk>> {
        Ok(self.source.another(id, tried)?.map(CodedChunk::distrusted))
    }

    fn keeps(&self) -> bool {
        true
    }

    fn keep(&self, chunk: &Chunk<'_>, coded: &CodedChunk) -> cairn_store::Result<()> {
        if self.source.keeps() {
            self.source.keep(chunk, coded)?;
        }
        let is_as_wanted = coded.coding() == self.target.coding().into();
        let recoded = || lock(&self.encoder).encode(chunk, self.target.coding());
        let recoded = (!is_as_wanted).then(recoded);
        if self.target.in_flight() == 0 {
            return self.target.put(recoded.as_ref().unwrap_or(coded));
        }
        lock(&self.kept).push(recoded.unwrap_or_else(|| coded.clone()));
        Ok(())
    }

    fn origin(&self, id: &ChunkId, copy: usize) -> String {
        self.source.origin(id, copy)
    }

    fn name(&self) -> String {
        self.source.name()
    }
}
