//! A blob into a store: its chunks, and the index that lists them.
//!
//! ```text
//! input -(windows, read once)-> window -(cut xN)-> guesses -(stitch in order)-> pieces
//!       -(hash in batches; has? else encode, put, xN)-> (id, length) -(gather in order)-> index
//! ```
//! Each worker takes a window through all of this, so its bytes stay in the cache of one core
//! between cutting and hashing. The workers meet at two gates: the stitcher, which they pass in the
//! order of the windows, and the gathering of ids.

mod input;
mod known;
pub(crate) mod source;
mod windows;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_formats::chunker::{CutRule, Cutter, Piece, Stitcher};
use cairn_formats::coding::DEFAULT_LEVEL;
use cairn_formats::digest::Hasher;
use cairn_formats::{Chunk, ChunkId, ChunkSizes, Digest, Index, flags, is_zero};
use cairn_store::WriteStore;

pub use self::input::Input;
use self::source::{Source, Stretch, Want, window};
use self::windows::Windows;
use crate::buffer::Buffer;
use crate::flow::{Gather, Stop, Turns, crew};
use crate::spread::{Apart, Spread};
use crate::storing::{Coders, Storing};
use crate::{Monitor, Result, Unit};

/// Zeros of a hole that are hashed at once, in bytes.
const ZEROS: usize = 64 << 10;

/// How a blob is cut and stored.
#[derive(Clone, Debug)]
pub struct MakeOptions {
    /// Which family of cut points.
    pub rule: CutRule,
    /// How long chunks may be.
    pub sizes: ChunkSizes,
    /// What ids are made with.
    pub digest: Digest,
    /// The zstd level for stores that keep compressed chunks.
    pub level: i32,
    /// Whether the blob is an archive, whose index carries the archive's feature word. One that does
    /// not begin as an archive is a blob all the same.
    pub archive: bool,
    /// Whether chunks that the store has already are read and, if damaged, written again.
    pub repair: bool,
    /// Whether the digest of the whole blob is wanted as well. It is computed in the order of the blob, and
    /// so no faster than one processor does it.
    pub whole: bool,
    /// How many threads work, at least 1.
    pub workers: usize,
}

impl Default for MakeOptions {
    fn default() -> Self {
        Self {
            rule: CutRule::default(),
            sizes: ChunkSizes::default(),
            digest: Digest::default(),
            level: DEFAULT_LEVEL,
            archive: false,
            repair: false,
            whole: false,
            workers: 1,
        }
    }
}

/// What was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MakeStats {
    /// Chunks in the index.
    pub chunks: u64,
    /// Cuts made, those included that the stitcher did not need.
    pub produced: u64,
    /// Chunks that were known without reading them.
    pub known: u64,
    /// Distinct chunks that were not in the store yet.
    pub stored: u64,
    /// Plain bytes in these.
    pub stored_bytes: u64,
    /// The digest of the whole blob, if it was wanted.
    pub whole: Option<ChunkId>,
}

/// Cuts a blob, puts the chunks the store does not have yet, and returns the index.
///
/// Without a store only the index is made. When this returns, all chunks are in the store, as
/// durable as it was asked to make them; on an error some may be, which harms nobody.
pub fn make(
    input: Input,
    store: Option<&dyn WriteStore>,
    options: &MakeOptions,
    monitor: &dyn Monitor,
) -> Result<(Index, MakeStats)> {
    let beginning = if options.archive { input.beginning() } else { Vec::new() };
    let index = Index::of_blob(options.digest, options.sizes);
    let mut index = match flags::of_archive(&beginning, options.digest) {
        Some(flags) => index.with_flags(flags),
        None => index,
    };
    let stats = chunks(input, store, options, monitor, &mut |run| {
        for _ in 0..run.count {
            index.push(run.id, run.len);
        }
        Ok(())
    })?;
    Ok((index, stats))
}

/// A chunk that occurs so many times in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// The chunk.
    pub id: ChunkId,
    /// Its length in bytes.
    pub len: usize,
    /// How often; more than once only for zeros.
    pub count: u64,
}

