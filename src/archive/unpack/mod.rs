//! Archives into trees.
//!
//! ```text
//! source -(windows, read ahead xN)-> entries -(one reads)-> directories, made at once
//!                                       |
//!                                       +-(jobs)-> files xN -> the directory, when all in it is done
//! ```
//! All workers are equal but for one thing: the first reads the entries. When what it needs next is not there, or
//! too much is to be done, it does what the others do.
//!
//! ```text
//! source     where the bytes of an archive come from     window   pieces of it in memory
//! board      what there is to do                         bell     wakes who waits
//! entries    entries -> directories and jobs
//! place      directories that are being filled           content  bytes into files
//! small      files that are in one window, and links, devices, pipes, sockets
//! large      files that are in several
//! ```
//! Memory is bounded by the number of windows, the depth of the tree and the length of what is said of one
//! entry. Whatever an archive holds, nothing outside of the target is touched.

mod bell;
mod board;
mod content;
mod entries;
mod large;
mod place;
mod small;
mod source;
mod window;

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_formats::flags;
use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use self::board::{Board, Task};
use self::large::Large;
use self::small::Small;
use self::source::Reading;
use self::window::Window;
use crate::buffer::Buffer;
use crate::flow::{Stop, crew};
use crate::tree::apply::refusals::Refusal;
use crate::tree::apply::{Apply, undo_immutable};
use crate::tree::{Shift, named};
use crate::{Error, Monitor, Result, Unit};

pub use self::source::Source;

/// How an archive is restored.
#[derive(Clone, Debug)]
pub struct UnpackOptions {
    /// What is restored of what the archive records, in the bits of a feature word.
    pub features: u64,
    /// Whether what the archive does not have is removed from directories it has.
    pub delete: bool,
    /// Whether what may not be changed is made changeable where it is in the way.
    pub undo_immutable: bool,
    /// Whether owners are taken by their numbers, whatever their names.
    pub numeric_owner: bool,
    /// Whether files get no holes where they are zero.
    pub is_full: bool,
    /// How the numbers of owners are changed.
    pub shift: Option<Shift>,
    /// What is restored, as a path in the archive; all if it is empty. What is in a directory comes into the target
    /// itself, anything else by its name.
    pub path: Vec<u8>,
    /// How many threads work, at least 1.
    pub workers: usize,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            features: flags::ALL,
            delete: false,
            undo_immutable: false,
            numeric_owner: false,
            is_full: false,
            shift: None,
            path: Vec::new(),
            workers: 1,
        }
    }
}

/// What became of an archive.
#[derive(Clone, Debug, Default)]
pub struct UnpackStats {
    /// What the system refused.
    pub refusals: Vec<Refusal>,
}

/// Restores an archive into a directory, which is made if it is missing.
pub fn unpack<'a>(
    source: &'a Source<'a>,
    target: &'a Path,
    options: &'a UnpackOptions,
    monitor: &'a dyn Monitor,
) -> Result<UnpackStats> {
    let unpack = Unpack {
        source,
        target,
        options,
        monitor,
        apply: Apply::new(options.features, options.numeric_owner),
        board: Board::new(source, options.workers),
    };
    monitor.start("Unpacking", Unit::Bytes, source.size());
    let stop = Stop::default();
    let has_reader = AtomicBool::new(false);
    let done = crew(options.workers, &stop, || {
        let stopping = Stopping(&unpack);
        let is_reader = !has_reader.swap(true, Ordering::AcqRel);
        let done = if is_reader { unpack.read() } else { unpack.help() };
        if done.is_ok() {
            std::mem::forget(stopping);
        }
        done
    });
    monitor.finish();
    done?;
    monitor.check()?;
    Ok(UnpackStats { refusals: unpack.apply.refusals().list() })
}

/// What all workers share.
struct Unpack<'a> {
    source: &'a Source<'a>,
    target: &'a Path,
    options: &'a UnpackOptions,
    monitor: &'a dyn Monitor,
    apply: Apply,
    board: Board<'a, Job>,
}

