//! What of an earlier mount is believed.
//!
//! ```text
//! no state, or a short file                 nothing
//! a state, the file as it was then          all it says
//! a state, the file changed since           what has the right bytes
//! desync's, which does not say of what      what has the right bytes
//! ```

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cairn_formats::{Chunk, ChunkId};
use cairn_store::{Error, Result};

use super::SparseFile;
use super::file::Found;
use super::present::is_marked;
use super::state::{State, Subject};

/// Bytes verified at once, but always a chunk: enough to fill the lanes of the hash kernel.
const BATCH: u64 = 4 << 20;

/// The state that is to be at a path sooner or later.
pub(super) fn state(path: &Path, subject: &Subject) -> Result<Option<State>> {
    match State::read(path, subject) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        read => read,
    }
}

impl SparseFile {
    /// Marks the chunks that are in the file, as far as a state is right about that. Returns whether all of them are.
    pub(super) fn recall(&self, state: &State, found: &Found) -> bool {
        let file = self.file.path().display();
        if found.len < self.index.blob_size() {
            tracing::warn!(%file, "the state is ignored: the copy-on-read file is shorter than the blob");
            return false;
        }
        if found.len == self.index.blob_size() && state.stamp.as_ref() == Some(&found.stamp) {
            self.marked(state).for_each(|run| self.present.add(run));
            return true;
        }
        tracing::info!(%file, "the copy-on-read file may have changed, what it has is verified");
        let (marked, right) = self.verify(state);
        if right < marked {
            let wrong = marked - right;
            tracing::warn!(%file, wrong, marked, "chunks of the copy-on-read file are not what they should be");
        }
        right == marked
    }

    /// The positions that a state says are in the file, and are not.
    pub(super) fn missing_of(&self, state: &State) -> Vec<usize> {
        self.marked(state).flatten().filter(|&position| !self.present.has(position)).collect()
    }

    /// Runs of positions that a state has.
    fn marked<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Range<usize>> + 'a {
        runs((0..self.index.len()).filter(|&position| is_marked(&state.bitmap, position)))
    }

    /// Marks chunks of a state whose bytes in the file are the right ones. Returns how many it looked at, and how many
    /// were. Zeros are not looked at: to have them costs nothing.
    fn verify(&self, state: &State) -> (usize, usize) {
        let positions = self.marked(state).flatten().filter(|&position| !self.is_zeros(position));
        let batches: Vec<Range<usize>> =
            runs(positions).flat_map(|run| self.index.batches(run, BATCH)).collect();
        let (next, right) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        thread::scope(|scope| {
            for _ in 0..processors.min(batches.len()) {
                scope.spawn(|| {
                    let mut buffer = Vec::new();
                    while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let some = self.verify_batch(batch, &mut buffer);
                        right.fetch_add(some, Ordering::Relaxed);
                    }
                });
            }
        });
        (batches.iter().map(Range::len).sum(), right.into_inner())
    }

    fn verify_batch(&self, positions: &Range<usize>, buffer: &mut Vec<u8>) -> usize {
        let span = self.span(positions);
        buffer.resize((span.end - span.start) as usize, 0);
        if let Err(error) = self.file.read(span.start, buffer) {
            tracing::debug!(at = span.start, %error, "cannot read the copy-on-read file");
            return 0;
        }
        let chunks = positions.clone().map(|position| self.index.chunk(position));
        let claims: Vec<(ChunkId, &[u8])> = chunks
            .map(|chunk| (chunk.id, &buffer[(chunk.start - span.start) as usize..][..chunk.len]))
            .collect();
        let verified = Chunk::verify_many(self.index.digest(), &claims);
        let right = positions.clone().zip(verified).filter(|(_, chunk)| chunk.is_ok());
        right.map(|(position, _)| self.present.add(position..position + 1)).count()
    }
}

/// Groups increasing positions that follow one another.
pub(super) fn runs(positions: impl Iterator<Item = usize>) -> impl Iterator<Item = Range<usize>> {
    let mut positions = positions.peekable();
    std::iter::from_fn(move || {
        let start = positions.next()?;
        let mut end = start + 1;
        while positions.next_if_eq(&end).is_some() {
            end += 1;
        }
        Some(start..end)
    })
}
