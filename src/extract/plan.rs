//! What to do for each chunk of an output. Pure: opens nothing, so everything is tested here.

use std::ops::Range;

use cairn_formats::Index;

use super::matches::{Run, SeedMap};
use crate::check::zeros_of;
use crate::ids::Firsts;

/// Where the bytes of some consecutive chunks come from. Ranges are positions in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The output holds them already.
    InPlace(Range<usize>),
    /// They are zeros: nothing is read, and a hole will do.
    Zero(Range<usize>),
    /// They are fetched from the store.
    Store(Range<usize>),
    /// They are taken from a seed, where they are consecutive too.
    Seed {
        /// The chunks to write.
        chunks: Range<usize>,
        /// Number of the seed.
        seed: usize,
        /// Position in the seed's index of the first chunk to take.
        from: usize,
    },
    /// They are copied from another place of the output itself, whose first chunk is `from`. Done
    /// after all other steps.
    Own {
        /// The chunks to write.
        chunks: Range<usize>,
        /// Position of the first chunk to copy; as many follow as are to be written.
        from: usize,
    },
}

/// The steps that make an output, in the order of the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Together they cover every chunk once.
    pub steps: Vec<Step>,
}

/// What is to be done for a single chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    InPlace,
    Zero,
    Store,
    Own(usize),
}

