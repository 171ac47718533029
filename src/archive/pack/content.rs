//! The bytes of a file that is to be archived: in memory if they are few, else where they are in it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use cairn_formats::catar::Body;
use rustix::buffer::spare_capacity;
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, read};

use crate::archive::step::{Content, Origin, Piece};
use crate::make::source::SHORTEST_HOLE;
use crate::tree::record::Found;

/// Files up to this length, in bytes, are read as soon as they are opened, so that they need not stay open.
const SMALL: u64 = 64 << 10;

/// What is in a file, whose length becomes what is read of it.
pub(super) fn of(found: &mut Found) -> io::Result<Content> {
    let Body::File(size) = found.node.body else { return Ok(Content::None) };
    let Some(file) = found.file.take() else { return Ok(Content::Bytes(Vec::new())) };
    if size <= SMALL {
        let bytes = small(&file, size as usize)?;
        // It may have shrunk since it was measured; that it may have grown is no matter.
        found.node.body = Body::File(bytes.len() as u64);
        return Ok(Content::Bytes(bytes));
    }
    let file = File::from(file);
    // Shorter ones would be read all the same.
    let pieces = if size >= SHORTEST_HOLE {
        pieces(&file, size)
    } else {
        vec![Piece::Data { at: 0, len: size }]
    };
    let origin = Origin { file: Arc::new(file), seen: Some((size, found.stat.mtime)) };
    Ok(Content::Pieces(Arc::new(origin), pieces))
}

/// What stands for the content of a node of which only the length is wanted.
pub(super) fn unread(found: &Found) -> Content {
    match found.node.body {
        Body::File(_) => Content::Bytes(Vec::new()),
        _ => Content::None,
    }
}

fn small(file: &OwnedFd, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        match read(file, spare_capacity(&mut bytes)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    bytes.truncate(size);
    Ok(bytes)
}

/// Data and long holes, one after the other.
fn pieces(file: &File, size: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut at, mut looked) = (0, 0);
    while looked < size {
        let hole = seek(file, SeekFrom::Hole(looked)).unwrap_or(size).min(size);
        // Behind the last hole there is no data.
        let data = seek(file, SeekFrom::Data(hole)).unwrap_or(size).clamp(hole, size);
        looked = data.max(looked + 1);
        if data - hole < SHORTEST_HOLE && data < size {
            continue;
        }
        if hole > at {
            pieces.push(Piece::Data { at, len: hole - at });
        }
        if data > hole {
            pieces.push(Piece::Zeros(data - hole));
        }
        at = data;
    }
    // Holes may have come and gone meanwhile, and some file systems answer with what they were asked.
    if at < size {
        pieces.push(Piece::Data { at, len: size - at });
    }
    pieces
}
