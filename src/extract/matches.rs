//! Where the chunks of a blob are in a seed. Pure.

use std::hash::BuildHasher;
use std::ops::Range;

use cairn_formats::{Index, IndexChunk};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

/// How many places of one chunk are looked at. More are rare in honest seeds, and a hostile one must not
/// cost the square of its size.
const MOST_PLACES: usize = 16;

/// Marks the last place of a chunk.
const NO_MORE: u32 = u32::MAX;

/// The places of all chunks of a seed, by what they hold.
#[derive(Debug)]
pub(super) struct SeedMap<'a> {
    index: &'a Index,
    /// Bytes in a block, if blocks of the seed can be shared with the output instead of copied.
    block: Option<u64>,
    /// The first place of each distinct chunk.
    first: HashTable<u32>,
    /// For each place, the next of the same chunk.
    next: Vec<u32>,
    hasher: DefaultHashBuilder,
}

/// Consecutive chunks of a blob that are consecutive in a seed as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The chunks of the blob.
    pub(super) chunks: Range<usize>,
    /// The position in the seed of the first of them.
    pub(super) from: usize,
    /// How good it is: the bytes it covers, twice if they can be shared.
    pub(super) weight: u64,
}

impl<'a> SeedMap<'a> {
    /// Of a seed with this index. `block` is the size of the blocks it can share with the output.
    pub(super) fn new(index: &'a Index, block: Option<u64>) -> Self {
        let mut map = Self {
            index,
            block,
            first: HashTable::with_capacity(index.len()),
            next: vec![NO_MORE; index.len()],
            hasher: DefaultHashBuilder::default(),
        };
        // From the end, so that the chains lead forward.
        (0..index.len()).rev().for_each(|position| map.add(position));
        map
    }

    fn add(&mut self, position: usize) {
        let Self { index, first, next, hasher, .. } = self;
        let chunk = index.chunk(position);
        let hash = |place: u32| hash_of(hasher, &index.chunk(place as usize));
        let number = u32::try_from(position).expect("an index of 2^32 chunks fills 160 GiB");
        let same = |&place: &u32| is_same(&index.chunk(place as usize), &chunk);
        match first.entry(hash(number), same, |&place| hash(place)) {
            Entry::Occupied(mut entry) => {
                next[position] = *entry.get();
                *entry.get_mut() = number;
            }
            Entry::Vacant(entry) => {
                entry.insert(number);
            }
        }
    }

    /// The best run of a blob's chunks that begins at `position`. It ends where `ends` says.
    pub(super) fn best(
        &self,
        blob: &Index,
        position: usize,
        ends: impl Fn(usize) -> bool,
    ) -> Option<Run> {
        let mut best: Option<Run> = None;
        for from in self.places(&blob.chunk(position)).take(MOST_PLACES) {
            let longest = (blob.len() - position).min(self.index.len() - from);
            let goes_on = |&n: &usize| {
                is_same(&blob.chunk(position + n), &self.index.chunk(from + n))
                    && !ends(position + n)
            };
            let len = 1 + (1..longest).take_while(goes_on).count();
            let run = self.run(blob, position..position + len, from);
            if best.as_ref().is_none_or(|best| run.weight > best.weight) {
                best = Some(run);
            }
        }
        best
    }

    fn run(&self, blob: &Index, chunks: Range<usize>, from: usize) -> Run {
        let start = blob.chunk(chunks.start).start;
        let bytes = blob.chunk(chunks.end - 1).end() - start;
        let away = start.abs_diff(self.index.chunk(from).start);
        let is_shared = self.block.is_some_and(|block| away.is_multiple_of(block));
        let weight = if is_shared { 2 * bytes } else { bytes };
        Run { chunks, from, weight }
    }

    /// Where in the seed a chunk is, in order.
    fn places(&self, chunk: &IndexChunk) -> impl Iterator<Item = usize> + '_ {
        let hash = hash_of(&self.hasher, chunk);
        let same = |&place: &u32| is_same(&self.index.chunk(place as usize), chunk);
        let first = self.first.find(hash, same).copied();
        let next = |&place: &u32| Some(self.next[place as usize]).filter(|&next| next != NO_MORE);
        std::iter::successors(first, next).map(|place| place as usize)
    }
}

