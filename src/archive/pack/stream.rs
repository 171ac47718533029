//! An archive as a blob that several workers read, though it lies nowhere.
//!
//! ```text
//! feed -(tasks, numbered)-> record, read small files xN -(in order)-> layout -> parts -(fill xN)-> stretches
//! ```
//! All workers do all of it: whoever finds no part that is ready to be filled records the next names. So no thread
//! waits for another that is busy, unless some batches more than there are workers have been recorded ahead of it.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cairn_formats::ChunkId;

use super::PackStats;
use super::encoded::Encoded;
use super::feed::{Batch, Feed};
use super::layout::Layout;
use super::map::Map;
use super::notices::Notices;
use super::parts::{Known, Part, Segment, Unread};
use crate::archive::step::Origin;
use crate::buffer::Buffer;
use crate::flow::lock;
use crate::make::source::{self, Source, Stretch, Want};
use crate::tree::found::is_still;
use crate::{Error, Result};

/// How long a worker that waits for others sleeps before it asks whether the user wants to stop.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is left of a segment that has been read.
const NOTHING: Segment<'static> = Segment::Bytes(Vec::new());

/// Batches that may come before their turn: each may hold small files and open ones.
const MOST_WAITING: usize = 4;

/// An archive that is read while it comes to be.
pub(super) struct Stream<'a> {
    feed: Feed<'a>,
    notices: &'a Notices<'a>,
    /// The number of the next batch; none when there are no more.
    batches: Mutex<Option<u64>>,
    layout: Mutex<Layout<'a>>,
    /// Held but for moments, unlike the layout: who cannot do one thing does another.
    state: Mutex<State<'a>>,
    /// Told when there may be a part, or the end.
    progress: Condvar,
}

#[derive(Default)]
struct State<'a> {
    /// The number of the next batch to be laid out, and those that came before their turn.
    turn: u64,
    waiting: BTreeMap<u64, Encoded<'a>>,
    /// Whether a worker is busy with laying out.
    is_laying_out: bool,
    /// How many batches there are, once this is known.
    batches: Option<u64>,
    /// Whether all of them have been laid out.
    is_complete: bool,
    /// Parts that are complete.
    ready: VecDeque<Part<'a>>,
    /// Number and place of the next stretch.
    number: u64,
    at: u64,
    has_ended: bool,
}

