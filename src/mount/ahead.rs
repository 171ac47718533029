//! The nodes of an archive at hand before they are read, and no bytes of files.
//!
//! ```text
//! workers   range of a directory -> its table -> chunks in which names begin -> fetched
//!                                             -> ranges that are long: directories, or files
//! reader    front to end, chunk by chunk, from what is there by now; what is not it fetches
//! ```
//! What is nearest to the reader comes first, and only so much is fetched ahead of it as the blob keeps. The reader waits
//! for nobody, and what fails here it will find out itself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::ops::Range;
use std::sync::{Condvar, Mutex, PoisonError};

use cairn_formats::catar::{ReadAt, Span, spans};
use cairn_store::Blob;

use crate::Result;
use crate::archive::input::Forward;
use crate::flow::{Stop, beside, crew, lock};

/// Bytes fetched ahead of the reader at most: half of what a blob keeps.
const MOST_AHEAD: u64 = 8 << 20;

/// Bytes fetched at once.
const AT_ONCE: u64 = 1 << 20;

/// Bytes that are metadata wherever a node begins: those of the headers of a name and an entry, and what is always in them.
const AT_LEAST: u64 = 96;

/// Bytes read at once of a chunk.
const READ: usize = 16 << 10;

/// Lets `read` read a whole archive in order, of which it skips the bytes of files: those are not fetched, but where they
/// are in a chunk with something else.
pub(super) fn in_order<T>(
    blob: &Blob,
    workers: usize,
    read: impl FnOnce(&mut dyn Forward) -> Result<T>,
) -> Result<T> {
    let size = blob.size();
    let ahead = Ahead { blob, state: Mutex::new(State::new(size)), changed: Condvar::new() };
    let read = || {
        // Also when it panics, or the workers would wait for ever.
        let _end = End(&ahead);
        read(&mut Span::new(&ahead, 0..size, READ))
    };
    if workers == 0 {
        return read();
    }
    let work = || crew(workers, &Stop::default(), || ahead.work());
    let (worked, done) = beside(work, read);
    worked.and(done)
}

struct Ahead<'a> {
    blob: &'a Blob,
    state: Mutex<State>,
    /// Told when there is more to do, or less is ahead, or all is over.
    changed: Condvar,
}

struct State {
    /// What comes first is on top.
    tasks: BinaryHeap<Reverse<Task>>,
    /// How many workers are at a task, which may lead to more.
    busy: usize,
    /// Where the reader is.
    reader: u64,
    /// Where ranges begin that were fetched and not read, and how long they are.
    fetched: BTreeMap<u64, u64>,
    held: u64,
    is_over: bool,
}

/// What there is to do with a range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Task {
    start: u64,
    end: u64,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// Its chunks are wanted.
    Fetch,
    /// It may be a directory, in which there are names.
    Look,
}

impl State {
    fn new(size: u64) -> Self {
        let root = Task { start: 0, end: size, what: What::Look };
        Self {
            tasks: BinaryHeap::from([Reverse(root)]),
            busy: 0,
            reader: 0,
            fetched: BTreeMap::new(),
            held: 0,
            is_over: false,
        }
    }

    /// Takes note that the reader has come to a place.
    fn pass(&mut self, at: u64) {
        self.reader = at;
        while let Some(first) = self.fetched.first_entry() {
            if *first.key() >= at {
                break;
            }
            self.held -= first.remove();
        }
    }
}

impl Ahead<'_> {
    /// Does what there is to do, until the reader has ended.
    fn work(&self) -> Result<()> {
        while let Some(task) = self.next() {
            let more = match task.what {
                What::Look => self.look(task.start..task.end),
                What::Fetch => {
                    // The reader will see for itself.
                    let _ = self.blob.fetch_ahead(task.start..task.end);
                    Vec::new()
                }
            };
            let mut state = lock(&self.state);
            state.busy -= 1;
            state.tasks.extend(more.into_iter().map(Reverse));
            drop(state);
            self.changed.notify_all();
        }
        Ok(())
    }

    /// The next task; `None` if there is none and will not be.
    fn next(&self) -> Option<Task> {
        let mut state = lock(&self.state);
        loop {
            if state.is_over || (state.tasks.is_empty() && state.busy == 0) {
                return None;
            }
            if state.held < MOST_AHEAD
                && let Some(Reverse(mut task)) = state.tasks.pop()
            {
                if task.end <= state.reader {
                    continue;
                }
                if task.what == What::Fetch {
                    // What was read by now may be gone from the cache again.
                    task.start = task.start.max(state.reader);
                    let len = task.end - task.start;
                    let before = state.fetched.insert(task.start, len);
                    state.held = state.held + len - before.unwrap_or(0);
                }
                state.busy += 1;
                return Some(task);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What is to be done for what is in a range.
    fn look(&self, range: Range<u64>) -> Vec<Task> {
        let nodes = spans(self.blob, range).ok().flatten().unwrap_or_default();
        let index = self.blob.index();
        let long = index.sizes().avg() as u64;
        let mut tasks: Vec<Task> = Vec::new();
        let mut covered = 0;
        for node in nodes {
            let wanted = node.start..node.end.min(node.start + AT_LEAST);
            if node.end - node.start > long {
                tasks.push(Task { start: node.start, end: node.end, what: What::Look });
            }
            if wanted.is_empty() || wanted.end <= covered {
                continue;
            }
            let start = index.chunk(index.position_at(wanted.start)).start.max(covered);
            let end = index.chunk(index.position_at(wanted.end - 1)).end();
            covered = end;
            let last = tasks.iter_mut().rev().find(|task| task.what == What::Fetch);
            match last.filter(|last| last.end == start && end - last.start <= AT_ONCE) {
                Some(last) => last.end = end,
                None => tasks.push(Task { start, end, what: What::Fetch }),
            }
        }
        tasks
    }
}

impl ReadAt for Ahead<'_> {
    /// Reads to the end of a chunk at most: what comes behind may be bytes of a file.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if at >= self.blob.size() {
            return Ok(0);
        }
        let index = self.blob.index();
        let chunk = index.chunk(index.position_at(at));
        let most = usize::try_from(chunk.end() - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = ReadAt::read_at(self.blob, at, &mut buffer[..most])?;
        let mut state = lock(&self.state);
        let held = state.held;
        state.pass(at);
        let has_room = state.held < held;
        drop(state);
        if has_room {
            self.changed.notify_all();
        }
        Ok(read)
    }
}

/// Ends the work when the reader has ended.
struct End<'a>(&'a Ahead<'a>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).is_over = true;
        self.0.changed.notify_all();
    }
}
