//! Carries out a plan: fetches, verifies, writes.

use std::ops::Range;

use cairn_formats::coding::Decoder;
use cairn_formats::{Chunk, ChunkId, Index};
use cairn_store::Store;

use super::plan::{Plan, Step};
use super::target::Target;
use crate::buffer::Buffer;
use crate::flow::each;
use crate::{Error, Monitor, Result};

/// Bytes fetched, decoded, hashed and written at once by one worker: enough chunks to fill the
/// lanes of the hash kernel, few enough to stay in the cache.
const BATCH: u64 = 2 << 20;

/// What each worker keeps between batches.
struct Worker {
    decoder: Decoder,
    /// The plain bytes of a batch, as they will lie in the output.
    plain: Buffer,
}

/// Fills a target by a plan. Chunks copied from the output itself come last, when what they copy
/// is there and verified.
pub(super) fn fill(
    index: &Index,
    plan: &Plan,
    store: &dyn Store,
    target: &Target,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<()> {
    let fetched = plan
        .steps
        .iter()
        .flat_map(|step| batches(index, step, workers));
    let worker = || Worker {
        decoder: Decoder::new(),
        plain: Buffer::default(),
    };
    each(workers, fetched, worker, |worker, step| -> Result<()> {
        monitor.check()?;
        let chunks = match step {
            Step::InPlace(chunks) => chunks,
            Step::Zero(chunks) => {
                target.zero(bytes(index, &chunks))?;
                chunks
            }
            Step::Store(chunks) => {
                worker.fetch(index, chunks.clone(), store, target)?;
                chunks
            }
            Step::Own { .. } => return Ok(()),
        };
        monitor.advance(chunks.len() as u64);
        Ok(())
    })?;
    each(
        workers,
        plan.steps.iter(),
        || (),
        |(), step| {
            let Step::Own { chunks, from } = step else {
                return Ok(());
            };
            monitor.check()?;
            target.copy(index.chunk(*from).start, bytes(index, chunks))?;
            monitor.advance(chunks.len() as u64);
            Ok(())
        },
    )
}

/// A step as work for several workers: what is fetched is split.
fn batches<'a>(
    index: &'a Index,
    step: &Step,
    workers: usize,
) -> Box<dyn Iterator<Item = Step> + Send + 'a> {
    // A small blob is spread over all workers rather than being one batch.
    let share = index.blob_size() / (4 * workers.max(1) as u64);
    match step {
        Step::Store(chunks) => Box::new(
            index
                .batches(chunks.clone(), BATCH.min(share))
                .map(Step::Store),
        ),
        Step::Own { .. } => Box::new(std::iter::empty()),
        Step::InPlace(_) | Step::Zero(_) => Box::new(std::iter::once(step.clone())),
    }
}

/// The bytes of the blob that consecutive chunks cover.
fn bytes(index: &Index, chunks: &Range<usize>) -> Range<u64> {
    index.chunk(chunks.start).start..index.chunk(chunks.end - 1).end()
}

impl Worker {
    /// Fetches consecutive chunks, checks them all, and writes them with one call.
    fn fetch(
        &mut self,
        index: &Index,
        chunks: Range<usize>,
        store: &dyn Store,
        target: &Target,
    ) -> Result<()> {
        let place = bytes(index, &chunks);
        let len = (place.end - place.start) as usize;
        let mut rest = self.plain.front(len);
        let mut claims: Vec<(ChunkId, &[u8])> = Vec::with_capacity(chunks.len());
        let failed = |at: u64| {
            move |source| Error::Chunk {
                store: store.name(),
                at,
                source,
            }
        };
        for chunk in chunks.clone().map(|position| index.chunk(position)) {
            let (plain, after) = rest.split_at_mut(chunk.len);
            rest = after;
            let coded = store.fetch(&chunk.id)?;
            self.decoder
                .decode_exact(&coded, plain)
                .map_err(failed(chunk.start))?;
            claims.push((chunk.id, plain));
        }
        let verified = Chunk::verify_many(index.digest(), &claims).into_iter();
        let verified: Vec<Chunk<'_>> = verified
            .zip(chunks)
            .map(|(chunk, position)| chunk.map_err(failed(index.chunk(position).start)))
            .collect::<Result<_>>()?;
        target.write(place.start, &verified)
    }
}
