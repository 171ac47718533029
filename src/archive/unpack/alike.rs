//! Files that may be what is to be restored already: the one in its place, and those of seeds.
//!
//! Each has the right length. What comes of the content is compared with them, piece by piece and by several workers;
//! at the end one of them is right as a whole, or a new file takes over what they have. As they may be written to at any
//! time, that is then verified once more, in the new file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_formats::{ChunkId, Digest};

use super::content;
use super::twins::Twin;
use crate::buffer::Buffer;
use crate::copy::carry_over;
use crate::flow::lock;

/// A file that may be right.
#[derive(Debug)]
pub(super) struct Alike {
    pub(super) whose: Whose,
    /// What it has, with a digest.
    same: Mutex<Vec<(Range<u64>, ChunkId)>>,
    is_wrong: AtomicBool,
}

/// Where such a file is.
#[derive(Debug)]
pub(super) enum Whose {
    /// In the place of what is to be restored.
    Own(File),
    /// In a seed.
    Seed(Twin),
}

impl Alike {
    pub(super) fn new(whose: Whose) -> Self {
        Self { whose, same: Mutex::default(), is_wrong: AtomicBool::new(false) }
    }

    /// Whether it may still be right.
    pub(super) fn may_be_right(&self) -> bool {
        !self.is_wrong.load(Ordering::Relaxed)
    }

    /// It is not looked at any more.
    pub(super) fn refuse(&self) {
        self.is_wrong.store(true, Ordering::Relaxed);
    }

    fn file(&self) -> &File {
        match &self.whose {
            Whose::Own(file) | Whose::Seed(Twin { file, .. }) => file,
        }
    }

    /// Whether one of them has these bytes in this place.
    pub(super) fn have(all: &[Self], at: u64, bytes: &[u8], compared: &mut Buffer) -> bool {
        let mut is_there = false;
        for one in all {
            if is_there && !one.may_be_right() {
                continue;
            }
            // What cannot be read is done without.
            if content::is_same(one.file(), at, bytes, compared).unwrap_or(false) {
                let digest = Digest::default().hash(bytes);
                lock(&one.same).push((at..at + bytes.len() as u64, digest));
                is_there = true;
            } else {
                one.refuse();
            }
        }
        is_there
    }

    /// Those that have every piece, when all have come.
    pub(super) fn right(all: &[Self]) -> impl Iterator<Item = &Self> {
        all.iter().filter(|one| one.may_be_right())
    }

    /// Lets a new file have what was the same in it.
    pub(super) fn take_over(&self, new: &File, block: u64) -> io::Result<()> {
        let mut same = std::mem::take(&mut *lock(&self.same));
        same.sort_by_key(|(range, _)| range.start);
        for run in same.chunk_by(|(one, _), (next, _)| one.end == next.start) {
            let range = run[0].0.start..run[run.len() - 1].0.end;
            carry_over(self.file(), range.start, new, &range, block)?;
        }
        let mut bytes = Vec::new();
        for (range, digest) in same {
            bytes.resize((range.end - range.start) as usize, 0);
            new.read_exact_at(&mut bytes, range.start)?;
            if Digest::default().hash(&bytes) != digest {
                let whose = match self.whose {
                    Whose::Own(_) => "the old file",
                    Whose::Seed(_) => "a file of a seed",
                };
                let why = format!("{whose} was written to while it was read: try again");
                return Err(io::Error::other(why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn all(file: &File, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn is_right(all: &[Alike]) -> Vec<bool> {
        let right: Vec<*const Alike> = Alike::right(all).map(std::ptr::from_ref).collect();
        all.iter().map(|one| right.contains(&std::ptr::from_ref(one))).collect()
    }

    #[test]
    fn what_none_has_as_a_whole_is_put_together() {
        let twin = Twin::new(file(b"aaaaXXccdd")).unwrap();
        let both = [Alike::new(Whose::Own(file(b"aabbbbYYdd"))), Alike::new(Whose::Seed(twin))];
        let mut buffer = Buffer::default();
        // The pieces come in any order.
        for (at, piece, is_there) in
            [(6, b"cc", true), (2, b"bb", true), (0, b"aa", true), (4, b"ZZ", false)]
        {
            assert_eq!(Alike::have(&both, at, piece, &mut buffer), is_there);
        }
        assert_eq!(is_right(&both), [false, false]);
        let new = file(b"....ZZ..");
        both.iter().for_each(|one| one.take_over(&new, 4096).unwrap());
        assert_eq!(all(&new, 8), b"aabbZZcc");
    }

    #[test]
    fn the_right_one_is_known() {
        let twin = Twin::new(file(b"aabb")).unwrap();
        let both = [Alike::new(Whose::Own(file(b"aaXb"))), Alike::new(Whose::Seed(twin))];
        let mut buffer = Buffer::default();
        for (at, piece) in [(0, b"aa"), (2, b"bb")] {
            assert!(Alike::have(&both, at, piece, &mut buffer));
        }
        assert_eq!(is_right(&both), [false, true]);
    }

    #[test]
    fn what_one_has_no_longer_is_not_taken_over() {
        let seed = |file| Whose::Seed(Twin::new(file).unwrap());
        for whose in [&seed as &dyn Fn(File) -> Whose, &Whose::Own] {
            let old = file(b"aabb");
            let one = [Alike::new(whose(old.try_clone().unwrap()))];
            let mut buffer = Buffer::default();
            assert!(Alike::have(&one, 0, b"aa", &mut buffer));
            assert!(Alike::have(&one, 2, b"bb", &mut buffer));
            old.write_all_at(b"X", 3).unwrap();
            let error = one[0].take_over(&file(b"...."), 4096).unwrap_err();
            assert!(error.to_string().contains("written to while it was read"));
        }
    }

    #[test]
    fn what_cannot_be_read_is_different() {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&place, b"aa").unwrap();
        let unreadable = File::options().write(true).open(&place).unwrap();
        let one = [Alike::new(Whose::Own(unreadable))];
        assert!(!Alike::have(&one, 0, b"aa", &mut Buffer::default()));
        assert_eq!(is_right(&one), [false]);
    }
}