/// What a worker keeps between jobs.
#[derive(Default)]
struct Worker {
    reading: Reading,
    /// For the bytes of files that may be right already.
    compared: Buffer,
}

/// Something that anybody can do.
#[derive(Debug)]
enum Job {
    /// Files and other things, with the place of their bytes in a window.
    Files { files: Vec<(Small, Range<usize>)>, window: Option<Arc<Window>> },
    /// A part of a file, which is at this place in it.
    Piece { large: Arc<Large>, at: u64, window: Arc<Window>, range: Range<usize> },
}

impl<'a> Unpack<'a> {
    /// What the first worker does.
    fn read(&'a self) -> Result<()> {
        let outcome = entries::read(self, Worker::default());
        self.board.close();
        match outcome {
            // Another worker has failed, and tells why.
            Err(Error::Interrupted) if self.board.is_stopped() => return Ok(()),
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            _ => {}
        }
        let mut worker = Worker::default();
        while self.perform(self.board.rest(), &mut worker)? {}
        outcome.map(drop)
    }

    /// What all others do.
    fn help(&self) -> Result<()> {
        let mut worker = Worker::default();
        while self.perform(self.board.task(), &mut worker)? {}
        Ok(())
    }

    /// An error if the user or another worker wants an end.
    fn go_on(&self) -> Result<()> {
        if self.board.is_stopped() { Err(Error::Interrupted) } else { self.monitor.check() }
    }

    /// Does something about what has a name, which may have to be made changeable first.
    fn unlocked(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        change: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        match change() {
            Err(e)
                if self.options.undo_immutable && Errno::from_io_error(&e) == Some(Errno::PERM) =>
            {
                let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let kind = FileType::from_raw_mode(stat.st_mode);
                if !matches!(kind, FileType::RegularFile | FileType::Directory) {
                    return Err(e);
                }
                undo_immutable(named::open(directory, name)?.as_fd())?;
                change()
            }
            done => done,
        }
    }

    /// Whether there may be more to do.
    fn perform(&self, task: Task<Job>, worker: &mut Worker) -> Result<bool> {
        match task {
            Task::Job(job) => self.run(job, worker)?,
            Task::Read(range, mut buffer) => {
                let reading = &mut worker.reading;
                let go_on = || self.go_on();
                let window = match self.source.read(&range, reading, &mut buffer, &go_on) {
                    Ok(len) => Ok(Window::new(range.start, len, buffer, self.board.spares())),
                    Err(e) => {
                        self.board.spares().put(buffer);
                        Err(e)
                    }
                };
                self.board.put(&range, window);
            }
            Task::Wait(rings) => self.board.wait(rings),
            Task::Over => return Ok(false),
        }
        Ok(true)
    }

    fn run(&self, job: Job, worker: &mut Worker) -> Result<()> {
        self.monitor.check()?;
        match job {
            Job::Files { files, window } => {
                let bytes = window.as_ref().map_or(&[][..], |window| window.bytes());
                for (small, range) in files {
                    let bytes = if range.is_empty() { &[] } else { &bytes[range] };
                    small.make(self, bytes, worker)?;
                    small.place.release(self)?;
                }
            }
            Job::Piece { large, at, window, range } => {
                large.put(self, at, &window.bytes()[range], worker)?;
            }
        }
        self.board.done();
        Ok(())
    }
}

/// For `map_err`: what was being done, to which file. Its path is put together only then.
fn failed<'p>(
    doing: &'static str,
    path: &'p dyn Fn() -> PathBuf,
) -> impl FnOnce(io::Error) -> Error + use<'p> {
    move |e| Error::io(doing, path())(e)
}

/// Lets nobody wait for one who has failed.
struct Stopping<'s, 'a>(&'s Unpack<'a>);

impl Drop for Stopping<'_, '_> {
    fn drop(&mut self) {
        self.0.board.stop();
    }
}
