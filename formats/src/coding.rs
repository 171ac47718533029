//! Plain bytes <-> bytes in a store.
//!
//! A `.cacnk` file is one zstd, xz or gzip stream; casync tells them apart by their magic alone and
//! so do we. cairn writes zstd or plain ([`WriteCoding`]), and reads all ([`Coding`]).
//!
//! What a frame says about its own size is never trusted: output goes into a buffer of the size
//! the index gives, and a stream that would fill more is refused without being unpacked.

use std::fmt;
use std::io::Read;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{self, CParameter, Strategy};

use crate::wire::read_full;
use crate::{Chunk, CodedChunk, Error, Result};

/// The zstd level of casync and desync.
pub const DEFAULT_LEVEL: i32 = 3;

/// Memory a hostile xz stream may ask for, in bytes. Preset 9 needs 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;

/// What a chunk of unknown size gets at first, in bytes: the longest chunk of the default sizes.
const FIRST_ROOM: usize = 256 << 10;

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
        MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|&(_, coding)| coding)
    }
}

impl Coding {
    /// Whether it makes chunks shorter, which their names tell.
    pub fn is_compressed(self) -> bool {
        self != Coding::Plain
    }
}

/// The codings that cairn writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WriteCoding {
    /// As they are.
    Plain,
    /// One zstd frame with content size.
    #[default]
    Zstd,
}

