//! Stores, named on the command line or in a file that can be read again while the program runs.

use std::path::PathBuf;

use cairn_store::{CacheOptions, Location};
use clap::Args;

use super::list::{self, List};
use super::read_cache::ReadCache;
use super::store_file::StoreFile;

/// Where chunks come from, for programs that go on for long.
#[derive(Debug, Args)]
pub(super) struct StoreChoice {
    /// Store to read chunks from; several are asked in their order
    #[arg(short, long = "store", value_name = "STORE", value_parser = list::parse::<Location>)]
    store: Vec<List<Location>>,

    #[command(flatten)]
    cache: ReadCache,

    /// JSON file with stores and cache, instead of --store and --cache; read again at SIGHUP
    #[arg(long, value_name = "FILE")]
    store_file: Option<PathBuf>,
}

/// What was chosen: at least one store, and perhaps a cache.
pub(super) struct Chosen {
    pub(super) stores: Vec<Location>,
    pub(super) cache: Option<Location>,
    /// How the cache is used.
    pub(super) cached: CacheOptions,
}

impl StoreChoice {
    /// Whether any store was named.
    pub(super) fn is_given(&self) -> bool {
        self.has_file() || list::all(&self.store).next().is_some()
    }

    /// Whether the stores are in a file that may be read anew.
    pub(super) fn has_file(&self) -> bool {
        self.store_file.is_some()
    }

    /// Whether chunks may be kept on disk.
    pub(super) fn may_cache(&self) -> bool {
        self.has_file() || self.cache.location().is_some()
    }

    /// The stores and the cache, those in the file if there is one, which is read now. Damaged chunks of the cache are
    /// replaced if so said.
    pub(super) fn read(&self, repair: bool) -> anyhow::Result<Chosen> {
        let stores: Vec<Location> = list::all(&self.store).cloned().collect();
        let chosen = match &self.store_file {
            Some(path) => {
                let together = "and --store-file can't be used together";
                anyhow::ensure!(stores.is_empty(), "--store {together}");
                anyhow::ensure!(self.cache.location().is_none(), "--cache {together}");
                let StoreFile { stores, cache } = StoreFile::read(path)?;
                Chosen { stores, cache, cached: CacheOptions { repair, limit: None } }
            }
            None => {
                let cached = self.cache.options(&stores, repair)?;
                Chosen { stores, cache: self.cache.location().cloned(), cached }
            }
        };
        anyhow::ensure!(!chosen.stores.is_empty(), "no store provided");
        Ok(chosen)
    }
}
