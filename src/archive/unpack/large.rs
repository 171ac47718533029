//! A file whose bytes come in several pieces, which several workers write.
//!
//! Where a file of the same size is in its place, the pieces are compared with it first. Only when one differs is a
//! new file begun, which takes over what was the same.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cairn_formats::catar::Node;
use rustix::fs::{AtFlags, copy_file_range, ftruncate, unlinkat};

use super::place::Place;
use super::small::existing;
use super::{Unpack, Worker, content, failed};
use crate::flow::lock;
use crate::tree::apply::{Before, Target, undo_immutable};
use crate::tree::named::{self, install, temporary_name};
use crate::{Error, Result};

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Large {
    place: Arc<Place>,
    name: Box<[u8]>,
    node: Box<Node>,
    /// Bytes that are not there yet.
    left: AtomicU64,
    /// The file that is in its place, of the same size.
    old: Option<File>,
    temporary: Vec<u8>,
    new: Mutex<New>,
    is_done: AtomicBool,
}

#[derive(Debug, Default)]
struct New {
    file: Option<Arc<File>>,
    /// What the old file has.
    same: Vec<Range<u64>>,
}

impl Large {
    /// Begins a file, which the place is held for until it is complete.
    pub(super) fn begin(place: &Arc<Place>, name: &[u8], node: Box<Node>) -> Result<Arc<Self>> {
        let fd = place.fd()?;
        let old = if place.is_blank { None } else { existing(fd.as_fd(), name, node.size()) };
        Ok(Arc::new(Self {
            place: Arc::clone(place),
            name: name.into(),
            left: AtomicU64::new(node.size()),
            node,
            old,
            temporary: temporary_name(name),
            new: Mutex::default(),
            is_done: AtomicBool::new(false),
        }))
    }

    /// Takes a piece. After the last one the file is put in its place.
    pub(super) fn put(
        &self,
        unpack: &Unpack<'_>,
        at: u64,
        bytes: &[u8],
        worker: &mut Worker,
    ) -> Result<()> {
        let path = || self.place.path_of(&self.name);
        let failed = |doing| failed(doing, &path);
        if !self.is_in_old(at, bytes, worker)? {
            content::write(&*self.file(unpack)?, at, bytes, !unpack.options.is_full)
                .map_err(failed("write"))?;
        }
        let len = bytes.len() as u64;
        if self.left.fetch_sub(len, Ordering::AcqRel) == len {
            self.finish(unpack)?;
            self.place.release(unpack)?;
        }
        Ok(())
    }

    fn is_in_old(&self, at: u64, bytes: &[u8], worker: &mut Worker) -> Result<bool> {
        let Some(old) = &self.old else { return Ok(false) };
        let is_same = content::is_same(old, at, bytes, &mut worker.compared)
            .map_err(|e| Error::io("read", self.place.path_of(&self.name))(e))?;
        if is_same {
            lock(&self.new).same.push(at..at + bytes.len() as u64);
        }
        Ok(is_same)
    }

    /// The new file, which the first who has something for it makes.
    fn file(&self, unpack: &Unpack<'_>) -> Result<Arc<File>> {
        let path = || self.place.path_of(&self.name);
        let failed = |doing| failed(doing, &path);
        let mut new = lock(&self.new);
        if let Some(file) = &new.file {
            return Ok(Arc::clone(file));
        }
        let directory = self.place.directory.fd().map_err(failed("open"))?;
        let mode = unpack.apply.first_mode(&self.node);
        let file = named::create(&directory, &self.temporary, mode).map_err(failed("create"))?;
        let file = Arc::new(file);
        new.file = Some(Arc::clone(&file));
        let before = self.place.for_new();
        unpack
            .apply
            .begin(Target::Open(file.as_fd()), &self.node, before, &path)
            .map_err(failed("set the attributes of"))?;
        ftruncate(&file, self.node.size()).map_err(|e| failed("size")(e.into()))?;
        Ok(file)
    }

    fn finish(&self, unpack: &Unpack<'_>) -> Result<()> {
        let path = || self.place.path_of(&self.name);
        let failed = |doing| failed(doing, &path);
        let new = std::mem::take(&mut *lock(&self.new));
        let (file, before) = match (&new.file, &self.old) {
            (Some(file), old) => {
                // Kept until it has its name, for whoever cleans up.
                lock(&self.new).file = Some(Arc::clone(file));
                if let Some(old) = old {
                    take_over(old, file, &new.same).map_err(failed("write"))?;
                }
                if self.place.fails_late {
                    file.sync_all().map_err(failed("write"))?;
                }
                (&**file, self.place.for_new())
            }
            (None, Some(old)) => {
                if unpack.options.undo_immutable {
                    undo_immutable(old.as_fd()).map_err(failed("set the attributes of"))?;
                }
                (old, Before { is_new: false, inherits: false })
            }
            (None, None) => unreachable!("a file has pieces"),
        };
        let target = Target::Open(file.as_fd());
        unpack
            .apply
            .apply(target, &self.node, before, &path)
            .map_err(failed("set the attributes of"))?;
        if new.file.is_some() {
            let directory = self.place.directory.fd().map_err(failed("open"))?;
            let directory = directory.as_fd();
            let install = || install(directory, &self.temporary, &self.name, true);
            unpack.unlocked(directory, &self.name, install).map_err(failed("replace"))?;
        }
        unpack
            .apply
            .end(target, &self.node, before, &path)
            .map_err(failed("set the attributes of"))?;
        self.is_done.store(true, Ordering::Release);
        Ok(())
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        let is_left = !self.is_done.load(Ordering::Acquire) && lock(&self.new).file.is_some();
        if is_left && let Ok(directory) = self.place.directory.fd() {
            let _ = unlinkat(directory, self.temporary.as_slice(), AtFlags::empty());
        }
    }
}

/// Copies what a new file has in common with the old one, or shares it where the file system can.
fn take_over(old: &File, new: &File, ranges: &[Range<u64>]) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let (mut from, mut to) = (at, at);
            let len = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            at += match copy_file_range(old, Some(&mut from), new, Some(&mut to), len) {
                Ok(copied) if copied > 0 => copied as u64,
                _ => {
                    let mut bytes = vec![0; len.min(256 << 10)];
                    old.read_exact_at(&mut bytes, at)?;
                    new.write_all_at(&bytes, at)?;
                    bytes.len() as u64
                }
            };
        }
    }
    Ok(())
}