/// With the length: one id with a million lengths must not be a million collisions.
fn hash_of(hasher: &DefaultHashBuilder, chunk: &IndexChunk) -> u64 {
    hasher.hash_one((chunk.id, chunk.len))
}

/// Only equal lengths are the same chunk: a hostile index may list one id with two.
fn is_same(one: &IndexChunk, other: &IndexChunk) -> bool {
    one.id == other.id && one.len == other.len
}

#[cfg(test)]
mod tests {
    use cairn_formats::{ChunkId, ChunkSizes, Digest};

    use super::*;

    /// An index with a chunk of 100 bytes for each letter, or of 99 for capitals.
    fn index(chunks: &str) -> Index {
        let mut index = Index::of_blob(Digest::default(), ChunkSizes::default());
        for letter in chunks.bytes() {
            let len = if letter.is_ascii_uppercase() { 99 } else { 100 };
            index.push(ChunkId::from_bytes([letter.to_ascii_lowercase(); 32]), len);
        }
        index
    }

    fn best(seed: &str, block: Option<u64>, blob: &str, position: usize) -> Option<(usize, usize)> {
        let (seed, blob) = (index(seed), index(blob));
        let run = SeedMap::new(&seed, block).best(&blob, position, |_| false)?;
        assert_eq!(run.chunks.start, position);
        Some((run.from, run.chunks.len()))
    }

    #[test]
    fn the_longest_run_is_best() {
        assert_eq!(best("abcxabcd", None, "abcd", 0), Some((4, 4)));
        assert_eq!(best("abcxabcd", None, "abcx", 0), Some((0, 4)));
        assert_eq!(best("abcxabcd", None, "zbc", 1), Some((1, 2)));
        assert_eq!(best("abc", None, "z", 0), None);
    }

    #[test]
    fn the_first_of_equal_runs_is_best() {
        assert_eq!(best("abxab", None, "ab", 0), Some((0, 2)));
    }

    #[test]
    fn a_run_that_can_be_shared_is_worth_more() {
        // At 300 bytes in the seed it lies right for blocks of 300, at 0 it does not.
        assert_eq!(best("abxab", Some(300), "zzzab", 3), Some((0, 2)));
        assert_eq!(best("abxab", Some(300), "ab", 0), Some((0, 2)));
        assert_eq!(best("zabxab", Some(300), "ab", 0), Some((1, 2)));
        assert_eq!(best("yzabcab", Some(250), "ab", 0), Some((5, 2)));
    }

    #[test]
    fn one_id_with_another_length_does_not_match() {
        assert_eq!(best("A", None, "a", 0), None);
        assert_eq!(best("abA", None, "abab", 0), Some((0, 2)));
    }

    #[test]
    fn a_run_ends_where_it_is_told_to() {
        let (seed, blob) = (index("abcd"), index("abcd"));
        let run = SeedMap::new(&seed, None).best(&blob, 0, |position| position == 2).unwrap();
        assert_eq!(run.chunks, 0..2);
    }

    #[test]
    fn many_equal_chunks_cost_little() {
        let (seed, blob) = (index(&"a".repeat(20_000)), index(&"a".repeat(20_000)));
        let run = SeedMap::new(&seed, None).best(&blob, 0, |_| false).unwrap();
        assert_eq!(run.chunks, 0..20_000);
    }

    #[test]
    fn one_id_with_many_lengths_costs_little() {
        let mut seed = Index::of_blob(Digest::default(), ChunkSizes::default());
        (1..=200_000).for_each(|len| seed.push(ChunkId::from_bytes([7; 32]), len));
        let began = std::time::Instant::now();
        let map = SeedMap::new(&seed, None);
        assert_eq!(map.best(&seed, 100, |_| false).unwrap().from, 100);
        // Every two compared would take minutes.
        assert!(began.elapsed().as_secs() < 20);
    }
}
