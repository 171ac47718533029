//! A file dealt out to workers: windows of bytes, and holes that need not be read.

use std::sync::Mutex;

use super::input::Input;
use super::source::{SHORTEST_HOLE, Source, Stretch, Want};
use crate::Result;
use crate::buffer::Buffer;
use crate::flow::lock;

/// How far ahead holes are looked for, in bytes: what is found should still be so when it is reached,
/// and other workers wait meanwhile.
const LOOK_AHEAD: u64 = 64 << 20;

/// Deals out a blob in numbered stretches to several workers.
#[derive(Debug)]
pub(super) struct Windows {
    input: Input,
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

impl Windows {
    pub(super) fn new(input: Input) -> Self {
        let state = Position { at: input.start(), looked: input.start(), ..Position::default() };
        Self { input, state: Mutex::new(state) }
    }
}

impl Source for Windows {
    fn size(&self) -> Option<u64> {
        self.input.size()
    }

    fn next(&self, want: &Want<'_>, buffer: &mut Buffer) -> Result<Option<(u64, Stretch<'_>)>> {
        if !want.more()? {
            return Ok(None);
        }
        let mut state = lock(&self.state);
        let Some(len) = self.input.len() else {
            return self.next_of_stream(&mut state, want, buffer);
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
                Stretch::Data(((until - at) as usize).min(want.window))
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
}

impl Windows {
    fn end(&self, state: &mut Position) -> Result<Option<(u64, Stretch<'_>)>> {
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
        want: &Want<'_>,
        buffer: &mut Buffer,
    ) -> Result<Option<(u64, Stretch<'_>)>> {
        if state.ended {
            return Ok(None);
        }
        let buffer = buffer.front(want.window);
        let mut len = 0;
        while len < buffer.len() {
            if !want.more()? {
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
