//! Rows of the tables that are kept of a tree: chunks, and files.

use cairn_formats::ChunkId;

use super::atoms::{Mark, Print};
use crate::tree::found::Stat;

/// Where a chunk begins, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Start {
    /// In which atom, and where in it.
    pub(super) mark: Mark,
    pub(super) offset: u64,
    /// What its bytes are.
    pub(super) print: Print,
    /// How many.
    pub(crate) len: u32,
    pub(crate) id: ChunkId,
}

/// What a file was, and where its records are: that of its name, and from `entry` on those of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct File {
    pub(super) identity: Identity,
    pub(super) at: u64,
    pub(super) len: u32,
    pub(super) entry: u32,
    /// Bytes behind the records: the names in a directory.
    pub(super) names: u32,
    /// What its atom is.
    pub(super) mark: Mark,
}

/// What tells whether a file is still the same: its device and number, its size, when it was changed, whose it is, and
/// its mode: a mount may show the same file in another way.
pub(super) type Identity = [u64; 7];

pub(super) fn identity(stat: &Stat) -> Identity {
    let owner = u64::from(stat.uid) << 32 | u64::from(stat.gid);
    let times = [stat.mtime, stat.ctime].map(i64::cast_unsigned);
    [stat.dev, stat.ino, stat.size, times[0], times[1], owner, stat.mode.into()]
}

/// A row of a table.
pub(super) trait Row: Sized {
    /// Bytes of each.
    const LEN: usize;
    fn write(&self, out: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Self;
}

impl Row for Start {
    const LEN: usize = 16 + 8 + 16 + 4 + 32;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.mark);
        out.extend(self.offset.to_le_bytes());
        out.extend(self.print);
        out.extend(self.len.to_le_bytes());
        out.extend(self.id.as_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        Self {
            mark: array(bytes, 0),
            offset: number(bytes, 16),
            print: array(bytes, 24),
            len: u32::from_le_bytes(array(bytes, 40)),
            id: ChunkId::from_bytes(array(bytes, 44)),
        }
    }
}

impl Row for File {
    const LEN: usize = 8 * 8 + 3 * 4 + 16;

    fn write(&self, out: &mut Vec<u8>) {
        let wide = self.identity.into_iter().chain([self.at]);
        out.extend(wide.flat_map(u64::to_le_bytes));
        let numbers = [self.len, self.entry, self.names].into_iter();
        out.extend(numbers.flat_map(u32::to_le_bytes));
        out.extend(self.mark);
    }

    fn read(bytes: &[u8]) -> Self {
        Self {
            identity: std::array::from_fn(|n| number(bytes, 8 * n)),
            at: number(bytes, 56),
            len: u32::from_le_bytes(array(bytes, 64)),
            entry: u32::from_le_bytes(array(bytes, 68)),
            names: u32::from_le_bytes(array(bytes, 72)),
            mark: array(bytes, 76),
        }
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("rows are whole")
}

/// The number at a place.
pub(super) fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}
