//! Pieces of an archive in memory, which workers share and which are used again.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::bell::Bell;
use crate::buffer::Buffer;
use crate::flow::lock;

/// Some consecutive bytes of an archive.
#[derive(Debug)]
pub(super) struct Window {
    /// Where they begin in the archive.
    pub(super) start: u64,
    len: usize,
    buffer: Buffer,
    home: Arc<Spares>,
}

impl Window {
    /// The bytes that a buffer was filled with.
    pub(super) fn new(start: u64, len: usize, buffer: Buffer, home: &Arc<Spares>) -> Self {
        Self { start, len, buffer, home: Arc::clone(home) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.filled(self.len)
    }

    /// Which bytes of the archive they are.
    pub(super) fn range(&self) -> Range<u64> {
        self.start..self.start + self.len as u64
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.buffer));
    }
}

/// Buffers that are not in use, of a number that never grows.
#[derive(Debug)]
pub(super) struct Spares {
    buffers: Mutex<Vec<Buffer>>,
    bell: Arc<Bell>,
}

impl Spares {
    /// So many buffers. The bell is rung when one comes back.
    pub(super) fn new(count: usize, bell: &Arc<Bell>) -> Self {
        let buffers = Mutex::new((0..count).map(|_| Buffer::default()).collect());
        Self { buffers, bell: Arc::clone(bell) }
    }

    /// A buffer, if there is one beside the last.
    pub(super) fn take(&self) -> Option<Buffer> {
        let mut buffers = lock(&self.buffers);
        if buffers.len() > 1 { buffers.pop() } else { None }
    }

    /// A buffer for what is wanted at once. Windows that are read ahead never hold all, so that one comes back as soon
    /// as jobs are done.
    pub(super) fn take_last(&self) -> Option<Buffer> {
        lock(&self.buffers).pop()
    }

    pub(super) fn put(&self, buffer: Buffer) {
        lock(&self.buffers).push(buffer);
        self.bell.ring();
    }
}
