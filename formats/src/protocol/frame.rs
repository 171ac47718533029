//! A frame: what one side says at a time.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use crate::wire::{read_full, word};
use crate::{ChunkId, Error, Result};

const HELLO: u64 = 0x3c71_d094_8ca5_fbee;
const INDEX: u64 = 0xb32a_91dd_2b3e_27f8;
const INDEX_EOF: u64 = 0x4f09_32f1_0437_18f5;
const ARCHIVE: u64 = 0x95d6_428a_69ed_dcc5;
const ARCHIVE_EOF: u64 = 0x450b_ef66_3f24_cbad;
const REQUEST: u64 = 0x8ab4_27e0_f89d_9210;
const CHUNK: u64 = 0x5213_dd18_0a84_bc8c;
const MISSING: u64 = 0xd010_f9fa_c82b_7b6c;
const GOODBYE: u64 = 0xad20_5dbf_1a36_86c3;
const ABORT: u64 = 0xe7d9_136b_7efe_a352;

/// The longest frame there may be, header included, in bytes.
pub const MAX_FRAME: u64 = 16 << 20;

/// The most coded bytes that a CHUNK frame can carry.
pub const LONGEST_CHUNK: usize = MAX_FRAME as usize - CHUNK_HEADER_LEN;

const HEADER_LEN: usize = 16;
const ID_LEN: usize = 32;
/// Of a CHUNK frame: header, flags, id.
const CHUNK_HEADER_LEN: usize = HEADER_LEN + 8 + ID_LEN;

/// In the flags of a REQUEST: it is waited for.
const HIGH_PRIORITY: u64 = 1;
/// In the flags of a CHUNK: its bytes are compressed.
const COMPRESSED: u64 = 1;

/// The errors of a system are smaller.
const ERRNO_END: u64 = i32::MAX as u64;

/// Memory for a body before any of it has come, in bytes; most chunks fit.
const FIRST_ROOM: usize = 256 << 10;

/// What one side says at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// What it offers and wants: see [`services`](super::services).
    Hello(u64),
    /// The next bytes of an index file, at least one.
    Index(Cow<'a, [u8]>),
    /// The index is complete.
    IndexEof,
    /// The next bytes of an archive, at least one.
    Archive(Cow<'a, [u8]>),
    /// The archive is complete.
    ArchiveEof,
    /// Chunks that it wants, at least one.
    Request {
        /// Whether it waits for them.
        urgent: bool,
        /// Which.
        ids: Cow<'a, [ChunkId]>,
    },
    /// A chunk.
    Chunk {
        /// Whether the bytes are compressed, in whatever way.
        compressed: bool,
        /// The id that it claims.
        id: ChunkId,
        /// Its bytes, at least one.
        bytes: Cow<'a, [u8]>,
    },
    /// It does not have the chunk.
    Missing(ChunkId),
    /// All is done.
    Goodbye,
    /// It gives up.
    Abort {
        /// The number of the system's error, or 0.
        errno: u32,
        /// What happened, in words without control characters.
        reason: Cow<'a, str>,
    },
}

impl Frame<'_> {
    /// Reads a frame, or `None` if the stream ends before it.
    ///
    /// An end inside of it is an [`Error::Io`] of the kind `UnexpectedEof`; what is no frame is
    /// an [`Error::Protocol`].
    pub fn read(input: &mut impl Read) -> Result<Option<Frame<'static>>> {
        let mut header = [0; HEADER_LEN];
        match read_full(input, &mut header)? {
            0 => return Ok(None),
            HEADER_LEN => {}
            got => {
                // What is no frame at all, such as a greeting, may well be shorter than a header.
                let sent = &header[..got];
                let is_text = sent.iter().all(|&byte| (0x08..0x7f).contains(&byte));
                return Err(if is_text { bad("text") } else { cut_off() });
            }
        }
        let (size, kind) = (word(&header, 0), word(&header, 8));
        let size = check_size(size, kind)?;
        read_body(kind, size - HEADER_LEN, input).map(Some)
    }

    /// Writes it. Panics if it is longer than a frame may be, or empty where it must not be.
    pub fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let (kind, words, bytes): (u64, &[u64], &[u8]) = match self {
            Frame::Hello(flags) => (HELLO, &[*flags], &[]),
            Frame::Index(bytes) => (INDEX, &[], bytes),
            Frame::IndexEof => (INDEX_EOF, &[], &[]),
            Frame::Archive(bytes) => (ARCHIVE, &[], bytes),
            Frame::ArchiveEof => (ARCHIVE_EOF, &[], &[]),
            Frame::Request { urgent, ids } => {
                let ids: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
                return write(output, REQUEST, &[if *urgent { HIGH_PRIORITY } else { 0 }], &[&ids]);
            }
            Frame::Chunk { compressed, id, bytes } => {
                let flags = if *compressed { COMPRESSED } else { 0 };
                return write(output, CHUNK, &[flags], &[id.as_bytes(), bytes]);
            }
            Frame::Missing(id) => return write(output, MISSING, &[], &[id.as_bytes()]),
            Frame::Goodbye => (GOODBYE, &[], &[]),
            Frame::Abort { errno, reason } => {
                let reason = reason.replace(|c: char| c < ' ', " ");
                let reason = if reason.is_empty() { "-" } else { &reason };
                return write(output, ABORT, &[u64::from(*errno)], &[reason.as_bytes(), b"\0"]);
            }
        };
        write(output, kind, words, &[bytes])
    }

    /// What it is called, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Frame::Hello(_) => "HELLO",
            Frame::Index(_) => "INDEX",
            Frame::IndexEof => "INDEX_EOF",
            Frame::Archive(_) => "ARCHIVE",
            Frame::ArchiveEof => "ARCHIVE_EOF",
            Frame::Request { .. } => "REQUEST",
            Frame::Chunk { .. } => "CHUNK",
            Frame::Missing(_) => "MISSING",
            Frame::Goodbye => "GOODBYE",
            Frame::Abort { .. } => "ABORT",
        }
    }
}

