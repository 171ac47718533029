//! Steps into the bytes of an archive: what stands where, and from which file it comes.
//!
//! ```text
//! steps (in order) -> records | bytes of small files | parts of large files | zeros
//!                  -> stretches of a limited length, to be filled by whoever has time
//! ```
//! Nothing is read here. All sizes are known, so that the tables at the ends of directories can be written
//! before the files in them have been read.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::mem;
use std::os::unix::ffi::OsStrExt;

use cairn_formats::catar::{Child, encode_goodbye, hash_name};
use cairn_formats::flags;

use super::encoded::{Bytes, Encoded, Next, Node};
use super::map::Map;
use super::parts::{Part, Parts, Segment, Unread};
use crate::archive::encoder_cache::{Atom, EncoderCache, marks};
use crate::archive::step::{Content, Piece};
use crate::{Error, Result};

/// No file is longer, in bytes, and so no archive.
const LONGEST: u64 = i64::MAX as u64;

/// Nodes in a line from the root that casync still reads.
const CASYNC_DEPTH: usize = 64;

/// An archive that grows at its end.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    features: u64,
    /// Where in the archive the next byte comes.
    at: u64,
    /// The directories we are in.
    open: Vec<Directory>,
    parts: Parts<'a>,
    counts: Counts,
    /// Whether atoms have marks.
    is_marked: bool,
    /// What lies where, if that is asked for.
    map: Option<Map>,
}

/// What an archive consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Directories, the root among them.
    pub directories: u64,
    /// Regular files.
    pub files: u64,
    /// All else.
    pub others: u64,
    /// Bytes in the files.
    pub bytes: u64,
    /// Nodes that lie deeper than casync reads.
    pub too_deep: u64,
}

#[derive(Debug)]
struct Directory {
    /// Where its name begins; its entry if it is the root.
    start: u64,
    entry: u64,
    hash: u64,
    children: Vec<Child>,
}

impl<'a> Layout<'a> {
    /// An archive with this feature word, in parts of at most `window` bytes.
    pub(super) fn new(features: u64, window: usize, cache: Option<&'a EncoderCache>) -> Self {
        Self {
            features,
            at: 0,
            open: Vec::new(),
            parts: Parts::new(window, cache),
            counts: Counts::default(),
            is_marked: cache.is_some(),
            map: None,
        }
    }

    /// Also notes what lies where.
    pub(super) fn mapped(self) -> Self {
        Self { map: Some(Map::default()), ..self }
    }

    /// What lies where.
    pub(super) fn take_map(&mut self) -> Option<Map> {
        self.map.take()
    }

    /// Takes what comes next.
    pub(super) fn add(&mut self, mut batch: Encoded<'a>) -> Result<()> {
        for next in mem::take(&mut batch.nexts) {
            match next {
                Next::Node(node) => {
                    let len = self.at.checked_add(node.size());
                    if len.is_none_or(|len| len > LONGEST) {
                        let name = OsStr::from_bytes(batch.name(&node));
                        let why = "with its size the archive would be longer than a file can be";
                        return Err(Error::file(name, why));
                    }
                    self.add_node(&batch, node);
                }
                Next::Leave => self.leave(),
            }
        }
        Ok(())
    }

    /// The end of the archive: what is left becomes the last part.
    pub(super) fn end(&mut self) {
        debug_assert!(self.open.is_empty(), "all directories have been left");
        self.parts.finish();
    }

    /// The parts that have become complete.
    pub(super) fn take_parts(&mut self) -> VecDeque<Part<'a>> {
        self.parts.take()
    }

    /// Drops all parts, complete or not.
    pub(super) fn forget_parts(&mut self) {
        self.parts.forget();
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    fn add_node(&mut self, batch: &Encoded<'a>, node: Node) {
        let (start, len, size) = (self.at, node.records.len() as u64, node.size());
        let hash = hash_name(batch.name(&node));
        let entry = start + (node.entry - node.records.start) as u64;
        self.at += len;
        self.note(batch, &node, start);
        self.parts.add_records(batch.slice(&node, node.records.clone()));
        self.counts.too_deep += u64::from(self.open.len() >= CASYNC_DEPTH);
        let atom = Atom { len: len + size, mark: node.mark };
        let name = batch.slice(&node, node.name());
        match node.bytes {
            Bytes::Directory(_) => {
                self.counts.directories += 1;
                self.open.push(Directory { start, entry, hash, children: Vec::new() });
                return self.parts.end_atom(atom);
            }
            Bytes::Other => self.counts.others += 1,
            Bytes::File(_, content) => {
                self.counts.files += 1;
                self.add_content(content);
            }
            Bytes::Later(_, file) => {
                self.counts.files += 1;
                if size > 0 {
                    let unread = Unread { file, name };
                    self.parts.add(Segment::Later(unread, 0, size as usize));
                }
            }
        }
        self.counts.bytes += size;
        self.at += size;
        if let Some(parent) = self.open.last_mut() {
            parent.children.push(Child { hash, start, end: self.at });
        }
        self.parts.end_atom(atom);
    }

    /// Notes where a node lies, if that is asked for.
    fn note(&mut self, batch: &Encoded<'_>, node: &Node, start: u64) {
        let Some(map) = &mut self.map else { return };
        map.add_records(start, &batch.bytes_of(node)[node.records.clone()]);
        let name = batch.name(node);
        match node.bytes {
            Bytes::Directory(_) => map.enter(name),
            Bytes::Other => {}
            Bytes::File(..) | Bytes::Later(..) => {
                let modified = (flags::granularity(self.features) == Some(1)).then_some(node.mtime);
                map.add_file(self.at, node.size(), name, modified);
            }
        }
    }

    fn leave(&mut self) {
        let Directory { start, entry, hash, mut children } =
            self.open.pop().expect("only what was entered is left");
        let mut records = Vec::new();
        encode_goodbye(&mut records, &mut children, entry, self.at);
        if let Some(map) = &mut self.map {
            map.add_records(self.at, &records);
            map.leave();
        }
        let len = records.len() as u64;
        self.at += len;
        let mark = if self.is_marked { marks(&[&records]).next() } else { None };
        self.parts.add_table(records);
        if let Some(parent) = self.open.last_mut() {
            parent.children.push(Child { hash, start, end: self.at });
        }
        self.parts.end_atom(Atom { len, mark });
    }

    fn add_content(&mut self, content: Content) {
        match content {
            Content::None => {}
            Content::Bytes(bytes) if bytes.is_empty() => {}
            Content::Bytes(bytes) => self.parts.add(Segment::Bytes(bytes)),
            Content::Pieces(file, pieces) => {
                for piece in pieces {
                    self.parts.add(match piece {
                        Piece::Data { at, len } => Segment::File(file.clone(), at, len as usize),
                        Piece::Zeros(len) => Segment::Zeros(file.clone(), len as usize),
                    });
                }
            }
        }
    }
}