/// As [`make`], but hands the chunks to `sink` in the order of the blob as they become known.
pub fn chunks(
    input: Input,
    store: Option<&dyn WriteStore>,
    options: &MakeOptions,
    monitor: &dyn Monitor,
    sink: &mut (dyn FnMut(Repeated) -> Result<()> + Send),
) -> Result<MakeStats> {
    chunks_of(&Windows::new(input), store, options, monitor, sink)
}

/// As [`chunks`], from whatever source.
pub(crate) fn chunks_of(
    source: &dyn Source,
    store: Option<&dyn WriteStore>,
    options: &MakeOptions,
    monitor: &dyn Monitor,
    sink: &mut (dyn FnMut(Repeated) -> Result<()> + Send),
) -> Result<MakeStats> {
    let cutter = Cutter::new(options.rule, options.sizes)?;
    monitor.start("Chunking", Unit::Bytes, source.size());
    let stop = Stop::default();
    let storing = store.map(|store| {
        let storing = Storing::new(store, options.level);
        if options.repair { storing.repairing(options.digest) } else { storing }
    });
    let job = Job {
        cutter: &cutter,
        options,
        storing,
        monitor,
        zeros: OnceLock::new(),
        source,
        stop: &stop,
        stitcher: Turns::new(&stop, Stitcher::new(&cutter)),
        whole: options.whole.then(|| Turns::new(&stop, options.digest.hasher())),
        counts: Counts::default(),
    };
    let gather = Gather::new(|runs: Vec<Repeated>| {
        runs.into_iter().try_for_each(|run| {
            job.counts.chunks.fetch_add(run.count, Ordering::Relaxed);
            sink(run)
        })
    });
    // A store far away may start threads of its own.
    let is_near = store.is_none_or(|store| store.in_flight() == 0);
    let spread = Spread::new(if is_near { options.workers } else { 1 });
    let outcome = crew(options.workers, &stop, || job.work(&gather, spread.take()));
    monitor.finish();
    outcome?;
    if let Some(store) = store {
        // Most chunks were stored while others were cut; what remains is to wait for the disk.
        monitor.start("Storing", Unit::Chunks, Some(job.stats().chunks));
        let synced = store.sync();
        monitor.advance(job.stats().chunks);
        monitor.finish();
        synced?;
    }
    let stats = job.stats();
    let whole = job.whole.map(|hasher| hasher.into_inner().finish());
    Ok(MakeStats { whole, ..stats })
}

/// What the workers share.
struct Job<'a> {
    cutter: &'a Cutter,
    options: &'a MakeOptions,
    storing: Option<Storing<'a>>,
    monitor: &'a dyn Monitor,
    /// The chunk cut out of endless zeros. It need not be hashed each time.
    zeros: OnceLock<Chunk<'static>>,
    source: &'a dyn Source,
    stop: &'a Stop,
    stitcher: Turns<'a, Stitcher<'a>>,
    whole: Option<Turns<'a, Hasher>>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    chunks: AtomicU64,
    produced: AtomicU64,
    known: AtomicU64,
}

