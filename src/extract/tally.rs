//! What has been done so far, counted by many workers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where the chunks of a run came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtractStats {
    /// Chunks in the index.
    pub chunks: u64,
    /// Bytes in the blob.
    pub bytes: u64,
    /// Chunks that the output held already.
    pub in_place: u64,
    /// Chunks of zeros, for which nothing was fetched.
    pub zero: u64,
    /// Chunks copied from elsewhere in the output.
    pub own: u64,
    /// Chunks fetched from the store.
    pub fetched: u64,
    /// Plain bytes in these.
    pub fetched_bytes: u64,
    /// Chunks taken from seeds.
    pub seeded: u64,
    /// Bytes of these that were copied.
    pub copied_bytes: u64,
    /// Bytes of these whose blocks are shared with the seed.
    pub shared_bytes: u64,
    /// Chunks that a seed did not have, though its index said so; they count where they came from
    /// instead.
    pub missed: u64,
    /// The block size of the output, in bytes.
    pub block_size: u64,
}

/// The counts while workers are at it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    zero: AtomicU64,
    own: AtomicU64,
    fetched: AtomicU64,
    fetched_bytes: AtomicU64,
    seeded: AtomicU64,
    copied_bytes: AtomicU64,
    shared_bytes: AtomicU64,
}

impl Tally {
    pub(super) fn zero(&self, chunks: usize) {
        add(&self.zero, chunks as u64);
    }

    pub(super) fn own(&self, chunks: usize) {
        add(&self.own, chunks as u64);
    }

    pub(super) fn fetched(&self, chunks: usize, bytes: u64) {
        add(&self.fetched, chunks as u64);
        add(&self.fetched_bytes, bytes);
    }

    pub(super) fn seeded(&self, chunks: usize) {
        add(&self.seeded, chunks as u64);
    }

    pub(super) fn copied(&self, bytes: u64) {
        add(&self.copied_bytes, bytes);
    }

    pub(super) fn shared(&self, bytes: u64) {
        add(&self.shared_bytes, bytes);
    }

    /// Writes the counts into `stats`.
    pub(super) fn fill_in(&self, stats: &mut ExtractStats) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        stats.zero = load(&self.zero);
        stats.own = load(&self.own);
        stats.fetched = load(&self.fetched);
        stats.fetched_bytes = load(&self.fetched_bytes);
        stats.seeded = load(&self.seeded);
        stats.copied_bytes = load(&self.copied_bytes);
        stats.shared_bytes = load(&self.shared_bytes);
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
