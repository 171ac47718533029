//! The file itself: as long as the blob, with holes where nothing was written.
//!
//! It is locked while it is open, so that no two mounts use one file. Programs that know nothing of the lock may still
//! change it; that it was cut short is noticed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cairn_store::local::fails_late;
use cairn_store::{Error, Result};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock};
use rustix::io::Errno;

use super::state::Stamp;

/// Zeros written at once where no hole can be made.
const ZEROS: usize = 256 << 10;

/// Two changes of a file that are so far apart have different times: before Linux 6.13 clocks of files go by steps of up
/// to 10 ms.
const TICK: Duration = Duration::from_millis(20);

/// A file that is filled by and by.
#[derive(Debug)]
pub(super) struct HoledFile {
    path: PathBuf,
    file: File,
    /// The same, for those who must not write.
    reading: File,
    size: u64,
    /// It held nothing when it was opened, and nobody else wrote to it: what was not written is a hole.
    blank: AtomicBool,
    /// What is written may be refused only later.
    late: bool,
}

/// How a file was before it was made as long as the blob.
#[derive(Debug)]
pub(super) struct Found {
    /// Its length then, in bytes.
    pub(super) len: u64,
    /// As it was then.
    pub(super) stamp: Stamp,
}

impl HoledFile {
    /// Opens a file or makes a new one. None of its bytes changes before [`HoledFile::resize`].
    pub(super) fn open(path: &Path, size: u64) -> Result<(Self, Found)> {
        // Opening some devices does things.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(no_file(path));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        options.custom_flags(OFlags::NONBLOCK.bits() as i32);
        let file = options.open(path).map_err(Error::io("open", path))?;
        let found = file.metadata().map_err(Error::io("read", path))?;
        if !found.is_file() {
            return Err(no_file(path));
        }
        lock(&file, path)?;
        let reading = File::open(path).map_err(Error::io("open", path))?;
        let same = reading.metadata().map_err(Error::io("read", path))?;
        if (same.dev(), same.ino()) != (found.dev(), found.ino()) {
            let why = "it was replaced by another file just now";
            return Err(Error::Busy { place: path.display().to_string(), why: why.to_owned() });
        }
        // Only now: before the lock it may have grown.
        let found = file.metadata().map_err(Error::io("read", path))?;
        let (blank, late) = (AtomicBool::new(found.len() == 0), fails_late(&file));
        let found = Found { len: found.len(), stamp: Stamp::of(&found) };
        Ok((Self { path: path.to_owned(), file, reading, size, blank, late }, found))
    }

    /// Makes it as long as the blob. What it has already is left alone, its times too if it is so long.
    pub(super) fn resize(&self) -> Result<()> {
        if self.is_resized() {
            return Ok(());
        }
        self.file.set_len(self.size).map_err(Error::io("resize", &self.path))
    }

    /// The same, after somebody else has written to it.
    pub(super) fn resize_again(&self) -> Result<()> {
        self.blank.store(false, Ordering::Relaxed);
        self.resize()
    }

    /// Whether it is as long as the blob. If not, somebody else has changed that.
    pub(super) fn is_resized(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() == self.size)
    }

    /// Whether a path leads to it.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let number = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let there = path.metadata().ok().map(number);
        there.is_some() && there == self.file.metadata().ok().map(number)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, for those who only read it.
    pub(super) fn reading(&self) -> &File {
        &self.reading
    }

    /// Fills a buffer.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, at)
    }

    /// Writes bytes in their place. If that fails, some may have been written.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        self.settle()
    }

    /// Makes a range read as zeros.
    pub(super) fn zero(&self, range: Range<u64>) -> io::Result<()> {
        if self.blank.load(Ordering::Relaxed) {
            return Ok(());
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if fallocate(&self.file, hole, range.start, range.end - range.start).is_ok() {
            return Ok(());
        }
        let zeros = vec![0; ZEROS];
        for at in range.clone().step_by(ZEROS) {
            let some = (range.end - at).min(ZEROS as u64);
            self.file.write_all_at(&zeros[..some as usize], at)?;
        }
        self.settle()
    }

    /// Has all that was written reach the disk, and says how the file is then.
    pub(super) fn flush(&self) -> io::Result<Stamp> {
        self.file.sync_data()?;
        // Else somebody could change it and leave it with the times that it has now.
        if let Ok(age) = self.file.metadata()?.modified()?.elapsed() {
            thread::sleep(TICK.saturating_sub(age));
        }
        Ok(Stamp::of(&self.file.metadata()?))
    }

    /// Waits for an answer where writing gives none.
    fn settle(&self) -> io::Result<()> {
        if self.late { self.file.sync_data() } else { Ok(()) }
    }
}

fn lock(file: &File, path: &Path) -> Result<()> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let why = "another mount is using this file; each needs one of its own";
                return Err(Error::Busy { place: path.display().to_string(), why: why.to_owned() });
            }
            Err(Errno::INTR) => {}
            // A file system without locks, such as some network ones, is no reason to fail.
            Ok(()) | Err(_) => return Ok(()),
        }
    }
}

fn no_file(path: &Path) -> Error {
    let why = "what is read can be kept in a regular file only";
    Error::Unsupported { place: path.display().to_string(), why: why.to_owned() }
}
