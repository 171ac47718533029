//! Bytes from one file into another, or to another place of the same.
//!
//! ```text
//! share the whole blocks -> let the kernel copy -> read and write
//! ```
//! Each is tried where the one before cannot be done.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::copy_file_range;

use crate::reflink::{share, whole_blocks};

/// Bytes copied at once where the kernel does not copy by itself.
const BUFFER: usize = 256 << 10;

/// Copies a range that begins at `from` in another file, and shares with it what blocks of this size can be shared.
pub(crate) fn carry_over(
    source: &File,
    from: u64,
    destination: &File,
    to: &Range<u64>,
    block: u64,
) -> io::Result<()> {
    let shared = whole_blocks(from, to, block).filter(|middle| {
        let start = from + (middle.start - to.start);
        let range = start..start + (middle.end - middle.start);
        share(source, range, destination, middle.start).is_ok()
    });
    let middle = shared.unwrap_or(to.start..to.start);
    for edge in [to.start..middle.start, middle.end..to.end] {
        copy(source, from + (edge.start - to.start), destination, edge)?;
    }
    Ok(())
}

/// Copies a range to another place of the same file.
pub(crate) fn copy_within(file: &File, from: u64, to: Range<u64>) -> io::Result<()> {
    // Source and destination must not overlap in one call.
    let apart = to.start.abs_diff(from).max(1);
    let mut at = to.start;
    while at < to.end {
        let end = to.end.min(at + apart);
        copy(file, from + (at - to.start), file, at..end)?;
        at = end;
    }
    Ok(())
}

fn copy(source: &File, from: u64, destination: &File, to: Range<u64>) -> io::Result<()> {
    let (mut from, mut at) = (from, to.start);
    while at < to.end {
        let (mut source_at, mut destination_at) = (from, at);
        let len = usize::try_from(to.end - at).unwrap_or(usize::MAX);
        let places = (Some(&mut source_at), Some(&mut destination_at));
        let copied = match copy_file_range(source, places.0, destination, places.1, len) {
            Ok(copied) if copied > 0 => copied as u64,
            // Devices and some file systems leave it to us.
            _ => {
                let mut buffer = vec![0; len.min(BUFFER)];
                source.read_exact_at(&mut buffer, from)?;
                destination.write_all_at(&buffer, at)?;
                buffer.len() as u64
            }
        };
        from += copied;
        at += copied;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of so many bytes, each of its own.
    fn file(len: usize) -> (File, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        (file, bytes)
    }

    fn all(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn ranges_that_overlap_repeat_what_was_there() {
        let (file, mut bytes) = file(1000);
        copy_within(&file, 100, 130..400).unwrap();
        for at in 130..400 {
            bytes[at] = bytes[at - 30];
        }
        assert_eq!(all(&file), bytes);
        copy_within(&file, 500, 450..700).unwrap();
        bytes.copy_within(500..750, 450);
        assert_eq!(all(&file), bytes);
    }

    #[test]
    fn what_is_carried_over_is_there_to_the_byte() {
        for (from, to) in [(0, 0..100_000), (1, 1..99_999), (5000, 904..60_000), (3, 4..5)] {
            let ((source, expected), (destination, mut bytes)) = (file(100_000), file(100_000));
            destination.write_all_at(&vec![9; 100_000], 0).unwrap();
            bytes.fill(9);
            carry_over(&source, from as u64, &destination, &(to.start as u64..to.end as u64), 4096)
                .unwrap();
            bytes[to.clone()].copy_from_slice(&expected[from..from + to.len()]);
            assert!(all(&destination) == bytes, "{from} to {to:?}");
        }
    }
}
