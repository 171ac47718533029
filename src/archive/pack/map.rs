//! What lies where in the archive that a tree would be.
//!
//! ```text
//! records | bytes of a file | records | zeros … -> spans, in their order
//! ```
//! Records are kept, as little else could give them again; the bytes of files are read anew where they are asked
//! for.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::tree::found::{is_still, open_again};

/// Everything in an archive, by its place.
#[derive(Debug, Default)]
pub(crate) struct Map {
    spans: Vec<Span>,
    /// All records, one after the other.
    records: Vec<u8>,
    /// All paths below the root, one after the other.
    paths: Vec<u8>,
    /// The directory we are in while the map grows, and how long its path and those of the ones above are.
    path: Vec<u8>,
    open: Vec<usize>,
}

/// A file, by its place among the spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileNumber(usize);

#[derive(Debug)]
struct Span {
    /// Where it begins in the archive.
    at: u64,
    len: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Where its bytes begin among the records.
    Records(usize),
    /// Which of the bytes of paths are that of the file, and when it was modified.
    File { path: Range<usize>, modified: Option<i64> },
}

impl Map {
    /// Records that come next.
    pub(super) fn add_records(&mut self, at: u64, bytes: &[u8]) {
        let start = self.records.len();
        self.records.extend_from_slice(bytes);
        let len = bytes.len() as u64;
        match self.spans.last_mut() {
            Some(Span { len: last, place: Place::Records(_), .. }) => *last += len,
            _ => self.spans.push(Span { at, len, place: Place::Records(start) }),
        }
    }

    /// The bytes of a file of the directory we are in.
    pub(super) fn add_file(&mut self, at: u64, len: u64, name: &[u8], modified: Option<i64>) {
        if len == 0 {
            return;
        }
        let start = self.paths.len();
        self.paths.extend_from_slice(&self.path);
        self.paths.extend_from_slice(name);
        let place = Place::File { path: start..self.paths.len(), modified };
        self.spans.push(Span { at, len, place });
    }

    /// A directory comes; the name of the root is empty.
    pub(super) fn enter(&mut self, name: &[u8]) {
        self.open.push(self.path.len());
        if !name.is_empty() {
            self.path.extend_from_slice(name);
            self.path.push(b'/');
        }
    }

    /// The directory has come to its end.
    pub(super) fn leave(&mut self) {
        self.path.truncate(self.open.pop().unwrap_or(0));
    }

    /// How long the archive is.
    pub(crate) fn len(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.at + span.len)
    }

    /// So many bytes from a place of the archive, of the tree at `root`. `None` if what they come from is not what
    /// it was; whether it is to the byte the caller finds out.
    pub(crate) fn read(&self, root: &Path, at: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            match self.read_some(root, at + done as u64, &mut bytes[done..])? {
                None | Some(0) => return Ok(None),
                Some(read) => done += read,
            }
        }
        Ok(Some(bytes))
    }

    /// As [`Map::read`], but no further than to the end of one file, or of the records between two: who only wants
    /// records opens no files. 0 behind the end.
    pub(crate) fn read_some(
        &self,
        root: &Path,
        at: u64,
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        let first = self.spans.partition_point(|span| span.at + span.len <= at);
        let Some(span) = self.spans.get(first) else { return Ok(Some(0)) };
        let from = at - span.at;
        let most = usize::try_from(span.len - from).unwrap_or(usize::MAX).min(buffer.len());
        let part = &mut buffer[..most];
        match &span.place {
            Place::Records(start) => {
                let start = start + from as usize;
                part.copy_from_slice(&self.records[start..start + most]);
            }
            Place::File { .. } => {
                let Some(file) = self.open(root, span)? else { return Ok(None) };
                file.read_exact_at(part, from)?;
            }
        }
        Ok(Some(most))
    }

    /// The records that lie at a place, up to where something else does.
    pub(crate) fn records(&self, at: u64) -> Option<&[u8]> {
        let first = self.spans.partition_point(|span| span.at + span.len <= at);
        match self.spans.get(first)? {
            &Span { at: start, len, place: Place::Records(from) } => {
                let (skipped, end) = ((at - start) as usize, from + len as usize);
                Some(&self.records[from + skipped..end])
            }
            _ => None,
        }
    }

    /// The path, below the root, of the file of so many bytes that begins at a place.
    pub(crate) fn path_at(&self, at: u64, len: u64) -> Option<&[u8]> {
        let first = self.spans.partition_point(|span| span.at < at);
        let span = self.spans.get(first).filter(|span| (span.at, span.len) == (at, len))?;
        if let Place::File { path, .. } = &span.place {
            Some(&self.paths[path.clone()])
        } else {
            None
        }
    }

    /// The parts of a range of the archive that are in files: of which file, from where in it, and which they are.
    pub(crate) fn files_in(
        &self,
        range: Range<u64>,
    ) -> impl Iterator<Item = (FileNumber, u64, Range<u64>)> {
        let first = self.spans.partition_point(|span| span.at + span.len <= range.start);
        let numbered = (first..).zip(&self.spans[first..]);
        let within = numbered.take_while(move |(_, span)| span.at < range.end);
        within.filter_map(move |(number, span)| {
            let part = range.start.max(span.at)..range.end.min(span.at + span.len);
            let is_file = matches!(span.place, Place::File { .. });
            is_file.then(|| (FileNumber(number), part.start - span.at, part))
        })
    }

    /// All files that are not empty, with their length and when they were modified, as far as that is known.
    pub(crate) fn files(&self) -> impl Iterator<Item = (FileNumber, u64, Option<i64>)> {
        (0..).zip(&self.spans).filter_map(|(number, span)| match span.place {
            Place::File { modified, .. } => Some((FileNumber(number), span.len, modified)),
            Place::Records(_) => None,
        })
    }

    /// The path of a file below the root.
    pub(crate) fn path(&self, FileNumber(number): FileNumber) -> &Path {
        self.path_of(&self.spans[number])
    }

    /// The file, open for reading, as [`Map::read`] takes it, and its length.
    pub(crate) fn file(&self, root: &Path, number: FileNumber) -> io::Result<Option<(File, u64)>> {
        let span = &self.spans[number.0];
        Ok(self.open(root, span)?.map(|file| (file, span.len)))
    }

    fn path_of(&self, span: &Span) -> &Path {
        let bytes = match &span.place {
            Place::File { path, .. } => &self.paths[path.clone()],
            Place::Records(_) => &[],
        };
        Path::new(std::ffi::OsStr::from_bytes(bytes))
    }

    /// The file of a span; none if it is not what it was.
    fn open(&self, root: &Path, span: &Span) -> io::Result<Option<File>> {
        let Place::File { modified, .. } = span.place else { return Ok(None) };
        let file = open_again(&root.join(self.path_of(span)))?;
        Ok(is_still(&file, span.len, modified)?.then_some(file))
    }
}
