//! A blob that is kept in a file as it is read: copy on read.
//!
//! ```text
//!          all chunks there?      yes: read from the file
//! range ->                        no:  read from within, whole chunks -> written to the file -> marked
//!
//! present    which chunks are there
//! file       the file: locked, as long as the blob, with holes
//! state      what is remembered from one mount to the next
//! recall     what of it is believed
//! fill       having chunks there before anybody asks for them
//! ```
//! A chunk is marked only after all its bytes are in the file. The bytes from within were verified; what is in the
//! file from before is believed only if a state vouches for it and nobody has touched the file since, or if it has been
//! verified again. A file that cannot be written to, or read, only costs time.

mod file;
mod fill;
mod present;
mod recall;
mod state;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use cairn_formats::{Chunk, ChunkId, Index};
use cairn_store::{Error, Result};

use self::file::HoledFile;
use self::present::Present;
use self::state::{State, Subject};
use crate::content::{Bytes, Content};

/// Bytes that are read from within at once, but always a chunk.
const PIECE: u64 = 4 << 20;

/// What is known from earlier mounts.
#[derive(Clone, Debug, Default)]
pub struct SparseOptions {
    /// What [`SparseFile::save`] wrote, or desync's `--cor-state-save`. It need not be there yet.
    pub state: Option<PathBuf>,
    /// Such a state of this file or another one: if the other state does not hold, its chunks are [`SparseFile::wanted`].
    pub init: Option<PathBuf>,
}

/// A blob in a file that has more and more of it.
pub struct SparseFile {
    file: HoledFile,
    index: Arc<Index>,
    inner: Arc<dyn Content>,
    present: Present,
    subject: Subject,
    wanted: Vec<usize>,
    /// What a chunk of zeros is called, as soon as somebody needs to know.
    zeros: OnceLock<ChunkId>,
    /// The last thing that was written was refused.
    failing: AtomicBool,
}

impl SparseFile {
    /// Opens a file for the blob of an index, or makes a new one. `inner` has all bytes of the blob, verified.
    ///
    /// Fails if another mount is using the file, if a state is of another index, or if `init` is not there.
    pub fn open(
        path: &Path,
        index: Arc<Index>,
        inner: Arc<dyn Content>,
        options: &SparseOptions,
    ) -> Result<Self> {
        assert_eq!(inner.size(), index.blob_size(), "the content is that of the index");
        let subject = Subject::of(&index);
        let (file, found) = HoledFile::open(path, index.blob_size())?;
        let states = [&options.state, &options.init];
        if let Some(same) = states.into_iter().flatten().find(|state| file.is_at(state)) {
            return Err(is_the_file(same));
        }
        let state =
            options.state.as_deref().map_or(Ok(None), |path| recall::state(path, &subject))?;
        let init = options.init.as_deref().map_or(Ok(None), |path| State::read(path, &subject))?;
        file.resize()?;
        let (present, zeros) = (Present::new(index.len()), OnceLock::new());
        let failing = AtomicBool::new(false);
        let mut sparse =
            Self { file, index, inner, present, subject, wanted: Vec::new(), zeros, failing };
        let holds = state.is_some_and(|state| sparse.recall(&state, &found));
        if let Some(init) = init.filter(|_| !holds) {
            sparse.wanted = sparse.missing_of(&init);
        }
        Ok(sparse)
    }

    /// The positions of chunks that are to be had in the file, as an earlier state says: for [`SparseFile::fill`].
    pub fn wanted(&self) -> &[usize] {
        &self.wanted
    }

    /// Remembers which chunks are in the file, for the next mount. The state is replaced at once, and never says more
    /// than has reached the disk.
    pub fn save(&self, path: &Path) -> Result<()> {
        if self.file.is_at(path) {
            return Err(is_the_file(path));
        }
        self.has_its_size();
        let bitmap = self.present.to_bitmap();
        let stamp = self.file.flush().map_err(|source| {
            // Which bytes did not reach the disk, nobody says; soon they will not be in memory either.
            self.present.clear();
            Error::io("flush", self.file.path())(source)
        })?;
        State { stamp: Some(stamp), bitmap }.write(path, &self.subject)
    }

