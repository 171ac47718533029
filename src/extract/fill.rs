//! Carries out a plan: takes chunks from where it says, verifies, writes.
//!
//! ```text
//! store  fetch, verify ------------------------+
//! seed   read, verify --+----------------------+-> write
//!                       +-> good? -> share its blocks with the output
//! own    copy, when all others are done
//! ```
//! A seed that does not hold what its index says spoils only the chunks concerned: they are handed back,
//! to be planned anew.

use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;
use std::sync::Mutex;

use cairn_formats::{Chunk, ChunkId, Index, IndexChunk};
use cairn_store::{Fetcher, Store};

use super::plan::Step;
use super::seed::Seed;
use super::tally::Tally;
use super::target::Target;
use crate::buffer::Buffer;
use crate::flow::{each, lock};
use crate::{Monitor, Result};

/// Bytes fetched, decoded, hashed and written at once by one worker: enough chunks to fill the
/// lanes of the hash kernel, few enough to stay in the cache.
const BATCH: u64 = 2 << 20;

/// All that filling an output needs.
pub(super) struct Filling<'a> {
    pub(super) index: &'a Index,
    pub(super) store: &'a dyn Store,
    pub(super) seeds: &'a [Seed],
    /// For each seed, the size of the blocks that it can share with the output.
    pub(super) blocks: &'a [Option<u64>],
    pub(super) target: &'a Target,
    /// Whether blocks are shared with seeds that have not been read.
    pub(super) trust_seeds: bool,
    pub(super) workers: usize,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) tally: &'a Tally,
}

/// Chunks that a seed did not have, though its index said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Miss {
    /// The position of the chunk.
    pub(super) position: usize,
    /// The number of the seed.
    pub(super) seed: usize,
}

/// The chunks that seeds did not have. Each once, though some may be tried twice.
type Misses = Mutex<BTreeSet<Miss>>;

/// Consecutive chunks that are also consecutive in a seed.
#[derive(Clone, Debug)]
struct Taken {
    chunks: Range<usize>,
    seed: usize,
    from: usize,
}

/// A piece of a step, for one worker.
enum Piece {
    Zero(Range<usize>),
    Store(Range<usize>),
    /// Read, verified and written.
    Copy(Taken),
    /// Read and verified; shared afterwards.
    Check(Taken),
}

/// What each worker keeps between pieces.
#[derive(Default)]
struct Worker {
    fetcher: Fetcher,
    /// The plain bytes of a batch, as they will lie in the output.
    plain: Buffer,
}