impl Plan {
    /// Plans an output. `in_place` tells which chunks the output holds already, and is empty for a new
    /// one.
    ///
    /// Zeros cost least, then what the output has itself, then seeds, the longest run first. What
    /// is in none of them is fetched.
    pub(super) fn new(index: &Index, in_place: &[bool], seeds: &[SeedMap<'_>]) -> Self {
        let zeros = zeros_of(index).id();
        let mut first = Firsts::new(index);
        let is_in_place = |position: usize| in_place.get(position).copied().unwrap_or(false);
        // What is there already serves also for chunks before it.
        for position in (0..in_place.len()).filter(|&position| in_place[position]) {
            first.of(position);
        }
        let is_zero = |position: usize| {
            let chunk = index.chunk(position);
            chunk.id == zeros && chunk.len == index.sizes().max()
        };
        let mut plan = Self { steps: Vec::new() };
        let mut position = 0;
        while position < index.len() {
            let source = if is_in_place(position) {
                Source::InPlace
            } else if is_zero(position) {
                Source::Zero
            } else {
                let ends = |position| is_in_place(position) || is_zero(position);
                let run = best_run(index, position, seeds, ends);
                let known = first.of(position);
                // A single chunk is copied inside the output without being read by us; a longer run
                // from a seed is not broken for it.
                let is_known = known != position;
                match run.filter(|(_, run)| !is_known || run.chunks.len() > 1) {
                    Some((seed, Run { chunks, from, .. })) => {
                        chunks.clone().for_each(|position| _ = first.of(position));
                        position = chunks.end;
                        plan.steps.push(Step::Seed { chunks, seed, from });
                        continue;
                    }
                    None if is_known => Source::Own(known),
                    None => Source::Store,
                }
            };
            plan.add(position, source);
            position += 1;
        }
        plan
    }

    /// Adds a chunk to the last step if it goes on there.
    fn add(&mut self, position: usize, source: Source) {
        let last = self.steps.last_mut();
        match (last, source) {
            (Some(Step::InPlace(range)), Source::InPlace)
            | (Some(Step::Zero(range)), Source::Zero)
            | (Some(Step::Store(range)), Source::Store) => range.end += 1,
            (Some(Step::Own { chunks, from }), Source::Own(next))
                if *from + chunks.len() == next =>
            {
                chunks.end += 1;
            }
            _ => {
                let range = position..position + 1;
                self.steps.push(match source {
                    Source::InPlace => Step::InPlace(range),
                    Source::Zero => Step::Zero(range),
                    Source::Store => Step::Store(range),
                    Source::Own(from) => Step::Own { chunks: range, from },
                });
            }
        }
    }
}

impl Step {
    /// The chunks that it makes.
    pub fn chunks(&self) -> Range<usize> {
        match self {
            Step::InPlace(chunks)
            | Step::Zero(chunks)
            | Step::Store(chunks)
            | Step::Seed { chunks, .. }
            | Step::Own { chunks, .. } => chunks.clone(),
        }
    }
}

/// The best run over all seeds, with the number of its seed. Of equals the first wins.
fn best_run(
    index: &Index,
    position: usize,
    seeds: &[SeedMap<'_>],
    ends: impl Fn(usize) -> bool,
) -> Option<(usize, Run)> {
    let runs = seeds.iter().enumerate();
    let runs = runs.filter_map(|(seed, map)| Some((seed, map.best(index, position, &ends)?)));
    runs.reduce(|best, next| if next.1.weight > best.1.weight { next } else { best })
}

#[cfg(test)]
mod tests {
    use cairn_formats::{ChunkId, ChunkSizes, Digest};

    use super::*;

    /// An index with one chunk for each letter; `0` is the zero chunk.
    fn index(chunks: &str) -> Index {
        let sizes = ChunkSizes::default();
        let mut index = Index::of_blob(Digest::default(), sizes);
        let zeros = zeros_of(&index).id();
        for letter in chunks.bytes() {
            match letter {
                b'0' => index.push(zeros, sizes.max()),
                _ => index.push(ChunkId::from_bytes([letter; 32]), usize::from(letter)),
            }
        }
        index
    }

    fn plan(chunks: &str, in_place: &str) -> Vec<Step> {
        plan_with_seeds(chunks, in_place, &[])
    }

    fn plan_with_seeds(chunks: &str, in_place: &str, seeds: &[&str]) -> Vec<Step> {
        let in_place: Vec<bool> = in_place.bytes().map(|flag| flag == b'=').collect();
        let seeds: Vec<Index> = seeds.iter().map(|chunks| index(chunks)).collect();
        let maps: Vec<SeedMap<'_>> = seeds.iter().map(|seed| SeedMap::new(seed, None)).collect();
        Plan::new(&index(chunks), &in_place, &maps).steps
    }

    #[test]
    fn what_a_seed_has_is_not_fetched() {
        let expected = [
            Step::Store(0..1),
            Step::Seed { chunks: 1..4, seed: 0, from: 0 },
            Step::Store(4..5),
            Step::Seed { chunks: 5..6, seed: 0, from: 2 },
        ];
        assert_eq!(plan_with_seeds("xabcye", "", &["abecd", "abc", "e"])[..1], expected[..1]);
        assert_eq!(plan_with_seeds("xabcyc", "", &["abc"])[..3], expected[..3]);
        assert_eq!(plan_with_seeds("xabcye", "", &["abce"])[1..3], expected[1..3]);
    }

    #[test]
    fn the_longest_run_over_all_seeds_wins() {
        let seed = |chunks, seed, from| Step::Seed { chunks, seed, from };
        assert_eq!(plan_with_seeds("abcd", "", &["ab", "xabcd"]), [seed(0..4, 1, 1)]);
        assert_eq!(plan_with_seeds("ab", "", &["ab", "ab"]), [seed(0..2, 0, 0)]);
    }

    #[test]
    fn what_is_in_place_or_zero_ends_a_run() {
        let seed = |chunks, from| Step::Seed { chunks, seed: 0, from };
        let expected = [seed(0..1, 0), Step::InPlace(1..2), seed(2..3, 2)];
        assert_eq!(plan_with_seeds("abc", "-=-", &["abc"]), expected);
        let expected = [seed(0..1, 0), Step::Zero(1..2), seed(2..3, 2)];
        assert_eq!(plan_with_seeds("a0c", "", &["a0c"]), expected);
    }

    #[test]
    fn a_repeated_chunk_is_copied_but_breaks_no_run() {
        let seed = |chunks, from| Step::Seed { chunks, seed: 0, from };
        let own = Step::Own { chunks: 2..3, from: 0 };
        assert_eq!(plan_with_seeds("aba", "", &["ab"]), [seed(0..2, 0), own]);
        assert_eq!(plan_with_seeds("abab", "", &["abab"]), [seed(0..4, 0)]);
        assert_eq!(plan_with_seeds("ababc", "", &["abc"]), [seed(0..2, 0), seed(2..5, 0)]);
    }

    #[test]
    fn consecutive_chunks_share_a_step() {
        assert_eq!(plan("abc00d", ""), [Step::Store(0..3), Step::Zero(3..5), Step::Store(5..6)]);
        assert_eq!(plan("", ""), []);
    }

    #[test]
    fn each_chunk_is_fetched_once() {
        let expected = [
            Step::Store(0..3),
            Step::Own { chunks: 3..5, from: 0 },
            Step::Store(5..6),
            Step::Own { chunks: 6..7, from: 2 },
            Step::Own { chunks: 7..8, from: 2 },
        ];
        assert_eq!(plan("abcabdcc", ""), expected);
    }

    #[test]
    fn what_is_there_stays_and_serves_elsewhere() {
        let expected = [
            Step::Own { chunks: 0..1, from: 3 },
            Step::Store(1..3),
            Step::InPlace(3..4),
            Step::Own { chunks: 4..5, from: 1 },
        ];
        assert_eq!(plan("abcab", "---="), expected);
        assert_eq!(plan("abc", "==="), [Step::InPlace(0..3)]);
    }

    #[test]
    fn zeros_are_never_fetched_nor_copied() {
        assert_eq!(plan("0a0", ""), [Step::Zero(0..1), Step::Store(1..2), Step::Zero(2..3)]);
        assert_eq!(plan("0a0", "=--"), [Step::InPlace(0..1), Step::Store(1..2), Step::Zero(2..3)]);
    }

    #[test]
    fn one_id_with_two_lengths_is_two_chunks() {
        let mut index = Index::of_blob(Digest::default(), ChunkSizes::default());
        index.push(ChunkId::from_bytes([1; 32]), 10);
        index.push(ChunkId::from_bytes([1; 32]), 11);
        assert_eq!(Plan::new(&index, &[], &[]).steps, [Step::Store(0..2)]);
    }

    #[test]
    fn the_plan_covers_every_chunk_once() {
        let mut x = 1_u32;
        for len in 0..200 {
            let mut random = || {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                x >> 24
            };
            let chunks: String =
                (0..len).map(|_| char::from(b"00abcdefgh"[random() as usize % 10])).collect();
            let flags: String =
                (0..len).map(|_| if random() % 3 == 0 { '=' } else { '-' }).collect();
            let mut next = 0;
            let seed: String =
                (0..len / 2).map(|_| char::from(b"0abcdefxyz"[random() as usize % 10])).collect();
            for step in plan_with_seeds(&chunks, &flags, &[&seed, "abc"]) {
                assert_eq!(step.chunks().start, next);
                next = step.chunks().end;
            }
            assert_eq!(next, len);
        }
    }
}
