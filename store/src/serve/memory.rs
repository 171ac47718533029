//! How many bytes of bodies are in memory at once, all connections together.
//!
//! Clients that send or read slowly keep their bodies here for as long as they like; beyond the limit
//! others are told to come again, instead of the whole machine going down.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Bytes;

/// The bytes that may be in memory at once.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    used: AtomicUsize,
}

/// A part of it, given back when it goes out of scope.
#[derive(Debug)]
pub(super) struct Share {
    memory: Arc<Memory>,
    size: usize,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// Whether nothing more should be begun.
    pub(super) fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.limit
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// An empty share.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { memory: self.clone(), size: 0 }
    }

    /// Bytes that are counted as long as anybody has them. They are there already, so they are
    /// counted even beyond the limit: it keeps out the next.
    pub(super) fn counted(self: &Arc<Self>, bytes: Vec<u8>, range: Range<usize>) -> Bytes {
        let mut share = self.share();
        share.add(bytes.len());
        Bytes::from_owner(Counted { bytes, range, _share: share })
    }
}

impl Share {
    /// Makes the share larger if there is room.
    pub(super) fn grow(&mut self, size: usize) -> bool {
        if self.memory.used() + size > self.memory.limit {
            return false;
        }
        self.add(size);
        true
    }

    fn add(&mut self, size: usize) {
        self.memory.used.fetch_add(size, Ordering::Relaxed);
        self.size += size;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// A part of some bytes, all of which count.
struct Counted {
    bytes: Vec<u8>,
    range: Range<usize>,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let memory = Memory::new(10);
        let mut share = memory.share();
        assert!(share.grow(6) && !share.grow(5) && share.grow(4) && memory.is_full());
        let bytes = memory.counted(vec![1, 2, 3], 1..3);
        assert_eq!((&bytes[..], memory.used()), (&[2, 3][..], 13));
        drop(share);
        assert!(!memory.is_full());
        drop(bytes);
        assert_eq!(memory.used(), 0);
    }
}