impl Filling<'_> {
    /// Carries out all steps but the copies inside the output. Returns what seeds failed to give.
    pub(super) fn fill(&self, steps: &[Step]) -> Result<Vec<Miss>> {
        let misses = Misses::default();
        let pieces = steps.iter().flat_map(|step| self.pieces(step));
        each(self.workers, pieces, Worker::default, |worker, piece| -> Result<()> {
            self.monitor.check()?;
            match piece {
                Piece::Zero(chunks) => {
                    self.target.zero(self.bytes(&chunks))?;
                    self.tally.zero(chunks.len());
                    self.done(chunks.len());
                }
                Piece::Store(chunks) => {
                    self.fetch(worker, chunks.clone())?;
                    let place = self.bytes(&chunks);
                    self.tally.fetched(chunks.len(), place.end - place.start);
                    self.done(chunks.len());
                }
                Piece::Copy(taken) => {
                    let place = self.bytes(&taken.chunks);
                    let good = self.copy(worker, &taken, &place, &misses)?;
                    self.tally.seeded(good);
                    self.done(good);
                }
                Piece::Check(taken) => drop(self.read(worker, &taken, &misses)),
            }
            Ok(())
        })?;
        self.share_all(steps, &misses)?;
        Ok(mem::take(&mut *lock(&misses)).into_iter().collect())
    }

    /// Copies what occurs more than once inside the output. All else must be there and verified.
    pub(super) fn copy_own(&self, steps: &[Step]) -> Result<()> {
        let copies = steps.iter().filter_map(|step| match step {
            Step::Own { chunks, from } => Some((chunks.clone(), *from)),
            _ => None,
        });
        let copies = copies.flat_map(|(chunks, from)| {
            let start = chunks.start;
            let batches = self.index.batches(chunks, BATCH);
            batches.map(move |some| (some.clone(), from + some.start - start))
        });
        each(
            self.workers,
            copies,
            || (),
            |(), (chunks, from)| {
                self.monitor.check()?;
                self.target.copy(self.index.chunk(from).start, self.bytes(&chunks))?;
                self.tally.own(chunks.len());
                self.done(chunks.len());
                Ok(())
            },
        )
    }

    fn done(&self, chunks: usize) {
        self.monitor.advance(chunks as u64);
    }

    /// The bytes of the blob that consecutive chunks cover.
    fn bytes(&self, chunks: &Range<usize>) -> Range<u64> {
        self.index.chunk(chunks.start).start..self.index.chunk(chunks.end - 1).end()
    }

    /// A step as work for several workers.
    fn pieces(&self, step: &Step) -> Vec<Piece> {
        // A small blob is spread over all workers rather than being one batch.
        let share = self.index.blob_size() / (4 * self.workers.max(1) as u64);
        let batches = |chunks: &Range<usize>| self.index.batches(chunks.clone(), BATCH.min(share));
        match step {
            Step::InPlace(_) | Step::Own { .. } => Vec::new(),
            Step::Zero(chunks) => vec![Piece::Zero(chunks.clone())],
            Step::Store(chunks) => batches(chunks).map(Piece::Store).collect(),
            Step::Seed { chunks, seed, from } => {
                let whole = Taken { chunks: chunks.clone(), seed: *seed, from: *from };
                let is_shared = self.shared_part(&whole).is_some();
                if is_shared && self.trust_seeds {
                    return Vec::new();
                }
                let piece = if is_shared { Piece::Check } else { Piece::Copy };
                batches(chunks).map(|some| piece(whole.part(some))).collect()
            }
        }
    }

    /// Fetches consecutive chunks and writes them with one call.
    fn fetch(&self, worker: &mut Worker, positions: Range<usize>) -> Result<()> {
        let place = self.bytes(&positions);
        let plain = worker.plain.front((place.end - place.start) as usize);
        let chunks: Vec<IndexChunk> =
            positions.map(|position| self.index.chunk(position)).collect();
        let write = |chunks: &[Chunk<'_>]| self.target.write(place.start, chunks, &place);
        worker.fetcher.fetch(self.store, self.index.digest(), &chunks, plain, write)?
    }

    /// Reads consecutive chunks of a seed and verifies them. Those that are not there are `None`, and
    /// among the misses.
    fn read<'b>(
        &self,
        worker: &'b mut Worker,
        taken: &Taken,
        misses: &Misses,
    ) -> Vec<Option<Chunk<'b>>> {
        let seed = &self.seeds[taken.seed];
        let place = self.bytes(&taken.chunks);
        let plain = worker.plain.front((place.end - place.start) as usize);
        let got = seed.read_at(seed.index().chunk(taken.from).start, plain);
        // What cannot be read is not there; the store has it.
        let plain = &plain[..got.unwrap_or(0)];
        let claim = |position: usize| -> Option<(ChunkId, &'b [u8])> {
            let chunk = self.index.chunk(position);
            let at = (chunk.start - place.start) as usize;
            Some((chunk.id, plain.get(at..at + chunk.len)?))
        };
        let claims: Vec<_> = taken.chunks.clone().map_while(claim).collect();
        let verified = Chunk::verify_many(self.index.digest(), &claims).into_iter();
        let verified = verified.map(|outcome| outcome.ok()).chain(std::iter::repeat_with(|| None));
        let chunks: Vec<_> = verified.take(taken.chunks.len()).collect();
        let bad = taken.chunks.clone().zip(&chunks).filter(|(_, chunk)| chunk.is_none());
        let bad = bad.map(|(position, _)| Miss { position, seed: taken.seed });
        lock(misses).extend(bad);
        chunks
    }

    /// Copies from a seed what is good there. Only bytes inside of `within` are written. Returns how
    /// many chunks were good.
    fn copy(
        &self,
        worker: &mut Worker,
        taken: &Taken,
        within: &Range<u64>,
        misses: &Misses,
    ) -> Result<usize> {
        let chunks = self.read(worker, taken, misses);
        let mut good = 0;
        let mut run = Vec::with_capacity(chunks.len());
        let ends = std::iter::once((taken.chunks.end, None));
        for (position, chunk) in taken.chunks.clone().zip(chunks).chain(ends) {
            if let Some(chunk) = chunk {
                run.push(chunk);
                continue;
            }
            if !run.is_empty() {
                let place = self.bytes(&(position - run.len()..position));
                self.target.write(place.start, &run, within)?;
                let end = place.end.min(within.end);
                self.tally.copied(end.saturating_sub(place.start.max(within.start)));
                good += run.len();
                run.clear();
            }
        }
        Ok(good)
    }

    /// Shares with the output what has been checked of those steps that can be shared.
    fn share_all(&self, steps: &[Step], misses: &Misses) -> Result<()> {
        let bad: BTreeSet<usize> = lock(misses).iter().map(|miss| miss.position).collect();
        let whole = steps.iter().filter_map(|step| match step {
            Step::Seed { chunks, seed, from } => {
                Some(Taken { chunks: chunks.clone(), seed: *seed, from: *from })
            }
            _ => None,
        });
        let shared = whole.filter(|taken| self.shared_part(taken).is_some());
        let good = shared.flat_map(|taken| taken.without(&bad));
        each(self.workers, good, Worker::default, |worker, taken| {
            self.monitor.check()?;
            let good = self.share(worker, &taken, misses)?;
            self.tally.seeded(good);
            self.done(good);
            Ok(())
        })
    }

    /// Shares the blocks of checked chunks and copies what is no whole block. Returns how many chunks
    /// were good.
    fn share(&self, worker: &mut Worker, taken: &Taken, misses: &Misses) -> Result<usize> {
        let seed = &self.seeds[taken.seed];
        let place = self.bytes(&taken.chunks);
        let middle = self.shared_part(taken).filter(|middle| {
            let from = seed.index().chunk(taken.from).start + (middle.start - place.start);
            // What was checked must be what is shared: nobody may have written in between.
            seed.is_unchanged()
                && self.target.share(seed.file(), from, middle.clone()).is_ok()
                && seed.is_unchanged()
        });
        let Some(middle) = middle else {
            let batches = self.index.batches(taken.chunks.clone(), BATCH);
            let copies = batches.map(|some| self.copy(worker, &taken.part(some), &place, misses));
            return copies.sum();
        };
        self.tally.shared(middle.end - middle.start);
        let mut bad = 0;
        for edge in [place.start..middle.start, middle.end..place.end] {
            if !edge.is_empty() {
                let first = self.index.position_at(edge.start);
                let chunks = first..self.index.position_at(edge.end - 1) + 1;
                let len = chunks.len();
                bad += len - self.copy(worker, &taken.part(chunks), &edge, misses)?;
            }
        }
        Ok(taken.chunks.len() - bad)
    }

    /// The bytes of the blob that can share blocks with the seed, if there are any.
    fn shared_part(&self, taken: &Taken) -> Option<Range<u64>> {
        let block = self.blocks[taken.seed]?;
        let place = self.bytes(&taken.chunks);
        let from = self.seeds[taken.seed].index().chunk(taken.from).start;
        let middle = place.start.next_multiple_of(block)..place.end / block * block;
        let is_aligned = place.start.abs_diff(from).is_multiple_of(block);
        Some(middle).filter(|middle| is_aligned && !middle.is_empty())
    }
}

impl Taken {
    /// Some of the chunks.
    fn part(&self, chunks: Range<usize>) -> Self {
        let from = self.from + (chunks.start - self.chunks.start);
        Self { chunks, seed: self.seed, from }
    }

    /// The runs between those that are bad.
    fn without(self, bad: &BTreeSet<usize>) -> Vec<Self> {
        let mut runs = Vec::new();
        let mut start = self.chunks.start;
        let bad: Vec<usize> = bad.range(self.chunks.clone()).copied().collect();
        for end in bad.into_iter().chain([self.chunks.end]) {
            if start < end {
                runs.push(self.part(start..end));
            }
            start = end + 1;
        }
        runs
    }
}
