//! Ids by the million: which came by already, and where in an index they are.
//!
//! Both tables hold numbers of four bytes over a list that is there anyhow, so that an index of ten
//! million chunks costs a fifth of its own size, and both are keyed at random: whoever makes an input
//! or an index must not choose collisions.

use std::convert::Infallible;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::Mutex;

use cairn_formats::{ChunkId, Index};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::flow::{each, lock};

/// Look-ups whose places in a large table are fetched into the cache together.
const LOOK_UPS_TOGETHER: usize = 32;

/// From so many ids on another worker is worth its start.
const WORTH_A_WORKER: usize = 1 << 17;

/// A set of ids that keeps their order.
#[derive(Debug, Default)]
pub struct IdSet {
    ids: Vec<ChunkId>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl IdSet {
    /// Adds an id. Returns whether it is new.
    pub fn insert(&mut self, id: ChunkId) -> bool {
        let Self { ids, numbers, hasher } = self;
        let hash = |id: &ChunkId| hasher.hash_one(id.as_bytes());
        let entry = numbers.entry(
            hash(&id),
            |&number| ids[number as usize] == id,
            |&number| hash(&ids[number as usize]),
        );
        match entry {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(number(ids.len()));
                ids.push(id);
                true
            }
        }
    }

    /// Whether the id has been added.
    pub fn contains(&self, id: &ChunkId) -> bool {
        let hash = self.hasher.hash_one(id.as_bytes());
        self.numbers.find(hash, |&number| self.ids[number as usize] == *id).is_some()
    }

    /// All ids, in the order in which they were added.
    pub fn ids(&self) -> &[ChunkId] {
        &self.ids
    }
}

/// The first position of each distinct chunk among those of an index that have been asked for.
///
/// A hostile index may list one id with two lengths. Only equal lengths are the same chunk: the other
/// then fails when it is fetched.
#[derive(Debug)]
pub struct Firsts<'a> {
    index: &'a Index,
    positions: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<'a> Firsts<'a> {
    /// Of this index, none asked for yet.
    pub fn new(index: &'a Index) -> Self {
        let positions = HashTable::new();
        Self { index, positions, hasher: DefaultHashBuilder::default() }
    }

    /// The first position asked for that has the chunk at `position`; itself if it is new.
    pub fn of(&mut self, position: usize) -> usize {
        let Self { index, positions, hasher } = self;
        let key = |position: usize| {
            let chunk = index.chunk(position);
            (chunk.id, chunk.len)
        };
        // With the length: one id with a million lengths must not be a million collisions.
        let hash = |position: usize| hasher.hash_one(key(position));
        let wanted = key(position);
        let same = |&known: &u32| key(known as usize) == wanted;
        let rehash = |&known: &u32| hash(known as usize);
        let entry = positions.entry(hash(position), same, rehash);
        *entry.or_insert(number(position)).get() as usize
    }
}

/// The first positions of all distinct chunks of an index, in runs of rising ones.
///
/// Each worker looks at all ids and keeps a table of its share of them: what takes the time is not to
/// read the list but to hit a large table at random.
pub fn distinct(index: &Index, workers: usize) -> Vec<u32> {
    let hasher = DefaultHashBuilder::default();
    let parts = workers.clamp(1, index.len() / WORTH_A_WORKER + 1);
    let found: Vec<Mutex<Vec<u32>>> = (0..parts).map(|_| Mutex::default()).collect();
    let find = |(): &mut (), part: usize| {
        *lock(&found[part]) = distinct_in_part(index, &hasher, part, parts);
        Ok::<(), Infallible>(())
    };
    let Ok(()) = each(parts, 0..parts, || (), find);
    let mut found = found.into_iter().map(|part| part.into_inner().unwrap_or_default());
    let mut all = found.next().unwrap_or_default();
    found.for_each(|part| all.extend(part));
    all
}

