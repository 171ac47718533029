//! Does a file hold what an index says?
//!
//! ```text
//! index -(batches)-> positions -(read, hash xN)-> chunks -> equal to the index's ids?
//! ```

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_formats::{Chunk, Error as FormatError, Index, is_zero};
use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::flow::each;
use crate::{Error, Monitor, Result, Silent, Unit};

/// Bytes read and hashed at once by one worker: several chunks for each lane of the hash kernel.
const BATCH: u64 = 2 << 20;

/// Checks that a file is exactly the blob of an index. A device may be longer.
pub fn verify_index(
    index: &Index,
    path: &Path,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<()> {
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
    let len = len_of(&file).map_err(Error::io("measure", path))?;
    let expected = index.blob_size();
    if metadata.is_file() && len != expected || len < expected {
        let why = format!("index size ({expected}) does not match file size ({len})");
        return Err(Error::file(path, why));
    }
    // desync is silent about an empty blob, and there is nothing to interrupt.
    let monitor = if index.is_empty() { &Silent } else { monitor };
    monitor.start("", Unit::Chunks, Some(index.len() as u64));
    let outcome = Comparison::new(index, &file, path).run(workers, monitor, |_, outcome| outcome);
    monitor.finish();
    outcome
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
    let comparison = Comparison { zeros_matter, ..Comparison::new(index, file, path) };
    let outcome = comparison.run(workers, monitor, |position, outcome| {
        flags[position].store(outcome.is_ok(), Ordering::Relaxed);
        Ok(())
    });
    monitor.finish();
    outcome?;
    Ok(flags.into_iter().map(AtomicBool::into_inner).collect())
}

/// A file and the index it is held against.
struct Comparison<'a> {
    index: &'a Index,
    file: &'a File,
    path: &'a Path,
    zeros: Chunk<'static>,
    /// Whether it must be known where zeros are.
    zeros_matter: bool,
}

impl<'a> Comparison<'a> {
    fn new(index: &'a Index, file: &'a File, path: &'a Path) -> Self {
        Self { index, file, path, zeros: zeros_of(index), zeros_matter: true }
    }

    /// Reads and hashes all chunks and tells `each_chunk` how each one fared.
    fn run(
        &self,
        workers: usize,
        monitor: &dyn Monitor,
        each_chunk: impl Fn(usize, Result<()>) -> Result<()> + Sync,
    ) -> Result<()> {
        let batches = self.index.batches(0..self.index.len(), BATCH);
        each(workers, batches, Buffer::default, |buffer, batch| {
            monitor.check()?;
            for (position, outcome) in self.batch(buffer, batch)? {
                monitor.advance(1);
                each_chunk(position, outcome)?;
            }
            Ok(())
        })
    }

    /// Checks consecutive chunks. Those without an outcome were not looked at.
    fn batch(&self, buffer: &mut Buffer, batch: Range<usize>) -> Result<Vec<(usize, Result<()>)>> {
        let start = self.index.chunk(batch.start).start;
        let len = (self.index.chunk(batch.end - 1).end() - start) as usize;
        let all_zeros = batch.clone().all(|position| self.is_zero_chunk(position));
        if all_zeros && !self.zeros_matter {
            return Ok(Vec::new());
        }
        if all_zeros && self.is_hole(start, len) {
            return Ok(batch.map(|position| (position, Ok(()))).collect());
        }
        let buffer = buffer.front(len);
        self.file.read_exact_at(buffer, start).map_err(Error::io("read", self.path))?;
        let claim = |position: usize| {
            let chunk = self.index.chunk(position);
            let from = (chunk.start - start) as usize;
            (chunk.id, &buffer[from..from + chunk.len])
        };
        // Zeros are compared, which is many times faster than hashing them.
        let (zero, rest): (Vec<usize>, Vec<usize>) = batch
            .filter(|&position| self.zeros_matter || !self.is_zero_chunk(position))
            .partition(|&position| self.is_zero_chunk(position) && is_zero(claim(position).1));
        let claims: Vec<_> = rest.iter().map(|&position| claim(position)).collect();
        let verified = Chunk::verify_many(self.index.digest(), &claims).into_iter();
        let outcomes = verified.zip(rest).map(|(outcome, position)| {
            (position, outcome.map(|_| ()).map_err(|e| self.differs(position, &e)))
        });
        Ok(zero.into_iter().map(|position| (position, Ok(()))).chain(outcomes).collect())
    }

    /// Whether the file has a hole there, which need not be read to be known as zeros.
    fn is_hole(&self, start: u64, len: usize) -> bool {
        match seek(self.file, SeekFrom::Data(start)) {
            Ok(data) => data >= start + len as u64,
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
    Chunk::name(index.digest(), vec![0; index.sizes().max()])
}

/// The length of a file or a block device.
pub(crate) fn len_of(file: &File) -> std::io::Result<u64> {
    Ok(seek(file, SeekFrom::End(0))?)
}
