//! A node on its way into an archive, wherever it comes from.
//!
//! Steps come in the order of the archive: a directory, then what is in it in the order of the names, then
//! [`Step::Leave`]. The root comes first and has no name.

use std::fs::File;
use std::sync::Arc;

use cairn_formats::catar::Node;

/// What comes next in a tree.
#[derive(Debug)]
pub enum Step {
    /// A node. What is in a directory comes next, until it is left.
    Node(Box<Named>),
    /// The end of the directory whose nodes came before.
    Leave,
}

/// A node with its name and its bytes.
#[derive(Debug)]
pub struct Named {
    /// One component of a path; empty for the root.
    pub name: Vec<u8>,
    /// What is to be recorded of it.
    pub node: Node,
    /// The bytes of a file.
    pub content: Content,
}

/// Where the bytes of a file are.
#[derive(Debug)]
pub enum Content {
    /// It is no file.
    None,
    /// In memory.
    Bytes(Vec<u8>),
    /// In pieces of another file, one after the other; as many bytes as the node says.
    Pieces(Arc<Origin>, Vec<Piece>),
}

/// A file that bytes are taken from.
#[derive(Debug)]
pub struct Origin {
    /// The file.
    pub file: Arc<File>,
    /// Its length and when it was modified, in nanoseconds since 1970, if it must not change any more.
    pub seen: Option<(u64, i64)>,
}

impl Named {
    /// A directory.
    pub fn directory(name: Vec<u8>, node: Node) -> Self {
        Self { name, node, content: Content::None }
    }
}

/// A part of the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of the other file, from there.
    Data {
        /// Where in the other file they begin.
        at: u64,
        /// How many they are.
        len: u64,
    },
    /// So many zeros.
    Zeros(u64),
}
