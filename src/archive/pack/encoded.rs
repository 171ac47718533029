//! Nodes in the form they have in an archive: made by whoever took them, so that laying them out takes little.
//!
//! ```text
//! bytes   | name, records | records of the next | ...     of a whole batch, in one piece
//! nexts   | node          | leave | node        | ...     where theirs are, and what follows them
//! ```
//! Batches are made by one worker and laid out by another. With a piece of memory for each node the workers would
//! wait for one another wherever one of them gives back what another one took.

use std::ops::Range;
use std::sync::Arc;

use cairn_formats::catar::{Body, encode_name, encode_node};

use super::later::Later;
use crate::archive::encoder_cache::{EncoderCache, Known, Mark, Settled, marks};
use crate::archive::step::{Content, Named, Step};
use crate::tree::found::Stat;
use crate::tree::listing::Listing;

/// Bytes of a record of a name around the name: its header, and the NUL at its end.
const AROUND_NAME: (usize, usize) = (16, 1);

/// A batch of what comes next in an archive.
#[derive(Debug)]
pub(super) struct Encoded<'a> {
    bytes: Arc<Vec<u8>>,
    /// Those in which what is known of files lies.
    known: &'a [u8],
    pub(super) nexts: Vec<Next>,
}

/// What comes next in an archive.
#[derive(Debug)]
pub(super) enum Next {
    /// A node. What is in a directory comes next, until it is left.
    Node(Node),
    /// The end of the directory whose nodes came before.
    Leave,
}

/// A node, encoded.
#[derive(Debug)]
pub(super) struct Node {
    /// Its records in the bytes of the batch, or among what is known: that of its name, which the root does not
    /// have, and from `entry` on its own.
    pub(super) records: Range<usize>,
    /// Which of the known files it is, and whether its records are those that are known: they are not if it has
    /// another name.
    row: Option<u32>,
    is_saved: bool,
    pub(super) entry: usize,
    pub(super) bytes: Bytes,
    /// When it was last changed, in nanoseconds since 1970.
    pub(super) mtime: i64,
    /// What tells whether it is still the same, if anything does.
    stat: Option<Stat>,
    /// What its bytes are, if that is known without them.
    pub(super) mark: Option<Mark>,
}

/// What follows the records of a node.
#[derive(Debug)]
pub(super) enum Bytes {
    /// The names in a directory, if they are to be known the next time.
    Directory(Option<Arc<Listing>>),
    /// So many bytes of a file.
    File(u64, Content),
    /// So many bytes of a file that is not open, which may never be asked for.
    Later(u64, Later),
    /// Nothing.
    Other,
}

/// Some bytes of a batch, or of what is known: these are borrowed, as so many pieces of them change hands between
/// workers that counting who has them would take longer than all else.
#[derive(Clone, Debug)]
pub(super) enum Slice<'a> {
    Batch(Arc<Vec<u8>>, Range<usize>),
    Known(&'a [u8]),
}

impl Slice<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Slice::Batch(bytes, range) => &bytes[range.clone()],
            Slice::Known(bytes) => bytes,
        }
    }

    /// The first so many bytes, and the others.
    pub(super) fn split(self, at: usize) -> (Self, Self) {
        match self {
            Slice::Batch(bytes, Range { start, end }) => (
                Slice::Batch(Arc::clone(&bytes), start..start + at),
                Slice::Batch(bytes, start + at..end),
            ),
            Slice::Known(bytes) => {
                let (some, rest) = bytes.split_at(at);
                (Slice::Known(some), Slice::Known(rest))
            }
        }
    }
}

impl<'a> Encoded<'a> {
    /// What is in a range of where the records of a node are.
    pub(super) fn slice(&self, node: &Node, range: Range<usize>) -> Slice<'a> {
        match node.is_saved {
            true => Slice::Known(&self.known[range]),
            false => Slice::Batch(Arc::clone(&self.bytes), range),
        }
    }

    /// The bytes that ranges of a node are in.
    pub(super) fn bytes_of(&self, node: &Node) -> &[u8] {
        if node.is_saved { self.known } else { &self.bytes }
    }

    pub(super) fn name(&self, node: &Node) -> &[u8] {
        &self.bytes_of(node)[node.name()]
    }
}

impl Node {
    /// How many bytes follow the records.
    pub(super) fn size(&self) -> u64 {
        match self.bytes {
            Bytes::File(size, _) | Bytes::Later(size, _) => size,
            Bytes::Directory(_) | Bytes::Other => 0,
        }
    }

    /// Where its name is; the root has none.
    pub(super) fn name(&self) -> Range<usize> {
        name_in(self.records.start, self.entry)
    }
}

/// Makes a batch.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    features: u64,
    bytes: Vec<u8>,
    known: &'a [u8],
    nexts: Vec<Next>,
}

impl<'a> Encoder<'a> {
    /// For an archive with this feature word, and about so many nodes.
    pub(super) fn new(features: u64, nodes: usize) -> Self {
        let bytes = Vec::with_capacity(nodes * 192);
        Self { features, bytes, known: &[], nexts: Vec::with_capacity(nodes) }
    }

