//! The steps of a plan as pieces of work, each for one worker. Pure, so everything is tested here.
//!
//! ```text
//! store  [a b c d e f]   [g]   [h]       short steps go together: [a b c d] [e f g h]
//! seed                [x]   [y]
//! ```
//! A piece of chunks of a store is a batch of requests. On this machine a batch fills the lanes of the
//! hash kernel and stays in the cache; far away the batches of all workers together must be as many
//! requests as the store can use at once, however short the steps and however small the blob.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;

use cairn_formats::Index;

use super::plan::Step;

/// Bytes fetched, decoded, hashed and written at once by one worker: enough chunks to fill the
/// lanes of the hash kernel, few enough to stay in the cache.
const BATCH: u64 = 2 << 20;

/// The same where a worker needs many long chunks on their way at once: bounds the memory.
const FAR_BATCH: u64 = 8 << 20;

/// Each worker gets a small blob in so many pieces, so that all have something to do to the end.
const ROUNDS: u64 = 4;

/// The bytes of the blob whose blocks are shared now, by the first chunk of their step.
pub(super) type Shared = BTreeMap<usize, Range<u64>>;

/// Consecutive chunks that are also consecutive in a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) chunks: Range<usize>,
    pub(super) seed: usize,
    pub(super) from: usize,
}

/// Work for one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Zero(Range<usize>),
    /// Runs of chunks in the order of the blob, fetched at once.
    Store(Vec<Range<usize>>),
    /// Read, verified and written.
    Copy(Taken),
    /// Verified in the output, which has shared the bytes given here with the seed.
    Check(Taken, Range<u64>),
}

/// How steps are divided.
pub(super) struct Division<'a> {
    pub(super) index: &'a Index,
    pub(super) workers: usize,
    /// How many requests at once the store can use.
    pub(super) in_flight: usize,
    /// Whether blocks shared with seeds are not verified.
    pub(super) trust_seeds: bool,
}

impl Division<'_> {
    /// The pieces, about in the order of the blob. Copies inside the output are none.
    pub(super) fn pieces(&self, steps: &[Step], shared: &Shared) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut basket = self.basket(steps);
        for step in steps {
            match step {
                Step::Zero(chunks) => pieces.push(Piece::Zero(chunks.clone())),
                Step::Store(chunks) => {
                    let full = chunks.clone().filter_map(|position| {
                        basket.add(position, self.index.chunk(position).len as u64)
                    });
                    pieces.extend(full.map(Piece::Store));
                }
                Step::Seed { .. } => pieces.extend(self.seed_pieces(step, shared)),
                Step::InPlace(_) | Step::Own { .. } => {}
            }
        }
        if !basket.runs.is_empty() {
            pieces.push(Piece::Store(basket.runs));
        }
        pieces
    }

    fn seed_pieces(&self, step: &Step, shared: &Shared) -> Vec<Piece> {
        let Some(whole) = Taken::by(step) else { return Vec::new() };
        let piece = |taken| match shared.get(&whole.chunks.start) {
            Some(_) if self.trust_seeds => None,
            Some(shared) => Some(Piece::Check(taken, shared.clone())),
            None => Some(Piece::Copy(taken)),
        };
        let batch = BATCH.min(self.share(self.index.blob_size()));
        let parts = self.index.batches(whole.chunks.clone(), batch);
        parts.map(|some| whole.part(some)).filter_map(piece).collect()
    }

    /// An empty basket of the right size for all that these steps take from the store.
    fn basket(&self, steps: &[Step]) -> Basket {
        let wanted = steps.iter().map(|step| match step {
            Step::Store(chunks) => {
                self.index.chunk(chunks.end - 1).end() - self.index.chunk(chunks.start).start
            }
            _ => 0,
        });
        let usual = BATCH.min(self.share(wanted.sum()));
        let most = if self.in_flight == 0 { usual } else { FAR_BATCH };
        let fewest = self.in_flight.div_ceil(self.workers.max(1));
        Basket { usual, most, fewest, runs: Vec::new(), chunks: 0, bytes: 0 }
    }

    /// A small blob is spread over all workers rather than being one batch.
    fn share(&self, bytes: u64) -> u64 {
        bytes / (ROUNDS * self.workers.max(1) as u64)
    }
}

/// Chunks of the store that are not yet a piece.
struct Basket {
    /// Bytes that make a piece if there are chunks enough.
    usual: u64,
    /// Bytes that make a piece anyway.
    most: u64,
    /// Chunks that are enough.
    fewest: usize,
    runs: Vec<Range<usize>>,
    chunks: usize,
    bytes: u64,
}

