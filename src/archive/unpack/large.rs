//! A file whose bytes come in several pieces, which several workers write.
//!
//! Where a file of the same size is in its place, or in a seed and said to be the same, the pieces are compared with it
//! first. Only when one differs is a new file begun, which takes over what was the same. Of the file in its place parts
//! may be known, if nobody did anything to it since: they are not read unless another part differs.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cairn_formats::catar::Node;
use rustix::fs::{AtFlags, ftruncate, unlinkat};

use super::alike::{Alike, Whose};
use super::place::Place;
use super::shares::{Shared, block_of};
use super::small::{Small, existing};
use super::{Unpack, Worker, failed};
use crate::Result;
use crate::buffer::Buffer;
use crate::flow::lock;
use crate::tree::apply::{Before, Target, undo_immutable};
use crate::tree::named::{self, temporary_name};

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Large {
    place: Arc<Place>,
    name: Box<[u8]>,
    node: Box<Node>,
    /// Bytes that are not there yet.
    left: AtomicU64,
    /// Where its content begins in the archive.
    at: u64,
    /// Files that may be right, the one in its place first.
    alike: Vec<Alike>,
    /// Whether the file in its place was as it was known to be.
    is_untouched: bool,
    /// Parts that this file is known to have.
    known: Mutex<Vec<Range<u64>>>,
    temporary: Vec<u8>,
    new: Mutex<Option<Arc<New>>>,
    is_done: AtomicBool,
}

#[derive(Debug)]
struct New {
    file: File,
    shared: Shared,
}

