//! Where bytes in their order go: a file that appears when it is whole, a pipe, or standard output.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::path::Path;

use cairn::Error;
use cairn_store::local::Output;
use rustix::event::{PollFd, PollFlags, poll};

/// Whether a path stands for standard output.
pub(super) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether what is written to a path is there at once, with nothing to be cleaned up.
pub(super) fn is_stream(path: &Path) -> bool {
    is_stdout(path) || Output::is_stream(path)
}

/// Opens an output. Returns it, and what it is called in errors.
pub(super) fn open(path: &Path) -> anyhow::Result<(Output, &Path)> {
    open_as(path, 0o666)
}

/// The same. A new file gets these mode bits, before the umask.
pub(super) fn open_as(path: &Path, mode: u32) -> anyhow::Result<(Output, &Path)> {
    if is_stdout(path) {
        let name = Path::new("standard output");
        // Past the standard library's buffer, which looks for line ends.
        let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        return Ok((Output::Stream(file.map_err(Error::io("open", name))?), name));
    }
    let output = Output::create(path, mode).map_err(Error::io("create", path))?;
    Ok((output, path))
}

/// An output that is waited for, also if it is a pipe that another process has set not to block.
pub(super) struct Patient<'a>(pub(super) &'a File);

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.0.write_vectored(slices) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            // Why it ends does not matter: the next write tells.
            let _ = poll(&mut [PollFd::new(self.0, PollFlags::OUT)], None);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
