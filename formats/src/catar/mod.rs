//! Archives, `.catar`: a directory tree with all that can be said of its files, as one stream.
//!
//! ```text
//! archive   := node(directory)
//! node      := ENTRY USER? GROUP? XATTR* ACL* SELINUX? FCAPS? QUOTA_PROJID? body
//! body      := PAYLOAD | SYMLINK | DEVICE | nothing (fifo, socket) | (FILENAME node)* GOODBYE
//! ```
//! Every record begins with its size and its type, and all metadata of a node stands before its body: a
//! node is complete in itself, and a directory is its nodes one after the other. The GOODBYE at the end of
//! a directory is a search tree over the names in it, so that a path is found without reading the rest.
//!
//! ```text
//! record     types of records and their sizes
//! node       what is recorded of a file, a directory or whatever else has a name
//! acl        access control lists
//! shift      ids, as those of containers are shifted
//! encode     node -> records
//! decode     records -> nodes, in order
//! goodbye    the search tree at the end of a directory
//! seek       path -> node, by the search trees
//! spans      where the nodes in a directory lie, by its search tree
//! ```
//! Two programs write archives. casync's are the rule; desync's differ in that an XATTR ends in a NUL
//! after the value, and in that a name may stand where its node was left out. Both are read. What is
//! written is what casync accepts, but for the NUL, which goes with desync's feature word: without it desync
//! would take the last byte of a value, and so would we where that is a NUL of its own.

mod acl;
mod decode;
mod encode;
mod goodbye;
mod node;
mod parse;
mod record;
mod seek;
mod shift;
mod spans;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use acl::{Ace, Acl, DefaultAcl};
pub use decode::{Decoder, Item, Payload};
pub use encode::{encode_name, encode_node};
pub use goodbye::{Child, encode_goodbye, hash_name};
pub use node::{Body, Node, Xattr};
pub use record::{GOODBYE_ITEM_LEN, HEADER_LEN};
pub use seek::{Archive, Children, Found, ReadAt, Span};
pub use shift::Shift;
pub use spans::spans;

use crate::flags;

/// The features of what desync writes.
const DESYNC: u64 = 0x1000_1f22;

/// Whether these are the first bytes of an archive, of which 16 are enough.
pub fn begins_with(bytes: &[u8]) -> bool {
    let header = bytes.first_chunk().and_then(|header| record::Header::parse(header).ok());
    header.is_some_and(|header| header.kind == record::Kind::Entry)
}

/// Whether an archive with this feature word has desync's form: extended attributes of whatever kind, each with
/// a NUL behind its value.
pub fn is_desync(features: u64) -> bool {
    features & flags::ALL == DESYNC
}
