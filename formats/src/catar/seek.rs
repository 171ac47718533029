//! Archives read here and there rather than from front to end.
//!
//! ```text
//! last 24 bytes -> GOODBYE of the root -> name -> FILENAME + node -> its GOODBYE -> name -> ...
//! ```
//! Nothing is believed: whatever is said to be in a directory must lie in it, behind its ENTRY and before its
//! GOODBYE, so that a way down ends, however it is forged. What is held in memory is one table of a limited
//! size; greater ones are looked up where they lie.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::decode::{Decoder, Item, check_name};
use super::goodbye::{Child, hash_name};
use super::node::Node;
use super::parse::text;
use super::record::{GOODBYE_ITEM_LEN, GOODBYE_TAIL, HEADER_LEN, Header, Kind};
use crate::wire::word;
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// Tables up to this size are read at once, in bytes: those of 43 000 names.
const TABLE_AT_ONCE: u64 = 1 << 20;

/// Names of one hash that are looked at. With 64 bits to a hash there are never two unless somebody has
/// looked for them.
const MOST_ALIKE: usize = 64;

/// Bytes read ahead for one node: enough for the metadata of most.
const NODE_AHEAD: usize = 512;

/// Bytes of a FILENAME at most, with its header.
const FILENAME_LEN: usize = 272;

/// Bytes that can be read from any place.
pub trait ReadAt {
    /// Reads what is at byte `at`, as much as there is room for, and returns how much that was: less only at
    /// the end, and 0 behind it.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// Looks into an archive.
#[derive(Debug)]
pub struct Archive<R> {
    input: R,
    len: u64,
    features: u64,
    root: Found,
}

/// A node, and where it lies in its archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The node itself.
    pub node: Node,
    /// Where its ENTRY begins, in bytes from the start of the archive.
    pub start: u64,
    /// Where its metadata ends: there the bytes of a file begin, or what is in a directory.
    pub body: u64,
    /// Where it ends.
    pub end: u64,
}

impl<R: ReadAt> Archive<R> {
    /// Looks at the beginning and the end of an archive of `len` bytes.
    pub fn new(input: R, len: u64) -> Result<Self> {
        let mut decoder = Decoder::new(Span::new(&input, 0..len, NODE_AHEAD));
        let Some(Item::Node(node)) = decoder.next()? else {
            unreachable!("an archive begins with a node, or with an error")
        };
        let features = decoder.features().expect("a node has been read");
        let root = Found { node: *node, start: 0, body: decoder.body_start(), end: len };
        let archive = Self { input, len, features, root };
        archive.check_end(&archive.root)?;
        Ok(archive)
    }

    /// The feature word of the archive.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// What its bytes are read from.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// The root, mostly a directory.
    pub fn root(&self) -> &Found {
        &self.root
    }

