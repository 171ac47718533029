//! The bytes of files: written with holes where they are zero, compared with those that are there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use cairn_formats::is_zero;

use crate::buffer::Buffer;

/// What holes are made of, in bytes: the blocks of most file systems.
const BLOCK: u64 = 4096;

/// Bytes that are compared at once.
const COMPARED: usize = 256 << 10;

/// Writes bytes at a place in a file where there are none yet: blocks of zeros are left out if there may be
/// holes. Returns whether the last byte was written, or else the file may be too short.
pub(super) fn write(file: &File, at: u64, bytes: &[u8], with_holes: bool) -> io::Result<bool> {
    if !with_holes {
        return file.write_all_at(bytes, at).map(|()| !bytes.is_empty());
    }
    let mut from = 0;
    let mut next = 0;
    while next < bytes.len() {
        let here = at + next as u64;
        let end = bytes.len().min(next + ((here / BLOCK + 1) * BLOCK - here) as usize);
        if bytes[next] == 0 && is_zero(&bytes[next..end]) {
            put(file, at, bytes, from, next)?;
            from = end;
        }
        next = end;
    }
    put(file, at, bytes, from, next)?;
    Ok(from < next)
}

fn put(file: &File, at: u64, bytes: &[u8], from: usize, to: usize) -> io::Result<()> {
    if from < to { file.write_all_at(&bytes[from..to], at + from as u64) } else { Ok(()) }
}

/// Whether a file has these bytes at this place.
pub(super) fn is_same(file: &File, at: u64, bytes: &[u8], buffer: &mut Buffer) -> io::Result<bool> {
    let mut at = at;
    for part in bytes.chunks(COMPARED) {
        let had = buffer.front(part.len());
        match file.read_exact_at(had, at) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(e),
        }
        if had != part {
            return Ok(false);
        }
        at += part.len() as u64;
    }
    Ok(true)
}
