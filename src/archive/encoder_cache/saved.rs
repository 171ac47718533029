//! What is kept of a tree on disk, in tables that are searched as they lie.
//!
//! ```text
//! magic, key | lengths | chunks, sorted by where they begin | files, sorted by device and number
//!            | names of owners | records of files | digest of all before
//! ```
//! All numbers are little-endian. Nobody else reads this: another version of it has another magic, and is not there.

use std::io::{self, Write};
use std::ops::Range;

use cairn_formats::Digest;

use super::atoms::Mark;
use super::rows::{File, Identity, Row, Start, number};
use crate::kept::Kept;

const MAGIC: [u8; 8] = *b"cairnt02";

/// Bytes of the magic and the key, and of the four lengths.
const HEADER: usize = 8 + 32 + 4 * 8;

/// Bytes of a digest.
const DIGEST: usize = 32;

/// Bytes that are digested at once, beside others.
const BLOCK: usize = 16 << 10;

/// Bytes that are written at once: many blocks.
const AT_ONCE: usize = 1 << 20;

/// A file that is known.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Which of those that are saved.
    pub(crate) row: u32,
    /// Where among the bytes of what is saved its records are, and those of the node.
    pub(crate) records: Range<usize>,
    pub(crate) entry: usize,
    /// The names in it, if it is a directory.
    pub(crate) names: Range<usize>,
    pub(crate) mark: Mark,
}

/// What is known of a tree from an earlier time.
#[derive(Debug)]
pub(super) struct Saved {
    bytes: Kept,
    /// Bytes that a chunk has at most.
    longest: usize,
    /// Where the tables end, one behind the other.
    starts: usize,
    files: usize,
    names: usize,
    records: usize,
}

