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
//! options    how an archive is restored, and what became of it
//! source     where the bytes of an archive come from     window   pieces of it in memory
//! board      what there is to do                         bell     wakes who waits
//! entries    entries -> directories and jobs
//! place      directories that are being filled           content  bytes into files
//! small      files that are in one window, and links, devices, pipes, sockets
//! large      files that are in several                   alike    files that are there and may be right already
//! shares     blocks that are shared with seeds           twins    files of seeds that get another name
//! ```
//! Memory is bounded by the number of windows, the depth of the tree and the length of what is said of one
//! entry. Whatever an archive holds, nothing outside of the target is touched.

mod alike;
mod bell;
mod board;
mod content;
mod entries;
mod large;
mod options;
mod place;
mod shares;
mod small;
mod source;
mod still;
mod twins;
mod window;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_formats::catar::Node;
use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use self::board::{Board, Task};
use self::large::Large;
use self::shares::{Shared, Sharing};
use self::small::Small;
use self::source::Reading;
use self::still::Still;
use self::twins::{Twin, Twins};
use self::window::Window;
use crate::buffer::Buffer;
use crate::flow::{Stop, crew};
use crate::tree::apply::{Apply, undo_immutable};
use crate::tree::named::{self, Leave};
use crate::{Error, Monitor, Result, Unit};

pub use self::options::{UnpackOptions, UnpackStats};
pub use self::source::Source;

/// Restores an archive into a directory, which is made if it is missing.
pub fn unpack<'a>(
    source: &'a Source<'a>,
    target: &'a Path,
    options: &'a UnpackOptions,
    monitor: &'a dyn Monitor,
) -> Result<UnpackStats> {
    let seeds = source.seeds();
    // What the target has already, if all of an archive is restored as it is.
    let own = seeds
        .filter(|_| options.path.is_empty() && options.shift.is_none())
        .and_then(|(index, seeds)| Some((index, seeds.iter().find(|seed| seed.root() == target)?)));
    let still = own.map(|(index, own)| Arc::new(Still::new(index, own)));
    let unpack = Unpack {
        sharing: seeds.filter(|_| options.reflink).map(|(index, seeds)| Sharing::new(index, seeds)),
        twins: seeds
            // A file of a seed has holes or not, as it likes.
            .filter(|_| options.hardlink && !options.is_full)
            .map(|(index, seeds)| Twins::new(index.flags(), seeds, target)),
        source,
        target,
        options,
        monitor,
        apply: Apply::new(options.features, options.numeric_owner),
        board: Board::new(source, options.workers, still.clone()),
        still,
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
    Ok(UnpackStats {
        refusals: unpack.apply.refusals().list(),
        shared_bytes: unpack.sharing.map_or(0, |sharing| sharing.shared()),
        linked: unpack.twins.as_ref().map_or(0, |twins| twins.linked().0),
        linked_bytes: unpack.twins.map_or(0, |twins| twins.linked().1),
    })
}

/// What all workers share.
struct Unpack<'a> {
    source: &'a Source<'a>,
    target: &'a Path,
    options: &'a UnpackOptions,
    monitor: &'a dyn Monitor,
    apply: Apply,
    board: Board<'a, Job>,
    still: Option<Arc<Still<'a>>>,
    sharing: Option<Sharing<'a>>,
    twins: Option<Twins<'a>>,
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
    /// A part of a file that the one in its place is known to have.
    Known { large: Arc<Large>, part: Range<u64> },
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

    /// An error if the user or another worker wants an end, or nothing more is wanted of the archive.
    fn go_on(&self) -> Result<()> {
        let is_over = self.board.is_stopped() || self.board.is_closed();
        if is_over { Err(Error::Interrupted) } else { self.monitor.check() }
    }

    /// Shares blocks of seeds with a new file that is to have this part of the archive.
    fn share(&self, content: Range<u64>, file: &File) -> io::Result<Shared> {
        // What is shared has the holes of the seed.
        let sharing = self.sharing.as_ref().filter(|_| !self.options.is_full);
        sharing.map_or_else(|| Ok(Shared::default()), |sharing| sharing.begin(content, file))
    }

    /// Takes bytes of a new file that may have them by sharing.
    fn put(
        &self,
        shared: &Shared,
        file: &File,
        at: u64,
        bytes: &[u8],
        compared: &mut Buffer,
    ) -> io::Result<()> {
        match &self.sharing {
            Some(sharing) if !self.options.is_full => {
                sharing.put(shared, file, at, bytes, compared)
            }
            _ => content::write(file, at, bytes, !self.options.is_full).map(drop),
        }
    }

    /// Gives a file of a seed, whose bytes are right, another name. Whether that was done.
    fn link(&self, twin: &Twin, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
        let install = |temporary: &[u8]| self.install(directory, temporary, name, true);
        let twins = self.twins.as_ref();
        twins.map_or(Ok(false), |twins| twins.link(twin, directory, name, &install))
    }

    /// Files of seeds that may be a node of this name.
    fn twins_of<'n>(
        &'n self,
        node: &'n Node,
        name: &'n [u8],
        directory: BorrowedFd<'_>,
    ) -> impl Iterator<Item = Twin> + use<'n, 'a> {
        let archive = self.apply.archive().filter(|_| self.apply.gives_everything());
        let is_told =
            |twins: &&Twins<'_>| archive.is_some_and(|archive| twins.are_told_by(archive));
        let twins = self.twins.as_ref().filter(is_told);
        let found = twins.map(|twins| twins.of(node, name, directory));
        found.into_iter().flatten()
    }

    /// Gives a file, or something else, that has a temporary name its own.
    fn install(
        &self,
        directory: BorrowedFd<'_>,
        temporary: &[u8],
        name: &[u8],
        is_file: bool,
    ) -> io::Result<()> {
        let leave =
            Leave { full: is_file || self.options.delete, immutable: self.options.undo_immutable };
        self.unlocked(directory, name, || named::install(directory, temporary, name, leave))
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
        let done = self.carry_out(job, worker);
        // Also one that failed: the reader waits for all others, and may be who did it.
        self.board.done();
        done
    }

    fn carry_out(&self, job: Job, worker: &mut Worker) -> Result<()> {
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
            Job::Known { large, part } => large.leave(self, part, worker)?,
        }
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
