//! Blocks shared between files, which btrfs and XFS can.
#![allow(unsafe_code, reason = "the system call is in no library")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat};
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// `struct file_clone_range` of `linux/fs.h`.
#[repr(C)]
struct FileCloneRange {
    source: i64,
    source_offset: u64,
    source_length: u64,
    destination_offset: u64,
}

/// `_IOW(0x94, 13, struct file_clone_range)`.
const FICLONERANGE: Opcode = opcode::write::<FileCloneRange>(0x94, 13);

/// Lets a range of `destination` share the blocks of `source`, instead of what was there. All three
/// positions must be multiples of the file system's block size, and the length must not be 0, which
/// the kernel takes for "to the end".
pub(crate) fn share(
    source: &File,
    range: Range<u64>,
    destination: &File,
    at: u64,
) -> io::Result<()> {
    assert!(range.start < range.end);
    let argument = FileCloneRange {
        source: i64::from(source.as_raw_fd()),
        source_offset: range.start,
        source_length: range.end - range.start,
        destination_offset: at,
    };
    // SAFETY: the number belongs to this argument, which the kernel only reads.
    let call = unsafe { Setter::<FICLONERANGE, FileCloneRange>::new(argument) };
    // SAFETY: the call touches no memory but its argument.
    unsafe { ioctl(destination, call) }.map_err(Into::into)
}

/// The whole blocks of a range that can be shared with a file in which it begins at `from`. None where the two lie
/// differently in blocks, or there are none.
pub(crate) fn whole_blocks(from: u64, to: &Range<u64>, block: u64) -> Option<Range<u64>> {
    let middle = to.start.next_multiple_of(block)..to.end / block * block;
    let is_aligned = to.start.abs_diff(from).is_multiple_of(block);
    Some(middle).filter(|middle| is_aligned && !middle.is_empty())
}

/// The size of blocks that files in `directory` can share with `source`; `None` if they cannot.
///
/// Tried out on a file without a name: a file system's type tells too little, a mount's option or a
/// file's attribute can forbid it.
pub(crate) fn block_shared_with(source: &File, directory: &Path) -> Option<u64> {
    let block = u64::try_from(fstatfs(source).ok()?.f_bsize).ok().filter(|&block| block > 0)?;
    if source.metadata().ok()?.len() < block {
        return None;
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let trial = openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR).ok()?;
    share(source, 0..block, &File::from(trial), 0).ok()?;
    Some(block)
}
