//! Jobs that look after stores.
//!
//! ```text
//! verify     store -(all chunks, read, hashed xN)-> bad ones
//! prune      store - ids of indexes -> removed
//! copy       ids of indexes - ids to ignore - target's -(fetch xN)-> target
//! chop       blob + index -(read, hashed xN)-> store
//! info       index + stores + seeds -> counts
//! sizes      what chunks take in a store, as a list for other programs
//! id_list    ids in a text file
//! ```
//! Only `verify` (where it repairs) and `prune` remove anything, and only what they were asked about.

pub mod chop;
pub mod copy;
pub mod id_list;
pub mod info;
pub mod prune;
pub mod sizes;
pub mod verify;

use cairn_formats::Index;

use crate::ids::IdSet;

/// Adds all chunks of an index to a set.
pub fn add_index(ids: &mut IdSet, index: &Index) {
    for chunk in index.chunks() {
        ids.insert(chunk.id);
    }
}
