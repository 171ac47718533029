//! A pipe that is waited for no longer than the user wants to wait.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use cairn::archive::tar_input::Source;
use cairn::{Error, Monitor};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Context;
use super::signals::Signals;

/// How long nothing may come before it is asked whether to go on.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What comes through a pipe, until a signal comes.
pub(super) struct Awaited {
    pipe: File,
    signals: Signals,
}

impl Awaited {
    pub(super) fn new(pipe: File, signals: &Signals) -> Self {
        Self { pipe, signals: signals.clone() }
    }

    /// The standard input, past the standard library's buffer.
    pub(super) fn stdin(signals: &Signals) -> io::Result<Self> {
        Ok(Self::new(File::from(io::stdin().as_fd().try_clone_to_owned()?), signals))
    }
}

/// Opens a tar; `-` is the standard input. One that comes through a pipe is read to its end.
pub(super) fn open_tar(path: &Path, context: &Context) -> anyhow::Result<Source> {
    let file = match path == Path::new("-") {
        true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        false => File::open(path),
    };
    let file = file.map_err(Error::io("open", path))?;
    let kind = file.metadata().map_err(Error::io("read", path))?.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(Source::of_file(file, path)?);
    }
    let source = Source::of_stream(Awaited::new(file, &context.signals), path);
    // Whatever an interrupted reader says of it.
    context.progress.check()?;
    Ok(source?)
}

impl Read for Awaited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.signals.caught().is_none() {
            match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&PATIENCE)) {
                Ok(0) | Err(Errno::INTR) => {}
                // What cannot be waited for is read.
                _ => return self.pipe.read(buffer),
            }
        }
        Err(io::Error::other("interrupted"))
    }
}
