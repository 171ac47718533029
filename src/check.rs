//! Does a file hold what an index says?
//!
//! ```text
//! index -(batches)-> positions -(read, hash xN)-> chunks -> equal to the index's ids?
//! ```

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_formats::{Chunk, ChunkId, Error as FormatError, Index, is_zero};
use rustix::fs::{SeekFrom, seek};

use crate::flow::each;
use crate::{Error, Monitor, Result, Unit};

/// Bytes read and hashed at once by one worker: several chunks for each lane of the hash kernel.
const BATCH: u64 = 2 << 20;

/// Checks that a file is exactly the blob of an index. A device may be longer.
pub fn verify_index(
    index: &Index,
    path: &Path,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<()> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        return Err(Error::file(
            path,
            "is a directory; an index describes one file",
        ));
    }
    let len = len_of(&file).map_err(Error::io("measure", path))?;
    let expected = index.blob_size();
    if metadata.is_file() && len != expected || len < expected {
        let why = format!("index size ({expected}) does not match file size ({len})");
        return Err(Error::file(path, why));
    }
    monitor.start("", Unit::Chunks, Some(index.len() as u64));
    let outcome = compare(
        index,
        0..index.len(),
        &file,
        path,
        workers,
        monitor,
        |_, result| {
            monitor.advance(1);
            result
        },
    );
    monitor.finish();
    outcome
}

/// Tells for each chunk of an index whether a file already holds it in its place. The file must be
/// as long as the blob.
pub(crate) fn chunks_in_place(
    index: &Index,
    file: &File,
    path: &Path,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<Vec<bool>> {
    let flags: Vec<AtomicBool> = (0..index.len()).map(|_| AtomicBool::new(false)).collect();
    monitor.start("Validating", Unit::Chunks, Some(index.len() as u64));
    let outcome = compare(
        index,
        0..index.len(),
        file,
        path,
        workers,
        monitor,
        |position, result| {
            flags[position].store(result.is_ok(), Ordering::Relaxed);
            monitor.advance(1);
            Ok(())
        },
    );
    monitor.finish();
    outcome?;
    Ok(flags.into_iter().map(AtomicBool::into_inner).collect())
}

/// Reads and hashes the chunks of a range and tells `each_chunk` how each one fared.
fn compare(
    index: &Index,
    range: Range<usize>,
    file: &File,
    path: &Path,
    workers: usize,
    monitor: &dyn Monitor,
    each_chunk: impl Fn(usize, Result<()>) -> Result<()> + Sync,
) -> Result<()> {
    let zeros = zeros_of(index);
    each(
        workers,
        index.batches(range, BATCH),
        Vec::new,
        |buffer: &mut Vec<u8>, batch| {
            monitor.check()?;
            let start = index.chunk(batch.start).start;
            let len = (index.chunk(batch.end - 1).end() - start) as usize;
            if buffer.len() < len {
                buffer.resize(len, 0);
            }
            file.read_exact_at(&mut buffer[..len], start)
                .map_err(Error::io("read", path))?;
            let claim = |position: usize| {
                let chunk = index.chunk(position);
                let from = (chunk.start - start) as usize;
                (chunk.id, &buffer[from..from + chunk.len])
            };
            // Zeros are compared, which is many times faster than hashing them.
            let known_zero = |&(id, data): &(ChunkId, &[u8])| {
                id == zeros.id() && data.len() == zeros.data().len() && is_zero(data)
            };
            let (zero, rest): (Vec<usize>, Vec<usize>) =
                batch.partition(|&position| known_zero(&claim(position)));
            zero.into_iter()
                .try_for_each(|position| each_chunk(position, Ok(())))?;
            let claims: Vec<_> = rest.iter().map(|&position| claim(position)).collect();
            let results = Chunk::verify_many(index.digest(), &claims);
            rest.into_iter()
                .zip(results)
                .try_for_each(|(position, result)| {
                    let result = result
                        .map(|_| ())
                        .map_err(|e| differs(path, index, position, &e));
                    each_chunk(position, result)
                })
        },
    )
}

/// The chunk that an index has for each stretch of zeros as long as its longest chunk.
pub(crate) fn zeros_of(index: &Index) -> Chunk<'static> {
    Chunk::name(index.digest(), vec![0; index.sizes().max()])
}

fn differs(path: &Path, index: &Index, position: usize, error: &FormatError) -> Error {
    let chunk = index.chunk(position);
    let place = format!(
        "does not match its index at bytes {}..{}",
        chunk.start,
        chunk.end()
    );
    Error::file(path, format!("{place}: {error}"))
}

/// The length of a file or a block device.
pub(crate) fn len_of(file: &File) -> std::io::Result<u64> {
    Ok(seek(file, SeekFrom::End(0))?)
}
