//! What a blob is made from: a file, a block device, a pipe, or standard input.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, SeekFrom, seek, tell};
use rustix::io::Errno;

use crate::{Error, Result};

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
    /// When its content had last changed when it was opened.
    modified: Option<SystemTime>,
}

impl Input {
    /// Opens a blob. `-` is standard input.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            let stdin = io::stdin();
            let file = std::os::fd::AsFd::as_fd(&stdin).try_clone_to_owned();
            let file = file.map_err(Error::io("open", "standard input"))?;
            let file = File::from(file);
            // Whoever handed us the file may have read from it before, and may go on behind us.
            let at = tell(&file).unwrap_or(0);
            let mut input = Self::of_file(file, "standard input".into())?;
            if let Some(len) = input.len {
                let _ = seek(&input.file, SeekFrom::Start(at));
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
            let is_believable = metadata.len() > 0 || matches!(file.read_at(&mut [0], 0), Ok(0));
            Some(metadata.len()).filter(|_| is_believable)
        } else if kind.is_block_device() {
            Some(seek(&file, SeekFrom::End(0)).map_err(|e| Error::io("measure", &path)(e.into()))?)
        } else {
            None
        };
        let is_regular = kind.is_file() && len.is_some();
        let modified = metadata.modified().ok();
        Ok(Self { file, path, len, start: 0, is_regular, modified })
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

    /// The first 64 bytes to be read; fewer from what cannot be read twice.
    pub(super) fn beginning(&self) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        let got = self.len.and_then(|_| self.file.read_at(&mut bytes, self.start).ok());
        bytes.truncate(got.unwrap_or(0));
        bytes
    }

    /// What the system knows about it.
    pub fn metadata(&self) -> Result<Metadata> {
        self.file.metadata().map_err(Error::io("read", &self.path))
    }

    /// How long it is, if that is known, from its very beginning.
    pub(super) fn len(&self) -> Option<u64> {
        self.len
    }

    /// Where reading starts, if it has a length.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The first hole at or after `from`, as start and end; an empty one at `len` if there is none.
    pub(super) fn hole_after(&self, from: u64, len: u64) -> (u64, u64) {
        if !self.is_regular {
            return (len, len);
        }
        // A file system that knows no holes says that there is one at the end, or an error.
        let Ok(start) = seek(&self.file, SeekFrom::Hole(from)) else { return (len, len) };
        let start = start.min(len);
        match seek(&self.file, SeekFrom::Data(start)) {
            Ok(end) if end > start => (start, end.min(len)),
            Err(Errno::NXIO) => (start, len),
            Ok(_) | Err(_) => (len, len),
        }
    }

    /// The file must not have changed while it was read: the index would be of a state that never
    /// was.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        let (Some(len), true) = (self.len, self.is_regular) else { return Ok(()) };
        let now = self.metadata()?;
        if now.len() != len {
            return Err(self.changed(len, now.len()));
        }
        if now.modified().ok() != self.modified {
            return Err(Error::file(&self.path, "was modified while it was read"));
        }
        Ok(())
    }

    fn changed(&self, len: u64, now: u64) -> Error {
        let how = if now < len { "shrank" } else { "grew" };
        let why = format!("{how} from {len} to {now} bytes while it was read");
        Error::file(&self.path, why)
    }

    pub(super) fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        match self.file.read_exact_at(buffer, at) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                self.check_unchanged()?;
                Err(Error::file(&self.path, format!("ends before byte {at} of its length")))
            }
            read => read.map_err(Error::io("read", &self.path)),
        }
    }

    /// Reads what a pipe has; `None` if nothing came for a while.
    pub(super) fn read_some(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let mut file = &self.file;
        let mut waiting = [PollFd::new(file, PollFlags::IN)];
        match poll(&mut waiting, Some(&PATIENCE)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(Error::io("wait for", &self.path)(e.into())),
        }
        match file.read(buffer) {
            Ok(read) => Ok(Some(read)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(e) => Err(Error::io("read", &self.path)(e)),
        }
    }
}
