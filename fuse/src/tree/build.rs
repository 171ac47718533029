//! An archive, read from front to end, into a block.
//!
//! ```text
//! archive   root  a  a/x  a/y  (a is left)          b     (the root is left)
//! pending   root  root a x y   root a               root a b
//! rows                         x y                        x y a b root
//! ```
//! What is in a directory becomes rows when the directory is left. Nothing is kept of a node but its row and its texts, and
//! of a directory that is open where its rows begin.

use std::io::{self, Read};
use std::mem;

use cairn_formats::catar::{Body as Recorded, Decoder, Item, Node, ReadAt, Span};
use cairn_formats::{Error, Result};

use super::form::{Block, Head, Sections};
use super::rows::{self, Body, MOST_TEXT, Row, Text};
use super::sets::Sets;

/// A part of what there is already that vectors grow by at least: they are large, and growing does not copy them.
const SHARE: usize = 8;

/// What they grow by at least.
const LEAST: usize = 64;

/// What can be read of an archive in order, and passed over.
pub trait Skip: Read {
    /// Goes on so many bytes further.
    fn skip(&mut self, len: u64) -> io::Result<()>;
}

impl<R: ReadAt> Skip for Span<R> {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        Span::skip(self, len)
    }
}

/// Reads an archive without the bytes of files.
pub(super) fn build(input: impl Skip) -> Result<Block> {
    let mut decoder = Decoder::new(input);
    let mut builder = Builder::default();
    while let Some(item) = decoder.next()? {
        match item {
            Item::Node(node) => {
                if builder.pending.is_empty() && !node.is_directory() {
                    let why = "its root is one file, and not a directory";
                    return Err(Error::BadArchive { at: 0, why: why.to_owned() });
                }
                let start = decoder.body_start();
                let added = builder.add(decoder.name(), &node, start);
                added.ok_or_else(|| too_many(decoder.position()))?;
                if node.size() > 0 {
                    decoder.take_payload(|input, len| input.skip(len))?;
                }
            }
            Item::Leave => builder.leave().ok_or_else(|| too_many(decoder.position()))?,
        }
    }
    Ok(builder.finish(decoder.position()))
}

fn too_many(at: u64) -> Error {
    Error::BadArchive { at, why: "it has more in it than can be shown".to_owned() }
}

/// Rows in the making.
#[derive(Default)]
struct Builder {
    rows: Vec<rows::Bytes>,
    /// The root, what is in it, what is in the last of that, and so on.
    pending: Vec<rows::Bytes>,
    /// For every directory that is open, where what is in it begins among these: its own row stands before.
    open: Vec<usize>,
    sets: Sets,
    texts: Vec<u8>,
    has_xattrs: bool,
}

impl Builder {
    /// Takes a node whose body begins there; `None` if there is no room for it.
    fn add(&mut self, name: &[u8], node: &Node, start: u64) -> Option<()> {
        let name = self.text(name)?;
        let body = match &node.body {
            Recorded::Directory => Body::Directory { first: 0, count: 0, directories: 0 },
            Recorded::File(size) => Body::File { start, size: *size },
            Recorded::Symlink(target) => Body::Symlink(self.text(target)?),
            Recorded::Block { major, minor } => Body::Block(*major, *minor),
            Recorded::Character { major, minor } => Body::Character(*major, *minor),
            Recorded::Fifo => Body::Fifo,
            Recorded::Socket => Body::Socket,
        };
        let set = self.sets.add(node)?;
        self.has_xattrs |= set != 0;
        let Node { uid, gid, mtime, .. } = *node;
        let row = Row { name, mode: node.mode() as u16, uid, gid, mtime, parent: 0, set, body };
        make_room(&mut self.pending, 1);
        self.pending.push(row.write());
        if node.is_directory() {
            self.open.push(self.pending.len());
        }
        // The numbers of rows are those of nodes, but for two.
        u32::try_from(self.rows.len() + self.pending.len() + 2).ok().map(drop)
    }

    fn text(&mut self, text: &[u8]) -> Option<Text> {
        let at = self.texts.len() as u64;
        make_room(&mut self.texts, text.len());
        self.texts.extend_from_slice(text);
        let is_room = self.texts.len() as u64 <= MOST_TEXT;
        is_room.then_some(Text { at, len: text.len() as u32 })
    }

    /// Leaves the innermost directory.
    fn leave(&mut self) -> Option<()> {
        let start = self.open.pop()?;
        let Self { rows, pending, texts, .. } = self;
        let name = |row: &rows::Bytes| {
            let Text { at, len } = Row::read(row).map(|row| row.name).unwrap_or_default();
            &texts[at as usize..][..len as usize]
        };
        let block = &mut pending[start..];
        if !block.is_sorted_by(|a, b| name(a) < name(b)) {
            block.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        }
        let (first, count) = (rows.len() as u32, block.len() as u32);
        let mut directories = 0;
        for (number, child) in (first..).zip(&*block) {
            directories += u32::from(adopt(rows, child, number));
        }
        let own = start - 1;
        let mut row = Row::read(&pending[own])?;
        row.body = Body::Directory { first, count, directories };
        pending[own] = row.write();
        if own == 0 && pending.len() > rows.len() {
            // The last, and most of all: those before go in front of it.
            make_room(pending, rows.len());
            let root = pending[0];
            pending.splice(..1, rows.drain(..));
            *rows = mem::take(pending);
            pending.push(root);
        } else {
            make_room(rows, pending.len() - start);
            rows.extend_from_slice(&pending[start..]);
            pending.truncate(start);
        }
        Some(())
    }

    /// The block, once the root has been left.
    fn finish(mut self, archive: u64) -> Block {
        let number = self.rows.len() as u32;
        for root in mem::take(&mut self.pending) {
            adopt(&mut self.rows, &root, number);
            let row = Row::read(&root).map(|row| Row { parent: number, ..row }.write());
            self.rows.push(row.unwrap_or(root));
        }
        let Self { mut rows, mut texts, sets, has_xattrs, .. } = self;
        let Sets { mut bytes, has_acls, .. } = sets;
        rows.shrink_to_fit();
        bytes.shrink_to_fit();
        texts.shrink_to_fit();
        let head = Head { archive, rows: rows.len() as u64, has_xattrs, has_acls };
        Block { head, sections: Sections::Built { rows, sets: bytes, texts } }
    }
}

/// Tells all that is in a directory which row that has. Returns whether it is one.
fn adopt(rows: &mut [rows::Bytes], directory: &rows::Bytes, number: u32) -> bool {
    let Some(children) = Row::read(directory).and_then(|row| row.children()) else { return false };
    for row in &mut rows[children.start as usize..children.end as usize] {
        if let Some(child) = Row::read(row) {
            *row = Row { parent: number, ..child }.write();
        }
    }
    true
}

/// Makes room for so many more, without doubling what is taken for those that are there.
pub(super) fn make_room<T>(vector: &mut Vec<T>, more: usize) {
    if vector.capacity() - vector.len() < more {
        vector.reserve_exact(more.max(vector.len() / SHARE).max(LEAST));
    }
}
