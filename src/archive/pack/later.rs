//! A file that is not opened before its bytes are asked for, as most often they are not.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::notices::Notices;
use crate::tree::found::{Stat, is_still, open_again};
use crate::{Error, Result};

/// Where it is, and what it was.
#[derive(Debug)]
pub(super) struct Later {
    pub(super) directory: Arc<Path>,
    pub(super) name: Vec<u8>,
    pub(super) stat: Stat,
}

impl Later {
    /// Bytes of it, from this place on. Whatever its path leads to by now, they are of the file it led to.
    pub(super) fn read(&self, at: u64, bytes: &mut [u8], notices: &Notices<'_>) -> Result<()> {
        let path = self.path();
        let file = match open_again(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(self.is_another()),
            opened => opened.map_err(Error::io("open", &path))?,
        };
        let found = file.metadata().map_err(Error::io("read", &path))?;
        if (found.dev(), found.ino()) != (self.stat.dev, self.stat.ino) || !found.is_file() {
            return Err(self.is_another());
        }
        match file.read_exact_at(bytes, at) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                return Err(Error::file(path, "shrank while it was archived"));
            }
            read => read.map_err(Error::io("read", &path))?,
        }
        if !is_still(&file, self.stat.size, Some(self.stat.mtime))
            .map_err(Error::io("read", &path))?
        {
            notices.changed(&path);
        }
        Ok(())
    }

    fn is_another(&self) -> Error {
        Error::file(self.path(), "was removed or replaced while it was archived")
    }

    fn path(&self) -> PathBuf {
        self.directory.join(OsStr::from_bytes(&self.name))
    }
}
