//! The flags of commands that mount.

use cairn_formats::chunker::parse_size;
use cairn_fuse::MountOptions;
use cairn_store::{Location, Store};
use clap::Args;
use rustix::process::{getegid, geteuid};

use super::background::{self, Part};
use crate::cli::access::Access;
use crate::cli::list::{self, List};
use crate::cli::store_choice::{Chosen, StoreChoice};
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
    #[command(flatten)]
    pub(in crate::cli) choice: StoreChoice,

    #[command(flatten)]
    pub(in crate::cli) reach: StoreFlags,
}

impl MountStores {
    /// Opens the stores, those that the file says if there is one.
    pub(in crate::cli) fn source(&self, access: &Access<'_>) -> anyhow::Result<Box<dyn Store>> {
        let Chosen { stores, cache, cached } = self.choice.read(self.reach.cache_repair())?;
        let source = access.stores(&stores)?;
        match &cache {
            None => Ok(source),
            Some(cache) => access.in_cache(source, cache, &cached),
        }
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