impl Large {
    /// Begins a file whose content is at this place of the archive. The place is held for it until it is complete.
    pub(super) fn begin(unpack: &Unpack<'_>, small: Small) -> Result<Arc<Self>> {
        let Small { place, name, node, at } = small;
        let fd = place.fd()?;
        let own = existing(unpack, &place, fd.as_fd(), &name, &node);
        let is_untouched = own.as_ref().is_some_and(|own| is_untouched(unpack, own));
        let twin = unpack.twins_of(&node, &name, fd.as_fd()).next();
        let alike = own.map(Whose::Own).into_iter().chain(twin.map(Whose::Seed));
        Ok(Arc::new(Self {
            alike: alike.map(Alike::new).collect(),
            left: AtomicU64::new(node.size()),
            is_untouched,
            known: Mutex::default(),
            temporary: temporary_name(&name),
            place,
            name,
            node,
            at,
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
        let compared = &mut worker.compared;
        if !Alike::have(&self.alike, at, bytes, compared) {
            let new = self.new_file(unpack)?;
            let put = unpack.put(&new.shared, &new.file, at, bytes, compared);
            put.map_err(failed("write"))?;
        }
        self.count(unpack, bytes.len() as u64, worker)
    }

    /// Whether the file in its place may be what is to be restored, as far as that is known.
    pub(super) fn may_be_there(&self) -> bool {
        self.is_untouched && self.alike.first().is_some_and(Alike::may_be_right)
    }

    /// Takes note of a part that the file in its place is known to have. It is read only if another part is different.
    pub(super) fn leave(
        &self,
        unpack: &Unpack<'_>,
        part: Range<u64>,
        worker: &mut Worker,
    ) -> Result<()> {
        // Nobody compares it with a file of a seed.
        self.alike[1..].iter().for_each(Alike::refuse);
        let len = part.end - part.start;
        lock(&self.known).push(part);
        self.count(unpack, len, worker)
    }

    /// So many more bytes are there. With the last ones the file is put in its place.
    fn count(&self, unpack: &Unpack<'_>, len: u64, worker: &mut Worker) -> Result<()> {
        if self.left.fetch_sub(len, Ordering::AcqRel) == len {
            if !self.finish(unpack, worker)? {
                return Ok(());
            }
            self.is_done.store(true, Ordering::Release);
            self.place.release(unpack)?;
        }
        Ok(())
    }

    /// The new file, which the first who has something for it makes.
    fn new_file(&self, unpack: &Unpack<'_>) -> Result<Arc<New>> {
        let path = || self.place.path_of(&self.name);
        let failed = |doing| failed(doing, &path);
        let mut new = lock(&self.new);
        if let Some(new) = &*new {
            return Ok(Arc::clone(new));
        }
        let directory = self.place.directory.fd().map_err(failed("open"))?;
        let mode = unpack.apply.first_mode(&self.node);
        let file = named::create(&directory, &self.temporary, mode).map_err(failed("create"))?;
        let begin = || -> Result<Shared> {
            let (target, before) = (Target::Open(file.as_fd()), self.place.for_new());
            let begun = unpack.apply.begin(target, &self.node, before, &path);
            begun.map_err(failed("set the attributes of"))?;
            let len = self.node.size();
            ftruncate(&file, len).map_err(|e| failed("size")(e.into()))?;
            unpack.share(self.at..self.at + len, &file).map_err(failed("write"))
        };
        let shared = begin().inspect_err(|_| {
            let _ = unlinkat(&directory, self.temporary.as_slice(), AtFlags::empty());
        })?;
        Ok(Arc::clone(new.insert(Arc::new(New { file, shared }))))
    }

    /// Whether it was put in its place: it is not if another worker has failed.
    fn finish(&self, unpack: &Unpack<'_>, worker: &mut Worker) -> Result<bool> {
        let path = || self.place.path_of(&self.name);
        let failed = |doing| failed(doing, &path);
        let directory = self.place.directory.fd().map_err(failed("open"))?;
        let directory = directory.as_fd();
        for alike in Alike::right(&self.alike) {
            match &alike.whose {
                Whose::Own(file) => {
                    if !lock(&self.known).is_empty() && !is_untouched(unpack, file) {
                        continue;
                    }
                    if unpack.options.undo_immutable {
                        undo_immutable(file.as_fd()).map_err(failed("set the attributes of"))?;
                    }
                    let before = Before { is_new: false, inherits: false };
                    return self.give(unpack, file, before, &|| Ok(())).map(|()| true);
                }
                Whose::Seed(twin) => {
                    let linked = unpack.link(twin, directory, &self.name);
                    if linked.map_err(failed("replace"))? {
                        return Ok(true);
                    }
                }
            }
        }
        let new = self.new_file(unpack)?;
        let file = &new.file;
        let block = block_of(file).map_err(failed("write"))?;
        self.alike
            .iter()
            .try_for_each(|alike| alike.take_over(file, block))
            .map_err(failed("write"))?;
        if !self.read_known(unpack, &new, worker)? {
            return Ok(false);
        }
        if self.place.fails_late {
            file.sync_all().map_err(failed("write"))?;
        }
        self.give(unpack, file, self.place.for_new(), &|| {
            unpack.install(directory, &self.temporary, &self.name, true)
        })?;
        Ok(true)
    }

    /// Writes what was known of the old file to the new one after all. Whether all of it came before another worker
    /// failed.
    fn read_known(&self, unpack: &Unpack<'_>, new: &New, worker: &mut Worker) -> Result<bool> {
        let mut buffer = Buffer::default();
        for part in std::mem::take(&mut *lock(&self.known)) {
            let part = self.at + part.start..self.at + part.end;
            let mut at = part.start;
            while at < part.end {
                if unpack.board.is_stopped() {
                    return Ok(false);
                }
                let window = unpack.source.window_at(at);
                let end = window.end.min(unpack.source.chunk_end(part.end - 1));
                let window = window.start..end;
                let go_on = || unpack.monitor.check();
                unpack.source.read(&window, &mut worker.reading, &mut buffer, &go_on)?;
                go_on()?;
                let end = part.end.min(window.end);
                let bytes = buffer.filled((end - window.start) as usize);
                let bytes = &bytes[(at - window.start) as usize..];
                let put =
                    unpack.put(&new.shared, &new.file, at - self.at, bytes, &mut worker.compared);
                put.map_err(failed("write", &|| self.place.path_of(&self.name)))?;
                at = end;
            }
        }
        Ok(true)
    }

    /// Gives a file all that is said of it, and its name.
    fn give(
        &self,
        unpack: &Unpack<'_>,
        file: &File,
        before: Before,
        put_in_place: &dyn Fn() -> std::io::Result<()>,
    ) -> Result<()> {
        let path = || self.place.path_of(&self.name);
        let failed = |doing| failed(doing, &path);
        let target = Target::Open(file.as_fd());
        let given = unpack.apply.apply(target, &self.node, before, &path);
        given.map_err(failed("set the attributes of"))?;
        put_in_place().map_err(failed("replace"))?;
        let ended = unpack.apply.end(target, &self.node, before, &path);
        ended.map_err(failed("set the attributes of"))
    }
}

/// Whether a file of the target is as it was known to be.
fn is_untouched(unpack: &Unpack<'_>, own: &File) -> bool {
    unpack.still.as_ref().is_some_and(|still| still.is_untouched(own))
}

impl Drop for Large {
    fn drop(&mut self) {
        let is_left = !self.is_done.load(Ordering::Acquire) && lock(&self.new).is_some();
        if is_left && let Ok(directory) = self.place.directory.fd() {
            let _ = unlinkat(directory, self.temporary.as_slice(), AtFlags::empty());
        }
    }
}