impl From<WriteCoding> for Coding {
    fn from(coding: WriteCoding) -> Self {
        match coding {
            WriteCoding::Plain => Coding::Plain,
            WriteCoding::Zstd => Coding::Zstd,
        }
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

/// How many times longer than its compressed bytes a chunk may be before decoding takes another go.
const USUAL_RATIO: usize = 4;

/// Chunks up to this size are compressed with [`SMALL_CHUNK_PARAMETERS`] at the default level.
const SMALL_CHUNK: usize = 256 << 10;

/// What makes level 3 a seventh faster on small chunks: match tables of 64 KiB each, which stay in
/// a core's cache from chunk to chunk, where the level's own are sized for longer inputs. Measured
/// over three tars (a Go toolchain, Python and Perl libraries, Rust libraries) the stored size grows
/// by 0.3 to 0.8 % over casync's; smaller tables, or a single one, cost more than they save.
const SMALL_CHUNK_PARAMETERS: [CParameter; 5] = [
    CParameter::Strategy(Strategy::ZSTD_dfast),
    CParameter::HashLog(14),
    CParameter::ChainLog(14),
    CParameter::SearchLog(1),
    CParameter::MinMatch(5),
];

/// Turns chunks into what a store keeps. One per worker: setting up a context costs a tenth of the
/// compression of a chunk.
pub struct Encoder {
    small: Compressor<'static>,
    large: Compressor<'static>,
    /// Takes a frame of any size. Memory of that size for each chunk would have to be mapped and
    /// cleared by the system each time.
    frame: Vec<u8>,
}

impl Encoder {
    /// An encoder with the given zstd level, 1 to 19; others are clamped by zstd.
    pub fn new(level: i32) -> Self {
        // A context takes its memory when it is first used.
        let context = || Compressor::new(level).expect("zstd has memory for a context");
        let (mut small, large) = (context(), context());
        if level == DEFAULT_LEVEL {
            for parameter in SMALL_CHUNK_PARAMETERS {
                small.set_parameter(parameter).expect("the parameters are in zstd's range");
            }
        }
        Self { small, large, frame: Vec::new() }
    }

    /// Codes a chunk.
    pub fn encode(&mut self, chunk: &Chunk<'_>, coding: WriteCoding) -> CodedChunk {
        let bytes = match coding {
            WriteCoding::Plain => chunk.data().to_vec(),
            WriteCoding::Zstd => self.compress(chunk.data()),
        };
        CodedChunk::new(chunk.id(), coding.into(), bytes)
    }

    pub(crate) fn compress(&mut self, data: &[u8]) -> Vec<u8> {
        let zstd = if data.len() <= SMALL_CHUNK { &mut self.small } else { &mut self.large };
        self.frame.clear();
        self.frame.reserve(zstd_safe::compress_bound(data.len()));
        let written = zstd.compress_to_buffer(data, &mut self.frame);
        written.expect("a buffer of the bound size is enough");
        self.frame.clone()
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
        Self { zstd: Decompressor::new().expect("zstd has memory for a context") }
    }

    /// Decodes into a buffer that the plain bytes must fill exactly.
    pub fn decode_exact(&mut self, coded: &CodedChunk, plain: &mut [u8]) -> Result<()> {
        let got = self.decode_into(coded, plain)?;
        if got == plain.len() {
            return Ok(());
        }
        let expected = plain.len() as u64;
        Err(Error::WrongSize { id: coded.id(), expected, actual: got.to_string() })
    }

    /// Decodes at most `limit` bytes; a chunk that has more is an error.
    pub fn decode(&mut self, coded: &CodedChunk, limit: usize) -> Result<Vec<u8>> {
        // A limit may be far above what chunks have, and what a frame says of itself is not trusted.
        let mut room = (coded.bytes().len() * USUAL_RATIO).max(SMALL_CHUNK).min(limit);
        loop {
            let mut plain = vec![0; room];
            match self.decode_into(coded, &mut plain) {
                Err(Error::WrongSize { .. }) if room < limit => {
                    room = room.saturating_mul(USUAL_RATIO).min(limit);
                }
                got => {
                    plain.truncate(got?);
                    return Ok(plain);
                }
            }
        }
    }

    /// Decodes a chunk of unknown size to `plain[at..]`, returns its size. `plain` grows by doubling, as
    /// far as the chunk turns out to need; one of more than `limit` bytes is an error.
    pub fn decode_growing(
        &mut self,
        coded: &CodedChunk,
        plain: &mut Vec<u8>,
        at: usize,
        limit: usize,
    ) -> Result<usize> {
        let mut room = plain.len().saturating_sub(at).max(FIRST_ROOM).min(limit);
        loop {
            if plain.len() < at + room {
                plain.resize(at + room, 0);
            }
            match self.decode_into(coded, &mut plain[at..at + room]) {
                Err(Error::WrongSize { .. }) if room < limit => room = (2 * room).min(limit),
                outcome => return outcome,
            }
        }
    }

    /// Decodes to the front of `plain`, returns the size. More than fits is an error.
    fn decode_into(&mut self, coded: &CodedChunk, plain: &mut [u8]) -> Result<usize> {
        let room = plain.len();
        let too_long = || Error::WrongSize {
            id: coded.id(),
            expected: room as u64,
            actual: "more".to_owned(),
        };
        let bad = |why: String| Error::BadCoding { id: coded.id(), coding: coded.coding(), why };
        match coded.coding() {
            Coding::Plain => {
                let bytes = coded.bytes();
                plain.get_mut(..bytes.len()).ok_or_else(too_long)?.copy_from_slice(bytes);
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{ChunkId, Digest};

    fn plain() -> Vec<u8> {
        (0..50_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    fn coded(bytes: Vec<u8>) -> Result<CodedChunk> {
        CodedChunk::from_compressed(Digest::default().hash(&plain()), bytes)
    }

    fn xz(data: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(data, 3).unwrap()
    }

    #[test]
    fn every_compression_is_read_exactly() {
        let mut decoder = Decoder::new();
        for encode in [zstd, xz, gzip] {
            let coded = coded(encode(&plain())).unwrap();
            let mut buffer = vec![0; plain().len()];
            decoder.decode_exact(&coded, &mut buffer).unwrap();
            assert_eq!(buffer, plain());
            for (len, word) in [(buffer.len() - 1, "more"), (buffer.len() + 1, "200000")] {
                let error = decoder.decode_exact(&coded, &mut vec![0; len]).unwrap_err();
                assert!(matches!(error, Error::WrongSize { .. }), "{}: {error}", coded.coding());
                assert!(error.to_string().contains(word), "{error}");
            }
        }
    }

    #[test]
    fn a_chunk_far_shorter_than_the_limit_takes_little_memory() {
        let mut decoder = Decoder::new();
        for encode in [zstd, xz, gzip] {
            let chunk = decoder.decode(&coded(encode(&plain())).unwrap(), 1 << 30).unwrap();
            assert!(chunk == plain() && chunk.capacity() < 1 << 20);
            let zeros = vec![0; 5_000_000];
            let chunk = decoder.decode(&coded(encode(&zeros)).unwrap(), 1 << 30).unwrap();
            assert!(chunk == zeros && chunk.capacity() <= 4 * zeros.len());
        }
    }

    #[test]
    fn the_buffer_of_a_chunk_of_unknown_size_grows_with_it() {
        let mut decoder = Decoder::new();
        let mut buffer = Vec::new();
        let long = plain().repeat(5);
        for encode in [zstd, xz, gzip] {
            let short = coded(encode(b"short")).unwrap();
            let long_coded = coded(encode(&long)).unwrap();
            assert_eq!(decoder.decode_growing(&short, &mut buffer, 0, 1 << 20).unwrap(), 5);
            let got = decoder.decode_growing(&long_coded, &mut buffer, 5, 1 << 20).unwrap();
            assert!(buffer[..5] == *b"short" && buffer[5..5 + got] == long);
            for limit in [0, 1, long.len() - 1] {
                let outcome = decoder.decode_growing(&long_coded, &mut buffer, 5, limit);
                assert!(matches!(outcome, Err(Error::WrongSize { .. })), "{limit}");
            }
            decoder.decode_growing(&long_coded, &mut buffer, 0, long.len()).unwrap();
            assert!(buffer.len() <= 2 * (1 << 20));
        }
    }

    #[test]
    fn a_frame_without_content_size_is_read() {
        // As casync writes them.
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&plain()).unwrap();
        let coded = coded(encoder.finish().unwrap()).unwrap();
        let opened = coded.open(Digest::default(), &mut Decoder::new(), 1 << 20).unwrap();
        assert_eq!(opened.data(), plain());
    }

    #[test]
    fn a_bomb_fills_no_more_than_its_buffer() {
        let bomb = zstd(&vec![0; 64 << 20]);
        assert!(bomb.len() < 10_000);
        for encode in [zstd, xz, gzip] {
            let coded = coded(encode(&vec![0; 4 << 20])).unwrap();
            let error = Decoder::new().decode(&coded, 1 << 16).unwrap_err();
            assert!(matches!(error, Error::WrongSize { .. }), "{error}");
        }
        assert!(Decoder::new().decode(&coded(bomb).unwrap(), 1 << 16).is_err());
    }

    #[test]
    fn damaged_and_cut_streams_are_errors() {
        for encode in [zstd, xz, gzip] {
            let good = encode(&plain());
            for len in (0..good.len()).step_by(97) {
                let Ok(coded) = coded(good[..len].to_vec()) else {
                    continue;
                };
                assert!(coded.open(Digest::default(), &mut Decoder::new(), 1 << 20).is_err());
            }
            for at in (0..good.len()).step_by(101) {
                let mut bad = good.clone();
                bad[at] ^= 0x40;
                // A turned bit may be in a part that does not matter, such as a time stamp.
                if let Ok(coded) = coded(bad)
                    && let Ok(opened) = coded.open(Digest::default(), &mut Decoder::new(), 1 << 20)
                {
                    assert_eq!(opened.data(), plain());
                }
            }
        }
    }

    #[test]
    fn unknown_bytes_are_no_chunk() {
        let id = ChunkId::from_bytes([0; 32]);
        for bytes in [&b""[..], b"(\xb5/", b"plain text", &[0; 100]] {
            assert!(CodedChunk::from_compressed(id, bytes.to_vec()).is_err());
        }
    }

    #[test]
    fn chunks_of_every_size_come_back() {
        let (mut encoder, mut decoder) = (Encoder::new(DEFAULT_LEVEL), Decoder::new());
        for len in [1, 47, 4096, SMALL_CHUNK, SMALL_CHUNK + 1, 1 << 20] {
            let chunk = Chunk::name(
                Digest::default(),
                plain().into_iter().cycle().take(len).collect::<Vec<u8>>(),
            );
            let coded = encoder.encode(&chunk, WriteCoding::Zstd);
            assert_eq!(coded.open(Digest::default(), &mut decoder, len).unwrap(), chunk);
        }
    }
}
