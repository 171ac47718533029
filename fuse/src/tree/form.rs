//! A block: all that is known of an archive, in three sections, in memory or as it was saved.
//!
//! ```text
//! magic:8 key:32 | bytes of the archive:8 | rows:8 bytes of sets:8 bytes of texts:8 | marks:8 | digest of all before:32
//! | rows, that of the root last | sets of extended attributes | texts: names and where links lead
//! ```
//! All numbers are little-endian. Of what was saved only the header is checked as a whole: to read all of it again would
//! take longer than whoever opens it should wait. What is behind it is never believed: a place outside of its section, or a
//! row that does not belong where it is met, is as if it was not there.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;

use cairn_formats::{Digest, Result};

use super::build::{self, Skip};
use super::rows::{self, Row, Text, number};
use super::sets::{Set, set};

/// Another version has another one.
const MAGIC: [u8; 8] = *b"cairnn01";

/// Bytes of what the digest is of, and with it.
const DIGESTED: usize = 8 + 32 + 5 * 8;
const HEADER: usize = DIGESTED + 32;

/// Marks: that a node has extended attributes, and that one has a list of who may do what.
const HAS_XATTRS: u64 = 1;
const HAS_ACLS: u64 = 2;

/// All that is known of an archive but the bytes of its files.
pub struct Block {
    pub(super) head: Head,
    pub(super) sections: Sections,
}

/// What is known of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the archive.
    pub(super) archive: u64,
    /// How many nodes it has.
    pub(super) rows: u64,
    pub(super) has_xattrs: bool,
    pub(super) has_acls: bool,
}

/// What was saved, mapped or copied.
type Saved = Box<dyn AsRef<[u8]> + Send + Sync>;

/// Where the rest is.
pub(super) enum Sections {
    Built { rows: Vec<rows::Bytes>, sets: Vec<u8>, texts: Vec<u8> },
    Saved { bytes: Saved, sets: usize, texts: usize },
}

impl Block {
    /// Reads an archive from front to end, and passes over the bytes of files.
    ///
    /// Refused is what has a single file as its root. Memory is what the rows and the texts take, and an eighth more.
    pub fn build(archive: impl Skip) -> Result<Self> {
        build::build(archive)
    }

    /// What was written with this key; `None` if it is anything else.
    pub fn open(bytes: impl AsRef<[u8]> + Send + Sync + 'static, key: &[u8; 32]) -> Option<Self> {
        let all = bytes.as_ref();
        let (header, digest) = all.get(..HEADER)?.split_at(DIGESTED);
        let is_ours = header[..8] == MAGIC && header[8..40] == *key;
        if !is_ours || Digest::Sha512_256.hash(header).as_bytes() != digest {
            return None;
        }
        let [archive, rows, sets, texts, marks] =
            std::array::from_fn(|n| number(header, 40 + 8 * n));
        let len = |len: u64| usize::try_from(len).ok();
        let sets_at = len(rows)?.checked_mul(rows::LEN)?.checked_add(HEADER)?;
        let texts_at = sets_at.checked_add(len(sets)?)?;
        if texts_at.checked_add(len(texts)?)? != all.len() || u32::try_from(rows).is_err() {
            return None;
        }
        let (has_xattrs, has_acls) = (marks & HAS_XATTRS != 0, marks & HAS_ACLS != 0);
        let head = Head { archive, rows, has_xattrs, has_acls };
        let bytes = Box::new(bytes);
        let block =
            Self { head, sections: Sections::Saved { bytes, sets: sets_at, texts: texts_at } };
        block.row(rows.checked_sub(1)?)?.children().map(|_| block)
    }

    /// Writes it under a key, in several large pieces.
    pub fn write(&self, mut out: impl Write, key: &[u8; 32]) -> io::Result<()> {
        let Head { archive, rows, has_xattrs, has_acls } = self.head;
        let marks = u64::from(has_xattrs) * HAS_XATTRS + u64::from(has_acls) * HAS_ACLS;
        let sections = [self.rows(), self.sets(), self.texts()];
        let lens = [archive, rows, sections[1].len() as u64, sections[2].len() as u64, marks];
        let mut header = [&MAGIC[..], key].concat();
        header.extend(lens.into_iter().flat_map(u64::to_le_bytes));
        header.extend(Digest::Sha512_256.hash(&header).as_bytes());
        out.write_all(&header)?;
        sections.into_iter().try_for_each(|section| out.write_all(section))
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> u64 {
        self.head.rows
    }

    /// Bytes that it takes when it is written.
    pub fn size(&self) -> u64 {
        (HEADER + self.rows().len() + self.sets().len() + self.texts().len()) as u64
    }

    /// The node in a row; `None` if there is no such row, or nothing that is one in it.
    pub(super) fn row(&self, number: u64) -> Option<Row> {
        let at = usize::try_from(number).ok()?;
        let (rows, _) = self.rows().as_chunks();
        Row::read(rows.get(at)?)
    }

    /// A name, or where a link leads.
    pub(super) fn text(&self, text: Text) -> Option<&[u8]> {
        let at = usize::try_from(text.at).ok()?;
        self.texts().get(at..at.checked_add(text.len as usize)?)
    }

    /// The extended attributes of a node.
    pub(super) fn set(&self, row: &Row) -> Option<Set<'_>> {
        set(self.sets(), row.set)
    }

    fn rows(&self) -> &[u8] {
        match &self.sections {
            Sections::Built { rows, .. } => rows.as_flattened(),
            Sections::Saved { bytes, sets, .. } => within(bytes, HEADER..*sets),
        }
    }

    fn sets(&self) -> &[u8] {
        match &self.sections {
            Sections::Built { sets, .. } => sets,
            Sections::Saved { bytes, sets, texts } => within(bytes, *sets..*texts),
        }
    }

    fn texts(&self) -> &[u8] {
        match &self.sections {
            Sections::Built { texts, .. } => texts,
            Sections::Saved { bytes, texts, .. } => within(bytes, *texts..(**bytes).as_ref().len()),
        }
    }
}

/// A part of what was saved; nothing if it is not as it was.
fn within(bytes: &Saved, range: Range<usize>) -> &[u8] {
    (**bytes).as_ref().get(range).unwrap_or_default()
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("head", &self.head).finish_non_exhaustive()
    }
}
