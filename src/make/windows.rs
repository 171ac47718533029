//! A blob dealt out to workers: windows of bytes, and holes that need not be read.

use std::sync::Mutex;

use cairn_formats::chunker::Cutter;

use super::input::Input;
use crate::buffer::Buffer;
use crate::flow::{Stop, lock};
use crate::{Monitor, Result};

/// Bytes in a window: enough chunks to fill the lanes of the hash kernel many times over, and few
/// enough that a window stays in a core's share of the cache between cutting and hashing.
const WINDOW: usize = 4 << 20;

/// All windows together take at most this, in bytes, where many workers share the machine.
const WINDOWS_BUDGET: usize = 64 << 20;

/// A window has room for one of the longest chunks, but for no more than this many bytes: with
/// chunks of 128 MiB seams are as frequent as cuts, and memory is what matters.
const LARGEST_WINDOW: usize = 32 << 20;

/// How far ahead holes are looked for, in bytes: what is found should still be so when it is reached,
/// and other workers wait meanwhile.
const LOOK_AHEAD: u64 = 64 << 20;

/// Shorter holes are read like data: they save less than the seams they make.
const SHORTEST_HOLE: u64 = 1 << 20;

/// A part of the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// So many bytes, in the caller's buffer.
    Data(usize),
    /// So many zeros that nobody had to read.
    Hole(u64),
    /// The end, once.
    End,
}

impl Stretch {
    /// How many bytes of the blob it stands for.
    pub(super) fn len(&self) -> u64 {
        match *self {
            Stretch::Data(len) => len as u64,
            Stretch::Hole(len) => len,
            Stretch::End => 0,
        }
    }

    /// How many bytes of it are in the caller's buffer.
    pub(super) fn in_memory(&self) -> usize {
        match *self {
            Stretch::Data(len) => len,
            Stretch::Hole(_) | Stretch::End => 0,
        }
    }
}

/// Deals out a blob in numbered stretches to several workers.
#[derive(Debug)]
pub(super) struct Windows<'a> {
    input: Input,
    cutter: &'a Cutter,
    workers: usize,
    stop: &'a Stop,
    state: Mutex<Position>,
}

#[derive(Debug, Default)]
struct Position {
    /// Number of the next stretch.
    number: u64,
    /// Where it starts.
    at: u64,
    /// The next hole worth skipping, at or after `at`.
    hole: Option<(u64, u64)>,
    /// Up to where holes have been looked for.
    looked: u64,
    ended: bool,
}

impl<'a> Windows<'a> {
    pub(super) fn new(input: Input, cutter: &'a Cutter, workers: usize, stop: &'a Stop) -> Self {
        let state = Position { at: input.start(), looked: input.start(), ..Position::default() };
        Self { input, cutter, workers, stop, state: Mutex::new(state) }
    }

    /// The next stretch, with its number; none at the end, or when another worker has failed. Data is
    /// read into the front of `buffer`.
    pub(super) fn next(
        &self,
        buffer: &mut Buffer,
        monitor: &dyn Monitor,
    ) -> Result<Option<(u64, Stretch)>> {
        monitor.check()?;
        if self.stop.is_stopped() {
            return Ok(None);
        }
        let mut state = lock(&self.state);
        let Some(len) = self.input.len() else {
            return self.next_of_stream(&mut state, buffer, monitor);
        };
        let at = state.at;
        if at == len {
            return self.end(&mut state);
        }
        self.look_for_hole(&mut state, len);
        let stretch = match state.hole {
            Some((start, end)) if start == at => Stretch::Hole(end - start),
            hole => {
                let until = hole.map_or(state.looked, |(start, _)| start);
                Stretch::Data(((until - at) as usize).min(self.window()))
            }
        };
        state.at += stretch.len();
        let number = state.next_number();
        // Other workers read their windows meanwhile.
        drop(state);
        if let Stretch::Data(len) = stretch {
            self.input.read_at(at, buffer.front(len))?;
        }
        Ok(Some((number, stretch)))
    }

    /// Smaller windows for many workers, larger ones for large chunks.
    fn window(&self) -> usize {
        let share = WINDOWS_BUDGET / self.workers.max(1);
        WINDOW.min(share).max(self.cutter.sizes().max().min(LARGEST_WINDOW))
    }

    fn end(&self, state: &mut Position) -> Result<Option<(u64, Stretch)>> {
        if std::mem::replace(&mut state.ended, true) {
            return Ok(None);
        }
        self.input.check_unchanged()?;
        Ok(Some((state.next_number(), Stretch::End)))
    }

    fn look_for_hole(&self, state: &mut Position, len: u64) {
        if state.hole.is_some_and(|(start, _)| start >= state.at) {
            return;
        }
        state.hole = None;
        state.looked = state.looked.max(state.at);
        let limit = len.min(state.at + LOOK_AHEAD);
        while state.looked < limit && state.hole.is_none() {
            let (start, end) = self.input.hole_after(state.looked, len);
            state.looked = end;
            state.hole = Some((start, end)).filter(|_| end - start >= SHORTEST_HOLE);
        }
    }

    fn next_of_stream(
        &self,
        state: &mut Position,
        buffer: &mut Buffer,
        monitor: &dyn Monitor,
    ) -> Result<Option<(u64, Stretch)>> {
        if state.ended {
            return Ok(None);
        }
        let buffer = buffer.front(self.window());
        let mut len = 0;
        while len < buffer.len() {
            monitor.check()?;
            if self.stop.is_stopped() {
                return Ok(None);
            }
            match self.input.read_some(&mut buffer[len..])? {
                Some(0) => break,
                Some(read) => len += read,
                None => {}
            }
        }
        if len == 0 {
            return self.end(state);
        }
        Ok(Some((state.next_number(), Stretch::Data(len))))
    }
}

impl Position {
    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number - 1
    }
}
