//! The digest of an archive, of a blob, or of a file or directory in an archive.

use std::io::{self, Read};
use std::ops::Range;

use cairn_formats::catar::Body;
use cairn_formats::{ChunkId, Digest, flags};

use super::input::{Forward, Input};
use crate::{Error, Monitor, Result, Unit};

/// The digest of all bytes of an input: the one its index or the archive is made with, else `default`.
pub fn digest(
    input: &Input,
    default: Digest,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<ChunkId> {
    let len = input.size().unwrap_or_default();
    monitor.start("Reading", Unit::Bytes, input.size());
    let digest = input.in_whole(0..len, workers, monitor, |from| {
        let mut start = Vec::new();
        from.take(64).read_to_end(&mut start).map_err(|e| input.unreadable(e))?;
        let of_archive = [Digest::Sha512_256, Digest::Sha256]
            .into_iter()
            .find(|&digest| flags::of_archive(&start, digest).is_some());
        let of_index = input.index().map(cairn_formats::Index::digest);
        let mut hasher = of_index.or(of_archive).unwrap_or(default).hasher();
        hasher.update(&start);
        monitor.advance(start.len() as u64);
        read_all(input, from, monitor, &mut |bytes| hasher.update(bytes))?;
        Ok(hasher.finish())
    });
    monitor.finish();
    digest
}

/// The digest of all bytes of a blob, whatever they are.
pub fn digest_blob(
    input: &Input,
    digest: Digest,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<ChunkId> {
    let mut hasher = digest.hasher();
    monitor.start("Reading", Unit::Bytes, input.size());
    let done = input.in_whole(0..input.size().unwrap_or_default(), workers, monitor, |from| {
        read_all(input, from, monitor, &mut |bytes| hasher.update(bytes))
    });
    monitor.finish();
    done.map(|()| hasher.finish())
}

/// The digest of the bytes of a file in an archive, or of the archive that a directory in it would be.
pub fn digest_at(
    input: &Input,
    path: &[u8],
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<ChunkId> {
    let archive = input.archive()?;
    let found = input.find(&archive, path)?;
    let range: Range<u64> = match found.node.body {
        // Whatever in it says where something else is says how far away it is.
        Body::Directory => found.start..found.end,
        Body::File(_) => found.body..found.end,
        _ => {
            let path = String::from_utf8_lossy(path);
            let why = format!("`{path}` is neither a file nor a directory");
            return Err(Error::file(input.name(), why));
        }
    };
    monitor.start("Reading", Unit::Bytes, Some(range.end - range.start));
    let mut hasher = flags::digest(archive.features()).hasher();
    let done = input.in_whole(range, workers, monitor, |from| {
        read_all(input, from, monitor, &mut |bytes| hasher.update(bytes))
    });
    monitor.finish();
    done.map(|()| hasher.finish())
}

fn read_all(
    input: &Input,
    from: &mut dyn Forward,
    monitor: &dyn Monitor,
    each: &mut dyn FnMut(&[u8]),
) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                monitor.check()?;
                monitor.advance(read as u64);
                each(&buffer[..read]);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(input.unreadable(e)),
        }
    }
}
