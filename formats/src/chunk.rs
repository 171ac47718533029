//! The two states of a chunk, kept apart by type.
//!
//! ```text
//!  bytes of a store          plain bytes, id checked
//!  CodedChunk  --open-->     Chunk
//!              <--encode--
//! ```
//! A [`CodedChunk`] only claims its id. All ways to make a [`Chunk`] hash its bytes, so a byte that was
//! not verified cannot reach an output; but for [`Chunk::trust`], which wants a coded chunk from
//! a store for which the user has switched verification off, or from one that has just verified it.

use std::borrow::Cow;

use crate::coding::{Decoder, Encoder, WriteCoding};
use crate::{ChunkId, Coding, Digest, Error, Result};

/// The longest chunk of the default sizes.
const USUAL_ZEROS: usize = 256 << 10;

/// What so many zeros are called, which takes half a millisecond to find out: longer than all else that a command does before
/// it begins.
const USUAL_ZEROS_ID: ChunkId = ChunkId::from_bytes([
    0x1c, 0x81, 0x09, 0x94, 0x6f, 0xee, 0xd9, 0xf9, 0xe9, 0xfe, 0x4b, 0x51, 0x44, 0xd9, 0x0f, 0x05,
    0xa5, 0x0f, 0xb3, 0x27, 0x5e, 0x84, 0x8c, 0xb7, 0x2f, 0x4b, 0x95, 0x46, 0xd8, 0xc5, 0x33, 0xf2,
]);

/// Plain bytes whose id is known to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    id: ChunkId,
    data: Cow<'a, [u8]>,
}

impl<'a> Chunk<'a> {
    /// Names plain bytes by hashing them.
    pub fn name(digest: Digest, data: impl Into<Cow<'a, [u8]>>) -> Self {
        let data = data.into();
        Self { id: digest.hash(&data), data }
    }

    /// The chunk of so many zeros. That of the default sizes is known; another one is hashed.
    pub fn zeros(digest: Digest, len: usize) -> Self {
        let data = Cow::Owned(vec![0; len]);
        match (digest, len) {
            (Digest::Sha512_256, USUAL_ZEROS) => Self { id: USUAL_ZEROS_ID, data },
            _ => Self::name(digest, data),
        }
    }

    /// Names many pieces of plain bytes at once, which is several times faster than one by one.
    pub fn name_many(digest: Digest, pieces: &[&'a [u8]]) -> Vec<Self> {
        let ids = digest.hash_many(pieces);
        let chunks = ids.into_iter().zip(pieces);
        chunks.map(|(id, &data)| Self { id, data: Cow::Borrowed(data) }).collect()
    }

    /// Checks that plain bytes have the id they claim.
    pub fn verify(digest: Digest, id: ChunkId, data: impl Into<Cow<'a, [u8]>>) -> Result<Self> {
        Self::name(digest, data).expect_id(id)
    }

    /// Checks many pieces of plain bytes against the ids they claim, in order, at once.
    pub fn verify_many(digest: Digest, claims: &[(ChunkId, &'a [u8])]) -> Vec<Result<Self>> {
        let pieces: Vec<&[u8]> = claims.iter().map(|&(_, data)| data).collect();
        let named = Self::name_many(digest, &pieces).into_iter();
        named.zip(claims).map(|(chunk, &(id, _))| chunk.expect_id(id)).collect()
    }

    /// Takes the plain bytes of a trusted coded chunk for what it claims. `None` if it is not trusted.
    pub fn trust(coded: &CodedChunk, data: impl Into<Cow<'a, [u8]>>) -> Option<Self> {
        coded.trusted.then(|| Self { id: coded.id, data: data.into() })
    }

    /// The same chunk, borrowed.
    pub fn by_ref(&self) -> Chunk<'_> {
        Chunk { id: self.id, data: Cow::Borrowed(&self.data) }
    }

    /// The digest of the bytes.
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// The plain bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    fn expect_id(self, id: ChunkId) -> Result<Self> {
        if self.id == id { Ok(self) } else { Err(Error::WrongId { id, actual: self.id }) }
    }
}

/// The bytes of a chunk as a store keeps them. The id is only claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedChunk {
    id: ChunkId,
    coding: Coding,
    bytes: Vec<u8>,
    trusted: bool,
}

impl CodedChunk {
    /// Bytes that claim to be the chunk `id` in the given coding.
    pub fn new(id: ChunkId, coding: Coding, bytes: Vec<u8>) -> Self {
        Self { id, coding, bytes, trusted: false }
    }