    /// The node at a path below the root; `None` if there is none. Empty components and `.` are the
    /// directory itself; symbolic links are not followed.
    pub fn find(&self, path: &[u8]) -> Result<Option<Found>> {
        let mut found = self.root.clone();
        for name in path.split(|&byte| byte == b'/') {
            if name.is_empty() || name == b"." {
                continue;
            }
            match self.lookup(&found, name)? {
                Some(below) => found = below,
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// The node of this name in a directory; `None` if there is none, also if it is no directory.
    pub fn lookup(&self, directory: &Found, name: &[u8]) -> Result<Option<Found>> {
        if !directory.node.is_directory() {
            return Ok(None);
        }
        let table = self.table(directory)?;
        for child in self.alike(&table, hash_name(name))? {
            let (there, start) = self.name(child.start, child.end)?;
            if there == name {
                return self.node(start, &child);
            }
        }
        Ok(None)
    }

    /// What is in a directory, in the order of the archive; nothing if it is no directory.
    pub fn children<'a>(&'a self, directory: &'a Found) -> Result<Children<'a, R>> {
        let table = directory.node.is_directory().then(|| self.table(directory)).transpose()?;
        Ok(Children { archive: self, table, next: directory.body })
    }

    /// Reads bytes of a file from the place `at` in it, as [`ReadAt::read_at`] does.
    pub fn read(&self, file: &Found, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = file.node.size().saturating_sub(at);
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.input.read_at(file.body + at, &mut buffer[..most])?;
        if read == 0 { Err(cut()) } else { Ok(read) }
    }

    /// A node of a directory, at the place of its ENTRY; `None` if its name stands without a node.
    fn node(&self, start: u64, child: &Child) -> Result<Option<Found>> {
        if start == child.end {
            return Ok(None);
        }
        // A pipe ends with what comes after it, so that much is read, too.
        let until = child.end.saturating_add(HEADER_LEN as u64).min(self.len);
        let input = Span::new(&self.input, start..until, NODE_AHEAD);
        let mut decoder = Decoder::at_node(input, start, self.features);
        let Some(Item::Node(node)) = decoder.next()? else {
            return Err(bad(start, "no node where one belongs"));
        };
        let found = Found { node: *node, start, body: decoder.body_start(), end: child.end };
        self.check_end(&found)?;
        Ok(Some(found))
    }

    /// Whether a node ends where it is said to.
    fn check_end(&self, found: &Found) -> Result<()> {
        if found.node.is_directory() {
            return self.table(found).map(|_| ());
        }
        if found.body.checked_add(found.node.size()) == Some(found.end) {
            return Ok(());
        }
        Err(bad(found.end, "a node does not end where it should"))
    }

    /// The name whose FILENAME is at `start`, and where that ends, at `end` at most.
    fn name(&self, start: u64, end: u64) -> Result<(Vec<u8>, u64)> {
        let mut record = [0; FILENAME_LEN];
        let most = usize::try_from(end - start).unwrap_or(usize::MAX).min(FILENAME_LEN);
        let read = self.read_full(start, &mut record[..most])?;
        let Some((header, _)) = record[..read].split_first_chunk() else {
            return Err(bad(start, "a name that is cut off"));
        };
        let header = Header::parse(header).map_err(|why| bad(start, why))?;
        let size = header.size as usize;
        if header.kind != Kind::Filename || size > read {
            return Err(bad(start, "no name where one belongs"));
        }
        let name = text(&record[HEADER_LEN..size]);
        let name = name.map_err(|why| bad(start, format!("a name {why}")))?;
        check_name(name).map_err(|why| bad(start, why))?;
        Ok((name.to_vec(), start + header.size))
    }

    /// The table at the end of a directory.
    fn table(&self, directory: &Found) -> Result<Table> {
        let Found { start, body, end, .. } = *directory;
        let bad_table = || bad(end, "a directory does not end with its table");
        let tail_at = end.checked_sub(GOODBYE_ITEM_LEN as u64).filter(|&at| at >= body);
        let tail_at = tail_at.ok_or_else(bad_table)?;
        let mut tail = [0; GOODBYE_ITEM_LEN];
        self.read_exact(tail_at, &mut tail)?;
        let (back, size) = (word(&tail, 0), word(&tail, 8));
        let at = end.checked_sub(size).filter(|&at| at >= body).ok_or_else(bad_table)?;
        let items_len = size.checked_sub((HEADER_LEN + GOODBYE_ITEM_LEN) as u64);
        let items_len = items_len.filter(|len| len.is_multiple_of(GOODBYE_ITEM_LEN as u64));
        let items_len = items_len.ok_or_else(bad_table)?;
        if word(&tail, 16) != GOODBYE_TAIL || at.checked_sub(back) != Some(start) {
            return Err(bad_table());
        }
        let mut header = [0; HEADER_LEN];
        self.read_exact(at, &mut header)?;
        let is_it = Header::parse(&header)
            .is_ok_and(|header| header.kind == Kind::Goodbye && header.size == size);
        if !is_it {
            return Err(bad_table());
        }
        Ok(Table { at, body, len: items_len / GOODBYE_ITEM_LEN as u64, items: None })
    }

    /// The children with this hash: almost always one or none.
    fn alike(&self, table: &Table, hash: u64) -> Result<Vec<Child>> {
        let mut found = Vec::new();
        let mut places = vec![0];
        while let Some(place) = places.pop() {
            if place >= table.len {
                continue;
            }
            let child = self.child(table, place)?;
            if child.hash >= hash {
                places.push(2 * place + 1);
            }
            if child.hash <= hash {
                places.push(2 * place + 2);
            }
            if child.hash == hash {
                found.push(child);
            }
            if found.len() > MOST_ALIKE {
                return Err(bad(table.at, "a directory with too many names of one hash"));
            }
        }
        Ok(found)
    }

    /// The item at a place of the tree, which must be in its directory.
    fn child(&self, table: &Table, place: u64) -> Result<Child> {
        let from = place * GOODBYE_ITEM_LEN as u64;
        let mut read = [0; GOODBYE_ITEM_LEN];
        let item = match &table.items {
            Some(items) => &items[from as usize..],
            None => {
                self.read_exact(table.at + HEADER_LEN as u64 + from, &mut read)?;
                &read
            }
        };
        let (back, size, hash) = (word(item, 0), word(item, 8), word(item, 16));
        let start = table.at.checked_sub(back).filter(|&start| start >= table.body);
        let end = start.and_then(|start| start.checked_add(size)).filter(|&end| end <= table.at);
        match (start, end) {
            (Some(start), Some(end)) if start < end => Ok(Child { hash, start, end }),
            _ => Err(bad(table.at, "a table with an item outside of its directory")),
        }
    }

    fn read_full(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read_at(at + filled as u64, &mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    fn read_exact(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.read_full(at, buffer)? < buffer.len() { Err(cut()) } else { Ok(()) }
    }
}

/// The search tree of a directory.
#[derive(Debug)]
struct Table {
    /// Where its record begins.
    at: u64,
    /// Where the first name of the directory begins.
    body: u64,
    /// How many items it has.
    len: u64,
    /// The items, if they have been read at once.
    items: Option<Vec<u8>>,
}

/// What is in a directory, one after the other.
///
/// It goes from name to name, and asks the table only how far each reaches: so it always comes nearer to the
/// end, and no list is kept.
#[derive(Debug)]
pub struct Children<'a, R> {
    archive: &'a Archive<R>,
    /// `None` of what is no directory.
    table: Option<Table>,
    /// Where the next name begins.
    next: u64,
}

impl<R: ReadAt> Children<'_, R> {
    /// The next name and its node; `None` at the end. Names without a node are passed over.
    #[allow(clippy::should_implement_trait, reason = "after an error there is nothing to come")]
    pub fn next(&mut self) -> Result<Option<(Vec<u8>, Found)>> {
        let Some(table) = &mut self.table else { return Ok(None) };
        let items_len = table.len * GOODBYE_ITEM_LEN as u64;
        if table.items.is_none() && items_len <= TABLE_AT_ONCE {
            let mut items = vec![0; items_len as usize];
            self.archive.read_exact(table.at + HEADER_LEN as u64, &mut items)?;
            table.items = Some(items);
        }
        while self.next < table.at {
            let (name, start) = self.archive.name(self.next, table.at)?;
            let alike = self.archive.alike(table, hash_name(&name))?;
            // Whoever is asked for a name twice finds the same places: two of one name see each other.
            for other in alike.iter().filter(|child| child.start != self.next) {
                if self.archive.name(other.start, other.end)?.0 == name {
                    return Err(bad(self.next, "a name comes twice in one directory"));
                }
            }
            let child = alike.into_iter().find(|child| child.start == self.next);
            let child = child.filter(|child| child.end >= start);
            let child =
                child.ok_or_else(|| bad(self.next, "a name that its table does not list"))?;
            self.next = child.end;
            if let Some(found) = self.archive.node(start, &child)? {
                return Ok(Some((name, found)));
            }
        }
        Ok(None)
    }
}

/// A part of what can be read from any place, from its beginning to its end.
#[derive(Debug)]
pub struct Span<R> {
    input: R,
    /// Where the next read begins.
    at: u64,
    end: u64,
    /// How much is read ahead.
    ahead: usize,
    /// What has been read ahead, and how much of it has been given out.
    buffer: Vec<u8>,
    given: usize,
}

impl<R: ReadAt> Span<R> {
    /// Reads the bytes of a range, at least `ahead` at once.
    pub fn new(input: R, range: Range<u64>, ahead: usize) -> Self {
        let Range { start: at, end } = range;
        Self { input, at, end, ahead, buffer: Vec::new(), given: 0 }
    }

    /// Goes on so many bytes further, without reading what is not there yet.
    pub fn skip(&mut self, len: u64) -> io::Result<()> {
        let held = self.buffer.len() - self.given;
        match usize::try_from(len).ok().filter(|&len| len <= held) {
            Some(len) => self.given += len,
            None => {
                self.given = self.buffer.len();
                let further = self.at.checked_add(len - held as u64);
                self.at = further.filter(|&at| at <= self.end).ok_or_else(cut)?;
            }
        }
        Ok(())
    }
}

impl<R: ReadAt> Read for Span<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.buffer.len() {
            let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
            if buffer.len() >= self.ahead {
                let most = buffer.len().min(left);
                let read = self.input.read_at(self.at, &mut buffer[..most])?;
                self.at += read as u64;
                return Ok(read);
            }
            self.buffer.resize(left.min(self.ahead), 0);
            self.given = 0;
            let read = self.input.read_at(self.at, &mut self.buffer);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            self.at += read? as u64;
        }
        let read = (&self.buffer[self.given..]).read(buffer)?;
        self.given += read;
        Ok(read)
    }
}

fn bad(at: u64, why: impl Into<String>) -> Error {
    Error::BadArchive { at, why: why.into() }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends too early")
}

impl ReadAt for [u8] {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(self.len());
        (&self[from..]).read(buffer)
    }
}

impl ReadAt for File {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buffer, at)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(at, buffer)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Arc<R> {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(at, buffer)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Box<R> {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(at, buffer)
    }
}
