//! What is known of an archive but the bytes of its files: from the last time, or read now and kept.
//!
//! ```text
//! key -> <directory>/<key in hex>    is there, and whole?  -> mapped
//!                                    else                  -> archive, read once -> saved -> mapped
//! ```
//! The directory is ours alone, and a file in it appears whole or not at all. That something cannot be kept is no reason
//! not to go on: it is said, and the archive is read again the next time.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cairn_formats::ChunkId;
use cairn_fuse::tree::{Block, Skip};
use cairn_store::local::NewFile;

use crate::archive::input::{Forward, Input};
use crate::kept::{Kept, own_directory};
use crate::mount::ahead;
use crate::{Error, Monitor, Result, Unit};

/// How many trees are kept.
pub const MOST_KEPT: usize = 64;

/// After so many bytes it is said how far we are, and asked whether to go on.
const STEP: u64 = 1 << 20;

/// What is known of an archive.
#[derive(Debug)]
pub struct KeptTree {
    /// All of it.
    pub block: Block,
    /// Whether the archive was read for it.
    pub is_new: bool,
    /// Why it was not kept, if it was to be.
    pub warning: Option<Error>,
}

impl KeptTree {
    /// What the directory has under this key, which must name the archive and no other; or else what is read of the archive
    /// now, and then kept in the directory if there is one. That is made if it is not there. So many workers fetch chunks
    /// ahead of who reads an archive that is an index: 0 of them will do.
    pub fn open(
        archive: &Input,
        key: &[u8; 32],
        directory: Option<&Path>,
        workers: usize,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let Some(directory) = directory else {
            let block = read(archive, workers, monitor)?;
            return Ok(Self { block, is_new: true, warning: None });
        };
        let path = directory.join(ChunkId::from_bytes(*key).to_string());
        let found = own_directory(directory).and_then(|_| find(&path, key));
        if let Ok(Some(block)) = found {
            return Ok(Self { block, is_new: false, warning: None });
        }
        let block = read(archive, workers, monitor)?;
        let saved = found.and_then(|_| save(&block, key, &path));
        let warning = saved.and_then(|()| remove_oldest(directory)).err();
        // Pages of a file can be had again when memory is short.
        let mapped = if warning.is_none() { find(&path, key) } else { Ok(None) };
        let block = mapped.ok().flatten().unwrap_or(block);
        Ok(Self { block, is_new: true, warning })
    }
}

/// What is kept at a path, which counts as used now.
fn find(path: &Path, key: &[u8; 32]) -> Result<Option<Block>> {
    let kept = Kept::read(path).map_err(Error::io("read", path))?;
    let block = Block::open(kept, key);
    if block.is_some() {
        // If not, it is forgotten earlier than others.
        let _ = File::options()
            .append(true)
            .open(path)
            .and_then(|file| file.set_modified(SystemTime::now()));
    }
    Ok(block)
}

fn save(block: &Block, key: &[u8; 32], path: &Path) -> Result<()> {
    let put = || {
        // Whatever is there has modes and owners of its own.
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let new = NewFile::create(path, 0o600)?;
        block.write(new.file(), key)?;
        new.commit(false)
    };
    put().map_err(Error::io("write", path))
}

/// Removes those of the trees that were unused longest, if there are too many.
fn remove_oldest(directory: &Path) -> Result<()> {
    let mut trees: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io("read", directory))?.flatten() {
        let name = entry.file_name();
        let is_tree = name.to_str().is_some_and(|name| name.parse::<ChunkId>().is_ok());
        // What is gone by now another one has removed.
        let found = entry.metadata().ok().filter(|found| is_tree && found.is_file());
        trees.extend(found.and_then(|found| found.modified().ok()).map(|at| (at, entry.path())));
    }
    trees.sort_unstable();
    for (_, path) in &trees[..trees.len().saturating_sub(MOST_KEPT)] {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", path)(e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads an archive without the bytes of its files, where it can be read here and there.
fn read(archive: &Input, workers: usize, monitor: &dyn Monitor) -> Result<Block> {
    monitor.start("Reading", Unit::Bytes, archive.size());
    let build = |from: &mut dyn Forward| {
        let mut watched = Watched { from, monitor, since: 0 };
        let built = Block::build(&mut watched);
        monitor.advance(watched.since);
        built.map_err(|e| archive.wrong(e))
    };
    let built = match (archive.blob(), archive.size()) {
        (Some(blob), _) => ahead::in_order(blob, workers, build),
        (None, Some(size)) => archive.in_parts(0..size, build),
        (None, None) => archive.in_whole(0..0, workers, monitor, build),
    };
    monitor.finish();
    built
}

/// What is read, and said to have been.
struct Watched<'a> {
    from: &'a mut dyn Forward,
    monitor: &'a dyn Monitor,
    /// Bytes of which nothing has been said.
    since: u64,
}

impl Watched<'_> {
    fn pass(&mut self, len: u64) -> io::Result<()> {
        self.since += len;
        if self.since >= STEP {
            self.monitor.advance(std::mem::take(&mut self.since));
            if self.monitor.is_interrupted() {
                return Err(io::Error::other(cairn_store::Error::Stopped));
            }
        }
        Ok(())
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.pass(read as u64)?;
        Ok(read)
    }
}

impl Skip for &mut Watched<'_> {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        self.from.skip(len)?;
        self.pass(len)
    }
}
