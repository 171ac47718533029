//! Which chunks are there: a set of positions that many threads read and change.
//!
//! Whoever finds a chunk in the set also sees what was written before it was put there.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Positions in one word.
const WORD: usize = u64::BITS as usize;

/// A set of the positions below a length.
#[derive(Debug)]
pub(super) struct Present {
    words: Box<[AtomicU64]>,
    len: usize,
    /// How many are not in the set. For moments it says too many, never too few.
    missing: AtomicUsize,
}

impl Present {
    /// The empty set of positions below `len`.
    pub(super) fn new(len: usize) -> Self {
        let words = (0..len.div_ceil(WORD)).map(|_| AtomicU64::new(0)).collect();
        Self { words, len, missing: AtomicUsize::new(len) }
    }

    /// Whether a position is in the set.
    pub(super) fn has(&self, position: usize) -> bool {
        let (word, mask) = self.place(position);
        word.load(Ordering::Acquire) & mask != 0
    }

    /// Whether all of a range are in the set.
    pub(super) fn has_all(&self, mut range: Range<usize>) -> bool {
        range.all(|position| self.has(position))
    }

    /// Whether every position is in the set.
    pub(super) fn is_full(&self) -> bool {
        self.missing.load(Ordering::Acquire) == 0
    }

    /// Whether the first of a range is in the set, and how far the same is true of the next ones.
    pub(super) fn run(&self, range: Range<usize>) -> (bool, Range<usize>) {
        let has = self.has(range.start);
        let end = range.clone().find(|&position| self.has(position) != has);
        (has, range.start..end.unwrap_or(range.end))
    }

    /// Puts a range into the set.
    pub(super) fn add(&self, range: Range<usize>) {
        for position in range {
            let (word, mask) = self.place(position);
            if word.fetch_or(mask, Ordering::AcqRel) & mask == 0 {
                self.missing.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Takes a range out of the set.
    pub(super) fn remove(&self, range: Range<usize>) {
        for position in range {
            let (word, mask) = self.place(position);
            // Counted first: else another thread that adds it in between would make the count too small.
            self.missing.fetch_add(1, Ordering::AcqRel);
            if word.fetch_and(!mask, Ordering::AcqRel) & mask == 0 {
                self.missing.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Empties the set.
    pub(super) fn clear(&self) {
        self.remove(0..self.len);
    }

    /// The set as desync keeps it: position `i` is bit `i % 8` of byte `i / 8`.
    pub(super) fn to_bitmap(&self) -> Vec<u8> {
        let words = self.words.iter().map(|word| word.load(Ordering::Acquire).to_le_bytes());
        let mut bytes: Vec<u8> = words.flatten().collect();
        bytes.truncate(bitmap_len(self.len));
        bytes
    }

    fn place(&self, position: usize) -> (&AtomicU64, u64) {
        assert!(position < self.len, "position {position} of {}", self.len);
        (&self.words[position / WORD], 1 << (position % WORD))
    }
}

/// Bytes of a bitmap of so many positions.
pub(super) fn bitmap_len(positions: usize) -> usize {
    positions.div_ceil(8)
}

/// Whether a bitmap has a position.
pub(super) fn is_marked(bitmap: &[u8], position: usize) -> bool {
    bitmap[position / 8] & 1 << (position % 8) != 0
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_is_as_a_list_of_answers(
            len in 0_usize..300,
            changes in prop::collection::vec((any::<bool>(), 0_usize..300, 0_usize..80), 0..60),
        ) {
            let (present, mut plain) = (Present::new(len), vec![false; len]);
            for (add, start, count) in changes {
                let range = start.min(len)..(start + count).min(len);
                plain[range.clone()].fill(add);
                if add { present.add(range) } else { present.remove(range) }
                prop_assert_eq!(present.is_full(), plain.iter().all(|&has| has));
            }
            let bitmap = present.to_bitmap();
            prop_assert_eq!(bitmap.len(), len.div_ceil(8));
            for (position, &has) in plain.iter().enumerate() {
                prop_assert_eq!(present.has(position), has);
                prop_assert_eq!(is_marked(&bitmap, position), has);
                let (first, run) = present.run(position..len);
                prop_assert_eq!(first, has);
                prop_assert!(run.start == position && plain[run.clone()].iter().all(|&p| p == has));
                prop_assert!(run.end == len || plain[run.end] != has);
                prop_assert_eq!(present.has_all(position..len), plain[position..].iter().all(|&p| p));
            }
            // What is behind the last position stays clear.
            let spare = len.div_ceil(8) * 8 - len;
            let last = bitmap.last().map_or(0, |last| last.leading_zeros() as usize);
            prop_assert!(bitmap.is_empty() || last >= spare);
            present.clear();
            prop_assert!((0..len).all(|position| !present.has(position)));
        }
    }

    #[test]
    fn threads_do_not_lose_one_another_s_changes() {
        let present = Present::new(1000);
        thread::scope(|scope| {
            for thread in 0..4 {
                let present = &present;
                scope.spawn(move || {
                    for _ in 0..20 {
                        (thread..1000).step_by(4).for_each(|at| present.add(at..at + 1));
                        (thread..1000).step_by(4).for_each(|at| present.remove(at..at + 1));
                    }
                    (thread..1000).step_by(4).for_each(|at| present.add(at..at + 1));
                });
            }
        });
        assert!(present.is_full() && present.has_all(0..1000));
        present.remove(999..1000);
        assert!(!present.is_full());
    }

    #[test]
    fn a_set_with_a_gap_never_says_it_is_full() {
        let present = Present::new(130);
        present.add(1..130);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..20_000).for_each(|_| present.add(70..71)));
                scope.spawn(|| (0..20_000).for_each(|_| present.remove(70..71)));
            }
            (0..20_000).for_each(|_| assert!(!present.is_full()));
        });
    }
}
