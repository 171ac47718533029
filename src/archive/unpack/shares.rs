//! New files that share their blocks with files of seeds.
//!
//! ```text
//! bytes of a file -> chunks of the index -> places in seeds -> runs -(share)-> new file -(compare)-> right, or written
//! ```
//! The bytes were verified against their ids. What is shared is compared with them in the new file, when nobody else
//! can change it any more: what a seed holds by then is no matter.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cairn_formats::{ChunkId, Index};
use rustix::fs::{fstatfs, ftruncate};
use rustix::io::Errno;

use super::content;
use crate::archive::pack::FileNumber;
use crate::archive::seed::TreeSeed;
use crate::buffer::Buffer;
use crate::check::zeros_of;
use crate::reflink::{share, whole_blocks};

/// Files with fewer bytes are written: there is little to be saved.
const SMALLEST: u64 = 16 << 10;

/// Bytes that are written where one of them turns out to be wrong.
const COMPARED: usize = 64 << 10;

/// Shares files of seeds with new files.
#[derive(Debug)]
pub(super) struct Sharing<'a> {
    index: &'a Index,
    zeros: ChunkId,
    seeds: Vec<(&'a TreeSeed, AtomicBool)>,
    shared: AtomicU64,
}

/// Where some bytes of a new file are in a file of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    seed: usize,
    file: FileNumber,
    from: u64,
    to: Range<u64>,
}

/// What a new file shares, of which nobody knows whether it is right. In its order.
#[derive(Debug, Default)]
pub(super) struct Shared(Vec<Range<u64>>);

impl<'a> Sharing<'a> {
    pub(super) fn new(index: &'a Index, seeds: &'a [TreeSeed]) -> Self {
        let seeds = seeds.iter().map(|seed| (seed, AtomicBool::new(true))).collect();
        Self { index, zeros: zeros_of(index).id(), seeds, shared: AtomicU64::new(0) }
    }

    /// How many bytes are shared, and are right.
    pub(super) fn shared(&self) -> u64 {
        self.shared.load(Ordering::Relaxed)
    }

    /// Shares what it can with a new file that is to have this part of the archive. Should it share anything, it has
    /// its length.
    pub(super) fn begin(&self, content: Range<u64>, file: &File) -> io::Result<Shared> {
        let len = content.end - content.start;
        let mut shared = Shared::default();
        if len < SMALLEST || !self.seeds.iter().any(can_share) {
            return Ok(shared);
        }
        let runs = self.runs(content);
        if runs.is_empty() {
            return Ok(shared);
        }
        let block = block_of(file)?;
        ftruncate(file, len)?;
        let is_one_file = |one: &Run, next: &Run| (one.seed, one.file) == (next.seed, next.file);
        for runs in runs.chunk_by(is_one_file) {
            let (seed, can_share) = &self.seeds[runs[0].seed];
            let Some((source, source_len)) = seed.file(runs[0].file) else { continue };
            for run in runs {
                let Some(to) = run.shared_part(block, len, source_len) else { continue };
                let from = run.from + (to.start - run.to.start);
                let done = share(&source, from..from + (to.end - to.start), file, to.start);
                if done.as_ref().is_err_and(is_never) {
                    can_share.store(false, Ordering::Relaxed);
                }
                if may_be_shared(&done) {
                    shared.0.push(to);
                }
            }
        }
        Ok(shared)
    }

    /// Where a part of the archive is in seeds. Zeros are left out: they become holes.
    fn runs(&self, content: Range<u64>) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        if content.is_empty() || content.end > self.index.blob_size() {
            return runs;
        }
        let last = self.index.position_at(content.end - 1);
        for position in self.index.position_at(content.start)..=last {
            let chunk = self.index.chunk(position);
            if chunk.id == self.zeros {
                continue;
            }
            let part = content.start.max(chunk.start)..content.end.min(chunk.end());
            for (seed, (tree, _)) in self.seeds.iter().enumerate().filter(|(_, it)| can_share(it)) {
                let mut is_found = false;
                for (file, from, part) in tree.files_of(&chunk, &part) {
                    let to = part.start - content.start..part.end - content.start;
                    add(&mut runs, Run { seed, file, from, to });
                    is_found = true;
                }
                if is_found {
                    break;
                }
            }
        }
        runs
    }

    /// Takes bytes of a file that are verified: what is not there by sharing is written.
    pub(super) fn put(
        &self,
        shared: &Shared,
        file: &File,
        at: u64,
        bytes: &[u8],
        compared: &mut Buffer,
    ) -> io::Result<()> {
        let end = at + bytes.len() as u64;
        let part = |part: Range<u64>| &bytes[(part.start - at) as usize..(part.end - at) as usize];
        let mut next = at;
        let first = shared.0.partition_point(|range| range.end <= at);
        for range in shared.0[first..].iter().take_while(|range| range.start < end) {
            let here = range.start.max(at)..range.end.min(end);
            content::write(file, next, part(next..here.start), true)?;
            next = here.end;
            let mut at = here.start;
            for some in part(here).chunks(COMPARED) {
                if content::is_same(file, at, some, compared)? {
                    self.shared.fetch_add(some.len() as u64, Ordering::Relaxed);
                } else {
                    file.write_all_at(some, at)?;
                }
                at += some.len() as u64;
            }
        }
        content::write(file, next, part(next..end), true).map(drop)
    }
}

