//! Carries out a plan: fetches, verifies, writes.

use std::ops::Range;

use cairn_formats::coding::Decoder;
use cairn_formats::{Chunk, ChunkId, Error as FormatError, Index, IndexChunk};
use cairn_store::{Error as StoreError, Store};

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
    let fetched = plan.steps.iter().flat_map(|step| batches(index, step, workers));
    let worker = || Worker { decoder: Decoder::new(), plain: Buffer::default() };
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
    /// Fetches consecutive chunks, checks them all, and writes them with one call.
    ///
    /// Copies that turn out damaged are replaced by those of other stores, as long as there are any.
    fn fetch(
        &mut self,
        index: &Index,
        chunks: Range<usize>,
        store: &dyn Store,
        target: &Target,
    ) -> Result<()> {
        let place = bytes(index, &chunks);
        let plain = self.plain.front((place.end - place.start) as usize);
        let mut wanted: Vec<Wanted> = chunks.map(|position| Wanted::new(index, position)).collect();
        loop {
            for wanted in wanted.iter_mut().filter(|wanted| !wanted.is_here) {
                wanted.fetch(store, &mut self.decoder, &mut plain[wanted.range(place.start)])?;
            }
            let claims: Vec<(ChunkId, &[u8])> =
                wanted.iter().map(|w| (w.chunk.id, &plain[w.range(place.start)])).collect();
            let mut verified = Vec::with_capacity(claims.len());
            for (wanted, outcome) in
                wanted.iter_mut().zip(Chunk::verify_many(index.digest(), &claims))
            {
                match outcome {
                    Ok(chunk) => verified.push(chunk),
                    Err(e) => wanted.refuse(store, e),
                }
            }
            if verified.len() == wanted.len() {
                return target.write(place.start, &verified);
            }
        }
    }
}

/// A chunk on its way into the output.
struct Wanted {
    chunk: IndexChunk,
    /// Copies fetched so far.
    copies: usize,
    /// Whether the last of them has been decoded.
    is_here: bool,
    /// What was wrong with the first.
    error: Option<Error>,
}

impl Wanted {
    fn new(index: &Index, position: usize) -> Self {
        Self { chunk: index.chunk(position), copies: 0, is_here: false, error: None }
    }

    /// Where it lies among the bytes from `start` of the blob.
    fn range(&self, start: u64) -> Range<usize> {
        (self.chunk.start - start) as usize..(self.chunk.end() - start) as usize
    }

    /// Fetches and decodes the next copy that can be decoded.
    fn fetch(&mut self, store: &dyn Store, decoder: &mut Decoder, plain: &mut [u8]) -> Result<()> {
        while !self.is_here {
            let id = &self.chunk.id;
            let fetched = match self.copies {
                0 => store.fetch(id).map(Some),
                tried => store.another(id, tried),
            };
            self.copies += 1;
            match fetched {
                Ok(Some(coded)) => match decoder.decode_exact(&coded, plain) {
                    Ok(()) => self.is_here = true,
                    Err(e) => self.refuse(store, e),
                },
                // What is in the first place is the thing to mend.
                Ok(None) => return Err(self.error.take().expect("a copy was refused before")),
                Err(e @ StoreError::Invalid { .. }) if self.copies == 1 => {
                    self.error = Some(e.into());
                }
                Err(e) => return Err(self.error.take().unwrap_or(e.into())),
            }
        }
        Ok(())
    }

    fn refuse(&mut self, store: &dyn Store, source: FormatError) {
        self.is_here = false;
        let at = self.chunk.start;
        self.error.get_or_insert(Error::Chunk { store: store.name(), at, source });
    }
}
