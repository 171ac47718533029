//! Where an output is written.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use cairn_formats::Chunk;
use cairn_store::local::{NewFile, fails_late, leads_to_descriptor};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::{Errno, pwritev};

use crate::check::len_of;
use crate::copy::copy_within;
use crate::{Error, Result, reflink};

/// Zeros written at once.
const ZEROS: usize = 256 << 10;

/// No block device has larger blocks, in bytes.
const BLOCK: u64 = 4096;

/// An output under construction.
pub(super) struct Target {
    path: PathBuf,
    place: Place,
    is_device: bool,
    /// It held nothing when it was opened, so what is not written stays zero.
    blank: bool,
}

enum Place {
    /// A new file, which takes its name at the end.
    New(NewFile),
    /// The output itself.
    InPlace(File),
}

impl Target {
    /// Opens the output for a blob of `len` bytes.
    pub(super) fn open(path: &Path, len: u64, in_place: bool) -> Result<Self> {
        if path == Path::new("-") {
            let why = "standard output cannot be the output: chunks are written out of order";
            return Err(Error::file(path, why));
        }
        let existing = path.metadata().ok();
        let kind = existing.as_ref().map(|metadata| metadata.file_type());
        if kind.is_some_and(|kind| kind.is_dir()) || path.as_os_str().as_bytes().ends_with(b"/") {
            return Err(Error::file(path, "the output is a directory; name a file in it"));
        }
        let is_special = kind.is_some_and(|kind| !kind.is_file() && !kind.is_block_device());
        if is_special || leads_to_descriptor(path) {
            return Err(Error::file(path, "the output is neither a file nor a block device"));
        }
        let is_device = kind.is_some_and(|kind| kind.is_block_device());
        // A device node must not be replaced by a file of its name.
        if in_place || is_device {
            Self::in_place(path, len, is_device)
        } else {
            Self::new(path, len)
        }
    }

    fn new(path: &Path, len: u64) -> Result<Self> {
        let new = NewFile::create(path, 0o666).map_err(Error::io("create", path))?;
        new.file().set_len(len).map_err(Error::io("size", path))?;
        let place = Place::New(new);
        Ok(Self { path: path.to_owned(), place, is_device: false, blank: true })
    }

    fn in_place(path: &Path, len: u64, is_device: bool) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(!is_device).truncate(false);
        let file = options.open(path).map_err(Error::io("open", path))?;
        // Two writers would each undo what the other has checked.
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(Error::file(path, "another process is writing to it"));
        }
        let had = len_of(&file).map_err(Error::io("measure", path))?;
        if !is_device {
            file.set_len(len).map_err(Error::io("size", path))?;
        } else if had < len {
            let why = format!("the device has {had} bytes, the blob needs {len}");
            return Err(Error::file(path, why));
        }
        let place = Place::InPlace(file);
        Ok(Self { path: path.to_owned(), place, is_device, blank: had == 0 })
    }

    pub(super) fn file(&self) -> &File {
        match &self.place {
            Place::New(new) => new.file(),
            Place::InPlace(file) => file,
        }
    }

    pub(super) fn is_blank(&self) -> bool {
        self.blank
    }

    pub(super) fn is_device(&self) -> bool {
        self.is_device
    }

    /// What the file system says it likes to be written by, in bytes.
    pub(super) fn block_size(&self) -> Result<u64> {
        let metadata = self.file().metadata().map_err(Error::io("read", &self.path))?;
        Ok(metadata.blksize())
    }

    /// The size of blocks that the output can share with a file, if it can.
    pub(super) fn block_shared_with(&self, source: &File) -> Option<u64> {
        // The output as its own seed changes while it is written: what is there is no longer what was.
        let both = self.file().metadata().ok().zip(source.metadata().ok());
        if both.is_none_or(|(one, other)| (one.dev(), one.ino()) == (other.dev(), other.ino())) {
            return None;
        }
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        if self.is_device { None } else { reflink::block_shared_with(source, directory) }
    }

    /// Lets a range share the blocks of another file. Both must begin and end at blocks.
    pub(super) fn share(&self, source: &File, from: u64, to: Range<u64>) -> io::Result<()> {
        reflink::share(source, from..from + (to.end - to.start), self.file(), to.start)
    }

    /// Writes consecutive chunks, which by their type are verified, of which the first is at `at`. What
    /// is outside of `within` is left out.
    pub(super) fn write(&self, at: u64, chunks: &[Chunk<'_>], within: &Range<u64>) -> Result<()> {
        let mut end = at;
        let clip = |chunk: &'_ Chunk<'_>| {
            let start = end;
            end += chunk.data().len() as u64;
            let from = within.start.clamp(start, end) - start;
            let to = within.end.clamp(start, end) - start;
            from as usize..to.max(from) as usize
        };
        let clips: Vec<Range<usize>> = chunks.iter().map(clip).collect();
        let parts = chunks.iter().zip(clips).map(|(chunk, clip)| &chunk.data()[clip]);
        let mut slices: Vec<IoSlice<'_>> =
            parts.filter(|part| !part.is_empty()).map(IoSlice::new).collect();
        let at = at.max(within.start);
        let mut slices = &mut slices[..];
        let mut at = at;
        while !slices.is_empty() {
            // The kernel takes at most 1024 slices at once.
            let some = &slices[..slices.len().min(1024)];
            match pwritev(self.file(), some, at) {
                Ok(0) => return Err(self.failed("write")(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(self.failed("write")(e.into())),
            }
        }
        Ok(())
    }

    /// Makes a range read as zeros, by a hole where there can be one.
    pub(super) fn zero(&self, range: Range<u64>) -> Result<()> {
        if self.blank || self.punch(&range) {
            return Ok(());
        }
        // Devices have holes in whole blocks only; the ends are written.
        let middle = range.start.next_multiple_of(BLOCK)..range.end / BLOCK * BLOCK;
        if middle.start < middle.end && self.punch(&middle) {
            self.write_zeros(range.start..middle.start)?;
            return self.write_zeros(middle.end..range.end);
        }
        self.write_zeros(range)
    }

    fn punch(&self, range: &Range<u64>) -> bool {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(self.file(), hole, range.start, range.end - range.start).is_ok()
    }

    fn write_zeros(&self, range: Range<u64>) -> Result<()> {
        let zeros = [0; ZEROS];
        let mut at = range.start;
        while at < range.end {
            let some = (range.end - at).min(ZEROS as u64);
            self.file().write_all_at(&zeros[..some as usize], at).map_err(self.failed("write"))?;
            at += some;
        }
        Ok(())
    }

    /// Copies verified bytes from another place of the output.
    pub(super) fn copy(&self, from: u64, to: Range<u64>) -> Result<()> {
        copy_within(self.file(), from, to).map_err(self.failed("write"))
    }

    /// Puts the output in its place. With `flush` it has reached the disk before this returns.
    pub(super) fn finish(self, flush: bool) -> Result<()> {
        let finished = match self.place {
            Place::New(new) => new.commit(flush),
            // What a device refuses to keep, it says only when it is flushed.
            Place::InPlace(file) if flush || self.is_device || fails_late(&file) => file.sync_all(),
            Place::InPlace(_) => Ok(()),
        };
        finished.map_err(Error::io("finish", &self.path))
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        Error::io(doing, &self.path)
    }
}
