//! Having chunks in the file before anybody asks for them.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use cairn_store::Error;

use super::SparseFile;
use super::recall::runs;

/// Bytes that a worker fetches at once, but always a chunk: few enough that it soon stops when it is told to.
const BATCH: u64 = 2 << 20;

impl SparseFile {
    /// Has the chunks at these positions in the file, with so many workers. Returns when they are, or soon after
    /// `stop` is set.
    ///
    /// What cannot be fetched is left to those who read it. When the file takes no more, there is no use in going on.
    pub fn fill(&self, positions: &[usize], workers: usize, stop: &AtomicBool) {
        let mut positions: Vec<usize> =
            positions.iter().copied().filter(|&position| position < self.index.len()).collect();
        positions.sort_unstable();
        positions.dedup();
        let runs = runs(positions.into_iter());
        self.fill_batches(runs.flat_map(|run| self.index.batches(run, BATCH)), workers, stop);
    }

    /// Has the whole blob in the file, as [`SparseFile::fill`] does.
    pub fn fill_all(&self, workers: usize, stop: &AtomicBool) {
        self.fill_batches(self.index.batches(0..self.index.len(), BATCH), workers, stop);
    }

    fn fill_batches(
        &self,
        batches: impl Iterator<Item = Range<usize>>,
        workers: usize,
        stop: &AtomicBool,
    ) {
        let batches: Vec<Range<usize>> = batches.collect();
        let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..workers.clamp(1, batches.len().max(1)) {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        let Some(batch) = batches.get(place) else { break };
                        if !self.fill_batch(batch.clone()) {
                            over.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
    }

    /// Has some chunks in the file. Returns whether there is a use in going on.
    fn fill_batch(&self, mut positions: Range<usize>) -> bool {
        while !positions.is_empty() {
            let (present, run) = self.present.run(positions.clone());
            positions.start = run.end;
            if present {
                continue;
            }
            match self.load(run.clone(), &(0..0), &mut []) {
                Ok(false) => return false,
                Ok(true) => {}
                Err(error) => {
                    let at = self.index.chunk(run.start).start;
                    tracing::debug!(at, %error, "cannot fill the copy-on-read file");
                    if matches!(error.root(), Error::Stopped) {
                        return false;
                    }
                }
            }
        }
        true
    }
}
