//! The bytes of a file on this machine, as they are.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cairn_store::{Bytes, Error, Result};

use crate::content::Content;

/// A file on this machine. Nobody verifies its bytes: there is nothing to verify them by.
#[derive(Debug)]
pub struct PlainFile {
    file: File,
    size: u64,
    path: PathBuf,
}

impl PlainFile {
    /// A file with so many bytes, which is called so in messages.
    pub fn new(file: File, size: u64, path: &Path) -> Self {
        Self { file, size, path: path.to_owned() }
    }
}

impl Content for PlainFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn at_hand(&self, range: Range<u64>) -> Option<Bytes> {
        // Another thread would not read it any faster. What fails is tried again by who can say so.
        self.read(range).ok()
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let end = range.end.min(self.size);
        let mut bytes = vec![0; end.saturating_sub(range.start) as usize];
        let read = self.file.read_exact_at(&mut bytes, range.start);
        read.map_err(Error::io("read", &self.path))?;
        Ok(Bytes::Own(bytes))
    }

    fn whole(&self) -> Option<&File> {
        Some(&self.file)
    }
}
