//! What a batch of chunks takes to be fetched.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use cairn_formats::{Chunk, Index, IndexChunk};

/// Consecutive chunks of a blob. Zeros are not fetched, and what occurs several times is fetched once.
pub(crate) struct Batch {
    /// The chunks in their order; each with its place among those to be fetched, or `None` for zeros.
    pub(crate) pieces: Vec<(IndexChunk, Option<usize>)>,
    pub(crate) fetched: Vec<IndexChunk>,
}

impl Batch {
    pub(crate) fn new(index: &Index, zeros: &Chunk<'_>, positions: Range<usize>) -> Self {
        let mut batch = Self { pieces: Vec::with_capacity(positions.len()), fetched: Vec::new() };
        let mut known = HashMap::new();
        for position in positions {
            let chunk = index.chunk(position);
            let is_zero = chunk.id == zeros.id() && chunk.len == zeros.data().len();
            let place = (!is_zero).then(|| match known.entry((chunk.id, chunk.len)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    batch.fetched.push(chunk);
                    *new.insert(batch.fetched.len() - 1)
                }
            });
            batch.pieces.push((chunk, place));
        }
        batch
    }

    /// How many bytes are to be fetched.
    pub(crate) fn bytes(&self) -> usize {
        self.fetched.iter().map(|chunk| chunk.len).sum()
    }
}