/// A stretch, and where in the archive it begins.
pub(super) struct Placed<'s> {
    pub(super) number: u64,
    pub(super) at: u64,
    pub(super) stretch: Stretch<'s>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        feed: Feed<'a>,
        features: u64,
        window: usize,
        notices: &'a Notices<'a>,
    ) -> Self {
        let layout = Mutex::new(Layout::new(features, window, feed.cache()));
        let (state, progress) = Default::default();
        Self { feed, notices, batches: Mutex::new(Some(0)), layout, state, progress }
    }

    /// Also notes what lies where.
    pub(super) fn mapped(self) -> Self {
        let layout = self.layout.into_inner().unwrap_or_else(PoisonError::into_inner);
        Self { layout: Mutex::new(layout.mapped()), ..self }
    }

    /// What lies where, once all is laid out.
    pub(super) fn take_map(&self) -> Option<Map> {
        lock(&self.layout).take_map()
    }

    /// What the archive consists of, so far.
    pub(super) fn stats(&self) -> PackStats {
        let (left_out, changed) = self.notices.counts();
        PackStats { counts: lock(&self.layout).counts(), left_out, changed }
    }

    /// Lets the cache, if there is one, know of the next chunk of the archive.
    pub(super) fn chunk(&self, id: ChunkId, len: usize) {
        if let Some(cache) = self.feed.cache() {
            cache.chunk(id, len);
        }
    }

    /// Lets it know what owners are called.
    pub(super) fn name_owners(&self) {
        self.feed.name_owners();
    }

    /// As [`Source::next`].
    pub(super) fn take(&self, want: &Want<'_>, buffer: &mut Buffer) -> Result<Option<Placed<'_>>> {
        while want.more()? {
            let mut state = lock(&self.state);
            if let Some(part) = state.ready.pop_front() {
                let (number, at) = state.pass(part.len());
                drop(state);
                let stretch = self.fill(part, buffer)?;
                return Ok(Some(Placed { number, at, stretch }));
            }
            if state.is_complete {
                if state.has_ended {
                    return Ok(None);
                }
                state.has_ended = true;
                let (number, at) = state.pass(0);
                return Ok(Some(Placed { number, at, stretch: Stretch::End }));
            }
            let is_far_ahead = state.waiting.len() >= MOST_WAITING;
            drop(state);
            if is_far_ahead {
                // Somebody is busy with the batch whose turn it is.
                self.wait();
                continue;
            }
            match self.next_batch()? {
                Some((number, batch)) => {
                    let batch = self.feed.encode(batch)?;
                    self.lay_out(number, batch)?;
                }
                None => self.wait(),
            }
        }
        Ok(None)
    }

    fn next_batch(&self) -> Result<Option<(u64, Batch)>> {
        let mut next = lock(&self.batches);
        let Some(number) = *next else { return Ok(None) };
        // After an error nobody asks again.
        *next = None;
        if let Some(batch) = self.feed.next()? {
            *next = Some(number + 1);
            return Ok(Some((number, batch)));
        }
        lock(&self.state).batches = Some(number);
        self.advance()?;
        Ok(None)
    }

    /// Takes a batch that is to be laid out when its turn comes.
    fn lay_out(&self, number: u64, batch: Encoded<'a>) -> Result<()> {
        lock(&self.state).waiting.insert(number, batch);
        self.advance()
    }

    /// Lays out all batches whose turn it is, unless another worker does.
    fn advance(&self) -> Result<()> {
        let mut state = lock(&self.state);
        if state.is_laying_out || state.is_complete {
            return Ok(());
        }
        state.is_laying_out = true;
        loop {
            let turn = state.turn;
            let batch = state.waiting.remove(&turn);
            let is_last = state.batches == Some(turn);
            if batch.is_none() && !is_last {
                state.is_laying_out = false;
                return Ok(());
            }
            drop(state);
            let mut layout = lock(&self.layout);
            match batch {
                Some(batch) => layout.add(batch)?,
                None => layout.end(),
            }
            let parts = layout.take_parts();
            drop(layout);
            state = lock(&self.state);
            state.ready.extend(parts);
            state.turn += 1;
            self.progress.notify_all();
            if is_last {
                state.is_complete = true;
                return Ok(());
            }
        }
    }

    /// Waits until others have got on.
    fn wait(&self) {
        let state = lock(&self.state);
        if !state.is_complete && state.ready.is_empty() {
            let woken = self.progress.wait_timeout(state, PATIENCE);
            drop::<(MutexGuard<'_, State<'a>>, _)>(woken.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn fill(&self, part: Part<'a>, buffer: &mut Buffer) -> Result<Stretch<'_>> {
        Ok(match part {
            Part::Data(segments, len) => {
                self.read(segments, buffer.front(len))?;
                Stretch::Data(len)
            }
            Part::Hole(file, len) => {
                self.is_read(file);
                Stretch::Hole(len)
            }
            Part::Known(Known { chunks: known, mut segments, len }) => {
                let chunks = known.iter().map(|(_, start, _)| (start.id, start.len as usize));
                let chunks = chunks.collect();
                let read = move |nth: usize, bytes: &mut [u8]| {
                    let first = nth.checked_sub(1).map_or(0, |before| known[before].2);
                    let taken = segments[first..known[nth].2].iter_mut();
                    self.read(taken.map(|segment| mem::replace(segment, NOTHING)), bytes)
                };
                Stretch::Known(source::Known { chunks, len, read: Box::new(read) })
            }
        })
    }

    fn read(
        &self,
        segments: impl IntoIterator<Item = Segment<'a>>,
        mut rest: &mut [u8],
    ) -> Result<()> {
        for segment in segments {
            let place;
            (place, rest) = rest.split_at_mut(segment.len());
            match segment {
                Segment::Bytes(bytes) => place.copy_from_slice(&bytes),
                Segment::Zeros(file, _) => {
                    place.fill(0);
                    self.is_read(file);
                }
                Segment::File(file, at, _) => {
                    read(&file, at, place)?;
                    self.is_read(file);
                }
                Segment::Records(records) => place.copy_from_slice(records.bytes()),
                Segment::Later(Unread { file, name }, at, _) => {
                    file.read(name.bytes(), at, place, self.notices)?;
                }
            }
        }
        Ok(())
    }

    /// A part of a file has been read. Who reads the last of them sees whether it is still what it was.
    fn is_read(&self, file: Arc<Origin>) {
        if let Some(origin) = Arc::into_inner(file).filter(has_changed) {
            self.notices.changed(&path_of(&origin));
        }
    }
}

impl Source for Stream<'_> {
    fn size(&self) -> Option<u64> {
        None
    }

    fn next(&self, want: &Want<'_>, buffer: &mut Buffer) -> Result<Option<(u64, Stretch<'_>)>> {
        Ok(self.take(want, buffer)?.map(|placed| (placed.number, placed.stretch)))
    }
}

impl State<'_> {
    /// Number and place of a stretch of this length.
    fn pass(&mut self, len: u64) -> (u64, u64) {
        let here = (self.number, self.at);
        self.number += 1;
        self.at += len;
        here
    }
}

fn read(origin: &Origin, at: u64, place: &mut [u8]) -> Result<()> {
    match origin.file.read_exact_at(place, at) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
            Err(Error::file(path_of(origin), "shrank while it was archived"))
        }
        read => read.map_err(|e| Error::io("read", path_of(origin))(e)),
    }
}

fn has_changed(origin: &Origin) -> bool {
    let Some((size, modified)) = origin.seen else { return false };
    is_still(&origin.file, size, Some(modified)).is_ok_and(|is_still| !is_still)
}

/// What the system says an open file is called: for errors, so that no path is kept for each file.
fn path_of(origin: &Origin) -> PathBuf {
    let link = format!("/proc/self/fd/{}", origin.file.as_raw_fd());
    fs::read_link(&link).unwrap_or_else(|_| link.into())
}
