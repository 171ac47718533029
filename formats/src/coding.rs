//! Plain bytes <-> bytes in a store.
//!
//! A `.cacnk` file is one zstd, xz or gzip stream; casync tells them apart by their magic alone and
//! so do we. cairn writes zstd or plain, and reads all.
//!
//! What a frame says about its own size is never trusted: output goes into a buffer of the size
//! the index gives, and a stream that would fill more is refused without being unpacked.

use std::fmt;
use std::io::Read;

use zstd::bulk::{Compressor, Decompressor};

use crate::wire::read_full;
use crate::{Chunk, CodedChunk, Error, Result};

/// The zstd level of casync and desync.
pub const DEFAULT_LEVEL: i32 = 3;

/// Memory a hostile xz stream may ask for, in bytes. Preset 9 needs 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;

/// How the bytes of a chunk lie in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// As they are.
    Plain,
    /// One zstd frame, with or without content size.
    Zstd,
    /// One xz stream; read only.
    Xz,
    /// One gzip member; read only.
    Gzip,
}

impl Coding {
    /// The compression whose magic the bytes begin with.
    pub fn of_magic(bytes: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Coding); 3] = [
            (&[0x28, 0xb5, 0x2f, 0xfd], Coding::Zstd),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Coding::Xz),
            (&[0x1f, 0x8b], Coding::Gzip),
        ];
        MAGICS
            .iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|&(_, coding)| coding)
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Coding::Plain => "plain",
            Coding::Zstd => "zstd",
            Coding::Xz => "xz",
            Coding::Gzip => "gzip",
        })
    }
}

/// Turns chunks into what a store keeps. One per worker: setting up a context costs a tenth of the
/// compression of a chunk.
pub struct Encoder {
    zstd: Compressor<'static>,
}

impl Encoder {
    /// An encoder with the given zstd level, 1 to 19; others are clamped by zstd.
    pub fn new(level: i32) -> Self {
        let zstd = Compressor::new(level).expect("zstd has memory for a context");
        Self { zstd }
    }

    /// Codes a chunk. Only the codings cairn writes are possible: any other is taken for zstd.
    pub fn encode(&mut self, chunk: &Chunk<'_>, coding: Coding) -> CodedChunk {
        match coding {
            Coding::Plain => CodedChunk::new(chunk.id(), Coding::Plain, chunk.data().to_vec()),
            Coding::Zstd | Coding::Xz | Coding::Gzip => {
                let bytes = self.zstd.compress(chunk.data());
                let bytes = bytes.expect("a buffer of the bound size holds every frame");
                CodedChunk::new(chunk.id(), Coding::Zstd, bytes)
            }
        }
    }
}

/// Turns what a store keeps into plain bytes, not yet verified. One per worker.
pub struct Decoder {
    zstd: Decompressor<'static>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder for every coding.
    pub fn new() -> Self {
        Self {
            zstd: Decompressor::new().expect("zstd has memory for a context"),
        }
    }

    /// Decodes into a buffer that the plain bytes must fill exactly.
    pub fn decode_exact(&mut self, coded: &CodedChunk, plain: &mut [u8]) -> Result<()> {
        let got = self.decode_into(coded, plain)?;
        if got == plain.len() {
            return Ok(());
        }
        let expected = plain.len() as u64;
        Err(Error::WrongSize {
            id: coded.id(),
            expected,
            actual: got.to_string(),
        })
    }

    /// Decodes at most `limit` bytes; a chunk that has more is an error.
    pub fn decode(&mut self, coded: &CodedChunk, limit: usize) -> Result<Vec<u8>> {
        let mut plain = vec![0; limit];
        let got = self.decode_into(coded, &mut plain)?;
        plain.truncate(got);
        Ok(plain)
    }

    /// Decodes to the front of `plain`, returns the size. More than fits is an error.
    fn decode_into(&mut self, coded: &CodedChunk, plain: &mut [u8]) -> Result<usize> {
        let room = plain.len();
        let too_long = || Error::WrongSize {
            id: coded.id(),
            expected: room as u64,
            actual: "more".to_owned(),
        };
        let bad = |why: String| Error::BadCoding {
            id: coded.id(),
            coding: coded.coding(),
            why,
        };
        match coded.coding() {
            Coding::Plain => {
                let bytes = coded.bytes();
                plain
                    .get_mut(..bytes.len())
                    .ok_or_else(too_long)?
                    .copy_from_slice(bytes);
                Ok(bytes.len())
            }
            Coding::Zstd => match self.zstd.decompress_to_buffer(coded.bytes(), plain) {
                Ok(got) => Ok(got),
                Err(e) if e.to_string().contains("too small") => Err(too_long()),
                Err(e) => Err(bad(e.to_string())),
            },
            Coding::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0);
                let stream = stream.map_err(|e| bad(e.to_string()))?;
                let decoder = liblzma::read::XzDecoder::new_stream(coded.bytes(), stream);
                read_all(decoder, plain, bad)?.ok_or_else(too_long)
            }
            Coding::Gzip => {
                let decoder = flate2::read::GzDecoder::new(coded.bytes());
                read_all(decoder, plain, bad)?.ok_or_else(too_long)
            }
        }
    }
}

/// Reads a stream to its end. `None` if it holds more than `plain` has room for.
fn read_all(
    mut stream: impl Read,
    plain: &mut [u8],
    bad: impl Fn(String) -> Error,
) -> Result<Option<usize>> {
    let got = read_full(&mut stream, plain).map_err(|e| bad(e.to_string()))?;
    let over = read_full(&mut stream, &mut [0]).map_err(|e| bad(e.to_string()))?;
    Ok((over == 0).then_some(got))
}
