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
use std::sync::Arc;

use cairn_formats::catar::{Child, encode_goodbye, encode_name, encode_node, hash_name};
use cairn_formats::flags;

use super::map::Map;
use crate::archive::step::{Content, Named, Origin, Piece, Step};
use crate::make::source::SHORTEST_HOLE;
use crate::{Error, Result};

/// No file is longer, in bytes, and so no archive.
const LONGEST: u64 = i64::MAX as u64;

/// Nodes in a line from the root that casync still reads.
const CASYNC_DEPTH: usize = 64;

/// A part of an archive, to be filled with bytes.
#[derive(Debug)]
pub(super) enum Part {
    /// Data of so many bytes.
    Data(Vec<Segment>, usize),
    /// So many zeros of a file that nobody has to read.
    Hole(Arc<Origin>, u64),
}

impl Segment {
    pub(super) fn len(&self) -> usize {
        match self {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::File { len, .. } | Segment::Zeros(len) => *len,
        }
    }
}

impl Part {
    pub(super) fn len(&self) -> u64 {
        match self {
            Part::Data(_, len) => *len as u64,
            Part::Hole(_, len) => *len,
        }
    }
}

/// Where the bytes of a piece of an archive are.
#[derive(Debug)]
pub(super) enum Segment {
    Bytes(Vec<u8>),
    /// Bytes of a large file.
    File {
        file: Arc<Origin>,
        at: u64,
        len: usize,
    },
    Zeros(usize),
}

/// An archive that grows at its end.
#[derive(Debug)]
pub(super) struct Layout {
    features: u64,
    /// The most data in a part, in bytes.
    window: usize,
    /// Where in the archive the next byte comes.
    at: u64,
    /// The directories we are in.
    open: Vec<Directory>,
    /// Records that follow one another.
    records: Vec<u8>,
    /// The part that is being filled, and its length but for the records.
    segments: Vec<Segment>,
    len: usize,
    /// Parts that are complete.
    parts: VecDeque<Part>,
    counts: Counts,
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

impl Layout {
    /// An archive with this feature word, in parts of at most `window` bytes.
    pub(super) fn new(features: u64, window: usize) -> Self {
        Self {
            features,
            window,
            at: 0,
            open: Vec::new(),
            records: Vec::new(),
            segments: Vec::new(),
            len: 0,
            parts: VecDeque::new(),
            counts: Counts::default(),
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

    /// Takes the next step.
    pub(super) fn add(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Node(named) => {
                let len = self.at.checked_add(named.node.size());
                if len.is_none_or(|len| len > LONGEST) {
                    let name = OsStr::from_bytes(&named.name);
                    let why = "with its size the archive would be longer than a file can be";
                    return Err(Error::file(name, why));
                }
                self.add_node(*named);
            }
            Step::Leave => self.leave(),
        }
        Ok(())
    }

    /// The end of the archive: what is left becomes the last part.
    pub(super) fn end(&mut self) {
        debug_assert!(self.open.is_empty(), "all directories have been left");
        self.flush();
    }

    /// A part that is complete.
    pub(super) fn part(&mut self) -> Option<Part> {
        self.parts.pop_front()
    }

    /// Whether there is one.
    pub(super) fn has_part(&self) -> bool {
        !self.parts.is_empty()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    fn add_node(&mut self, Named { name, node, content }: Named) {
        let start = self.at;
        let from = self.records.len();
        if !self.open.is_empty() {
            encode_name(&mut self.records, &name);
        }
        let entry = start + (self.records.len() - from) as u64;
        encode_node(&mut self.records, &node, self.features);
        if let Some(map) = &mut self.map {
            map.add_records(start, &self.records[from..]);
        }
        self.at += (self.records.len() - from) as u64;
        self.counts.too_deep += u64::from(self.open.len() >= CASYNC_DEPTH);
        let hash = hash_name(&name);
        if node.is_directory() {
            self.counts.directories += 1;
            if let Some(map) = &mut self.map {
                map.enter(&name);
            }
            self.open.push(Directory { start, entry, hash, children: Vec::new() });
            self.cut();
            return;
        }
        if matches!(content, Content::None) {
            self.counts.others += 1;
        } else {
            self.counts.files += 1;
            self.counts.bytes += node.size();
            if let Some(map) = &mut self.map {
                let modified = (flags::granularity(self.features) == Some(1)).then_some(node.mtime);
                map.add_file(self.at, node.size(), &name, modified);
            }
            self.at += node.size();
            self.add_content(content);
        }
        if let Some(parent) = self.open.last_mut() {
            parent.children.push(Child { hash, start, end: self.at });
        }
        self.cut();
    }

    fn leave(&mut self) {
        let Directory { start, entry, hash, mut children } =
            self.open.pop().expect("only what was entered is left");
        let from = self.records.len();
        encode_goodbye(&mut self.records, &mut children, entry, self.at);
        if let Some(map) = &mut self.map {
            map.add_records(self.at, &self.records[from..]);
            map.leave();
        }
        self.at += (self.records.len() - from) as u64;
        if let Some(parent) = self.open.last_mut() {
            parent.children.push(Child { hash, start, end: self.at });
        }
        self.cut();
    }

    fn add_content(&mut self, content: Content) {
        match content {
            Content::None => {}
            Content::Bytes(bytes) if bytes.is_empty() => {}
            Content::Bytes(bytes) => {
                self.end_records();
                self.len += bytes.len();
                self.segments.push(Segment::Bytes(bytes));
            }
            Content::Pieces(file, pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Data { at, len } => self.add_data(&file, at, len),
                        Piece::Zeros(len) => self.add_zeros(&file, len),
                    }
                }
            }
        }
    }

    /// Bytes of a large file, cut where a part ends.
    fn add_data(&mut self, file: &Arc<Origin>, mut at: u64, mut left: u64) {
        self.end_records();
        while left > 0 {
            self.cut();
            let room = self.window.saturating_sub(self.len).max(1);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(room);
            self.segments.push(Segment::File { file: file.clone(), at, len });
            self.len += len;
            at += len as u64;
            left -= len as u64;
        }
    }

    fn add_zeros(&mut self, file: &Arc<Origin>, len: u64) {
        self.end_records();
        if len >= SHORTEST_HOLE {
            self.flush();
            self.parts.push_back(Part::Hole(file.clone(), len));
        } else {
            let len = usize::try_from(len).expect("short holes fit into memory");
            self.segments.push(Segment::Zeros(len));
            self.len += len;
        }
    }

    /// Ends the part if it is long enough.
    fn cut(&mut self) {
        if self.len + self.records.len() >= self.window {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.end_records();
        if self.len > 0 {
            let (segments, len) = (mem::take(&mut self.segments), mem::take(&mut self.len));
            self.parts.push_back(Part::Data(segments, len));
        }
    }

    fn end_records(&mut self) {
        if !self.records.is_empty() {
            self.len += self.records.len();
            self.segments.push(Segment::Bytes(mem::take(&mut self.records)));
        }
    }
}
