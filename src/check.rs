//! Does a file hold what an index says?
//!
//! ```text
//! index -(batches)-> positions -(read, hash xN)-> chunks -> equal to the index's ids?
//! ```

use std::fs::{File, Metadata, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_formats::{Chunk, Error as FormatError, Index, is_zero};
use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::flow::each;
use crate::ids::IdSet;
use crate::mapped::Mapped;
use crate::{Error, Monitor, Result, Silent, Unit};

/// Bytes looked at and hashed at once by one worker: several chunks for each lane of the hash kernel.
const BATCH: u64 = 8 << 20;

/// The same of bytes that have to be read first: they shall still be near when they are hashed.
const READ_BATCH: u64 = 2 << 20;

/// Checks that a file is exactly the blob of an index. A device may be longer.
pub fn verify_index(
    index: &Index,
    path: &Path,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<()> {
    let (file, metadata) = open_blob(path)?;
    let len = len_of(&file).map_err(Error::io("measure", path))?;
    let expected = index.blob_size();
    if metadata.is_file() && len != expected || len < expected {
        let why = format!("index size ({expected}) does not match file size ({len})");
        return Err(Error::file(path, why));
    }
    // desync is silent about an empty blob, and there is nothing to interrupt.
    let monitor = if index.is_empty() { &Silent } else { monitor };
    monitor.start("", Unit::Chunks, Some(index.len() as u64));
    let comparison = Comparison::new(index, &file, path);
    let all_good = |found: Found| found.into_iter().try_for_each(|(_, outcome)| outcome);
    let outcome = comparison.look(workers, monitor, all_good);
    monitor.finish();
    outcome
}

/// Opens what an index can describe: a file or a block device.
pub(crate) fn open_blob(path: &Path) -> Result<(File, Metadata)> {
    // A pipe must not block before it is refused.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(Error::io("open", path))?;
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        return Err(Error::file(path, "is a directory; an index describes one file"));
    }
    if !metadata.is_file() && !metadata.file_type().is_block_device() {
        return Err(Error::file(path, "is neither a file nor a block device"));
    }
    Ok((file, metadata))
}

/// Tells for each chunk of an index whether a file already holds it in its place. The file must be
/// as long as the blob. Chunks of zeros are only looked for if they matter.
pub(crate) fn chunks_in_place(
    index: &Index,
    file: &File,
    path: &Path,
    zeros_matter: bool,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<Vec<bool>> {
    let flags: Vec<AtomicBool> = (0..index.len()).map(|_| AtomicBool::new(false)).collect();
    monitor.start("Validating", Unit::Chunks, Some(index.len() as u64));
    let mut comparison = Comparison::new(index, file, path);
    if !zeros_matter {
        comparison.ignored.insert(comparison.zeros.id());
    }
    let note = |found: Found| {
        for (position, outcome) in found {
            flags[position].store(outcome.is_ok(), Ordering::Relaxed);
        }
        Ok(())
    };
    let outcome = comparison.look(workers, monitor, note);
    monitor.finish();
    outcome?;
    Ok(flags.into_iter().map(AtomicBool::into_inner).collect())
}

/// How the chunks of a batch fared, by their positions.
pub(crate) type Outcomes<'a> = Vec<(usize, Result<Chunk<'a>>)>;

/// The same of chunks whose bytes nobody wants.
type Found = Vec<(usize, Result<()>)>;

/// Consecutive chunks that matter, and where they lie in the file.
struct Part {
    wanted: Vec<usize>,
    start: u64,
    len: usize,
}

/// A file and the index it is held against.
pub(crate) struct Comparison<'a> {
    index: &'a Index,
    file: &'a File,
    path: &'a Path,
    zeros: Chunk<'static>,
    /// Chunks that are not looked at.
    ignored: IdSet,
}

impl<'a> Comparison<'a> {
    fn new(index: &'a Index, file: &'a File, path: &'a Path) -> Self {
        Self { index, file, path, zeros: zeros_of(index), ignored: IdSet::default() }
    }

    /// The same without some of the chunks.
    pub(crate) fn without(index: &'a Index, file: &'a File, path: &'a Path, ids: IdSet) -> Self {
        Self { ignored: ids, ..Self::new(index, file, path) }
    }

