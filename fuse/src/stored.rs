//! The bytes of a blob that is in a store, with what is likely to be wanted next fetched meanwhile.
//!
//! ```text
//! at_hand -> note the run -> fetch ahead in other threads
//!         -> in the cache? -> the bytes, or nothing
//! read    -> fetch what is missing, wait for what is coming -> the bytes
//! ```

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use cairn_store::{Blob, Bytes, Result};

use crate::ahead::Runs;
use crate::content::Content;
use crate::pool::Pool;

/// Bytes fetched ahead by one thread at once: enough to fill the lanes of the hash kernel.
const AT_ONCE: u64 = 2 << 20;

/// How far ahead of a run is fetched at least, as far as the cache has room.
const FAR: u64 = 16 << 20;

/// Threads that fetch ahead, for all that is mounted.
pub struct Fetchers {
    pool: Pool,
    threads: usize,
}

impl Fetchers {
    /// So many at most.
    pub fn new(threads: usize) -> Self {
        Self { pool: Pool::new(threads, "cairn-fetch"), threads: threads.max(1) }
    }
}

/// A blob in a store.
pub struct StoredBlob {
    blob: Arc<Blob>,
    runs: Mutex<Runs>,
    fetchers: Arc<Fetchers>,
    /// How far ahead of a run is fetched at most, in bytes.
    most: u64,
    /// How much the cache holds, in bytes.
    room: u64,
}

impl StoredBlob {
    /// A blob whose chunks are fetched ahead by these threads into a cache with so much room.
    pub fn new(blob: Blob, room: u64, fetchers: Arc<Fetchers>) -> Self {
        // As much as all threads can work on, twice; but what is ahead must not drive out itself.
        let most = (2 * AT_ONCE * fetchers.threads as u64).max(FAR).min(room / 8);
        let runs = Runs::new(blob.index().sizes().avg() as u64, most);
        Self { blob: Arc::new(blob), runs: Mutex::new(runs), fetchers, most, room }
    }

    /// The blob.
    pub fn blob(&self) -> &Arc<Blob> {
        &self.blob
    }

    /// Whether memory has room for all of it.
    pub fn fits(&self) -> bool {
        self.blob.size() < self.room
    }

    /// Fetches everything with so many threads: it stays in memory if there is room for all of it, and otherwise passes
    /// through, so that a cache on disk has it. What cannot be fetched is left out: who reads it will be told.
    pub fn pass(&self, threads: usize, stop: &AtomicBool) {
        let index = self.blob.index();
        let fits = self.fits();
        let batches = Mutex::new(index.batches(0..index.len(), AT_ONCE));
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let next = batches.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(batch) = next else { return };
                let bytes = index.chunk(batch.start).start..index.chunk(batch.end - 1).end();
                match self.blob.fetch_ahead(bytes.clone()) {
                    Ok(()) if fits => {}
                    Ok(()) => self.blob.let_go(bytes),
                    Err(e) => tracing::debug!(error = %e, "cannot fetch ahead"),
                }
            }
        };
        thread::scope(|scope| {
            (0..threads).for_each(|_| drop(scope.spawn(work)));
        });
    }

    /// Has the chunks that begin in a range fetched by other threads. The one it begins within was asked for with what
    /// is before.
    fn fetch(&self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let index = self.blob.index();
        let first_in = |at: u64| if at == 0 { 0 } else { index.position_at(at - 1) + 1 };
        let chunks = first_in(range.start)..first_in(range.end.min(self.blob.size()));
        // What waits for long is not wanted any more.
        let most_waiting = 2 * (self.most / AT_ONCE) as usize;
        for batch in index.batches(chunks, AT_ONCE) {
            if self.fetchers.pool.waiting() > most_waiting {
                return;
            }
            let bytes = index.chunk(batch.start).start..index.chunk(batch.end - 1).end();
            let blob = Arc::clone(&self.blob);
            self.fetchers.pool.add(move || {
                if let Err(e) = blob.fetch_ahead(bytes) {
                    // Who really reads it will be told.
                    tracing::debug!(error = %e, "cannot fetch ahead");
                }
            });
        }
    }
}

impl Content for StoredBlob {
    fn size(&self) -> u64 {
        self.blob.size()
    }

    fn at_hand(&self, range: Range<u64>) -> Option<Bytes> {
        let step = self.runs.lock().unwrap_or_else(PoisonError::into_inner).read(&range);
        self.fetch(step.fetch);
        // What is read in order is kept by the kernel, and nobody comes back for it.
        let bytes = self.blob.at_hand(range, !step.is_run);
        if !self.fits() {
            self.blob.let_go(step.done);
        }
        bytes
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let is_run = self.runs.lock().unwrap_or_else(PoisonError::into_inner).has_read(&range);
        if is_run {
            // What comes behind it is wanted next, and a few chunks by themselves cost as much to check. If that fails,
            // the rest says whether it matters here.
            let end = range.start.saturating_add(AT_ONCE).max(range.end);
            let _ = self.blob.fetch_ahead(range.start..end);
        }
        self.blob.read(range)
    }
}
