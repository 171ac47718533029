//! The flags of commands that mount.

use std::path::PathBuf;

use cairn_formats::chunker::parse_size;
use cairn_fuse::MountOptions;
use cairn_store::{CacheOptions, Location, Store};
use clap::Args;
use rustix::process::{getegid, geteuid};

use super::background::{self, Part};
use crate::cli::access::Access;
use crate::cli::list::{self, List};
use crate::cli::read_cache::ReadCache;
use crate::cli::store_file::StoreFile;
use crate::cli::store_flags::StoreFlags;

/// No useful cache is smaller, in bytes; a forgotten unit must not make one.
const SMALLEST: u64 = 1 << 20;

/// How something is mounted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for mounts")]
pub(in crate::cli) struct MountFlags {
    /// Stay in the foreground until it is unmounted; so it is unless --background is given
    #[arg(short, long, conflicts_with = "background")]
    foreground: bool,

    /// Return when it is mounted, and go on in the background
    #[arg(long)]
    background: bool,

    /// Let other users in, as far as the permissions of files do; users need `user_allow_other` in /etc/fuse.conf
    #[arg(long)]
    pub(in crate::cli) allow_other: bool,

    /// Owner of what is mounted, instead of whoever it is recorded for
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) uid: Option<u32>,

    /// Group of what is mounted, instead of the one it is recorded for
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) gid: Option<u32>,

    /// Option as for mount(8), such as dev, suid or max_read=65536; may be given again
    #[arg(short = 'o', long = "option", value_name = "OPTION", value_parser = list::parse::<String>)]
    options: Vec<List<String>>,

    /// Memory for chunks that were read, such as 1G
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_memory)]
    memory: u64,

    /// Fetch everything in the background, the cache given with --cache or the copy permitting
    #[arg(long)]
    pub(in crate::cli) prefetch: bool,
}

/// Where chunks of mounts come from.
#[derive(Debug, Args)]
pub(in crate::cli) struct MountStores {
    /// Store to read chunks from; several are asked in their order
    #[arg(short, long = "store", value_name = "STORE", value_parser = list::parse::<Location>)]
    store: Vec<List<Location>>,

    #[command(flatten)]
    cache: ReadCache,

    /// JSON file with stores and cache, instead of --store and --cache; read again at SIGHUP
    #[arg(long, value_name = "FILE")]
    store_file: Option<PathBuf>,

    #[command(flatten)]
    pub(in crate::cli) reach: StoreFlags,
}

impl MountStores {
    /// Opens the stores, those that the file says if there is one.
    pub(in crate::cli) fn source(&self, access: &Access<'_>) -> anyhow::Result<Box<dyn Store>> {
        let repair = self.reach.cache_repair();
        let Some(path) = &self.store_file else {
            let stores: Vec<Location> = list::all(&self.store).cloned().collect();
            anyhow::ensure!(!stores.is_empty(), "no store provided");
            return access.cached(&stores, &self.cache, repair);
        };
        let together = "and --store-file can't be used together";
        anyhow::ensure!(list::all(&self.store).next().is_none(), "--store {together}");
        anyhow::ensure!(self.cache.location().is_none(), "--cache {together}");
        let file = StoreFile::read(path)?;
        anyhow::ensure!(!file.stores.is_empty(), "no store provided");
        let source = access.stores(&file.stores)?;
        match &file.cache {
            None => Ok(source),
            Some(cache) => access.in_cache(source, cache, &CacheOptions { repair, limit: None }),
        }
    }

    /// Whether any store was named.
    pub(in crate::cli) fn are_given(&self) -> bool {
        self.has_file() || list::all(&self.store).next().is_some()
    }

    /// Whether the stores are in a file that may be read anew.
    pub(in crate::cli) fn has_file(&self) -> bool {
        self.store_file.is_some()
    }

    /// Whether chunks may be kept on disk.
    pub(in crate::cli) fn may_cache(&self) -> bool {
        self.has_file() || self.cache.location().is_some()
    }
}

/// Memory for chunks that were read if nothing is said, in bytes.
const MEMORY: u64 = 256 << 20;

impl Default for MountFlags {
    /// Nothing was said.
    fn default() -> Self {
        Self {
            foreground: false,
            background: false,
            allow_other: false,
            uid: None,
            gid: None,
            options: Vec::new(),
            memory: MEMORY,
            prefetch: false,
        }
    }
}

impl MountFlags {
    /// Who owns what is mounted if nothing else says so.
    pub(in crate::cli) fn owner(&self) -> (u32, u32) {
        let uid = self.uid.unwrap_or_else(|| geteuid().as_raw());
        (uid, self.gid.unwrap_or_else(|| getegid().as_raw()))
    }

    /// How it is mounted, under this name in tables of mounts.
    pub(in crate::cli) fn mount_options(&self, source: &Location) -> MountOptions {
        let options = list::all(&self.options).cloned();
        let (others, options) = options.partition(|word| word == "allow_other");
        let others: Vec<String> = others;
        MountOptions {
            source: source.without_secrets(),
            allow_other: self.allow_other || !others.is_empty(),
            options,
            passthrough: false,
        }
    }

    /// Memory for chunks, in bytes.
    pub(in crate::cli) fn memory(&self) -> usize {
        usize::try_from(self.memory).unwrap_or(usize::MAX)
    }

    /// Goes into the background if that was asked for. True if another process goes on there, and this one is done.
    pub(in crate::cli) fn split(&self) -> anyhow::Result<bool> {
        if !self.background {
            return Ok(false);
        }
        match background::split()? {
            Part::Done => Ok(true),
            Part::Failed(status) => std::process::exit(status.code().unwrap_or(1)),
            Part::Other => Ok(false),
        }
    }
}

/// Reads a number of threads.
pub(in crate::cli) fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

fn parse_memory(text: &str) -> Result<u64, String> {
    match parse_size(&text.to_ascii_uppercase()) {
        Some(size) if size >= SMALLEST => Ok(size),
        Some(size) => Err(format!("{size} bytes are no useful cache; give at least 1M")),
        None => Err("expected a size such as 500M or 1G".to_owned()),
    }
}