impl Saved {
    /// Reads what was written with this key; `None` if it is anything else or damaged.
    pub(super) fn read(bytes: Kept, key: &[u8; 32], longest: usize) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let is_ours = header[..8] == MAGIC && header[8..40] == *key;
        let mut end = HEADER;
        let mut ends = [0; 4];
        for (n, place) in ends.iter_mut().enumerate() {
            end = end.checked_add(usize::try_from(number(header, 40 + 8 * n)).ok()?)?;
            *place = end;
        }
        let [starts, files, names, records] = ends;
        let is_whole = bytes.len().checked_sub(DIGEST) == Some(records)
            && (starts - HEADER).is_multiple_of(Start::LEN)
            && (files - starts).is_multiple_of(File::LEN);
        if !is_ours || !is_whole || digest(&bytes[..records]) != bytes[records..] {
            return None;
        }
        Some(Self { bytes, longest, starts, files, names, records })
    }

    /// Writes what is to be kept. Sorts the tables.
    pub(super) fn write(
        out: impl Write,
        key: &[u8; 32],
        starts: &mut [Start],
        files: &mut Vec<File>,
        names: &[u8],
        records: &[&[u8]],
    ) -> io::Result<()> {
        starts.sort_unstable();
        files.sort_unstable();
        // Of what has several names one is enough.
        files.dedup_by_key(|file| file.identity);
        let all: usize = records.iter().map(|some| some.len()).sum();
        let lens = [starts.len() * Start::LEN, files.len() * File::LEN, names.len(), all];
        let mut out = Digested { out, bytes: Vec::with_capacity(AT_ONCE), ids: Vec::new() };
        out.bytes.extend(MAGIC);
        out.bytes.extend(key);
        out.bytes.extend(lens.iter().flat_map(|&len| (len as u64).to_le_bytes()));
        for start in starts {
            start.write(&mut out.bytes);
            out.pass()?;
        }
        for file in files {
            file.write(&mut out.bytes);
            out.pass()?;
        }
        for some in [&names].into_iter().chain(records).flat_map(|all| all.chunks(AT_ONCE)) {
            out.bytes.extend_from_slice(some);
            out.pass()?;
        }
        out.end()
    }

    /// The chunks that began there.
    pub(super) fn starts_at(&self, mark: &Mark, offset: u64) -> impl Iterator<Item = Start> {
        let (mark, first) = (*mark, self.first_start(mark, offset));
        (first..self.chunks())
            .map(|n| self.start(n))
            .take_while(move |start| (start.mark, start.offset) == (mark, offset))
            .filter(|start| (1..=self.longest).contains(&(start.len as usize)))
    }

    /// The first place in an atom, at this one or behind it, where a chunk began.
    pub(super) fn next_start(&self, mark: &Mark, from: u64) -> Option<u64> {
        let first = self.first_start(mark, from);
        let start = (first < self.chunks()).then(|| self.start(first))?;
        (start.mark == *mark).then_some(start.offset)
    }

    /// Where the records of a file are, if it is still the same.
    pub(super) fn find(&self, identity: &Identity) -> Option<Known> {
        let table = &self.bytes[self.starts..self.files];
        let row = first(self.files(), |n| {
            let row = &table[n * File::LEN..];
            std::array::from_fn(|n| number(row, 8 * n)) < *identity
        });
        let file = (row < self.files()).then(|| self.file(row))?;
        let start = self.names.checked_add(usize::try_from(file.at).ok()?)?;
        let entry = start.checked_add(file.entry as usize)?;
        let end = start.checked_add(file.len as usize)?;
        let names = end..end.checked_add(file.names as usize)?;
        let is_known = file.identity == *identity && entry <= end && names.end <= self.records;
        let (row, records, mark) = (row as u32, start..end, file.mark);
        is_known.then_some(Known { row, records, entry, names, mark })
    }

    /// One of the files.
    pub(super) fn file(&self, row: usize) -> File {
        File::read(&self.bytes[self.starts + row * File::LEN..][..File::LEN])
    }

    /// The records of one of them, and the names behind them.
    pub(super) fn records_of(&self, file: &File) -> &[u8] {
        let start = self.names + file.at as usize;
        &self.bytes[start..start + file.len as usize + file.names as usize]
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> usize {
        (self.starts - HEADER) / Start::LEN
    }

    /// How many files.
    pub(super) fn files(&self) -> usize {
        (self.files - self.starts) / File::LEN
    }

    /// What was written of the names of owners.
    pub(super) fn names(&self) -> &[u8] {
        &self.bytes[self.files..self.names]
    }

    fn start(&self, n: usize) -> Start {
        Start::read(&self.bytes[HEADER + n * Start::LEN..][..Start::LEN])
    }

    fn first_start(&self, mark: &Mark, offset: u64) -> usize {
        first(self.chunks(), |n| {
            let row = &self.bytes[HEADER + n * Start::LEN..];
            (&row[..16], number(row, 16)) < (&mark[..], offset)
        })
    }
}

/// The first of so many rows of which this is not true.
fn first(rows: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, rows);
    while low < high {
        let middle = low.midpoint(high);
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// What is written, in blocks that are digested on the way: of many files it is not in memory a second time.
struct Digested<W> {
    out: W,
    /// What has not been written.
    bytes: Vec<u8>,
    /// The digests of what has.
    ids: Vec<u8>,
}

impl<W: Write> Digested<W> {
    /// Writes whole blocks, if there are enough.
    fn pass(&mut self) -> io::Result<()> {
        if self.bytes.len() < AT_ONCE {
            return Ok(());
        }
        let whole = self.bytes.len() / BLOCK * BLOCK;
        self.ids.extend(digests(&self.bytes[..whole]));
        self.out.write_all(&self.bytes[..whole])?;
        self.bytes.drain(..whole);
        Ok(())
    }

    /// Writes the rest, and the digest of all.
    fn end(mut self) -> io::Result<()> {
        self.ids.extend(digests(&self.bytes));
        self.bytes.extend(Digest::Sha512_256.hash(&self.ids).as_bytes());
        self.out.write_all(&self.bytes)
    }
}

/// A digest that several lanes compute.
fn digest(bytes: &[u8]) -> [u8; DIGEST] {
    *Digest::Sha512_256.hash(&digests(bytes)).as_bytes()
}

/// Those of all blocks, one behind the other.
fn digests(bytes: &[u8]) -> Vec<u8> {
    let blocks: Vec<&[u8]> = bytes.chunks(BLOCK).collect();
    let ids = Digest::Sha512_256.hash_many(&blocks);
    ids.iter().flat_map(|id| *id.as_bytes()).collect()
}
