//! Files that have chunks in common with the output, and need not be asked far away for them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cairn_formats::Index;
use rustix::fs::OFlags;

use crate::make::{Input, MakeOptions, make};
use crate::{Error, Monitor, Result, Unit};

/// A file or block device, and an index that says what is in it. The index is only believed as long as
/// what is read agrees with it.
#[derive(Debug)]
pub struct Seed {
    path: PathBuf,
    file: File,
    index: Index,
    /// Whether the index was made from the file in this run, so that making it again is of no use.
    is_fresh: bool,
}

impl Seed {
    /// A file that an index is said to describe.
    pub fn new(path: &Path, index: Index) -> Result<Self> {
        let flags = OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = file.map_err(Error::io("open seed", path))?;
        let metadata = file.metadata().map_err(Error::io("read seed", path))?;
        if !metadata.is_file() && !metadata.file_type().is_block_device() {
            return Err(Error::file(path, "a seed must be a file or a block device"));
        }
        Ok(Self { path: path.to_owned(), file, index, is_fresh: false })
    }

    /// A file without an index. It is cut as the blob of `like` was, and that takes reading it all.
    /// `number` tells the monitor which seed it is.
    pub fn of_file(
        path: &Path,
        like: &Index,
        number: usize,
        workers: usize,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let mut seed = Self::new(path, Index::of_blob(like.digest(), like.sizes()))?;
        seed.cut(number, workers, monitor)?;
        Ok(seed)
    }

    /// Makes the index anew from what is in the file now.
    pub(super) fn cut(
        &mut self,
        number: usize,
        workers: usize,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let options = MakeOptions {
            sizes: self.index.sizes(),
            digest: self.index.digest(),
            workers,
            ..MakeOptions::default()
        };
        let input = Input::open(&self.path)?;
        let monitor = CuttingSeed { number, monitor };
        self.index = make(input, None, &options, &monitor)?.0;
        self.is_fresh = true;
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }
}

/// Gives the phase of cutting a seed the name that desync has for it.
struct CuttingSeed<'a> {
    number: usize,
    monitor: &'a dyn Monitor,
}

impl Monitor for CuttingSeed<'_> {
    fn start(&self, _name: &str, unit: Unit, total: Option<u64>) {
        self.monitor.start(&format!("Chunking Seed {}", self.number), unit, total);
    }

    fn advance(&self, units: u64) {
        self.monitor.advance(units);
    }

    fn finish(&self) {
        self.monitor.finish();
    }

    fn is_interrupted(&self) -> bool {
        self.monitor.is_interrupted()
    }
}
