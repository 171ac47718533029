//! An output that a user names, which may be more than a file.
//!
//! ```text
//! file, or nothing yet            appears whole or not at all
//! pipe, device, /dev/stdout       cannot be replaced, only written to
//! ```

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::new_file::{NewFile, leads_to_descriptor};

/// Links that lead to one another: as many as the system follows.
const MOST_LINKS: usize = 40;

/// An output that is written from its beginning to its end.
#[derive(Debug)]
pub enum Output {
    /// A file that takes its place when all is written.
    New(NewFile),
    /// A pipe, a device or an open file: what is written is written.
    Stream(File),
}

impl Output {
    /// Opens the output at `path`. A new file gets `mode` less the umask. What a link leads to is
    /// replaced, not the link; it may not be there yet.
    ///
    /// Waits, as everybody does, if it is a pipe that nobody reads.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        if Self::is_stream(path) {
            let is_device = path.metadata()?.file_type().is_block_device();
            // What a shell opened for us it may have written to before: never over that. A device
            // has no room behind its end.
            let file = File::options().write(true).append(!is_device).open(path);
            return Ok(Output::Stream(file?));
        }
        Ok(Output::New(NewFile::create(&followed(path)?, mode)?))
    }

    /// Whether `create` would open a stream.
    pub fn is_stream(path: &Path) -> bool {
        let is_special = |metadata: Metadata| !metadata.is_file() && !metadata.is_dir();
        path.metadata().is_ok_and(is_special) || leads_to_descriptor(path)
    }

    /// Where the bytes go.
    pub fn file(&self) -> &File {
        match self {
            Output::New(new) => new.file(),
            Output::Stream(file) => file,
        }
    }

    /// Puts a new file in its place. With `flush` its bytes and its name have reached the disk
    /// before this returns.
    pub fn commit(self, flush: bool) -> io::Result<()> {
        match self {
            Output::New(new) => new.commit(flush),
            // What a device refuses to keep, it says only when it is flushed. Pipes cannot be.
            Output::Stream(file) if file.metadata()?.file_type().is_block_device() => {
                file.sync_all()
            }
            Output::Stream(_) => Ok(()),
        }
    }
}

/// Where links lead to, also if nothing is there.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(link) = fs::read_link(&path) else { return Ok(path) };
        path = path.parent().unwrap_or(Path::new("")).join(link);
    }
    Err(io::Error::from_raw_os_error(Errno::LOOP.raw_os_error()))
}