    /// Bytes found under a compressed name. Which compression is told by their magic.
    pub fn from_compressed(id: ChunkId, bytes: Vec<u8>) -> Result<Self> {
        let coding = Coding::of_magic(&bytes).ok_or_else(|| Error::BadCoding {
            id,
            coding: Coding::Zstd,
            why: if bytes.is_empty() {
                "the file is empty".to_owned()
            } else {
                "it begins with no known compression's magic".to_owned()
            },
        })?;
        Ok(Self { id, coding, bytes, trusted: false })
    }

    /// The same chunk, from a store that the user trusts or that has just verified it: nobody verifies its bytes again.
    pub fn trusted(self) -> Self {
        Self { trusted: true, ..self }
    }

    /// The same chunk, to be verified wherever it comes from: others will rely on it.
    pub fn distrusted(self) -> Self {
        Self { trusted: false, ..self }
    }

    /// Whether the user does not want it verified.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The claimed id.
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// How the bytes are coded.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// The coded bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The coded bytes, by value.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Decodes the chunk and checks its id, unless it is trusted. `limit` bounds the plain size in
    /// bytes: no more is ever unpacked, whatever the coded bytes say.
    pub fn open(
        &self,
        digest: Digest,
        decoder: &mut Decoder,
        limit: usize,
    ) -> Result<Chunk<'static>> {
        let plain = decoder.decode(self, limit)?;
        if self.trusted {
            return Ok(Chunk { id: self.id, data: plain.into() });
        }
        Chunk::verify(digest, self.id, plain)
    }

    /// The chunk for a place that wants it in another coding; its id stays a claim. What is
    /// compressed already is not compressed again, whatever the compression. `limit` bounds the plain
    /// size in bytes.
    pub fn recode(
        &self,
        coding: WriteCoding,
        encoder: &mut Encoder,
        decoder: &mut Decoder,
        limit: usize,
    ) -> Result<Cow<'_, Self>> {
        let bytes = match (self.coding, coding) {
            (Coding::Plain, WriteCoding::Plain)
            | (Coding::Zstd | Coding::Xz | Coding::Gzip, WriteCoding::Zstd) => {
                return Ok(Cow::Borrowed(self));
            }
            (Coding::Plain, WriteCoding::Zstd) => encoder.compress(&self.bytes),
            (Coding::Zstd | Coding::Xz | Coding::Gzip, WriteCoding::Plain) => {
                decoder.decode(self, limit)?
            }
        };
        let (id, trusted) = (self.id, self.trusted);
        Ok(Cow::Owned(Self { id, coding: coding.into(), bytes, trusted }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_id_never_becomes_a_chunk() {
        let id = Digest::Sha512_256.hash(b"right");
        for digest in [Digest::Sha512_256, Digest::Sha256] {
            assert!(matches!(Chunk::verify(digest, id, b"wrong"), Err(Error::WrongId { .. })));
        }
        let results = Chunk::verify_many(Digest::Sha512_256, &[(id, b"wrong"), (id, b"right")]);
        assert!(results[0].is_err());
        assert_eq!(results[1].as_ref().unwrap().data(), b"right");
    }

    #[test]
    fn only_trusted_chunks_are_taken_at_their_word() {
        let id = Digest::default().hash(b"right");
        let coded = CodedChunk::new(id, Coding::Plain, b"wrong".to_vec());
        let mut decoder = Decoder::new();
        assert!(Chunk::trust(&coded, coded.bytes()).is_none());
        assert!(coded.open(Digest::default(), &mut decoder, 10).is_err());
        let coded = coded.trusted();
        assert_eq!(Chunk::trust(&coded, coded.bytes()).unwrap().data(), b"wrong");
        assert_eq!(coded.open(Digest::default(), &mut decoder, 10).unwrap().data(), b"wrong");
    }

    #[test]
    fn encoded_chunks_open_again() {
        let chunk = Chunk::name(Digest::Sha512_256, b"some bytes".repeat(100));
        let mut decoder = Decoder::new();
        for coding in [WriteCoding::Plain, WriteCoding::Zstd] {
            let coded = Encoder::new(3).encode(&chunk, coding);
            assert_eq!(coded.coding(), coding.into());
            assert_eq!(coded.open(Digest::Sha512_256, &mut decoder, 1000).unwrap(), chunk);
            // one byte less than it needs
            assert!(coded.open(Digest::Sha512_256, &mut decoder, 999).is_err());
            assert!(coded.open(Digest::Sha256, &mut decoder, 1000).is_err());
        }
    }

    #[test]
    fn zeros_are_called_what_they_are() {
        for digest in [Digest::Sha512_256, Digest::Sha256] {
            for len in [1, USUAL_ZEROS - 1, USUAL_ZEROS, USUAL_ZEROS + 1] {
                assert_eq!(Chunk::zeros(digest, len), Chunk::name(digest, vec![0; len]));
            }
        }
    }
}
