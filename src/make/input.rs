//! The blob as it is read: windows of bytes, and holes that need not be read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cairn_formats::chunker::Cutter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, SeekFrom, seek, tell};
use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::flow::lock;
use crate::{Error, Monitor, Result};

/// Bytes in a window: enough chunks to fill the lanes of the hash kernel many times over, and few
/// enough that a window stays in a core's share of the cache between cutting and hashing.
const WINDOW: usize = 4 << 20;

/// All windows together take at most this, in bytes, where many workers share the machine.
const WINDOWS_BUDGET: usize = 64 << 20;

/// A window has room for one of the longest chunks, but for no more than this many bytes: with
/// chunks of 128 MiB seams are as frequent as cuts, and memory is what matters.
const LARGEST_WINDOW: usize = 32 << 20;

/// Shorter holes are read like data: they save less than the seams they make.
const SHORTEST_HOLE: u64 = 1 << 20;

/// How long a read from a pipe waits before it asks whether the user wants to stop.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A blob to be read: a file, a block device, a pipe, or standard input.
#[derive(Debug)]
pub struct Input {
    file: File,
    path: PathBuf,
    /// `None` for what can only be read once, from front to end.
    len: Option<u64>,
    start: u64,
    /// Whether the length is a property of the file, which may change, and not of a device.
    is_regular: bool,
}

impl Input {
    /// Opens a blob. `-` is standard input.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            let stdin = io::stdin();
            let file = std::os::fd::AsFd::as_fd(&stdin).try_clone_to_owned();
            let file = file.map_err(Error::io("open", "standard input"))?;
            let mut input = Self::of_file(file.into(), "standard input".into())?;
            if let (Some(len), Ok(at)) = (input.len, tell(&input.file)) {
                // Whoever handed us the file may have read from it before.
                input.start = at.min(len);
            }
            return Ok(input);
        }
        // A pipe without a writer must not block before anybody listens to the user.
        let flags = OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        Self::of_file(file.map_err(Error::io("open", path))?, path.to_owned())
    }

    fn of_file(file: File, path: PathBuf) -> Result<Self> {
        let metadata = file.metadata().map_err(Error::io("read", &path))?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Err(Error::file(path, "is a directory; a blob is made of one file"));
        }
        let len = if kind.is_file() {
            // Files of /proc say that they are empty and are not: that takes reading to find out.
            Some(metadata.len()).filter(|&len| len > 0)
        } else if kind.is_block_device() {
            Some(seek(&file, SeekFrom::End(0)).map_err(|e| Error::io("measure", &path)(e.into()))?)
        } else {
            None
        };
        let is_regular = kind.is_file() && len.is_some();
        Ok(Self { file, path, len, start: 0, is_regular })
    }

    /// Leaves out the first `start` bytes. Only for what has a length.
    pub fn skip(mut self, start: u64) -> Result<Self> {
        match self.len {
            Some(len) => self.start = self.start.saturating_add(start).min(len),
            None if start == 0 => {}
            None => {
                return Err(Error::file(self.path, "cannot start in the middle of a pipe"));
            }
        }
        Ok(self)
    }

    /// How many bytes will be read, if that is known.
    pub fn size(&self) -> Option<u64> {
        self.len.map(|len| len - self.start)
    }

    /// What the system knows about it.
    pub fn metadata(&self) -> Result<Metadata> {
        self.file.metadata().map_err(Error::io("read", &self.path))
    }
}

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
    pub(super) fn new(input: Input, cutter: &'a Cutter, workers: usize) -> Self {
        let state = Position { at: input.start, looked: input.start, ..Position::default() };
        Self { input, cutter, workers, state: Mutex::new(state) }
    }

    /// Takes the next stretch, with its number. Data is read into the front of `buffer`.
    pub(super) fn next(
        &self,
        buffer: &mut Buffer,
        monitor: &dyn Monitor,
    ) -> Result<Option<(u64, Stretch)>> {
        monitor.check()?;
        let mut state = lock(&self.state);
        let Some(len) = self.input.len else {
            return self.next_of_stream(&mut state, buffer, monitor);
        };
        let at = state.at;
        if at == len {
            return self.end(&mut state);
        }
        self.look_for_hole(&mut state, len)?;
        let stretch = match state.hole {
            Some((start, end)) if start == at => Stretch::Hole(end - start),
            hole => {
                let until = hole.map_or(len, |(start, _)| start);
                Stretch::Data(((until - at) as usize).min(self.window()))
            }
        };
        state.at += stretch.len();
        let number = state.next_number();
        // Other workers read their windows meanwhile.
        drop(state);
        if let Stretch::Data(len) = stretch {
            self.read_at(at, buffer.front(len))?;
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
        self.check_len()?;
        Ok(Some((state.next_number(), Stretch::End)))
    }

    /// The file must not have changed its length while it was read.
    fn check_len(&self) -> Result<()> {
        let (Some(len), true) = (self.input.len, self.input.is_regular) else {
            return Ok(());
        };
        let now = self.input.file.metadata().map_err(Error::io("read", &self.input.path))?.len();
        if now == len { Ok(()) } else { Err(self.changed(len, now)) }
    }

    fn changed(&self, len: u64, now: u64) -> Error {
        let how = if now < len { "shrank" } else { "grew" };
        let why = format!("{how} from {len} to {now} bytes while it was read");
        Error::file(&self.input.path, why)
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        match self.input.file.read_exact_at(buffer, at) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                self.check_len()?;
                Err(Error::file(&self.input.path, format!("ends before byte {at} of its length")))
            }
            read => read.map_err(Error::io("read", &self.input.path)),
        }
    }

    fn look_for_hole(&self, state: &mut Position, len: u64) -> Result<()> {
        if state.hole.is_some_and(|(start, _)| start >= state.at) || !self.input.is_regular {
            return Ok(());
        }
        state.hole = None;
        state.looked = state.looked.max(state.at);
        while state.looked < len {
            // A file system that knows no holes says that there is one at the end, or an error.
            let file = &self.input.file;
            let start = match seek(file, SeekFrom::Hole(state.looked)) {
                Ok(start) => start.min(len),
                Err(_) => len,
            };
            let end = match seek(file, SeekFrom::Data(start)) {
                Ok(end) => end.min(len),
                Err(Errno::NXIO) => len,
                Err(_) => start,
            };
            state.looked = end;
            if end - start >= SHORTEST_HOLE {
                state.hole = Some((start, end));
                break;
            }
            if end == start {
                state.looked = len;
            }
        }
        Ok(())
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
            match self.read_some(&mut buffer[len..])? {
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

    /// Reads what a pipe has; `None` if nothing came for a while.
    fn read_some(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let mut file = &self.input.file;
        let mut waiting = [PollFd::new(file, PollFlags::IN)];
        match poll(&mut waiting, Some(&PATIENCE)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(Error::io("wait for", &self.input.path)(e.into())),
        }
        match file.read(buffer) {
            Ok(read) => Ok(Some(read)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(e) => Err(Error::io("read", &self.input.path)(e)),
        }
    }
}

impl Position {
    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number - 1
    }
}
