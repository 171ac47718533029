//! A step in the form it has in an archive: made by whoever took it, so that laying it out takes little.

use std::sync::Arc;

use cairn_formats::catar::{Body, encode_name, encode_node};

use super::later::Later;
use crate::archive::encoder_cache::{EncoderCache, Mark, marks};
use crate::archive::step::{Content, Named, Step};
use crate::tree::found::Stat;

/// What comes next in an archive.
#[derive(Debug)]
pub(super) enum Next {
    /// A node. What is in a directory comes next, until it is left.
    Node(Box<Encoded>),
    /// The end of the directory whose nodes came before.
    Leave,
}

/// A node, encoded.
#[derive(Debug)]
pub(super) struct Encoded {
    name: Vec<u8>,
    /// That of its name, which the root does not have, and those of the node.
    pub(super) records: Vec<u8>,
    /// Where those of the node begin.
    pub(super) entry: usize,
    pub(super) body: Bytes,
    /// When it was last changed, in nanoseconds since 1970.
    pub(super) mtime: i64,
    /// What tells whether it is still the same, if anything does.
    pub(super) stat: Option<Stat>,
    /// What its bytes are, if that is known without them.
    pub(super) mark: Option<Mark>,
}

/// What follows the records of a node.
#[derive(Debug)]
pub(super) enum Bytes {
    Directory,
    /// So many bytes of a file.
    File(u64, Content),
    /// So many bytes of a file that is not open.
    Later(Arc<Later>, u64),
    /// Nothing.
    Other,
}

impl Next {
    pub(super) fn of(step: Step, features: u64) -> Self {
        match step {
            Step::Node(named) => Next::Node(Box::new(Encoded::of(*named, features))),
            Step::Leave => Next::Leave,
        }
    }
}

impl Encoded {
    pub(super) fn of(Named { name, node, content }: Named, features: u64) -> Self {
        let mut records = Vec::with_capacity(name.len() + 128);
        if !name.is_empty() {
            encode_name(&mut records, &name);
        }
        let entry = records.len();
        encode_node(&mut records, &node, features);
        let body = match node.body {
            Body::Directory => Bytes::Directory,
            Body::File(size) => Bytes::File(size, content),
            _ => Bytes::Other,
        };
        Self { name, records, entry, body, mtime: node.mtime, stat: None, mark: None }
    }

    /// A file whose records are known, and whose bytes may never be asked for.
    pub(super) fn known(known: &[u8], file: Later) -> Self {
        let (stat, name) = (file.stat, Vec::new());
        let mut records = Vec::with_capacity(file.name.len() + 17 + known.len());
        encode_name(&mut records, &file.name);
        let entry = records.len();
        records.extend_from_slice(known);
        let body = Bytes::Later(Arc::new(file), stat.size);
        Self { name, records, entry, body, mtime: stat.mtime, stat: Some(stat), mark: None }
    }

    /// What it is called; nothing for the root.
    pub(super) fn name(&self) -> &[u8] {
        if let Bytes::Later(file, _) = &self.body { &file.name } else { &self.name }
    }

    /// How many bytes follow the records.
    pub(super) fn size(&self) -> u64 {
        match self.body {
            Bytes::File(size, _) | Bytes::Later(_, size) => size,
            Bytes::Directory | Bytes::Other => 0,
        }
    }

    /// Adds what can be said of its bytes, where they can be told without reading them.
    fn say(&self, said: &mut Vec<u8>) {
        if self.size() == 0 {
            said.extend_from_slice(&self.records);
        } else if let Some(stat) = self.stat {
            said.extend_from_slice(&self.records);
            let numbers = [stat.dev, stat.ino, stat.size];
            let times = [stat.mtime, stat.ctime];
            said.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
            said.extend(times.into_iter().flat_map(i64::to_le_bytes));
        }
    }
}

/// Marks all that can be marked, and lets the cache know of the files.
pub(super) fn mark(nexts: &mut [Next], cache: &EncoderCache) {
    let nodes = || {
        nexts.iter().filter_map(|next| if let Next::Node(node) = next { Some(node) } else { None })
    };
    cache.note(nodes().filter_map(|node| {
        let is_known = matches!(node.body, Bytes::Later(..));
        Some((node.stat.as_ref()?, &node.records[node.entry..], is_known))
    }));
    let (mut said, mut ends) = (Vec::new(), vec![0]);
    for node in nodes() {
        node.say(&mut said);
        ends.push(said.len());
    }
    let texts: Vec<&[u8]> = ends.windows(2).map(|ends| &said[ends[0]..ends[1]]).collect();
    let mut marks =
        marks(&texts).zip(&texts).map(|(mark, text)| (!text.is_empty()).then_some(mark));
    for next in nexts {
        if let Next::Node(node) = next {
            node.mark = marks.next().flatten();
        }
    }
}
