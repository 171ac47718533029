//! Chunks of an earlier archive found again in another one, while its atoms come in.
//!
//! ```text
//! earlier   |--a--|---b---|----c----|--d--|
//! now       |--a--|---b---|##new##|..c....|--d--|
//! verdicts   known  known   read           known
//! ```
//! Cuts depend on what follows the cut before them, so a chunk of then is one of now if a chunk begins where
//! it did and the same bytes follow. Where new bytes come in, all is read up to the next place where an earlier chunk
//! begins and is still the same. Whether the cuts meet there again only cutting can tell: who takes the
//! verdicts finds out.

use std::collections::VecDeque;

use super::atoms::{Atom, Atoms};
use super::rows::Start;
use super::saved::Saved;

/// What is to be done with the next bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// So many are to be read.
    Read(u64),
    /// They are this chunk, if a chunk begins where they do: at this place.
    Known(u64, Start),
}

/// Finds chunks again.
#[derive(Debug)]
pub(crate) struct Matcher<'a> {
    saved: &'a Saved,
    atoms: Atoms,
    /// Up to where verdicts have been given.
    at: u64,
    /// From where on chunks may begin, if none is known to begin at `at`.
    scan: u64,
    /// Whether a chunk begins at `at`, as far as can be known.
    is_cut: bool,
    /// Nothing can be said before more atoms have come in than reach to here.
    wait: u64,
    verdicts: VecDeque<Verdict>,
}

enum Answer {
    Known(Start),
    Unknown,
    /// What is behind this place has to come in first.
    Wait(u64),
}

impl<'a> Matcher<'a> {
    pub(super) fn new(saved: &'a Saved) -> Self {
        let (atoms, verdicts) = Default::default();
        Self { saved, atoms, at: 0, scan: 0, is_cut: true, wait: 0, verdicts }
    }

    /// The next atom.
    pub(crate) fn push(&mut self, atom: Atom) {
        self.atoms.push(atom);
        self.judge();
    }

    /// There are no more.
    pub(crate) fn finish(&mut self) {
        self.atoms.finish();
        self.judge();
    }

    /// The next verdict, if there is one already. Together they cover all atoms once these have ended.
    pub(crate) fn verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    fn judge(&mut self) {
        if self.atoms.end() <= self.wait && !self.atoms.has_ended() {
            return;
        }
        while self.at < self.atoms.end() {
            if self.is_cut {
                match self.chunk_at(self.at) {
                    Answer::Wait(until) => return self.wait = until,
                    Answer::Unknown => (self.is_cut, self.scan) = (false, self.at + 1),
                    Answer::Known(start) => {
                        self.verdicts.push_back(Verdict::Known(self.at, start));
                        self.at += u64::from(start.len);
                        self.atoms.forget(self.at);
                    }
                }
                continue;
            }
            let Some(next) = self.next_start() else {
                self.scan = self.atoms.end();
                return self.read(self.scan);
            };
            self.scan = next;
            match self.chunk_at(next) {
                Answer::Wait(until) => {
                    self.wait = until;
                    return self.read(next);
                }
                Answer::Unknown => self.scan += 1,
                Answer::Known(_) => {
                    self.read(next);
                    self.is_cut = true;
                }
            }
        }
    }

    fn read(&mut self, up_to: u64) {
        if up_to > self.at {
            self.verdicts.push_back(Verdict::Read(up_to - self.at));
            self.at = up_to;
            self.atoms.forget(up_to);
        }
    }

    /// The earlier chunk that begins here and is still the same.
    fn chunk_at(&self, place: u64) -> Answer {
        let Some((mark, offset)) = self.atoms.at(place) else { return Answer::Unknown };
        for start in self.saved.starts_at(&mark, offset) {
            let end = place + u64::from(start.len);
            // Whether it is followed by anything is part of the question.
            if end >= self.atoms.end() && !self.atoms.has_ended() {
                return Answer::Wait(end);
            }
            if end <= self.atoms.end() && self.atoms.print(place, end) == Some(start.print) {
                return Answer::Known(start);
            }
        }
        Answer::Unknown
    }

    /// The first place not yet ruled out where an earlier chunk began.
    fn next_start(&self) -> Option<u64> {
        self.atoms.from(self.scan).find_map(|(start, atom)| {
            let from = self.scan.saturating_sub(start);
            let offset = self.saved.next_start(&atom.mark?, from)?;
            Some(start + offset).filter(|_| offset < atom.len)
        })
    }
}