fn write(output: &mut impl Write, kind: u64, words: &[u64], parts: &[&[u8]]) -> io::Result<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let size = (HEADER_LEN + 8 * words.len() + len) as u64;
    assert!(check_size(size, kind).is_ok(), "a frame of {size} bytes");
    let head: Vec<u8> =
        [size, kind].iter().chain(words).flat_map(|word| word.to_le_bytes()).collect();
    output.write_all(&head)?;
    parts.iter().try_for_each(|part| output.write_all(part))
}

/// The size of a frame, if one of this type can have it.
fn check_size(size: u64, kind: u64) -> Result<usize> {
    // Of what is no frame the size is a number of no meaning, so it is looked at later.
    let fits = match kind {
        HELLO => size == 24,
        INDEX | ARCHIVE => size >= 17,
        INDEX_EOF | ARCHIVE_EOF | GOODBYE => size == 16,
        REQUEST => size >= 56 && (size - 24).is_multiple_of(ID_LEN as u64),
        CHUNK => size > CHUNK_HEADER_LEN as u64,
        MISSING => size == 48,
        ABORT => size >= 26,
        _ => return Err(bad(format!("a frame of the unknown type {kind:#x}"))),
    };
    if !fits || !(HEADER_LEN as u64..=MAX_FRAME).contains(&size) {
        return Err(bad(format!("a frame of type {kind:#x} with {size} bytes")));
    }
    Ok(size as usize)
}

