//! Serves chunks and an index to a client.
//!
//! ```text
//! HELLO -> INDEX ..., INDEX_EOF -> (REQUEST -> get, verify, compress -> CHUNK or MISSING) ...
//! ```
//! Chunks are verified before they are sent, unless the user trusts the store. All are sent as
//! zstd, for desync takes what it gets for that. A damaged chunk is as good as missing: then the
//! client takes it from another store.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use cairn_formats::chunker::LARGEST_CHUNK;
use cairn_formats::coding::{DEFAULT_LEVEL, Decoder, Encoder};
use cairn_formats::protocol::services::{PULLS_INDEX, SERVES_CHUNKS, SERVES_INDEX};
use cairn_formats::protocol::{Frame, LONGEST_CHUNK};
use cairn_formats::{ChunkId, CodedChunk, Coding, Digest, Error as FormatError, WriteCoding};

use super::asked::Asked;
use super::{WENT_AWAY, greet, lost, with_abort};
use crate::{Error, Result, Store};

/// Bytes of an index in a frame, as casync sends them.
const PIECE: usize = 64 << 10;

/// What is served.
pub struct Pull<'a> {
    /// Where the chunks are.
    pub store: Option<&'a dyn Store>,
    /// The file with the index.
    pub index: Option<&'a Path>,
    /// With what the ids probably are made; but any other will do.
    pub digest: Digest,
    /// Told of damaged chunks.
    pub warn: &'a dyn Fn(&str),
}

/// Serves one client, until it goes.
///
/// Where that is an error, the client has been told, too, as far as it listens.
pub fn serve_pull(
    mut input: impl Read + Send + 'static,
    output: impl Write,
    pull: &Pull<'_>,
) -> Result<()> {
    let mut output = BufWriter::new(output);
    let outcome = pull.serve_hello(&mut input, &mut output).and_then(|()| {
        let asked = Asked::read(input);
        let outcome = pull.answer_all(&asked, &mut output);
        asked.abandon();
        outcome
    });
    match outcome {
        // It had all that it wanted.
        Err(Error::Unreachable { why, .. }) if why == WENT_AWAY => Ok(()),
        outcome => with_abort(&mut output, outcome),
    }
}

impl Pull<'_> {
    /// Greets, and sends the index if it is wanted.
    fn serve_hello(&self, input: &mut impl Read, output: &mut impl Write) -> Result<()> {
        let index = self.index.map(|path| (path, File::open(path)));
        let chunks = self.store.map_or(0, |_| SERVES_CHUNKS);
        let wants = greet(input, output, chunks | index.as_ref().map_or(0, |_| SERVES_INDEX))?;
        let Some((path, file)) = index.filter(|_| wants & PULLS_INDEX != 0) else { return Ok(()) };
        let mut file = file.map_err(Error::io("open index", path))?;
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece).map_err(Error::io("read index", path))? {
                0 => break,
                len => Frame::Index((&piece[..len]).into()).write(output).map_err(lost)?,
            }
        }
        Frame::IndexEof.write(output).and_then(|()| output.flush()).map_err(lost)
    }

    fn answer_all(&self, asked: &Asked, output: &mut impl Write) -> Result<()> {
        let mut coders = (Encoder::new(DEFAULT_LEVEL), Decoder::new());
        while let Some(id) = asked.next()? {
            let frame = match self.chunk(&id, &mut coders)? {
                Some(bytes) => Frame::Chunk { compressed: true, id, bytes: bytes.into() },
                None => Frame::Missing(id),
            };
            frame.write(output).map_err(lost)?;
            if asked.is_idle() {
                output.flush().map_err(lost)?;
            }
        }
        output.flush().map_err(lost)
    }

    /// The bytes of the first good copy of a chunk.
    fn chunk(&self, id: &ChunkId, coders: &mut (Encoder, Decoder)) -> Result<Option<Vec<u8>>> {
        let Some(store) = self.store else { return Ok(None) };
        let mut copy = 0;
        loop {
            let found = if copy == 0 { store.get(id) } else { store.another(id, copy) };
            let damage = match found {
                Ok(None) => return Ok(None),
                Ok(Some(coded)) => match self.checked(coded, coders) {
                    Ok(bytes) if bytes.len() <= LONGEST_CHUNK => return Ok(Some(bytes)),
                    Ok(bytes) => {
                        let len = bytes.len();
                        format!("chunk {id}: {len} bytes are more than casync's protocol can carry")
                    }
                    Err(e) => e.to_string(),
                },
                Err(e) if e.is_damage() => e.to_string(),
                Err(e) => return Err(e),
            };
            (self.warn)(&format!("{}: {damage}", store.origin(id, copy)));
            copy += 1;
        }
    }

    /// The bytes to send for a chunk.
    fn checked(
        &self,
        coded: CodedChunk,
        (encoder, decoder): &mut (Encoder, Decoder),
    ) -> std::result::Result<Vec<u8>, FormatError> {
        let is_ready = coded.coding() == Coding::Zstd;
        if coded.is_trusted() && is_ready {
            return Ok(coded.into_bytes());
        }
        let other = match self.digest {
            Digest::Sha512_256 => Digest::Sha256,
            Digest::Sha256 => Digest::Sha512_256,
        };
        let chunk = match coded.open(self.digest, decoder, LARGEST_CHUNK) {
            Err(e @ FormatError::WrongId { .. }) => {
                coded.open(other, decoder, LARGEST_CHUNK).map_err(|_| e)?
            }
            opened => opened?,
        };
        Ok(if is_ready { coded } else { encoder.encode(&chunk, WriteCoding::Zstd) }.into_bytes())
    }
}
