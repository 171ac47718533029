//! A file that is not opened before its bytes are asked for, as most often they are not.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::notices::Notices;
use crate::tree::beneath::by_descriptor;
use crate::tree::found::{Stat, is_still, open_unseen};
use crate::{Error, Result};

/// The directory it is in, and what it was.
#[derive(Clone, Debug)]
pub(super) struct Later {
    directory: Arc<Path>,
    /// Its device and number.
    identity: (u64, u64),
    size: u64,
    mtime: i64,
}

impl Later {
    pub(super) fn new(directory: &Arc<Path>, stat: &Stat) -> Self {
        let identity = (stat.dev, stat.ino);
        Self { directory: Arc::clone(directory), identity, size: stat.size, mtime: stat.mtime }
    }

    /// Bytes of it from this place on, by the name it had. Whatever that leads to by now, they are of the file it
    /// led to.
    pub(super) fn read(
        &self,
        name: &[u8],
        at: u64,
        bytes: &mut [u8],
        notices: &Notices<'_>,
    ) -> Result<()> {
        let path: PathBuf = self.directory.join(OsStr::from_bytes(name));
        let is_another = || Error::file(&path, "was removed or replaced while it was archived");
        // Held before it is opened: on the way there may by now be a link that leads to a tape.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = match openat(CWD, &path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(is_another()),
            held => File::from(held.map_err(|e| Error::io("open", &path)(e.into()))?),
        };
        let found = held.metadata().map_err(Error::io("read", &path))?;
        if (found.dev(), found.ino()) != self.identity || !found.is_file() {
            return Err(is_another());
        }
        let place = by_descriptor(&held);
        let file = open_unseen(CWD, &place, OFlags::RDONLY | OFlags::CLOEXEC);
        let file = File::from(file.map_err(|e| Error::io("open", &path)(e.into()))?);
        match file.read_exact_at(bytes, at) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                return Err(Error::file(path, "shrank while it was archived"));
            }
            read => read.map_err(Error::io("read", &path))?,
        }
        let is_still = is_still(&file, self.size, Some(self.mtime));
        if !is_still.map_err(Error::io("read", &path))? {
            notices.changed(&path);
        }
        Ok(())
    }
}