impl Basket {
    /// Takes a chunk in. Returns the runs that were in it if there was no room for one more.
    fn add(&mut self, position: usize, len: u64) -> Option<Vec<Range<usize>>> {
        let bytes = self.bytes + len;
        let is_full = bytes > self.most || bytes > self.usual && self.chunks >= self.fewest;
        let full = (is_full && self.chunks > 0).then(|| {
            (self.chunks, self.bytes) = (0, 0);
            mem::take(&mut self.runs)
        });
        match self.runs.last_mut() {
            Some(run) if run.end == position => run.end += 1,
            _ => self.runs.push(position..position + 1),
        }
        self.chunks += 1;
        self.bytes += len;
        full
    }
}

impl Taken {
    /// What a step takes from a seed.
    pub(super) fn by(step: &Step) -> Option<Self> {
        match step {
            Step::Seed { chunks, seed, from } => {
                Some(Self { chunks: chunks.clone(), seed: *seed, from: *from })
            }
            _ => None,
        }
    }

    /// Some of the chunks.
    pub(super) fn part(&self, chunks: Range<usize>) -> Self {
        let from = self.from + (chunks.start - self.chunks.start);
        Self { chunks, seed: self.seed, from }
    }
}

#[cfg(test)]
mod tests {
    use cairn_formats::{ChunkSizes, Digest};

    use super::*;

    /// An index of so many chunks of this length.
    fn index(count: usize, len: usize) -> Index {
        let sizes = ChunkSizes::new(len, len, len).unwrap();
        let mut index = Index::of_blob(Digest::default(), sizes);
        for number in 0..count {
            index.push(Digest::default().hash(&number.to_le_bytes()), len);
        }
        index
    }

    fn stored(
        index: &Index,
        workers: usize,
        in_flight: usize,
        steps: &[Step],
    ) -> Vec<Vec<Range<usize>>> {
        let division = Division { index, workers, in_flight, trust_seeds: false };
        let pieces = division.pieces(steps, &Shared::new()).into_iter();
        pieces
            .filter_map(|piece| match piece {
                Piece::Store(runs) => Some(runs),
                _ => None,
            })
            .collect()
    }

    fn count(runs: &[Range<usize>]) -> usize {
        runs.iter().map(Range::len).sum()
    }

    #[test]
    fn a_small_blob_keeps_all_workers_busy() {
        let index = index(64, 1 << 16);
        let pieces = stored(&index, 2, 0, &[Step::Store(0..64)]);
        assert_eq!(pieces.len(), 8);
        assert!(pieces.iter().flatten().cloned().flatten().eq(0..64));
    }

    #[test]
    fn a_large_blob_is_cut_into_batches() {
        let index = index(1000, 1 << 16);
        for in_flight in [0, 64] {
            let pieces = stored(&index, 6, in_flight, &[Step::Store(0..1000)]);
            assert!(pieces[..pieces.len() - 1].iter().all(|runs| count(runs) == 32), "{pieces:?}");
        }
    }

    #[test]
    fn a_store_far_away_gets_as_many_requests_as_it_can_use() {
        // Few chunks, and long chunks.
        for (chunks, len) in [(48, 1 << 16), (100, 1 << 19)] {
            let index = index(chunks, len);
            let pieces = stored(&index, 6, 64, &[Step::Store(0..chunks)]);
            assert!(pieces[..pieces.len() - 1].iter().all(|runs| count(runs) == 11), "{pieces:?}");
        }
        let long = index(100, 1 << 22);
        let pieces = stored(&long, 6, 64, &[Step::Store(0..100)]);
        assert!(pieces.iter().all(|runs| count(runs) == 2), "{pieces:?}");
    }

    #[test]
    fn short_steps_go_together() {
        let index = index(2000, 1 << 16);
        let steps: Vec<Step> = (0..2000)
            .map(|n| if n % 2 == 0 { Step::Store(n..n + 1) } else { Step::Zero(n..n + 1) })
            .collect();
        for in_flight in [0, 64] {
            let pieces = stored(&index, 2, in_flight, &steps);
            assert!(pieces.iter().flatten().cloned().flatten().eq((0..2000).step_by(2)));
            assert!(pieces[..pieces.len() - 1].iter().all(|runs| runs.len() == 32), "{pieces:?}");
        }
    }

    #[test]
    fn what_seeds_give_is_copied_or_checked() {
        let index = index(100, 1 << 16);
        let step = |start| Step::Seed { chunks: start..start + 50, seed: 0, from: start };
        let steps = [step(0), step(50)];
        let shared = Shared::from([(50, 50 << 16..100 << 16)]);
        for trust_seeds in [false, true] {
            let division = Division { index: &index, workers: 1, in_flight: 0, trust_seeds };
            let pieces = division.pieces(&steps, &shared);
            let covered: usize = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Copy(taken) => {
                        assert!(taken.chunks.end <= 50 && taken.from == taken.chunks.start);
                        taken.chunks.len()
                    }
                    Piece::Check(taken, place) => {
                        assert!(taken.chunks.start >= 50 && place.start == 50 << 16);
                        taken.chunks.len()
                    }
                    piece => panic!("{piece:?}"),
                })
                .sum();
            assert_eq!(covered, if trust_seeds { 50 } else { 100 });
        }
    }
}