/// Of those ids whose hash falls to one of the parts.
fn distinct_in_part(
    index: &Index,
    hasher: &DefaultHashBuilder,
    part: usize,
    parts: usize,
) -> Vec<u32> {
    let key = |position: u32| {
        let chunk = index.chunk(position as usize);
        (chunk.id, chunk.len)
    };
    // With the length, as above.
    let hash = |position: u32| hasher.hash_one(key(position));
    let mut table: HashTable<u32> = HashTable::with_capacity(index.len() / parts);
    let mut first = Vec::with_capacity(index.len() / parts);
    // By bits of which the table makes no use.
    let is_own = |hash: u64| (hash >> 32) as u32 as usize % parts == part;
    let hashed = (0..number(index.len())).map(|position| (position, hash(position)));
    let mut own = hashed.filter(|&(_, hash)| is_own(hash));
    let mut together = Vec::with_capacity(LOOK_UPS_TOGETHER);
    loop {
        together.clear();
        together.extend(own.by_ref().take(LOOK_UPS_TOGETHER));
        if together.is_empty() {
            return first;
        }
        // None of these waits for another, so the processor fetches their places all at once.
        for &(_, hash) in &together {
            black_box(table.find(hash, |_| false));
        }
        for &(position, own) in &together {
            let wanted = key(position);
            let entry = table.entry(own, |&known| key(known) == wanted, |&known| hash(known));
            if let Entry::Vacant(vacant) = entry {
                vacant.insert(position);
                first.push(position);
            }
        }
    }
}

fn number(position: usize) -> u32 {
    u32::try_from(position).expect("a list of 2^32 ids fills 128 GiB")
}

#[cfg(test)]
mod tests {
    use cairn_formats::{ChunkSizes, Digest};

    use super::*;

    fn id(n: u32) -> ChunkId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        ChunkId::from_bytes(bytes)
    }

    #[test]
    fn only_the_first_time_is_new() {
        let mut set = IdSet::default();
        assert!((0..5000).all(|n| set.insert(id(n))));
        assert!((0..5000).all(|n| !set.insert(id(n)) && set.contains(&id(n))));
        assert!(!set.contains(&id(5000)));
        assert!(set.ids().iter().copied().eq((0..5000).map(id)));
    }

    #[test]
    fn the_first_of_equal_chunks_is_found() {
        let mut index = Index::of_blob(Digest::default(), ChunkSizes::default());
        for n in 0..3000 {
            index.push(id(n % 1000), 10);
        }
        // The same id with another length is another chunk.
        index.push(id(0), 11);
        let mut firsts = Firsts::new(&index);
        (0..index.len()).for_each(|position| _ = firsts.of(position));
        assert_eq!(distinct(&index, 1).len(), 1001);
        assert!((0..3000).all(|position| firsts.of(position) == position % 1000));
        assert_eq!(firsts.of(3000), 3000);
        assert_eq!(Firsts::new(&index).of(2500), 2500);
    }

    #[test]
    fn distinct_chunks_are_found_by_any_number_of_workers() {
        let mut index = Index::of_blob(Digest::default(), ChunkSizes::default());
        let distinct_ids = 2 * WORTH_A_WORKER as u32;
        for n in 0..distinct_ids + 50_000 {
            index.push(id(n % distinct_ids), 10);
        }
        for workers in [1, 2, 5] {
            let mut found = distinct(&index, workers);
            found.sort_unstable();
            assert!(found.into_iter().eq(0..distinct_ids), "{workers} workers");
        }
        let empty = Index::of_blob(Digest::default(), ChunkSizes::default());
        assert!(distinct(&empty, 2).is_empty());
    }

    #[test]
    fn one_id_with_many_lengths_costs_little() {
        let mut index = Index::of_blob(Digest::default(), ChunkSizes::default());
        (1..=200_000).for_each(|len| index.push(id(7), len));
        let began = std::time::Instant::now();
        let mut firsts = Firsts::new(&index);
        assert!((0..200_000).all(|position| firsts.of(position) == position));
        assert_eq!(distinct(&index, 1).len(), 200_000);
        // Every two compared would take minutes.
        assert!(began.elapsed().as_secs() < 20);
    }
}