/// Reads the body of a frame whose size fits its type.
fn read_body(kind: u64, len: usize, input: &mut impl Read) -> Result<Frame<'static>> {
    Ok(match kind {
        HELLO => Frame::Hello(read_word(input)?),
        INDEX => Frame::Index(read_bytes(input, len)?.into()),
        INDEX_EOF => Frame::IndexEof,
        ARCHIVE => Frame::Archive(read_bytes(input, len)?.into()),
        ARCHIVE_EOF => Frame::ArchiveEof,
        REQUEST => {
            let urgent = read_flag(input, HIGH_PRIORITY, "REQUEST")?;
            let bytes = read_bytes(input, len - 8)?;
            let ids = bytes.as_chunks::<ID_LEN>().0.iter().map(|id| ChunkId::from_bytes(*id));
            Frame::Request { urgent, ids: ids.collect() }
        }
        CHUNK => {
            let compressed = read_flag(input, COMPRESSED, "CHUNK")?;
            let id = read_id(input)?;
            let bytes = read_bytes(input, len - 8 - ID_LEN)?;
            Frame::Chunk { compressed, id, bytes: bytes.into() }
        }
        MISSING => Frame::Missing(read_id(input)?),
        GOODBYE => Frame::Goodbye,
        _ => {
            let errno = read_word(input)?;
            let mut text = read_bytes(input, len - 8)?;
            let is_text = text.pop() == Some(0) && text.iter().all(|&byte| byte >= b' ');
            if errno >= ERRNO_END || !is_text {
                return Err(bad("a damaged ABORT"));
            }
            let reason = String::from_utf8_lossy(&text).into_owned();
            Frame::Abort { errno: errno as u32, reason: reason.into() }
        }
    })
}

fn read_word(input: &mut impl Read) -> Result<u64> {
    let mut word = [0; 8];
    fill(input, &mut word)?;
    Ok(u64::from_le_bytes(word))
}

/// A word of flags in which only this one may be set.
fn read_flag(input: &mut impl Read, flag: u64, frame: &str) -> Result<bool> {
    let flags = read_word(input)?;
    if flags & !flag != 0 {
        return Err(bad(format!("a {frame} with the flags {flags:#x}, which are unknown")));
    }
    Ok(flags & flag != 0)
}

fn read_id(input: &mut impl Read) -> Result<ChunkId> {
    let mut id = [0; ID_LEN];
    fill(input, &mut id)?;
    Ok(ChunkId::from_bytes(id))
}

fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<()> {
    if read_full(input, buffer)? < buffer.len() { Err(cut_off()) } else { Ok(()) }
}

/// Memory grows with what comes, not with what was announced.
fn read_bytes(input: &mut impl Read, len: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len.min(FIRST_ROOM));
    let got = input.take(len as u64).read_to_end(&mut bytes)?;
    if got < len { Err(cut_off()) } else { Ok(bytes) }
}

fn bad(why: impl Into<String>) -> Error {
    Error::Protocol { why: why.into() }
}