    pub(super) fn add(&mut self, step: Step) {
        match step {
            Step::Node(named) => self.add_node(*named, None, None),
            Step::Leave => self.leave(),
        }
    }

    /// Adds the end of a directory.
    pub(super) fn leave(&mut self) {
        self.nexts.push(Next::Leave);
    }

    /// Adds a node. `stat` tells whether it is still the same, and `names` are those in a directory.
    pub(super) fn add_node(
        &mut self,
        named: Named,
        stat: Option<Stat>,
        names: Option<Arc<Listing>>,
    ) {
        let Named { name, node, content } = named;
        let start = self.bytes.len();
        if !name.is_empty() {
            encode_name(&mut self.bytes, &name);
        }
        let entry = self.bytes.len();
        encode_node(&mut self.bytes, &node, self.features);
        let bytes = match node.body {
            Body::Directory => Bytes::Directory(names),
            Body::File(size) => Bytes::File(size, content),
            _ => Bytes::Other,
        };
        let records = start..self.bytes.len();
        let (row, mtime, mark) = (None, node.mtime, None);
        self.push(Node { records, row, is_saved: false, entry, bytes, mtime, stat, mark });
    }

    /// Adds a file or directory that is known.
    pub(super) fn add_known(
        &mut self,
        bytes: Bytes,
        name: &[u8],
        stat: Stat,
        known: &Known,
        cache: &'a EncoderCache,
    ) {
        let Some(saved) = cache.bytes() else { return };
        let &Known { row, ref records, entry, mark, .. } = known;
        if saved[name_in(records.start, entry)] == *name {
            self.known = saved;
            self.push(Node {
                records: records.clone(),
                row: Some(row),
                is_saved: true,
                entry,
                bytes,
                mtime: stat.mtime,
                stat: Some(stat),
                mark: Some(mark),
            });
            return;
        }
        let start = self.bytes.len();
        encode_name(&mut self.bytes, name);
        let own = self.bytes.len();
        self.bytes.extend_from_slice(&saved[entry..records.end]);
        let records = start..self.bytes.len();
        let (row, mtime, stat) = (Some(row), stat.mtime, Some(stat));
        self.push(Node {
            records,
            row,
            is_saved: false,
            entry: own,
            bytes,
            mtime,
            stat,
            mark: None,
        });
    }

    fn push(&mut self, node: Node) {
        self.nexts.push(Next::Node(node));
    }

    /// Marks all that can be marked, and lets the cache know of the files.
    pub(super) fn mark(&mut self, cache: &EncoderCache) {
        let Self { bytes, nexts, .. } = self;
        cache.note_same(nodes(nexts).filter_map(|node| node.row));
        let (mut said, mut ends) = (Vec::new(), vec![0]);
        for node in nodes(nexts).filter(|node| !node.is_saved) {
            say(node, bytes, &mut said);
            ends.push(said.len());
        }
        let texts: Vec<&[u8]> = ends.windows(2).map(|ends| &said[ends[0]..ends[1]]).collect();
        let mut marks = marks(&texts).zip(&texts);
        for next in &mut *nexts {
            if let Next::Node(node @ Node { is_saved: false, .. }) = next {
                node.mark = marks.next().filter(|(_, text)| !text.is_empty()).map(|(mark, _)| mark);
            }
        }
        cache.note(nodes(nexts).filter(|node| node.row.is_none()).filter_map(|node| {
            let (stat, mark) = (node.stat.as_ref()?, node.mark?);
            let (records, entry) = (&bytes[node.records.clone()], node.entry - node.records.start);
            let names = match &node.bytes {
                Bytes::Directory(names) => Some(&**names.as_ref()?),
                _ => None,
            };
            Some(Settled { stat, records, entry, names, mark })
        }));
    }

    pub(super) fn finish(self) -> Encoded<'a> {
        Encoded { bytes: Arc::new(self.bytes), known: self.known, nexts: self.nexts }
    }
}

/// Where in the record of a name that begins and ends there the name is.
fn name_in(start: usize, end: usize) -> Range<usize> {
    let (before, behind) = AROUND_NAME;
    if end < start + before + behind { start..start } else { start + before..end - behind }
}

fn nodes(nexts: &[Next]) -> impl Iterator<Item = &Node> {
    nexts.iter().filter_map(|next| if let Next::Node(node) = next { Some(node) } else { None })
}

/// Adds what can be said of the bytes of a node, where they can be told without reading them.
fn say(node: &Node, bytes: &[u8], said: &mut Vec<u8>) {
    let records = &bytes[node.records.clone()];
    if node.size() == 0 {
        said.extend_from_slice(records);
    } else if let Some(stat) = node.stat {
        said.extend_from_slice(records);
        let numbers = [stat.dev, stat.ino, stat.size];
        let times = [stat.mtime, stat.ctime];
        said.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        said.extend(times.into_iter().flat_map(i64::to_le_bytes));
    }
}
