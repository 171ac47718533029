//! The blocks of a tar, one after the other.

use std::os::unix::fs::FileExt;

use cairn_formats::tar::BLOCK;

use super::source::Source;
use crate::Result;

/// Bytes read at once, where headers may be close together.
const WINDOW: usize = 32 << 10;

/// Reads blocks and passes over others.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    source: &'a Source,
    /// Where in the file the next block begins.
    at: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        let at = source.start;
        Self { source, at, window: Vec::new(), window_at: at }
    }

    /// Where in the file the next block begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Where in the tar the next block begins, for messages.
    pub(super) fn position(&self) -> u64 {
        self.at - self.source.start
    }

    /// The next block, or `None` if there is no whole one.
    pub(super) fn next(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.source.end.saturating_sub(self.at) < BLOCK as u64 {
            return Ok(None);
        }
        let is_there = |at: u64, window: &[u8]| {
            let skipped = usize::try_from(self.at.checked_sub(at)?).ok()?;
            window.get(skipped..)?.first_chunk().copied()
        };
        if let Some(block) = is_there(self.window_at, &self.window) {
            self.at += BLOCK as u64;
            return Ok(Some(block));
        }
        let len = (self.source.end - self.at).min(WINDOW as u64) as usize;
        self.window.resize(len, 0);
        let read = self.source.file.read_exact_at(&mut self.window, self.at);
        read.map_err(|e| self.source.unreadable(e))?;
        self.window_at = self.at;
        self.at += BLOCK as u64;
        Ok(self.window.first_chunk().copied())
    }

    /// The next `len` bytes and what pads them; `None` if there are not so many.
    pub(super) fn take(&mut self, len: usize) -> Result<Option<Vec<u8>>> {
        let at = self.at;
        if !self.skip(len as u64) {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        let read = self.source.file.read_exact_at(&mut bytes, at);
        read.map_err(|e| self.source.unreadable(e))?;
        Ok(Some(bytes))
    }

    /// Passes over so many bytes and what pads them: whether they are there. What pads the last bytes of a file
    /// may be missing.
    pub(super) fn skip(&mut self, len: u64) -> bool {
        let end = self.at.checked_add(len).filter(|&end| end <= self.source.end);
        let Some(end) = end else { return false };
        let padded = len.checked_next_multiple_of(BLOCK as u64);
        self.at = padded.and_then(|padded| self.at.checked_add(padded)).unwrap_or(end);
        true
    }
}