    /// The positions of the chunks that a range of bytes touches.
    fn positions(&self, range: &Range<u64>) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        self.index.position_at(range.start)..self.index.position_at(range.end - 1) + 1
    }

    /// The bytes of these chunks, of which there is at least one.
    fn span(&self, positions: &Range<usize>) -> Range<u64> {
        self.index.chunk(positions.start).start..self.index.chunk(positions.end - 1).end()
    }

    /// What of a range is in the blob.
    fn within(&self, range: Range<u64>) -> Range<u64> {
        let end = range.end.min(self.index.blob_size());
        range.start.min(end)..end
    }

    /// Whether it is the chunk that stands for zeros of the greatest length. It needs no bytes in the file.
    fn is_zeros(&self, position: usize) -> bool {
        let chunk = self.index.chunk(position);
        let max = self.index.sizes().max();
        let name = || Chunk::zeros(self.index.digest(), max).id();
        chunk.len == max && chunk.id == *self.zeros.get_or_init(name)
    }

    /// Copies what chunks that are in the file have of a range to its place in `out`. If they cannot be read, they are
    /// in the file no more.
    fn copy_out(&self, positions: &Range<usize>, range: &Range<u64>, out: &mut [u8]) -> bool {
        let (at, to) = overlap(&self.span(positions), range);
        let read = self.file.read(at, &mut out[to]);
        // Looked at afterwards: what was read may have been written by whoever has cut the file before.
        if !self.has_its_size() {
            return false;
        }
        if let Err(error) = &read {
            let file = self.file.path().display();
            tracing::warn!(%file, %error, "cannot read the copy-on-read file");
            self.present.remove(positions.clone());
        }
        // Likewise: another thread may have seen that in between, and made the file long again.
        read.is_ok() && self.present.has_all(positions.clone())
    }

    /// Reads chunks from within, keeps them in the file, and copies what they have of a range to its place in `out`.
    /// Returns whether the file took them.
    fn load(&self, positions: Range<usize>, range: &Range<u64>, out: &mut [u8]) -> Result<bool> {
        let (mut from, mut kept) = (positions.start, true);
        while from < positions.end {
            let zeros = self.is_zeros(from);
            let end = (from..positions.end).find(|&position| self.is_zeros(position) != zeros);
            let run = from..end.unwrap_or(positions.end);
            from = run.end;
            if zeros {
                let span = self.span(&run);
                out[overlap(&span, range).1].fill(0);
                kept &= self.keep_zeros(run, span);
                continue;
            }
            for piece in self.index.batches(run, PIECE) {
                let span = self.span(&piece);
                // Asked first, so that what comes next is fetched meanwhile.
                let at_hand = self.inner.at_hand(span.clone());
                let bytes = at_hand.map_or_else(|| self.inner.read(span.clone()), Ok)?;
                if bytes.len() as u64 != span.end - span.start {
                    let short = io::ErrorKind::UnexpectedEof.into();
                    return Err(Error::io("read the blob for", self.file.path())(short));
                }
                kept &= self.keep(piece, span.start, &bytes);
                let (at, to) = overlap(&span, range);
                let at = (at - span.start) as usize;
                let len = to.len();
                out[to].copy_from_slice(&bytes[at..at + len]);
            }
        }
        Ok(kept)
    }

    /// Writes chunks to the file and marks them, if it takes them.
    fn keep(&self, positions: Range<usize>, at: u64, bytes: &[u8]) -> bool {
        self.has_its_size();
        let written = self.file.write(at, bytes);
        if written.is_ok() {
            self.failing.store(false, Ordering::Relaxed);
        }
        self.mark(positions, written)
    }

    /// Marks chunks of zeros, where a hole is enough.
    fn keep_zeros(&self, positions: Range<usize>, span: Range<u64>) -> bool {
        self.has_its_size();
        self.mark(positions, self.file.zero(span))
    }

    fn mark(&self, positions: Range<usize>, written: io::Result<()>) -> bool {
        match &written {
            Ok(()) => self.present.add(positions),
            Err(error) => self.note_refusal(error),
        }
        written.is_ok()
    }

    /// Says that the file cannot be written to: once, not for every chunk.
    fn note_refusal(&self, error: &io::Error) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            let file = self.file.path().display();
            tracing::warn!(%file, %error, "going on without keeping chunks in the copy-on-read file");
        }
    }

    /// Forgets all if somebody has changed the length of the file: what was behind its end is gone.
    fn has_its_size(&self) -> bool {
        if self.file.is_resized() {
            return true;
        }
        let file = self.file.path().display();
        tracing::warn!(%file, "the copy-on-read file was cut or grew, all is fetched again");
        self.present.clear();
        // If that fails, so will the next write.
        let _ = self.file.resize_again();
        false
    }
}

impl Content for SparseFile {
    fn size(&self) -> u64 {
        self.index.blob_size()
    }

    fn at_hand(&self, range: Range<u64>) -> Option<Bytes> {
        let range = self.within(range);
        let positions = self.positions(&range);
        if positions.is_empty() {
            return Some(Bytes::Own(Vec::new()));
        }
        if !self.present.has_all(positions.clone()) {
            return None;
        }
        let mut out = vec![0; (range.end - range.start) as usize];
        self.copy_out(&positions, &range, &mut out).then_some(Bytes::Own(out))
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let range = self.within(range);
        let mut positions = self.positions(&range);
        let mut out = vec![0; (range.end - range.start) as usize];
        while !positions.is_empty() {
            let (present, run) = self.present.run(positions.clone());
            positions.start = run.end;
            if !present || !self.copy_out(&run, &range, &mut out) {
                self.load(run, &range, &mut out)?;
            }
        }
        Ok(Bytes::Own(out))
    }

    fn whole(&self) -> Option<&File> {
        let whole = self.present.is_full() && self.file.is_resized();
        whole.then(|| self.file.reading())
    }
}

impl std::fmt::Debug for SparseFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SparseFile").field("path", &self.file.path()).finish_non_exhaustive()
    }
}

/// From where in the blob a span has bytes of a range, and the place of these in the range.
fn overlap(span: &Range<u64>, range: &Range<u64>) -> (u64, Range<usize>) {
    let start = span.start.clamp(range.start, range.end);
    let end = span.end.clamp(start, range.end);
    (
        start.max(span.start).min(span.end),
        (start - range.start) as usize..(end - range.start) as usize,
    )
}

fn is_the_file(path: &Path) -> Error {
    let why = "this is the copy-on-read file itself, its state needs another one";
    Error::Unsupported { place: path.display().to_string(), why: why.to_owned() }
}