impl Job<'_> {
    /// What each worker does: one window after the other, through all steps.
    fn work<F>(&self, gather: &Gather<Vec<Repeated>, F>, mut apart: Apart) -> Result<()>
    where
        F: FnMut(Vec<Repeated>) -> Result<()>,
    {
        let mut buffer = Buffer::default();
        let mut coders = self.storing.as_ref().map(Storing::coders);
        let window = window(self.options.workers, self.cutter.sizes().max());
        let want = Want { window, stop: self.stop, monitor: self.monitor };
        while let Some((number, mut stretch)) = self.source.next(&want, &mut buffer)? {
            apart.grow();
            if let Stretch::Known(known) = &mut stretch {
                let Some(runs) = self.pass(number, known, &mut buffer, &mut coders)? else {
                    return Ok(());
                };
                self.monitor.advance(stretch.len());
                gather.put(number, runs)?;
                continue;
            }
            let window = buffer.front(stretch.in_memory());
            let Some(pieces) = self.cut(number, &stretch, window) else {
                // Another worker has failed; the error is its to report.
                return Ok(());
            };
            if let Some(whole) = &self.whole {
                let add = |hasher: &mut Hasher| hash(hasher, &stretch, window, self.monitor);
                let Some(added) = whole.take(number, add) else { return Ok(()) };
                added?;
            }
            let (runs, chunks) = self.name(&pieces, window);
            self.put(&chunks, &mut coders)?;
            self.monitor.advance(stretch.len());
            gather.put(number, runs)?;
        }
        Ok(())
    }

    fn zeros(&self) -> &Chunk<'static> {
        let name = || Chunk::zeros(self.options.digest, self.cutter.zero_run());
        self.zeros.get_or_init(name)
    }

    /// Puts what the store does not have, if there is one.
    fn put(&self, chunks: &[Chunk<'_>], coders: &mut Option<Coders>) -> Result<()> {
        let (Some(storing), Some(coders)) = (&self.storing, coders) else { return Ok(()) };
        let go_on = || self.monitor.check().map(|()| !self.stop.is_stopped());
        storing.put_missing(chunks, coders, go_on)
    }

    fn stats(&self) -> MakeStats {
        let chunks = self.counts.chunks.load(Ordering::Relaxed);
        let storing = self.storing.as_ref();
        MakeStats {
            chunks,
            produced: chunks.max(self.counts.produced.load(Ordering::Relaxed)),
            known: self.counts.known.load(Ordering::Relaxed),
            stored: storing.map_or(0, Storing::stored),
            stored_bytes: storing.map_or(0, Storing::stored_bytes),
            whole: None,
        }
    }

    fn cut(&self, number: u64, stretch: &Stretch<'_>, window: &[u8]) -> Option<Vec<Piece>> {
        match *stretch {
            Stretch::Known(_) => unreachable!("what is known is not cut"),
            Stretch::Data(_) => {
                let guesses = self.cutter.cut_window(window);
                self.counts.produced.fetch_add(guesses.len() as u64, Ordering::Relaxed);
                self.stitcher.take(number, |stitcher| stitcher.window(window, &guesses))
            }
            Stretch::Hole(len) => self.stitcher.take(number, |stitcher| stitcher.hole(len)),
            Stretch::End => {
                self.stitcher.take(number, |stitcher| stitcher.end().into_iter().collect())
            }
        }
    }

    /// Computes the ids of all pieces of a window at once. Returns them in order, and their chunks.
    fn name<'b>(
        &'b self,
        pieces: &'b [Piece],
        window: &'b [u8],
    ) -> (Vec<Repeated>, Vec<Chunk<'b>>) {
        let is_zeros = |bytes: &[u8]| bytes.len() == self.cutter.zero_run() && is_zero(bytes);
        let bytes_of = |piece: &'b Piece| match piece {
            Piece::Joined(bytes) => Some(&bytes[..]),
            Piece::Within(range) => Some(&window[range.clone()]),
            Piece::Zeros { .. } => None,
        };
        // Zeros that had to be read need not be hashed either.
        let bytes: Vec<Option<&[u8]>> =
            pieces.iter().map(|piece| bytes_of(piece).filter(|bytes| !is_zeros(bytes))).collect();
        let to_hash: Vec<&[u8]> = bytes.iter().copied().flatten().collect();
        let mut chunks = Chunk::name_many(self.options.digest, &to_hash);
        let mut named = chunks.iter();
        let runs = pieces.iter().zip(&bytes).map(|(piece, bytes)| {
            let chunk = match bytes {
                Some(_) => named.next().expect("every piece with bytes has been named"),
                None => self.zeros(),
            };
            let count = if let Piece::Zeros { count, .. } = *piece { count } else { 1 };
            Repeated { id: chunk.id(), len: chunk.data().len(), count }
        });
        let runs = runs.collect();
        if bytes.len() > to_hash.len() {
            chunks.push(self.zeros().by_ref());
        }
        (runs, chunks)
    }
}

/// Adds a stretch to the digest of the whole blob.
fn hash(
    hasher: &mut Hasher,
    stretch: &Stretch<'_>,
    window: &[u8],
    monitor: &dyn Monitor,
) -> Result<()> {
    match *stretch {
        Stretch::Data(_) => hasher.update(window),
        Stretch::Hole(len) => {
            let zeros = [0; ZEROS];
            let mut left = len;
            while left > 0 {
                monitor.check()?;
                let some = left.min(ZEROS as u64);
                hasher.update(&zeros[..some as usize]);
                left -= some;
            }
        }
        Stretch::Known(_) => unreachable!("who wants the digest of all reads all"),
        Stretch::End => {}
    }
    Ok(())
}
