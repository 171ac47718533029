//! The row of a node, of the same size for all.
//!
//! ```text
//! 0   where its name is: 40 bits, and how long: 8 bits; its mode: 16 bits
//! 8   owner:4 group:4
//! 16  mtime:8
//! 24  row of the directory it is in:4    its extended attributes:4, 0 for none
//! 32  directory: first row of what is in it:4, how many:4, how many directories among them:4
//!     file: where its bytes begin:8, how many:8      link: where its target is:8, how long:4      device: 4, 4
//! ```
//! All numbers are little-endian. What is in a directory stands in rows one behind the other, before its own: so nobody
//! who goes down comes by the same row twice, whatever a damaged one says.

use std::ops::Range;

use cairn_formats::catar::Body as Recorded;

use crate::fs::Kind;

/// Bytes of a row.
pub(super) const LEN: usize = 48;

/// A row as it lies.
pub(super) type Bytes = [u8; LEN];

/// Bytes that names and targets have together at most.
pub(super) const MOST_TEXT: u64 = 1 << 40;

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where its name is among the texts; the root has none.
    pub(super) name: Text,
    /// Its type and its permissions.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    /// The directory it is in; the root's is itself.
    pub(super) parent: u32,
    /// Which extended attributes it has; 0 for none.
    pub(super) set: u32,
    pub(super) body: Body,
}

/// Where a text is among the others, and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) at: u64,
    pub(super) len: u32,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Directory {
        first: u32,
        count: u32,
        directories: u32,
    },
    /// Where its bytes begin in the archive, and how many.
    File {
        start: u64,
        size: u64,
    },
    Symlink(Text),
    Block(u32, u32),
    Character(u32, u32),
    Fifo,
    Socket,
}

impl Row {
    pub(super) fn write(&self) -> Bytes {
        let name = self.name.at | u64::from(self.name.len) << 40 | u64::from(self.mode) << 48;
        let narrow = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let body = match self.body {
            Body::Directory { first, count, directories } => {
                [narrow(first, count), directories.into()]
            }
            Body::File { start, size } => [start, size],
            Body::Symlink(target) => [target.at, target.len.into()],
            Body::Block(major, minor) | Body::Character(major, minor) => [narrow(major, minor), 0],
            Body::Fifo | Body::Socket => [0; 2],
        };
        let owner = narrow(self.uid, self.gid);
        let rest = narrow(self.parent, self.set);
        let words = [name, owner, self.mtime.cast_unsigned(), rest, body[0], body[1]];
        let mut bytes = [0; LEN];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    /// `None` if it is no row.
    pub(super) fn read(bytes: &Bytes) -> Option<Self> {
        let word = |n: usize| number(bytes, 8 * n);
        let narrow = |n: usize| (word(n) as u32, (word(n) >> 32) as u32);
        let text = |at: u64, len: u64| Text { at, len: len as u32 };
        let mode = (word(0) >> 48) as u16;
        let body = match kind(mode)? {
            Kind::Directory => {
                let (first, count) = narrow(4);
                Body::Directory { first, count, directories: word(5) as u32 }
            }
            Kind::File => Body::File { start: word(4), size: word(5) },
            Kind::Symlink => Body::Symlink(text(word(4), word(5))),
            Kind::Block => Body::Block(narrow(4).0, narrow(4).1),
            Kind::Character => Body::Character(narrow(4).0, narrow(4).1),
            Kind::Fifo => Body::Fifo,
            Kind::Socket => Body::Socket,
        };
        let ((uid, gid), (parent, set)) = (narrow(1), narrow(3));
        let name = text(word(0) & (MOST_TEXT - 1), word(0) >> 40 & 0xff);
        Some(Self { name, mode, uid, gid, mtime: word(2).cast_signed(), parent, set, body })
    }

    /// What it is.
    pub(super) fn kind(&self) -> Kind {
        match self.body {
            Body::Directory { .. } => Kind::Directory,
            Body::File { .. } => Kind::File,
            Body::Symlink(_) => Kind::Symlink,
            Body::Block(..) => Kind::Block,
            Body::Character(..) => Kind::Character,
            Body::Fifo => Kind::Fifo,
            Body::Socket => Kind::Socket,
        }
    }

    /// Which rows are those of what is in it, if it is a directory.
    pub(super) fn children(&self) -> Option<Range<u64>> {
        let Body::Directory { first, count, .. } = self.body else { return None };
        Some(first.into()..u64::from(first) + u64::from(count))
    }
}

/// What a mode says a node is.
fn kind(mode: u16) -> Option<Kind> {
    let is = |body: &Recorded| u32::from(mode) & 0o170_000 == body.type_bits();
    let (major, minor) = (0, 0);
    Some(match () {
        () if is(&Recorded::File(0)) => Kind::File,
        () if is(&Recorded::Directory) => Kind::Directory,
        () if is(&Recorded::Symlink(Vec::new())) => Kind::Symlink,
        () if is(&Recorded::Block { major, minor }) => Kind::Block,
        () if is(&Recorded::Character { major, minor }) => Kind::Character,
        () if is(&Recorded::Fifo) => Kind::Fifo,
        () if is(&Recorded::Socket) => Kind::Socket,
        () => return None,
    })
}

/// The number at a place.
pub(super) fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("rows are whole"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let bodies = [
            (0o040_000, Body::Directory { first: 1, count: u32::MAX, directories: 7 }),
            (0o100_000, Body::File { start: u64::MAX - 5, size: 1 << 60 }),
            (0o120_000, Body::Symlink(Text { at: MOST_TEXT - 1, len: 4095 })),
            (0o060_000, Body::Block(4095, 0xf_ffff)),
            (0o020_000, Body::Character(0, 3)),
            (0o010_000, Body::Fifo),
            (0o140_000, Body::Socket),
        ];
        for (kind, body) in bodies {
            let row = Row {
                name: Text { at: MOST_TEXT - 9, len: 255 },
                mode: kind | 0o7654,
                uid: u32::MAX - 1,
                gid: 77,
                mtime: i64::MIN + 3,
                parent: 5,
                set: 9,
                body,
            };
            assert_eq!(Row::read(&row.write()), Some(row));
        }
        assert_eq!(Row::read(&[0; LEN]), None);
        assert_eq!(Row::read(&[255; LEN]), None);
    }
}
