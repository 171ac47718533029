//! What to do for each chunk of an output. Pure: opens nothing, so everything is tested here.

use std::ops::Range;

use cairn_formats::Index;

use super::ExtractStats;
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
    pub fn new(index: &Index, in_place: &[bool]) -> Self {
        let zeros = zeros_of(index).id();
        let mut first = Firsts::new(index);
        let is_in_place = |position: usize| in_place.get(position).copied().unwrap_or(false);
        // What is there already serves also for chunks before it.
        for position in (0..in_place.len()).filter(|&position| in_place[position]) {
            first.of(position);
        }
        let mut plan = Self { steps: Vec::new() };
        for (position, chunk) in index.chunks().enumerate() {
            let source = if is_in_place(position) {
                Source::InPlace
            } else if chunk.id == zeros && chunk.len == index.sizes().max() {
                Source::Zero
            } else {
                match first.of(position) {
                    known if known == position => Source::Store,
                    from => Source::Own(from),
                }
            };
            plan.add(position, source);
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

    /// How many chunks and bytes come from where.
    pub(super) fn stats(&self, index: &Index) -> ExtractStats {
        let mut stats = ExtractStats {
            chunks: index.len() as u64,
            bytes: index.blob_size(),
            ..ExtractStats::default()
        };
        for step in &self.steps {
            match step {
                Step::InPlace(range) => stats.in_place += range.len() as u64,
                Step::Zero(range) => stats.zero += range.len() as u64,
                Step::Store(range) => stats.fetched += range.len() as u64,
                Step::Own { chunks, .. } => stats.own += chunks.len() as u64,
            }
        }
        stats
    }
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
        let in_place: Vec<bool> = in_place.bytes().map(|flag| flag == b'=').collect();
        Plan::new(&index(chunks), &in_place).steps
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
        assert_eq!(Plan::new(&index, &[]).steps, [Step::Store(0..2)]);
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
            for step in plan(&chunks, &flags) {
                let (Step::InPlace(range)
                | Step::Zero(range)
                | Step::Store(range)
                | Step::Own { chunks: range, .. }) = step;
                assert_eq!(range.start, next);
                next = range.end;
            }
            assert_eq!(next, len);
        }
    }
}
