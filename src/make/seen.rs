//! The ids that came by already in this run.

use std::hash::BuildHasher;

use cairn_formats::ChunkId;
use hashbrown::{DefaultHashBuilder, HashTable};

/// A set of ids in little more memory than the ids themselves: a table of their numbers over a
/// plain list. For a blob of terabytes this is the largest thing in memory beside the index.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: Vec<ChunkId>,
    numbers: HashTable<u32>,
    /// Keyed at random: whoever makes the input must not choose collisions.
    hasher: DefaultHashBuilder,
}

impl Seen {
    /// Adds an id. Returns whether it is new.
    pub(super) fn insert(&mut self, id: ChunkId) -> bool {
        let Self { ids, numbers, hasher } = self;
        let hash = |id: &ChunkId| hasher.hash_one(id.as_bytes());
        let entry = numbers.entry(
            hash(&id),
            |&number| ids[number as usize] == id,
            |&number| hash(&ids[number as usize]),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(_) => false,
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                let number = u32::try_from(ids.len()).expect("a list of 2^32 ids fills 128 GiB");
                vacant.insert(number);
                ids.push(id);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_time_is_new() {
        let mut seen = Seen::default();
        let id = |n: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            ChunkId::from_bytes(bytes)
        };
        assert!((0..5000).all(|n| seen.insert(id(n))));
        assert!((0..5000).all(|n| !seen.insert(id(n))));
    }
}
