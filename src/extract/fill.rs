//! Carries out a plan: takes chunks from where it says, verifies, writes.
//!
//! ```text
//! seed   share its blocks with the output -> read and verify them there
//!        read, verify --+-> write
//! store  fetch, verify -+
//! own    copy, when all others are done
//! ```
//! What is shared is verified afterwards, in the output: the seed may be written to at any time, the output
//! is ours. Through a mapping of the seed that even happens without a new time stamp.
//!
//! A seed that does not hold what its index says spoils only the chunks concerned: they are handed back,
//! to be planned anew.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::mem;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use cairn_formats::{Chunk, ChunkId, Index, IndexChunk};
use cairn_store::{Fetcher, Store};

use super::pieces::{Division, Piece, Shared, Taken};
use super::plan::Step;
use super::seed::Seed;
use super::tally::Tally;
use super::target::Target;
use crate::buffer::Buffer;
use crate::flow::{each, lock};
use crate::{Monitor, Result, reflink};

/// Bytes copied inside the output at once.
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
        let shared = self.share_all(steps, &misses)?;
        let division = Division {
            index: self.index,
            workers: self.workers,
            in_flight: self.store.in_flight(),
            trust_seeds: self.trust_seeds,
        };
        let pieces = division.pieces(steps, &shared).into_iter();
        each(self.workers, pieces, Worker::default, |worker, piece| -> Result<()> {
            self.monitor.check()?;
            match piece {
                Piece::Zero(chunks) => {
                    self.target.zero(self.bytes(&chunks))?;
                    self.tally.zero(chunks.len());
                    self.done(chunks.len());
                }
                Piece::Store(runs) => {
                    let (count, bytes) = self.fetch(worker, &runs)?;
                    self.tally.fetched(count, bytes as u64);
                    self.done(count);
                }
                Piece::Copy(taken) => {
                    let place = self.bytes(&taken.chunks);
                    let good = self.copy(worker, &taken, &place, &misses)?;
                    self.tally.seeded(good);
                    self.done(good);
                }
                Piece::Check(taken, shared) => {
                    let good = self.check(worker, &taken, &shared, &misses);
                    self.tally.seeded(good);
                    self.done(good);
                }
            }
            Ok(())
        })?;
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

    /// Fetches runs of chunks and writes each run with one call. Returns how many chunks they are,
    /// and bytes.
    fn fetch(&self, worker: &mut Worker, runs: &[Range<usize>]) -> Result<(usize, usize)> {
        let positions = runs.iter().cloned().flatten();
        let chunks: Vec<IndexChunk> =
            positions.map(|position| self.index.chunk(position)).collect();
        let bytes = chunks.iter().map(|chunk| chunk.len).sum();
        let plain = worker.plain.front(bytes);
        let write = |mut chunks: &[Chunk<'_>]| {
            runs.iter().try_for_each(|run| {
                let (these, others) = chunks.split_at(run.len());
                chunks = others;
                let place = self.bytes(run);
                self.target.write(place.start, these, &place)
            })
        };
        worker.fetcher.fetch(self.store, self.index.digest(), &chunks, plain, write)??;
        Ok((chunks.len(), bytes))
    }

    /// Reads consecutive chunks out of a file, where they begin at `at`, and verifies them. Those that
    /// are not there are `None`, and among the misses.
    fn read<'b>(
        &self,
        worker: &'b mut Worker,
        (file, at): (&File, u64),
        taken: &Taken,
        misses: &Misses,
    ) -> Vec<Option<Chunk<'b>>> {
        let place = self.bytes(&taken.chunks);
        let plain = worker.plain.front((place.end - place.start) as usize);
        let got = read_at(file, at, plain);
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
        let seed = &self.seeds[taken.seed];
        let from = (seed.file(), seed.index().chunk(taken.from).start);
        let chunks = self.read(worker, from, taken, misses);
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

    /// Verifies in the output what was copied and shared there. Returns how many chunks are good.
    fn check(
        &self,
        worker: &mut Worker,
        taken: &Taken,
        shared: &Range<u64>,
        misses: &Misses,
    ) -> usize {
        let at = self.index.chunk(taken.chunks.start).start;
        let chunks = self.read(worker, (self.target.file(), at), taken, misses);
        let good = taken.chunks.clone().zip(chunks).filter(|(_, chunk)| chunk.is_some());
        let mut count = 0;
        for (position, _) in good {
            let chunk = self.index.chunk(position);
            let (start, end) = (chunk.start.max(shared.start), chunk.end().min(shared.end));
            self.tally.shared(end.saturating_sub(start));
            count += 1;
        }
        count
    }

    /// Shares with the output whatever blocks of seeds can be shared, unread.
    fn share_all(&self, steps: &[Step], misses: &Misses) -> Result<Shared> {
        let all = Mutex::new(Shared::new());
        let runs = steps.iter().filter_map(Taken::by);
        each(self.workers, runs, Worker::default, |worker, taken| -> Result<()> {
            self.monitor.check()?;
            if let Some(middle) = self.share(worker, &taken, misses)? {
                lock(&all).insert(taken.chunks.start, middle);
            }
            Ok(())
        })?;
        Ok(mem::take(&mut *lock(&all)))
    }

    /// Shares the whole blocks of a run and copies what is no whole block. Returns what has been shared;
    /// `None` if nothing was done.
    fn share(
        &self,
        worker: &mut Worker,
        taken: &Taken,
        misses: &Misses,
    ) -> Result<Option<Range<u64>>> {
        let Some(middle) = self.shared_part(taken) else { return Ok(None) };
        let seed = &self.seeds[taken.seed];
        let place = self.bytes(&taken.chunks);
        let from = seed.index().chunk(taken.from).start + (middle.start - place.start);
        if self.target.share(seed.file(), from, middle.clone()).is_err() {
            return Ok(None);
        }
        let bad = Misses::default();
        for edge in [place.start..middle.start, middle.end..place.end] {
            if !edge.is_empty() {
                let first = self.index.position_at(edge.start);
                let chunks = first..self.index.position_at(edge.end - 1) + 1;
                self.copy(worker, &taken.part(chunks), &edge, &bad)?;
            }
        }
        let bad = mem::take(&mut *lock(&bad));
        if self.trust_seeds {
            let good = taken.chunks.len() - bad.len();
            self.tally.shared(middle.end - middle.start);
            self.tally.seeded(good);
            self.done(good);
        }
        lock(misses).extend(bad);
        Ok(Some(middle))
    }

    /// The bytes of the blob that can share blocks with the seed, if there are any.
    fn shared_part(&self, taken: &Taken) -> Option<Range<u64>> {
        let block = self.blocks[taken.seed]?;
        let place = self.bytes(&taken.chunks);
        let from = self.seeds[taken.seed].index().chunk(taken.from).start;
        reflink::whole_blocks(from, &place, block)
    }
}

/// Reads as much of `buffer` as the file has there.
fn read_at(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], at + got as u64) {
            Ok(0) => break,
            Ok(read) => got += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}
