//! Bytes with zeros behind them, up to a whole number of blocks.

use std::ops::Range;
use std::sync::Arc;

use cairn_store::{Bytes, Result};

use crate::content::Content;

/// A content of whole blocks, as devices are.
pub struct Padded {
    inner: Arc<dyn Content>,
    size: u64,
}

impl Padded {
    /// The bytes of `inner` in blocks of so many bytes.
    pub fn new(inner: Arc<dyn Content>, block: u64) -> Self {
        let size = inner.size().next_multiple_of(block);
        Self { inner, size }
    }

    /// What of a range is inside, with the zeros that belong behind it.
    fn filled(&self, range: &Range<u64>, bytes: Bytes) -> Bytes {
        let wanted = range.end.min(self.size).saturating_sub(range.start) as usize;
        if bytes.len() >= wanted {
            return bytes;
        }
        let mut filled = Vec::with_capacity(wanted);
        filled.extend_from_slice(&bytes);
        filled.resize(wanted, 0);
        Bytes::Own(filled)
    }

    fn within(&self, range: &Range<u64>) -> Range<u64> {
        let end = range.end.min(self.inner.size());
        range.start.min(end)..end
    }
}

impl Content for Padded {
    fn size(&self) -> u64 {
        self.size
    }

    fn at_hand(&self, range: Range<u64>) -> Option<Bytes> {
        Some(self.filled(&range, self.inner.at_hand(self.within(&range))?))
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(self.filled(&range, self.inner.read(self.within(&range))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones(u64);

    impl Content for Ones {
        fn size(&self) -> u64 {
            self.0
        }

        fn at_hand(&self, range: Range<u64>) -> Option<Bytes> {
            self.read(range).ok()
        }

        fn read(&self, range: Range<u64>) -> Result<Bytes> {
            assert!(range.start <= range.end && range.end <= self.0, "{range:?}");
            Ok(Bytes::Own(vec![1; (range.end - range.start) as usize]))
        }
    }

    #[test]
    fn zeros_are_behind_and_nowhere_else() {
        for size in [0, 1, 511, 512, 513] {
            let padded = Padded::new(Arc::new(Ones(size)), 512);
            let whole: Vec<u8> = (0..padded.size()).map(|at| u8::from(at < size)).collect();
            assert!(padded.size().is_multiple_of(512) && padded.size() < size + 512);
            for start in (0..padded.size() + 9).step_by(3) {
                for len in [0, 1, 100, 512, 2000] {
                    let read = padded.read(start..start + len).unwrap();
                    let from = (start as usize).min(whole.len());
                    let to = (start + len).min(padded.size()) as usize;
                    assert_eq!(*read, whole[from..to.max(from)], "{size} {start} {len}");
                }
            }
        }
    }
}
