//! What of an archive the target has already, in its place.
//!
//! ```text
//! archive   |--- run of chunks ---|######|--- another run ---|
//! target    |--- the same --------|..|------ the same -------|    as the archive it would be
//! ```
//! Where a run of chunks is the same, so are all nodes within it. Their records are in memory, and the bytes of a
//! file that is there by the same path are not even asked for.

use std::fs::File;
use std::ops::Range;

use cairn_formats::Index;

use crate::archive::seed::TreeSeed;

/// Runs of chunks that both have.
#[derive(Debug)]
pub(super) struct Still<'a> {
    target: &'a TreeSeed,
    /// In the order of the archive.
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    /// Which bytes of the archive, whole chunks.
    new: Range<u64>,
    /// Where they begin in that of the target.
    old: u64,
}

impl<'a> Still<'a> {
    /// Compares the archive of an index with the target.
    pub(super) fn new(index: &Index, target: &'a TreeSeed) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for chunk in index.chunks() {
            if let Some(Run { new, old }) = runs.last_mut()
                && new.end == chunk.start
                && target.has_at(*old + (new.end - new.start), &chunk)
            {
                new.end = chunk.end();
            } else if let Some(old) = target.place_of(&chunk) {
                runs.push(Run { new: chunk.start..chunk.end(), old });
            }
        }
        Self { target, runs }
    }

    /// Records that the archive has from here on, as far as that is known.
    pub(super) fn records(&self, at: u64) -> Option<&'a [u8]> {
        let (run, old) = self.run_at(at)?;
        let records = self.target.records(old)?;
        let most = usize::try_from(run.new.end - at).unwrap_or(usize::MAX);
        Some(&records[..records.len().min(most)])
    }

    /// Whether the target has a file by this path that is the same in everything: with the records that begin at
    /// `start`, and so many bytes from `at` on.
    pub(super) fn has(&self, start: u64, at: u64, len: u64, path: &[u8]) -> bool {
        let Some((run, old)) = self.run_at(start) else { return false };
        at + len <= run.new.end && self.target.path_at(old + (at - start), len) == Some(path)
    }

    /// How many bytes from `at` on, at most `most`, the target has in the file of this path, from `from` on.
    pub(super) fn has_part(&self, at: u64, most: u64, path: &[u8], from: u64) -> u64 {
        let Some((run, old)) = self.run_at(at) else { return 0 };
        let part = old..old + most.min(run.new.end - at);
        let found = self.target.part_at(part);
        found
            .filter(|&(whose, begins, _)| (whose, begins) == (path, from))
            .map_or(0, |(.., len)| len)
    }

    /// Whether a file of the target is as it was when that was read.
    pub(super) fn is_untouched(&self, file: &File) -> bool {
        self.target.is_untouched(file)
    }

    /// The first byte from here on that nothing is known of.
    pub(super) fn next_unknown(&self, at: u64) -> u64 {
        let first = self.runs.partition_point(|run| run.new.end <= at);
        let mut at = at;
        for run in &self.runs[first..] {
            if !run.new.contains(&at) {
                break;
            }
            at = run.new.end;
        }
        at
    }

    /// The first byte behind this one that something is known of.
    pub(super) fn next_known(&self, at: u64) -> Option<u64> {
        let next = self.runs.partition_point(|run| run.new.start <= at);
        self.runs.get(next).map(|run| run.new.start)
    }

    /// The run a byte is in, and where it is in the archive of the target.
    fn run_at(&self, at: u64) -> Option<(&Run, u64)> {
        let run = self.runs.get(self.runs.partition_point(|run| run.new.end <= at))?;
        run.new.contains(&at).then(|| (run, run.old + (at - run.new.start)))
    }
}
