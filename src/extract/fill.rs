//! Carries out a plan: fetches, verifies, writes.

use std::ops::Range;

use cairn_formats::{Chunk, Index, IndexChunk};
use cairn_store::{Fetcher, Store};

use super::plan::{Plan, Step};
use super::target::Target;
use crate::buffer::Buffer;
use crate::flow::each;
use crate::{Monitor, Result};

/// Bytes fetched, decoded, hashed and written at once by one worker: enough chunks to fill the
/// lanes of the hash kernel, few enough to stay in the cache.
const BATCH: u64 = 2 << 20;

/// What each worker keeps between batches.
struct Worker {
    fetcher: Fetcher,
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
    let fetched = plan.steps.iter().flat_map(|step| batches(index, step, workers));
    let worker = || Worker { fetcher: Fetcher::new(), plain: Buffer::default() };
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
    let copied = plan.steps.iter().flat_map(|step| copies(index, step));
    each(
        workers,
        copied,
        || (),
        |(), (chunks, from)| {
            monitor.check()?;
            target.copy(index.chunk(from).start, bytes(index, &chunks))?;
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
        Step::Store(chunks) => {
            Box::new(index.batches(chunks.clone(), BATCH.min(share)).map(Step::Store))
        }
        Step::Own { .. } => Box::new(std::iter::empty()),
        Step::InPlace(_) | Step::Zero(_) => Box::new(std::iter::once(step.clone())),
    }
}

/// What is copied from the output itself, split into the chunks to write and the first to copy.
fn copies<'a>(
    index: &'a Index,
    step: &Step,
) -> impl Iterator<Item = (Range<usize>, usize)> + Send + 'a {
    let (chunks, from) = match step {
        Step::Own { chunks, from } => (chunks.clone(), *from),
        Step::Store(_) | Step::InPlace(_) | Step::Zero(_) => (0..0, 0),
    };
    let start = chunks.start;
    index.batches(chunks, BATCH).map(move |some| (some.clone(), from + some.start - start))
}

/// The bytes of the blob that consecutive chunks cover.
fn bytes(index: &Index, chunks: &Range<usize>) -> Range<u64> {
    index.chunk(chunks.start).start..index.chunk(chunks.end - 1).end()
}

impl Worker {
    /// Fetches consecutive chunks and writes them with one call.
    fn fetch(
        &mut self,
        index: &Index,
        positions: Range<usize>,
        store: &dyn Store,
        target: &Target,
    ) -> Result<()> {
        let place = bytes(index, &positions);
        let plain = self.plain.front((place.end - place.start) as usize);
        let chunks: Vec<IndexChunk> = positions.map(|position| index.chunk(position)).collect();
        let write = |chunks: &[Chunk<'_>]| target.write(place.start, chunks);
        self.fetcher.fetch(store, index.digest(), &chunks, plain, write)?
    }
}