    /// Reads and hashes all chunks that matter, and tells `each_batch` how they fared. Every worker
    /// has a state of its own, made by `state`.
    pub(crate) fn run<S>(
        &self,
        workers: usize,
        monitor: &dyn Monitor,
        state: impl Fn() -> S + Sync,
        each_batch: impl Fn(&mut S, Outcomes<'_>) -> Result<()> + Sync,
    ) -> Result<()> {
        let state = || (Buffer::default(), state());
        self.walk(workers, monitor, READ_BATCH, state, |(buffer, state), part| {
            each_batch(state, self.read(buffer, part)?)
        })
    }

    /// The same for who wants no bytes: they are hashed where they lie if they can be, and may change right after.
    fn look(
        &self,
        workers: usize,
        monitor: &dyn Monitor,
        each_batch: impl Fn(Found) -> Result<()> + Sync,
    ) -> Result<()> {
        let is_mapped = Mapped::suits(self.file);
        let size = if is_mapped { BATCH } else { READ_BATCH };
        let found = |outcomes: Outcomes<'_>| -> Found {
            outcomes.into_iter().map(|(position, outcome)| (position, outcome.map(drop))).collect()
        };
        self.walk(workers, monitor, size, Buffer::default, |buffer, part| {
            if is_mapped
                && !self.is_hole(part)
                && let Some(mapped) = Mapped::of(self.file, part.start, part.len)
            {
                let outcomes = found(self.hash(mapped.bytes(), part));
                if !mapped.is_broken() {
                    return each_batch(outcomes);
                }
            }
            // Whatever could not be mapped: reading it tells why.
            each_batch(found(self.read(buffer, part)?))
        })
    }

    /// Has workers do all batches of about so many bytes.
    fn walk<S>(
        &self,
        workers: usize,
        monitor: &dyn Monitor,
        size: u64,
        state: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, &Part) -> Result<()> + Sync,
    ) -> Result<()> {
        let batches = self.index.batches(0..self.index.len(), size);
        each(workers, batches, state, |state, batch| {
            monitor.check()?;
            let wanted: Vec<usize> = self.wanted(batch).collect();
            let (Some(&first), Some(&last)) = (wanted.first(), wanted.last()) else {
                return Ok(());
            };
            let start = self.index.chunk(first).start;
            let len = (self.index.chunk(last).end() - start) as usize;
            let part = Part { wanted, start, len };
            work(state, &part)?;
            monitor.advance(part.wanted.len() as u64);
            Ok(())
        })
    }

    /// The positions that matter among these.
    pub(crate) fn wanted(&self, positions: Range<usize>) -> impl DoubleEndedIterator<Item = usize> {
        positions.filter(|&position| !self.ignored.contains(&self.index.chunk(position).id))
    }

    /// Reads and checks chunks.
    fn read<'b>(&'b self, buffer: &'b mut Buffer, part: &Part) -> Result<Outcomes<'b>> {
        if self.is_hole(part) {
            let zeros = |&position: &usize| (position, Ok(self.zeros.by_ref()));
            return Ok(part.wanted.iter().map(zeros).collect());
        }
        let buffer = buffer.front(part.len);
        self.file.read_exact_at(buffer, part.start).map_err(Error::io("read", self.path))?;
        Ok(self.hash(buffer, part))
    }

    /// Checks chunks that have these bytes.
    fn hash<'b>(&'b self, bytes: &'b [u8], part: &Part) -> Outcomes<'b> {
        let claim = |position: usize| {
            let chunk = self.index.chunk(position);
            let from = (chunk.start - part.start) as usize;
            (chunk.id, &bytes[from..from + chunk.len])
        };
        // Zeros are compared, which is many times faster than hashing them.
        let (zero, rest): (Vec<usize>, Vec<usize>) = part
            .wanted
            .iter()
            .partition(|&&position| self.is_zero_chunk(position) && is_zero(claim(position).1));
        let claims: Vec<_> = rest.iter().map(|&position| claim(position)).collect();
        let verified = Chunk::verify_many(self.index.digest(), &claims).into_iter();
        let outcomes = verified
            .zip(rest)
            .map(|(outcome, position)| (position, outcome.map_err(|e| self.differs(position, &e))));
        let zeros = zero.into_iter().map(|position| (position, Ok(self.zeros.by_ref())));
        zeros.chain(outcomes).collect()
    }

    /// Whether all of it are zeros, and the file has a hole there, which need not be read to be known as zeros.
    fn is_hole(&self, part: &Part) -> bool {
        part.wanted.iter().all(|&position| self.is_zero_chunk(position))
            && match seek(self.file, SeekFrom::Data(part.start)) {
                Ok(data) => data >= part.start + part.len as u64,
                Err(e) => e == Errno::NXIO,
            }
    }

    fn is_zero_chunk(&self, position: usize) -> bool {
        let chunk = self.index.chunk(position);
        chunk.id == self.zeros.id() && chunk.len == self.zeros.data().len()
    }

    fn differs(&self, position: usize, error: &FormatError) -> Error {
        let chunk = self.index.chunk(position);
        let place = format!("does not match its index at bytes {}..{}", chunk.start, chunk.end());
        Error::file(self.path, format!("{place}: {error}"))
    }
}

/// The chunk that an index has for each stretch of zeros as long as its longest chunk.
pub(crate) fn zeros_of(index: &Index) -> Chunk<'static> {
    Chunk::zeros(index.digest(), index.sizes().max())
}

/// The length of a file or a block device.
pub(crate) fn len_of(file: &File) -> std::io::Result<u64> {
    Ok(seek(file, SeekFrom::End(0))?)
}
