//! The archives that commands look into.

use std::fs::{File, FileType};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn::Error;
use cairn::archive::input::Input;
use cairn::archive::pack::PackOptions;
use cairn_formats::{Digest, Index};
use cairn_store::{Location, Store};
use clap::Args;

use super::access::Access;
use super::awaited::Awaited;
use super::list::{self, List};
use super::read_cache::ReadCache;
use super::selection::Selection;
use super::signals::Signals;
use super::store_flags::StoreFlags;

/// How archives are reached.
#[derive(Debug, Args)]
pub(super) struct Sources {
    /// Store to read the chunks of an index from; several are asked in their order
    #[arg(short, long = "store", value_name = "STORE", value_parser = list::parse::<Location>)]
    store: Vec<List<Location>>,

    #[command(flatten)]
    cache: ReadCache,

    /// Read an index, also from standard input: what is in a file is told by its first bytes otherwise
    #[arg(short, long)]
    index: bool,

    #[command(flatten)]
    pub(super) reach: StoreFlags,
}

/// What to take for an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// What begins as one.
    ByContent,
    /// What has its name.
    ByName,
}

impl Sources {
    /// Opens an archive. What is far away is an index.
    pub(super) fn open(
        &self,
        location: &Location,
        access: &Access<'_>,
        tell: Tell,
        digest: Digest,
    ) -> anyhow::Result<(Input, usize)> {
        let is_index = match location {
            Location::Remote { .. } => true,
            _ if self.index => true,
            Location::Stdio => false,
            Location::Local(path) => match tell {
                Tell::ByContent => begins_as_index(path)?,
                Tell::ByName => is_named_as_index(path),
            },
        };
        if is_index {
            return self.open_index(location, access);
        }
        access.warn_of_no_store(&[
            ("--store", !self.store.is_empty()),
            ("--cache", self.cache.location().is_some()),
        ]);
        let input = match location {
            Location::Local(path) => self.open_file(path, digest)?,
            _ => Input::of_stream(io::stdin(), "standard input".to_owned()),
        };
        Ok((input, self.reach.concurrency.workers(0)))
    }

    /// A directory is looked at as the archive that `tar` makes of it unless told otherwise.
    fn open_file(&self, path: &Path, digest: Digest) -> anyhow::Result<Input> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let kind = file.metadata().map_err(Error::io("read", path))?.file_type();
        if kind.is_dir() {
            let features = Selection::default().features(digest);
            let workers = self.reach.concurrency.processors();
            let options = PackOptions { features, shift: None, skip: None, workers };
            return Ok(Input::of_directory(path, options));
        }
        if is_read_anywhere(kind) {
            return Ok(Input::of_file(file, path)?);
        }
        Ok(Input::of_stream(file, path.display().to_string()))
    }

    fn open_index(
        &self,
        location: &Location,
        access: &Access<'_>,
    ) -> anyhow::Result<(Input, usize)> {
        let index = access.index(location)?;
        let stores: Vec<Location> = list::all(&self.store).cloned().collect();
        anyhow::ensure!(
            !stores.is_empty(),
            "{}: is an index, whose chunks are in a store: say in which with -s",
            location.without_secrets()
        );
        let store = access.cached(&stores, &self.cache, self.reach.cache_repair())?;
        let workers = self.reach.concurrency.workers(store.in_flight());
        let store: Arc<dyn Store> = Arc::from(store);
        let name = location.without_secrets();
        Ok((Input::of_index(index, store, name), workers))
    }
}

/// The path of a node in an archive as it was typed.
pub(super) fn bytes_of(path: Option<&PathBuf>) -> Vec<u8> {
    path.map_or_else(Vec::new, |path| path.as_os_str().as_encoded_bytes().to_vec())
}

fn begins_as_index(path: &Path) -> anyhow::Result<bool> {
    let metadata = path.metadata().map_err(Error::io("open", path))?;
    if !metadata.is_file() {
        return Ok(false);
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut start = [0; 16];
    let read = file.read_at(&mut start, 0).map_err(Error::io("read", path))?;
    Ok(Index::begins_with(&start[..read]))
}

fn is_named_as_index(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "caidx" || suffix == "caibx")
}

/// Opens an archive in a file, or one that comes through a pipe, as long as no signal comes.
pub(super) fn open_archive(path: &Path, signals: &Signals) -> anyhow::Result<Input> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let kind = file.metadata().map_err(Error::io("read", path))?.file_type();
    of_file(file, kind, path, signals)
}

/// What was opened as a file, or as something that is read once.
pub(super) fn of_file(
    file: File,
    kind: FileType,
    path: &Path,
    signals: &Signals,
) -> anyhow::Result<Input> {
    if is_read_anywhere(kind) {
        return Ok(Input::of_file(file, path)?);
    }
    Ok(Input::of_stream(Awaited::new(file, signals), path.display().to_string()))
}

fn is_read_anywhere(kind: FileType) -> bool {
    kind.is_file() || kind.is_block_device()
}
