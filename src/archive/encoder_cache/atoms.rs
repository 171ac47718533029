//! What an archive consists of, without the bytes: for each of its atoms a mark that says what they are.
//!
//! ```text
//! archive   | records of a directory | records and bytes of a file | ... | table of a directory |
//! atoms     |          mark          |            mark             | ... |         mark         |
//! chunk              |---- print: marks, and from where to where in each ----|
//! ```
//! The mark of records is their digest. That of a file is made with what the system says of it as well, and stands
//! for bytes that were not read. Two stretches with the same print have the same bytes.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

use cairn_formats::Digest;

/// Bytes of a digest that are kept: nobody can make two of them meet.
const LEN: usize = 16;

/// Says what the bytes of an atom are.
pub(crate) type Mark = [u8; LEN];

/// Says what the bytes of a stretch are.
pub(super) type Print = [u8; LEN];

/// Bytes that come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Atom {
    /// How many, at least one.
    pub(crate) len: u64,
    /// What they are; `None` where this cannot be said without reading them.
    pub(crate) mark: Option<Mark>,
}

/// Atoms that follow one another, from some place in an archive on.
#[derive(Debug, Default)]
pub(super) struct Atoms {
    /// Where each begins, and what it is.
    queue: VecDeque<(u64, Atom)>,
    /// Where the next one begins.
    end: u64,
    has_ended: bool,
}

impl Atoms {
    pub(super) fn push(&mut self, atom: Atom) {
        self.queue.push_back((self.end, atom));
        self.end += atom.len;
    }

    /// No more come.
    pub(super) fn finish(&mut self) {
        self.has_ended = true;
    }

    /// Where the next one begins.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Drops those that end there or before.
    pub(super) fn forget(&mut self, before: u64) {
        while self.queue.front().is_some_and(|(start, atom)| start + atom.len <= before) {
            self.queue.pop_front();
        }
    }

    /// Those that are there from this place on, and where they begin.
    pub(super) fn from(&self, place: u64) -> impl Iterator<Item = (u64, Atom)> {
        self.queue.iter().copied().skip_while(move |(start, atom)| start + atom.len <= place)
    }

    /// The mark of the atom at a place, and where in it the place is.
    pub(super) fn at(&self, place: u64) -> Option<(Mark, u64)> {
        let (start, atom) = self.from(place).next()?;
        Some((atom.mark?, place.checked_sub(start)?))
    }

    /// What the bytes of a stretch are. The archive's last bytes are told from the same ones before others: a
    /// chunk that ends there need not end elsewhere.
    pub(super) fn print(&self, from: u64, to: u64) -> Option<Print> {
        let mut said = Vec::new();
        for (start, Atom { len, mark }) in self.from(from).take_while(|(start, _)| *start < to) {
            said.extend(mark?);
            said.extend(from.saturating_sub(start).to_le_bytes());
            said.extend(len.min(to - start).to_le_bytes());
        }
        if self.has_ended && to == self.end {
            said.extend(b"the end");
        }
        Some(shortened(&said))
    }
}

/// The marks of many pieces of text.
pub(crate) fn marks(texts: &[&[u8]]) -> impl Iterator<Item = Mark> {
    Digest::Sha512_256.hash_many(texts).into_iter().map(|id| first(id.as_bytes()))
}

/// Of what was made of digests nobody can choose enough to make two of these meet, and they are many and short. Where
/// another version of the standard library hashes otherwise, nothing is found again.
fn shortened(text: &[u8]) -> Print {
    let half = |which: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(which);
        hasher.write(text);
        hasher.finish().to_le_bytes()
    };
    first(&[half(0), half(1)].concat())
}

fn first(digest: &[u8]) -> [u8; LEN] {
    *digest.first_chunk().expect("digests are longer")
}
