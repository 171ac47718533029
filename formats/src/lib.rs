//! The bytes everybody must agree on: chunk ids, cut points, codings, indexes.
//!
//! This crate opens nothing, starts no thread and asks no clock. What it defines is shared with
//! casync and desync to the bit:
//!
//! ```text
//! id        the name of a chunk: a 32-byte digest of its plain bytes
//! digest    how ids are computed, one chunk or many at once
//! chunker   where a blob is cut into chunks
//! chunk     plain bytes whose id is known; chunk bytes as a store keeps them
//! coding    plain bytes <-> bytes in a store (zstd, xz, gzip, plain)
//! seal      bytes in a store <-> bytes only who has the key can read
//! form      how a store keeps its chunks: which coding, which key, and so which names
//! catar     a directory tree as one stream: archives
//! posix_acl access control lists: the bytes of the kernel <-> those of archives
//! mtree     nodes as lines of text
//! tar       the same as everybody else keeps it
//! batch     many chunks in one answer of a server
//! index     the list of ids that makes up a blob, `.caibx` and `.caidx`
//! index_stream  the ids in an index of which more is still to come
//! flags     the feature word of indexes and archives
//! protocol  what casync and its kin say to one another over a pipe
//! ```

pub mod batch;
pub mod catar;
pub mod chunk;
pub mod chunker;
pub mod coding;
pub mod digest;
mod error;
pub mod flags;
pub mod form;
mod id;
pub mod index;
mod index_stream;
pub mod mtree;
pub mod posix_acl;
pub mod protocol;
pub mod seal;
pub mod simd;
pub mod tar;
mod wire;
mod zeros;

pub use chunk::{Chunk, CodedChunk};
pub use chunker::ChunkSizes;
pub use coding::{Coding, WriteCoding};
pub use digest::Digest;
pub use error::{Error, Result};
pub use form::Form;
pub use id::ChunkId;
pub use index::{Index, IndexChunk};
pub use index_stream::IndexStream;
pub use zeros::is_zero;
