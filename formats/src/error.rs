//! What can be wrong with foreign bytes.

use std::io;

use crate::seal::Cipher;
use crate::{ChunkId, Coding};

/// The result of reading or writing one of the formats.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be wrong with foreign bytes or with parameters, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not an index at all.
    #[error("not an index: {why}")]
    NotAnIndex {
        /// What was found in place of the index header.
        why: String,
    },
    /// An index that is damaged or breaks the rules.
    #[error("damaged index at byte {at}: {why}")]
    BadIndex {
        /// Byte offset in the index file.
        at: u64,
        /// Which rule is broken.
        why: String,
    },
    /// An index with properties this version does not know.
    #[error("unsupported index: {why}")]
    Unsupported {
        /// Which property.
        why: String,
    },
    /// The bytes are not an archive at all.
    #[error("not an archive: {why}")]
    NotAnArchive {
        /// What was found in place of the first entry.
        why: String,
    },
    /// An archive that is damaged or breaks the rules.
    #[error("damaged archive at byte {at}: {why}")]
    BadArchive {
        /// Byte offset in the archive.
        at: u64,
        /// Which rule is broken.
        why: String,
    },
    /// Chunk sizes that make no sense.
    #[error("chunk sizes {given}: {why}")]
    ChunkSizes {
        /// The sizes as they were given.
        given: String,
        /// Which rule is broken.
        why: String,
    },
    /// A name that is no chunk id.
    #[error("`{name}` is not a chunk id (64 lower-case hex digits)")]
    ChunkName {
        /// The name.
        name: String,
    },
    /// The plain bytes of a chunk do not have the id they claim.
    #[error("chunk {id}: its bytes have another id, {actual}")]
    WrongId {
        /// The claimed id.
        id: ChunkId,
        /// The id of the bytes that were there.
        actual: ChunkId,
    },
    /// A chunk is longer or shorter than the index says.
    #[error("chunk {id}: it has {actual} bytes where {expected} were expected")]
    WrongSize {
        /// The chunk.
        id: ChunkId,
        /// Size by the index, in bytes.
        expected: u64,
        /// Size found, in words because a bomb is not unpacked to its end.
        actual: String,
    },
    /// The stored bytes of a chunk cannot be decoded.
    #[error("chunk {id}: invalid {coding} data: {why}")]
    BadCoding {
        /// The chunk.
        id: ChunkId,
        /// The coding it seems to have.
        coding: Coding,
        /// What the decoder says.
        why: String,
    },
    /// The stored bytes of a chunk cannot be decrypted.
    #[error("chunk {id}: not decrypted with {cipher}: {why}")]
    BadSeal {
        /// The chunk.
        id: ChunkId,
        /// What it was to be decrypted with.
        cipher: Cipher,
        /// What is wrong.
        why: &'static str,
    },
    /// Wishes for the form of a store's chunks that make no sense. Secrets are not told.
    #[error("{why}")]
    Settings {
        /// Which wish, and what is wrong with it.
        why: String,
    },
    /// What is not said like this in casync's protocol.
    #[error("not the casync protocol: {why}")]
    Protocol {
        /// What was said.
        why: String,
    },
    /// The reader or writer below failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
