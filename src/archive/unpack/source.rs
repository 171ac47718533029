//! Where the bytes of an archive come from: a file, an index and its store, or a pipe.
//!
//! All but a pipe can be read at several places at once, and past what is not wanted.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cairn_formats::{Chunk, Index};
use cairn_store::{Fetcher, Store};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::archive::seed::TreeSeed;
use crate::batch::Batch;
use crate::buffer::Buffer;
use crate::check::{len_of, zeros_of};
use crate::{Error, Result};

/// How long a pipe is waited for before it is asked whether to wait further.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Bytes that a worker reads at once: few enough that they are still in the processor's cache when they are written.
const WINDOW: u64 = 256 << 10;

/// Bytes of chunks that a worker fetches at once: enough to fill the lanes of the hash kernel. A quarter of it takes
/// a third longer.
const CHUNKS: u64 = 1 << 20;

/// An archive to be read.
pub struct Source<'a> {
    kind: Kind<'a>,
    name: PathBuf,
    size: Option<u64>,
    seeds: &'a [TreeSeed],
}

enum Kind<'a> {
    File(&'a File),
    Stream(File),
    Index { index: &'a Index, store: &'a dyn Store, zeros: Chunk<'static> },
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a worker keeps to read with.
#[derive(Default)]
pub(super) struct Reading {
    fetcher: Fetcher,
    /// Chunks that occur several times in one window.
    distinct: Buffer,
}

impl<'a> Source<'a> {
    /// An archive that lies in a file.
    pub fn file(file: &'a File, name: &Path) -> Result<Self> {
        let size = len_of(file).map_err(Error::io("measure", name))?;
        Ok(Self { kind: Kind::File(file), name: name.to_owned(), size: Some(size), seeds: &[] })
    }

    /// An archive that comes through a pipe, or a file from where it stands.
    pub fn stream(stream: File, name: &Path) -> Self {
        Self { kind: Kind::Stream(stream), name: name.to_owned(), size: None, seeds: &[] }
    }

    /// The archive of an index.
    pub fn index(index: &'a Index, store: &'a dyn Store, name: &Path) -> Self {
        let kind = Kind::Index { index, store, zeros: zeros_of(index) };
        Self { kind, name: name.to_owned(), size: Some(index.blob_size()), seeds: &[] }
    }

    /// The same with trees whose files may be in the archive. They should be among the stores that an index has its
    /// chunks from as well; here they are to share what they have.
    pub fn seeded(self, seeds: &'a [TreeSeed]) -> Self {
        Self { seeds, ..self }
    }

    /// The index of the archive and trees whose files may be in it, if there are any.
    pub(super) fn seeds(&self) -> Option<(&'a Index, &'a [TreeSeed])> {
        match self.kind {
            Kind::Index { index, .. } if !self.seeds.is_empty() => Some((index, self.seeds)),
            _ => None,
        }
    }

    /// Bytes of the archive, if that is known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// What it is called in errors.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Whether windows must be read one after the other, each in full.
    pub(super) fn is_sequential(&self) -> bool {
        matches!(self.kind, Kind::Stream(_))
    }

    /// The window that a byte is in; empty behind the end.
    pub(super) fn window_at(&self, at: u64) -> Range<u64> {
        match &self.kind {
            _ if self.size.is_some_and(|size| at >= size) => at..at,
            Kind::Index { index, .. } => {
                let from = index.position_at(at);
                let batch = index.batches(from..index.len(), CHUNKS).next();
                let batch = batch.expect("the byte is in a chunk");
                index.chunk(batch.start).start..index.chunk(batch.end - 1).end()
            }
            _ => at..(at / WINDOW + 1) * WINDOW,
        }
    }

    /// Where the chunk that a byte is in ends; of an archive without chunks, its window.
    pub(super) fn chunk_end(&self, at: u64) -> u64 {
        match &self.kind {
            Kind::Index { index, .. } => index.chunk(index.position_at(at)).end(),
            _ => self.window_at(at).end,
        }
    }

    /// Reads a window and returns how many bytes it has: fewer only at the end of the archive. While nothing comes,
    /// `go_on` is asked whether to wait further.
    pub(super) fn read(
        &self,
        window: &Range<u64>,
        reading: &mut Reading,
        buffer: &mut Buffer,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<usize> {
        let bytes = buffer.front((window.end - window.start) as usize);
        match &self.kind {
            Kind::File(file) => read_full(bytes, |part, done| {
                file.read_at(part, window.start + done).map_err(Error::io("read", &self.name))
            }),
            Kind::Stream(stream) => read_full(bytes, |part, _| {
                self.wait_for(stream, go_on)?;
                (&mut &*stream).read(part).map_err(Error::io("read", &self.name))
            }),
            Kind::Index { index, store, zeros } => {
                let positions =
                    index.position_at(window.start)..index.position_at(window.end - 1) + 1;
                reading.fetch(index, *store, zeros, positions, bytes)?;
                Ok(bytes.len())
            }
        }
    }
}

impl Source<'_> {
    /// Returns when there is something to be read.
    fn wait_for(&self, stream: &File, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        loop {
            go_on()?;
            match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&PATIENCE)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(Error::io("wait for", &self.name)(e.into())),
            }
        }
    }
}

fn read_full(
    bytes: &mut [u8],
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize>,
) -> Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match read(&mut bytes[done..], done as u64) {
            Ok(0) => break,
            Ok(some) => done += some,
            Err(Error::Io { source, .. })
                if matches!(source.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

impl Reading {
    /// Fetches chunks of an index, one behind the other. Zeros are not fetched, and what occurs several times is
    /// fetched once.
    fn fetch(
        &mut self,
        index: &Index,
        store: &dyn Store,
        zeros: &Chunk<'_>,
        positions: Range<usize>,
        bytes: &mut [u8],
    ) -> Result<()> {
        let batch = Batch::new(index, zeros, positions);
        let digest = index.digest();
        if batch.fetched.len() == batch.pieces.len() {
            return Ok(self.fetcher.fetch(store, digest, &batch.fetched, bytes, |_| ())?);
        }
        let plain = self.distinct.front(batch.bytes());
        let spread = |chunks: &[Chunk<'_>]| {
            let mut rest = bytes;
            for (chunk, place) in &batch.pieces {
                let (front, behind) = rest.split_at_mut(chunk.len);
                match place {
                    Some(place) => front.copy_from_slice(chunks[*place].data()),
                    None => front.fill(0),
                }
                rest = behind;
            }
        };
        Ok(self.fetcher.fetch(store, digest, &batch.fetched, plain, spread)?)
    }
}
