//! The ids in an index of which more is still to come.
//!
//! ```text
//! bytes of an index file, cut anywhere -> header -> items -> tail
//! ```
//! This is for who wants to begin with the chunks at once. Whether it is a proper index is not told:
//! for that it has to be [read](crate::Index::read) when it is complete.

use crate::index::{HEADER_LEN, ITEM_LEN, TABLE_HEADER_LEN, read_header};
use crate::wire::word;
use crate::{ChunkId, ChunkSizes, Digest, Result, flags};

/// Takes the bytes of an index as they come.
#[derive(Debug, Default)]
pub struct IndexStream {
    /// What is known once the header is here.
    header: Option<(u64, ChunkSizes)>,
    /// The beginning of the header, an item or the tail.
    rest: Vec<u8>,
    is_over: bool,
}

impl IndexStream {
    /// Takes the next bytes. Calls `each` for the ids that are complete now.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(ChunkId)) -> Result<()> {
        self.rest.extend_from_slice(bytes);
        let mut from = 0;
        if self.header.is_none() {
            from = HEADER_LEN + TABLE_HEADER_LEN;
            let Some(header) = self.rest.get(..from) else { return Ok(()) };
            self.header = Some(read_header(&mut &header[..])?);
        }
        let (units, _) = self.rest[from..].as_chunks::<ITEM_LEN>();
        for unit in units {
            // No item ends at 0, and so begins the tail.
            self.is_over |= word(unit, 0) == 0;
            if !self.is_over {
                let id = unit.last_chunk().expect("an item holds an id");
                each(ChunkId::from_bytes(*id));
            }
        }
        self.rest.drain(..from + units.len() * ITEM_LEN);
        Ok(())
    }

    /// The digest its ids are made with, if the header is here.
    pub fn digest(&self) -> Option<Digest> {
        self.header.map(|(flags, _)| flags::digest(flags))
    }

    /// The sizes the blob was cut by, if the header is here.
    pub fn sizes(&self) -> Option<ChunkSizes> {
        self.header.map(|(_, sizes)| sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Index;

    #[test]
    fn the_ids_come_however_it_is_cut() {
        let mut index = Index::of_blob(Digest::Sha256, ChunkSizes::default());
        (0..50).for_each(|n| index.push(ChunkId::from_bytes([n; 32]), 1000));
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        let expected: Vec<ChunkId> = index.chunks().map(|chunk| chunk.id).collect();
        for len in [1, 7, 40, 64, 104, 1000, bytes.len()] {
            let mut stream = IndexStream::default();
            let mut ids = Vec::new();
            for piece in bytes.chunks(len) {
                stream.feed(piece, |id| ids.push(id)).unwrap();
            }
            assert_eq!(ids, expected, "pieces of {len}");
            assert_eq!(stream.digest(), Some(Digest::Sha256));
            assert_eq!(stream.sizes(), Some(ChunkSizes::default()));
        }
    }

    #[test]
    fn what_does_not_begin_as_an_index_is_refused() {
        let mut stream = IndexStream::default();
        stream.feed(&[7; 63], |_| ()).unwrap();
        assert!(stream.feed(&[7], |_| ()).is_err());
    }
}
