//! The bytes of a blob, or of a part of it, in their order.
//!
//! ```text
//! index -(batches)-> positions -(fetch, verify xN)-> bytes -(in turn)-> output
//! ```
//! Every worker has one batch at a time, so memory is a batch for each, however slow the output is.
//! Chunks of zeros are not fetched, and what repeats within a batch is fetched once.
//!
//! What has been written is always the front of what was asked for, without a gap: after a failure
//! everything before the batch it befell is written, and nothing behind.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use cairn_formats::{Chunk, Index, IndexChunk};
use cairn_store::{Fetcher, Store};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use crate::batch::Batch;
use crate::buffer::Buffer;
use crate::check::zeros_of;
use crate::flow::{Stop, Turns, crew, lock};
use crate::{Error, Monitor, Result, Unit};

/// Bytes fetched, decoded, hashed and written at once by one worker: enough chunks to fill the
/// lanes of the hash kernel, few enough to stay in the cache.
const BATCH: u64 = 2 << 20;

/// Slices that the kernel takes in one call.
const SLICES_AT_ONCE: usize = 1024;

/// What a pipe should hold, in bytes: as much as the system allows anybody.
const PIPE_SIZE: usize = 1 << 20;

/// Gives a pipe more room, so that a worker is soon rid of its batch and goes on to the next while the
/// reader takes its time. With the 64 KiB that a pipe is made with, writer and reader wake each other for
/// every chunk, which takes half as long again. Where the system refuses, nothing changes.
pub fn widen_pipe(output: &File) {
    if fcntl_getpipe_size(output).is_ok_and(|size| size < PIPE_SIZE) {
        let _ = fcntl_setpipe_size(output, PIPE_SIZE);
    }
}

/// What is written, and how.
#[derive(Clone, Debug)]
pub struct CatOptions {
    /// Which bytes of the blob. What lies behind its end is left out.
    pub range: Range<u64>,
    /// How many threads work, at least 1.
    pub workers: usize,
}

/// Writes a range of the blob of an index to `output`, which is called `name` in errors.
pub fn cat(
    index: &Index,
    store: &dyn Store,
    output: &mut (dyn Write + Send),
    name: &Path,
    options: &CatOptions,
    monitor: &dyn Monitor,
) -> Result<()> {
    let range = options.range.start..options.range.end.min(index.blob_size());
    if range.is_empty() {
        return Ok(());
    }
    let len = range.end - range.start;
    let positions = index.position_at(range.start)..index.position_at(range.end - 1) + 1;
    // A small range is spread over all workers rather than being one batch.
    let share = len / (4 * options.workers.max(1) as u64);
    let batches = Mutex::new((0..).zip(index.batches(positions, BATCH.min(share))));
    let stop = Stop::default();
    let sink = Sink { output, name, monitor, has_failed: false };
    let job = Job { index, store, range, zeros: zeros_of(index), sink: Turns::new(&stop, sink) };
    monitor.start("Writing", Unit::Bytes, Some(len));
    let done = crew(options.workers, &stop, || {
        let mut worker = Worker { fetcher: Fetcher::new(), plain: Buffer::default() };
        while !stop.is_stopped() {
            // Taken in a statement of its own, so that the lock is not held during the work.
            let next = lock(&batches).next();
            let Some((number, batch)) = next else { break };
            monitor.check()?;
            job.pass(number, batch, &mut worker)?;
        }
        Ok(())
    });
    monitor.finish();
    done
}

/// What each worker keeps between batches.
struct Worker {
    fetcher: Fetcher,
    /// The plain bytes of the chunks that were fetched.
    plain: Buffer,
}

/// What all workers share.
struct Job<'a> {
    index: &'a Index,
    store: &'a dyn Store,
    /// The bytes of the blob that are wanted.
    range: Range<u64>,
    zeros: Chunk<'static>,
    sink: Turns<'a, Sink<'a>>,
}

impl Job<'_> {
    /// Fetches a batch and writes it when its turn comes.
    fn pass(&self, number: u64, positions: Range<usize>, worker: &mut Worker) -> Result<()> {
        let batch = Batch::new(self.index, &self.zeros, positions);
        let plain = worker.plain.front(batch.bytes());
        let Batch { pieces, fetched } = batch;
        let write = |chunks: &[Chunk<'_>]| {
            let mut slices: Vec<IoSlice<'_>> =
                pieces.iter().map(|(chunk, place)| self.cut(chunk, *place, chunks)).collect();
            self.sink.take(number, |sink| sink.write(&mut slices))
        };
        let digest = self.index.digest();
        match worker.fetcher.fetch(self.store, digest, &fetched, plain, write) {
            // Without a turn another worker has failed, and tells why.
            Ok(written) => written.unwrap_or(Ok(())),
            Err(e) => {
                // What is before this batch is good, and still to be written.
                self.sink.take(number, |sink| sink.has_failed = true);
                Err(e.into())
            }
        }
    }

    /// The wanted bytes of a chunk, which are all but in the first and the last.
    fn cut<'b>(
        &'b self,
        chunk: &IndexChunk,
        place: Option<usize>,
        fetched: &'b [Chunk<'_>],
    ) -> IoSlice<'b> {
        let data = place.map_or(self.zeros.data(), |place| fetched[place].data());
        let from = self.range.start.saturating_sub(chunk.start) as usize;
        let to = self.range.end.min(chunk.end()) - chunk.start;
        IoSlice::new(&data[from..to as usize])
    }
}

/// The output, to which one worker writes at a time.
struct Sink<'a> {
    output: &'a mut (dyn Write + Send),
    name: &'a Path,
    monitor: &'a dyn Monitor,
    /// Whether there is a gap, behind which nothing may be written.
    has_failed: bool,
}

impl Sink<'_> {
    fn write(&mut self, slices: &mut [IoSlice<'_>]) -> Result<()> {
        if self.has_failed {
            return Ok(());
        }
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = self.write_all(slices);
        self.has_failed = written.is_err();
        self.monitor.advance(len as u64);
        written.map_err(Error::io("write to", self.name))
    }

    fn write_all(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        while !slices.is_empty() {
            let some = &slices[..slices.len().min(SLICES_AT_ONCE)];
            match self.output.write_vectored(some) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
