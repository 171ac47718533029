//! What a blob is made from, dealt out to workers in numbered stretches.

use crate::buffer::Buffer;
use crate::flow::Stop;
use crate::{Monitor, Result};

/// Bytes in a window: enough chunks to fill the lanes of the hash kernel many times over, and few
/// enough that a window stays in a core's share of the cache between cutting and hashing.
const WINDOW: usize = 4 << 20;

/// All windows together take at most this, in bytes, where many workers share the machine.
const WINDOWS_BUDGET: usize = 64 << 20;

/// A window has room for one of the longest chunks, but for no more than this many bytes: with
/// chunks of 128 MiB seams are as frequent as cuts, and memory is what matters.
const LARGEST_WINDOW: usize = 32 << 20;

/// Shorter holes are read like data: they save less than the seams they make.
pub(crate) const SHORTEST_HOLE: u64 = 1 << 20;

/// A part of the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// So many bytes, in the caller's buffer.
    Data(usize),
    /// So many zeros that nobody had to read.
    Hole(u64),
    /// The end, once.
    End,
}

impl Stretch {
    /// How many bytes of the blob it stands for.
    pub(crate) fn len(&self) -> u64 {
        match *self {
            Stretch::Data(len) => len as u64,
            Stretch::Hole(len) => len,
            Stretch::End => 0,
        }
    }

    /// How many bytes of it are in the caller's buffer.
    pub(crate) fn in_memory(&self) -> usize {
        match *self {
            Stretch::Data(len) => len,
            Stretch::Hole(_) | Stretch::End => 0,
        }
    }
}

/// A blob that several workers read.
pub(crate) trait Source: Sync {
    /// How long it is, in bytes, if that is known.
    fn size(&self) -> Option<u64>;

    /// The next stretch, with its number; none behind the end, or when there is no use in going on. Data is
    /// read into the front of `buffer`.
    fn next(&self, want: &Want<'_>, buffer: &mut Buffer) -> Result<Option<(u64, Stretch)>>;
}

/// What a worker asks for.
pub(crate) struct Want<'a> {
    /// The most data in a stretch, in bytes.
    pub(crate) window: usize,
    /// Whether another worker has failed.
    pub(crate) stop: &'a Stop,
    /// Whom to ask whether to go on.
    pub(crate) monitor: &'a dyn Monitor,
}

impl Want<'_> {
    /// Whether there is any use in going on; an error if the user wants an end.
    pub(crate) fn more(&self) -> Result<bool> {
        self.monitor.check()?;
        Ok(!self.stop.is_stopped())
    }
}

/// How large windows should be, in bytes, where chunks have at most `longest` bytes: smaller for many workers,
/// larger for large chunks.
pub(crate) fn window(workers: usize, longest: usize) -> usize {
    let share = WINDOWS_BUDGET / workers.max(1);
    WINDOW.min(share).max(longest.min(LARGEST_WINDOW))
}
