//! Where the bytes of a sparse file are.
//!
//! ```text
//! header, records or the beginning of the bytes  ->  map  ->  pieces: data in the tar, and zeros
//! ```

use cairn_formats::tar::{
    BLOCK, Extent, Kind, MapReader, extension_extents, header_extents, list_extents,
};

use super::blocks::Blocks;
use super::fields::Fields;
use super::members::Fault;
use crate::archive::step::Piece;

/// Extents of a file: every other page of one of 32 GiB. So many take 64 MiB.
const MOST_EXTENTS: usize = 4 << 20;

const WRONG: &str = "its map of holes is wrong";
const TOO_LONG: &str = "its map of holes is longer than anything should be";

/// Which parts of a file are in the tar.
pub(super) struct Map {
    /// Bytes of the file, holes among them.
    size: u64,
    extents: Vec<Extent>,
}

impl Map {
    /// The map of a file, if it is sparse. What is read of its bytes for that is taken from `stored`.
    pub(super) fn read(
        fields: &Fields<'_>,
        repeated: &[u64],
        blocks: &mut Blocks<'_>,
        stored: &mut u64,
    ) -> Result<Option<Self>, Fault> {
        let (key, extents) = if fields.header.kind() == Kind::Sparse {
            let size = fields.header.real_size().and_then(|size| u64::try_from(size).ok());
            let extents = old_extents(fields, blocks)?;
            return Ok(Some(Self { size: size.ok_or(WRONG)?, extents }));
        } else if fields.own.contains_key(&b"GNU.sparse.major"[..]) {
            let version = ["GNU.sparse.major", "GNU.sparse.minor"].map(|key| fields.record(key));
            if version != [Some(&b"1"[..]), Some(b"0")] {
                return Err("its holes are told in a form that is not known".into());
            }
            ("GNU.sparse.realsize", Some(extents_ahead(blocks, stored)?))
        } else if let Some(list) = fields.record("GNU.sparse.map") {
            ("GNU.sparse.size", list_extents(list))
        } else if fields.own.contains_key(&b"GNU.sparse.numblocks"[..]) {
            let (pairs, rest) = repeated.as_chunks::<2>();
            let extents = pairs.iter().map(|&[at, len]| Extent { at, len }).collect();
            ("GNU.sparse.size", rest.is_empty().then_some(extents))
        } else {
            return Ok(None);
        };
        let extents = extents.ok_or(WRONG)?;
        Ok(Some(Self { size: fields.number(key, None)?, extents }))
    }

    /// Bytes of the file, holes among them.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Where the bytes of the file are if those that are stored begin at `at`. Extents must follow one another and
    /// fill what is stored.
    pub(super) fn pieces(&self, at: u64, stored: u64) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        let (mut pos, mut from) = (0_u64, 0_u64);
        for extent in &self.extents {
            let end = extent.at.checked_add(extent.len).filter(|&end| end <= self.size);
            let (Some(end), Some(hole)) = (end, extent.at.checked_sub(pos)) else {
                return Err("its map of holes is not in order".to_owned());
            };
            if from.checked_add(extent.len).is_none_or(|from| from > stored) {
                return Err("its map of holes has more bytes than it".to_owned());
            }
            if extent.len > 0 {
                pieces.extend((hole > 0).then_some(Piece::Zeros(hole)));
                pieces.push(Piece::Data { at: at + from, len: extent.len });
                (pos, from) = (end, from + extent.len);
            }
        }
        if from != stored {
            return Err("its map of holes has fewer bytes than it".to_owned());
        }
        pieces.extend((self.size > pos).then_some(Piece::Zeros(self.size - pos)));
        Ok(pieces)
    }
}

/// The map in a header of GNU's old form and in the blocks behind it.
fn old_extents(fields: &Fields<'_>, blocks: &mut Blocks<'_>) -> Result<Vec<Extent>, Fault> {
    let (mut extents, mut has_more) = header_extents(fields.header).ok_or(WRONG)?;
    while has_more {
        let block = blocks.next()?.ok_or(WRONG)?;
        let (more, is_extended) = extension_extents(&block).ok_or(WRONG)?;
        extents.extend(more);
        if extents.len() > MOST_EXTENTS {
            return Err(TOO_LONG.into());
        }
        has_more = is_extended;
    }
    Ok(extents)
}

/// The map in front of the bytes of a file.
fn extents_ahead(blocks: &mut Blocks<'_>, stored: &mut u64) -> Result<Vec<Extent>, Fault> {
    let mut reader = MapReader::default();
    loop {
        *stored = stored.checked_sub(BLOCK as u64).ok_or(WRONG)?;
        let block = blocks.next()?.ok_or(WRONG)?;
        if reader.feed(&block).ok_or(WRONG)? {
            return Ok(reader.extents());
        }
        if reader.read() > 2 * MOST_EXTENTS {
            return Err(TOO_LONG.into());
        }
    }
}