impl Run {
    /// The part of it that can be shared: whole blocks, and the end of a file with the end of one.
    fn shared_part(&self, block: u64, len: u64, source_len: u64) -> Option<Range<u64>> {
        let is_end = self.to.end == len && self.from + (len - self.to.start) == source_len;
        let to = if is_end { self.to.start..len.next_multiple_of(block) } else { self.to.clone() };
        let part = whole_blocks(self.from, &to, block)?;
        Some(part.start..part.end.min(len))
    }
}

impl Shared {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Adds a run to the last one if it goes on there.
fn add(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last)
            if (last.seed, last.file) == (run.seed, run.file)
                && last.to.end == run.to.start
                && last.from + (last.to.end - last.to.start) == run.from =>
        {
            last.to.end = run.to.end;
        }
        _ => runs.push(run),
    }
}

fn can_share((_, can_share): &(&TreeSeed, AtomicBool)) -> bool {
    can_share.load(Ordering::Relaxed)
}

/// Whether it is of no use to try the same with other files.
fn is_never(error: &io::Error) -> bool {
    let never = [Errno::XDEV, Errno::OPNOTSUPP, Errno::NOTTY, Errno::NOSYS];
    Errno::from_io_error(error).is_some_and(|errno| never.contains(&errno))
}

/// Whether some of it may be shared by now: who fails on the way leaves what was done.
fn may_be_shared(done: &io::Result<()>) -> bool {
    done.as_ref().err().is_none_or(|e| {
        !is_never(e) && Errno::from_io_error(e).is_none_or(|errno| errno != Errno::INVAL)
    })
}

/// The size of the blocks of a file, in bytes.
pub(super) fn block_of(file: impl AsFd) -> io::Result<u64> {
    Ok(u64::try_from(fstatfs(file)?.f_bsize).ok().filter(|&block| block > 0).unwrap_or(4096))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(from: u64, to: Range<u64>) -> Run {
        Run { seed: 0, file: FileNumber::default(), from, to }
    }

    #[test]
    fn whole_blocks_are_shared_and_ends() {
        let part = |from, to, len, source_len| run(from, to).shared_part(4096, len, source_len);
        assert_eq!(part(0, 0..10_000, 20_000, 20_000), Some(0..8192));
        assert_eq!(part(100, 100..10_000, 20_000, 20_000), Some(4096..8192));
        assert_eq!(part(4196, 100..10_000, 20_000, 40_000), Some(4096..8192));
        assert_eq!(part(101, 100..10_000, 20_000, 20_000), None);
        assert_eq!(part(0, 0..4095, 20_000, 20_000), None);
        // The end of the one file is the end of the other, or is not.
        assert_eq!(part(0, 0..20_000, 20_000, 20_000), Some(0..20_000));
        assert_eq!(part(4096, 0..20_000, 20_000, 24_096), Some(0..20_000));
        assert_eq!(part(0, 0..20_000, 20_000, 20_001), Some(0..16_384));
        assert_eq!(part(17_000, 17_000..20_000, 20_000, 20_000), None);
    }

    #[test]
    fn what_failed_on_the_way_is_compared() {
        assert!(may_be_shared(&Ok(())));
        for (errno, may) in [
            (Errno::IO, true),
            (Errno::NOSPC, true),
            (Errno::DQUOT, true),
            (Errno::INTR, true),
            (Errno::INVAL, false),
            (Errno::XDEV, false),
            (Errno::OPNOTSUPP, false),
        ] {
            assert_eq!(may_be_shared(&Err(errno.into())), may, "{errno}");
        }
    }

    #[test]
    fn runs_that_go_on_are_one() {
        let mut runs = Vec::new();
        for one in [run(5, 0..10), run(15, 10..30), run(40, 30..40), run(50, 41..50)] {
            add(&mut runs, one);
        }
        assert_eq!(runs, [run(5, 0..30), run(40, 30..40), run(50, 41..50)]);
    }
}