fn cut_off() -> Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended inside of a frame").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(frame: &Frame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.write(&mut bytes).unwrap();
        bytes
    }

    fn id() -> impl Strategy<Value = ChunkId> {
        any::<[u8; 32]>().prop_map(ChunkId::from_bytes)
    }

    fn bytes() -> impl Strategy<Value = Cow<'static, [u8]>> {
        prop::collection::vec(any::<u8>(), 1..300).prop_map(Cow::Owned)
    }

    fn frame() -> impl Strategy<Value = Frame<'static>> {
        let ids = prop::collection::vec(id(), 1..20).prop_map(Cow::Owned);
        let text = "[ -~é]{1,40}".prop_map(Cow::Owned);
        prop_oneof![
            any::<u64>().prop_map(Frame::Hello),
            bytes().prop_map(Frame::Index),
            Just(Frame::IndexEof),
            bytes().prop_map(Frame::Archive),
            Just(Frame::ArchiveEof),
            (any::<bool>(), ids).prop_map(|(urgent, ids)| Frame::Request { urgent, ids }),
            (any::<bool>(), id(), bytes()).prop_map(|(compressed, id, bytes)| Frame::Chunk {
                compressed,
                id,
                bytes
            }),
            id().prop_map(Frame::Missing),
            Just(Frame::Goodbye),
            (0_u32..0x7fff_ffff, text).prop_map(|(errno, reason)| Frame::Abort { errno, reason }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(frames in prop::collection::vec(frame(), 0..6)) {
            let bytes: Vec<u8> = frames.iter().flat_map(written).collect();
            let mut input = &bytes[..];
            for frame in &frames {
                let back = Frame::read(&mut input).unwrap();
                prop_assert_eq!(back.as_ref(), Some(frame));
            }
            prop_assert_eq!(Frame::read(&mut input).unwrap(), None);
        }

        #[test]
        fn an_end_inside_of_a_frame_is_an_error(frame in frame()) {
            let bytes = written(&frame);
            for len in 1..bytes.len() {
                prop_assert!(Frame::read(&mut &bytes[..len]).is_err(), "{} bytes", len);
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(
            frame in frame(), garbage in prop::collection::vec(any::<u8>(), 0..80), at in 0_usize..80,
        ) {
            let mut bytes = written(&frame);
            let at = at.min(bytes.len());
            bytes.splice(at.., garbage);
            let _ = Frame::read(&mut &bytes[..]);
        }
    }

    #[test]
    fn frames_are_those_of_casync() {
        let frame = Frame::Request { urgent: true, ids: vec![ChunkId::from_bytes([7; 32])].into() };
        let mut expected = vec![56, 0, 0, 0, 0, 0, 0, 0];
        expected.extend(0x8ab4_27e0_f89d_9210_u64.to_le_bytes());
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([7; 32]);
        assert_eq!(written(&frame), expected);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for kind in [
            HELLO,
            INDEX,
            INDEX_EOF,
            ARCHIVE,
            ARCHIVE_EOF,
            REQUEST,
            CHUNK,
            MISSING,
            GOODBYE,
            ABORT,
            7,
        ] {
            for size in [0, 1, 15, MAX_FRAME + 1, MAX_FRAME + 25, 1 << 63, u64::MAX] {
                let bytes = [size.to_le_bytes(), kind.to_le_bytes()].concat();
                let mut input = bytes.chain(io::repeat(0));
                let error = Frame::read(&mut input);
                assert!(matches!(error, Err(Error::Protocol { .. })), "{kind:#x} {size}");
            }
        }
        for (kind, size) in [
            (HELLO, 16),
            (HELLO, 32),
            (INDEX, 16),
            (INDEX_EOF, 17),
            (ARCHIVE, 16),
            (ARCHIVE_EOF, 24),
            (REQUEST, 24),
            (REQUEST, 57),
            (CHUNK, 56),
            (MISSING, 47),
            (GOODBYE, 24),
            (ABORT, 25),
        ] {
            let bytes = [u64::to_le_bytes(size), kind.to_le_bytes()].concat();
            assert!(Frame::read(&mut bytes.chain(io::repeat(0))).is_err(), "{kind:#x} {size}");
        }
    }

    #[test]
    fn the_longest_chunk_fits_into_the_longest_frame() {
        let bytes = vec![3; LONGEST_CHUNK].into();
        let id = ChunkId::from_bytes([1; 32]);
        let frame = Frame::Chunk { compressed: false, id, bytes };
        let bytes = written(&frame);
        assert_eq!(bytes.len() as u64, MAX_FRAME);
        assert_eq!(Frame::read(&mut &bytes[..]).unwrap(), Some(frame));
    }

    #[test]
    fn unknown_flags_and_control_characters_are_refused() {
        let id = ChunkId::from_bytes([1; 32]);
        let request = written(&Frame::Request { urgent: true, ids: vec![id].into() });
        let chunk = written(&Frame::Chunk { compressed: true, id, bytes: vec![1].into() });
        for mut bytes in [request, chunk] {
            bytes[16] = 3;
            assert!(matches!(Frame::read(&mut &bytes[..]), Err(Error::Protocol { .. })));
        }
        let good = written(&Frame::Abort { errno: 5, reason: "no\x1b[31m".into() });
        let frame = Frame::read(&mut &good[..]).unwrap();
        assert_eq!(frame, Some(Frame::Abort { errno: 5, reason: "no [31m".into() }));
        for (at, byte) in [(24, 7), (good.len() - 1, b'x'), (23, 1)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert!(Frame::read(&mut &bytes[..]).is_err(), "byte {at}");
        }
    }
}
