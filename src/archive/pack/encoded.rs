//! Nodes in the form they have in an archive: made by whoever took them, so that laying them out takes little.
//!
//! ```text
//! bytes   | name, records | records of the next | ...     of a whole batch, in one piece
//! nexts   | node          | leave | node        | ...     where theirs are, and what follows them
//! ```
//! Batches are made by one worker and laid out by another. With a piece of memory for each node the workers would
//! wait for one another wherever one of them gives back what another one took.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use cairn_formats::catar::{Body, encode_name, encode_node};

use super::later::Later;
use crate::archive::encoder_cache::{EncoderCache, Mark, marks};
use crate::archive::step::{Content, Named, Step};
use crate::tree::found::Stat;

/// Bytes of a record of a name around the name: its header, and the NUL at its end.
const AROUND_NAME: (usize, usize) = (16, 1);

/// A batch of what comes next in an archive.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) bytes: Arc<Vec<u8>>,
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
    /// Its records in the bytes of the batch: that of its name, which the root does not have, and from
    /// `entry` on its own.
    pub(super) records: Range<usize>,
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
    Directory,
    /// So many bytes of a file.
    File(u64, Content),
    /// So many bytes of a file that is not open, which may never be asked for.
    Later(u64, Later),
    /// Nothing.
    Other,
}

impl Encoded {
    pub(super) fn name(&self, node: &Node) -> &[u8] {
        &self.bytes[node.name()]
    }
}

impl Node {
    /// How many bytes follow the records.
    pub(super) fn size(&self) -> u64 {
        match self.bytes {
            Bytes::File(size, _) | Bytes::Later(size, _) => size,
            Bytes::Directory | Bytes::Other => 0,
        }
    }

    /// Where in the bytes of the batch its name is; the root has none.
    pub(super) fn name(&self) -> Range<usize> {
        let (before, behind) = AROUND_NAME;
        let start = self.records.start;
        if self.entry == start { start..start } else { start + before..self.entry - behind }
    }
}

/// Makes a batch.
#[derive(Debug)]
pub(super) struct Encoder {
    features: u64,
    bytes: Vec<u8>,
    nexts: Vec<Next>,
}

impl Encoder {
    /// For an archive with this feature word, and about so many nodes.
    pub(super) fn new(features: u64, nodes: usize) -> Self {
        let bytes = Vec::with_capacity(nodes * 192);
        Self { features, bytes, nexts: Vec::with_capacity(nodes) }
    }

    pub(super) fn add(&mut self, step: Step) {
        match step {
            Step::Node(named) => self.add_node(*named, None),
            Step::Leave => self.nexts.push(Next::Leave),
        }
    }

    /// Adds a node. `stat` tells whether it is still the same.
    pub(super) fn add_node(&mut self, named: Named, stat: Option<Stat>) {
        let Named { name, node, content } = named;
        let start = self.bytes.len();
        if !name.is_empty() {
            encode_name(&mut self.bytes, &name);
        }
        let entry = self.bytes.len();
        encode_node(&mut self.bytes, &node, self.features);
        let bytes = match node.body {
            Body::Directory => Bytes::Directory,
            Body::File(size) => Bytes::File(size, content),
            _ => Bytes::Other,
        };
        self.push(start, entry, bytes, node.mtime, stat);
    }

    /// Adds a file of a directory whose records are known.
    pub(super) fn add_known(
        &mut self,
        directory: &Arc<Path>,
        name: &[u8],
        stat: Stat,
        records: &[u8],
    ) {
        let start = self.bytes.len();
        encode_name(&mut self.bytes, name);
        let entry = self.bytes.len();
        self.bytes.extend_from_slice(records);
        let later = Later::new(directory, &stat);
        self.push(start, entry, Bytes::Later(stat.size, later), stat.mtime, Some(stat));
    }

    fn push(&mut self, start: usize, entry: usize, bytes: Bytes, mtime: i64, stat: Option<Stat>) {
        let records = start..self.bytes.len();
        self.nexts.push(Next::Node(Node { records, entry, bytes, mtime, stat, mark: None }));
    }

    /// Marks all that can be marked, and lets the cache know of the files.
    pub(super) fn mark(&mut self, cache: &EncoderCache) {
        let Self { bytes, nexts, .. } = self;
        cache.note(nodes(nexts).filter_map(|node| {
            let is_known = matches!(node.bytes, Bytes::Later(..));
            Some((node.stat.as_ref()?, &bytes[node.entry..node.records.end], is_known))
        }));
        let (mut said, mut ends) = (Vec::with_capacity(bytes.len() * 5 / 4), vec![0]);
        for node in nodes(nexts) {
            say(node, bytes, &mut said);
            ends.push(said.len());
        }
        let texts: Vec<&[u8]> = ends.windows(2).map(|ends| &said[ends[0]..ends[1]]).collect();
        let mut marks = marks(&texts).zip(&texts);
        for next in nexts {
            if let Next::Node(node) = next {
                node.mark = marks.next().filter(|(_, text)| !text.is_empty()).map(|(mark, _)| mark);
            }
        }
    }

    pub(super) fn finish(self) -> Encoded {
        Encoded { bytes: Arc::new(self.bytes), nexts: self.nexts }
    }
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
