//! What a blob is made from, dealt out to workers in numbered stretches.

use std::fmt;

use cairn_formats::ChunkId;

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
#[derive(Debug)]
pub(crate) enum Stretch<'a> {
    /// So many bytes, in the caller's buffer.
    Data(usize),
    /// So many zeros that nobody had to read.
    Hole(u64),
    /// Chunks that were cut here before, from the same bytes.
    Known(Known<'a>),
    /// The end, once.
    End,
}

/// Chunks that follow one another, if one of them begins where the first does: their cuts are those that would be
/// made anew, and their bytes need not be read.
pub(crate) struct Known<'a> {
    /// Their names, and their lengths in bytes.
    pub(crate) chunks: Vec<(ChunkId, usize)>,
    /// All of their bytes.
    pub(crate) len: u64,
    /// Reads one of them all the same, by its place among them; each at most once.
    pub(crate) read: Box<ReadKnown<'a>>,
}

type ReadKnown<'a> = dyn FnMut(usize, &mut [u8]) -> Result<()> + Send + 'a;

impl fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Known").field(&self.chunks).finish()
    }
}

impl Stretch<'_> {
    /// How many bytes of the blob it stands for.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Stretch::Data(len) => *len as u64,
            Stretch::Hole(len) => *len,
            Stretch::Known(known) => known.len,
            Stretch::End => 0,
        }
    }

    /// How many bytes of it are in the caller's buffer.
    pub(crate) fn in_memory(&self) -> usize {
        match *self {
            Stretch::Data(len) => len,
            Stretch::Hole(_) | Stretch::Known(_) | Stretch::End => 0,
        }
    }
}

/// A blob that several workers read.
pub(crate) trait Source: Sync {
    /// How long it is, in bytes, if that is known.
    fn size(&self) -> Option<u64>;

    /// The next stretch, with its number; none behind the end, or when there is no use in going on. Data is
    /// read into the front of `buffer`.
    fn next(&self, want: &Want<'_>, buffer: &mut Buffer) -> Result<Option<(u64, Stretch<'_>)>>;
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
