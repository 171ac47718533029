//! What commands that mount share: flags, and the life of a mount.
//!
//! ```text
//! mount -> ready: tell whoever waits -> serve until it is unmounted
//!             SIGINT, SIGTERM    unmount; while somebody uses it, say who and try again
//!             once more          unmount whoever uses it
//!             SIGHUP             read the stores anew, save states
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use cairn::Error;
use cairn_formats::Index;
use cairn_formats::chunker::parse_size;
use cairn_fuse::{Fetchers, FileSystem, MountOptions, Mounted, StoredBlob, holders, unmount};
use cairn_store::combine::Swap;
use cairn_store::{Blob, CacheOptions, ChunkCache, Location, Store};
use clap::Args;
use rustix::process::{getegid, geteuid};
use signal_hook::consts::SIGHUP;

use super::access::Access;
use super::background::{self, Part};
use super::list::{self, List};
use super::read_cache::ReadCache;
use super::server_flags::not_reloaded;
use super::signals::Signals;
use super::store_file::StoreFile;
use super::store_flags::StoreFlags;
use super::{Context, failure, log, notify};

/// How often it is tried again to unmount what somebody uses.
const AGAIN: Duration = Duration::from_millis(200);

/// No useful cache is smaller, in bytes; a forgotten unit must not make one.
const SMALLEST: u64 = 1 << 20;

/// The stores of what is mounted, and what all of it shares.
pub(super) struct Mounting<'a> {
    flags: &'a MountStores,
    store: Arc<Swap>,
    cache: Arc<ChunkCache>,
    fetchers: Arc<Fetchers>,
    threads: usize,
}

/// How something is mounted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for mounts")]
pub(super) struct MountFlags {
    /// Stay in the foreground until it is unmounted; so it is unless --background is given
    #[arg(short, long, conflicts_with = "background")]
    foreground: bool,

    /// Return when it is mounted, and go on in the background
    #[arg(long)]
    background: bool,

    /// Let other users in, as far as the permissions of files do; users need `user_allow_other` in /etc/fuse.conf
    #[arg(long)]
    pub(super) allow_other: bool,

    /// Owner of what is mounted, instead of whoever it is recorded for
    #[arg(long, value_name = "ID")]
    pub(super) uid: Option<u32>,

    /// Group of what is mounted, instead of the one it is recorded for
    #[arg(long, value_name = "ID")]
    pub(super) gid: Option<u32>,

    /// Option as for mount(8), such as dev, suid or max_read=65536; may be given again
    #[arg(short = 'o', long = "option", value_name = "OPTION", value_parser = list::parse::<String>)]
    options: Vec<List<String>>,

    /// Memory for chunks that were read, such as 1G
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_memory)]
    memory: u64,

    /// Fetch everything in the background, the cache given with --cache or the copy permitting
    #[arg(long)]
    pub(super) prefetch: bool,
}

/// Where chunks of mounts come from.
#[derive(Debug, Args)]
pub(super) struct MountStores {
    /// Store to read chunks from; several are asked in their order
    #[arg(short, long = "store", value_name = "STORE", value_parser = list::parse::<Location>)]
    store: Vec<List<Location>>,

    #[command(flatten)]
    cache: ReadCache,

    /// JSON file with stores and cache, instead of --store and --cache; read again at SIGHUP
    #[arg(long, value_name = "FILE")]
    store_file: Option<PathBuf>,

    #[command(flatten)]
    pub(super) reach: StoreFlags,
}

impl MountStores {
    fn source(&self, access: &Access<'_>) -> anyhow::Result<Box<dyn Store>> {
        let repair = self.reach.cache_repair();
        let Some(path) = &self.store_file else {
            let stores: Vec<Location> = list::all(&self.store).cloned().collect();
            anyhow::ensure!(!stores.is_empty(), "no store provided");
            return access.cached(&stores, &self.cache, repair);
        };
        let file = StoreFile::read(path)?;
        anyhow::ensure!(!file.stores.is_empty(), "no store provided");
        let source = access.stores(&file.stores)?;
        match &file.cache {
            None => Ok(source),
            Some(cache) => access.in_cache(source, cache, &CacheOptions { repair, limit: None }),
        }
    }
}

impl<'a> Mounting<'a> {
    /// Opens the stores, which can be exchanged for those that the file says later.
    pub(super) fn open(
        stores: &'a MountStores,
        flags: &MountFlags,
        access: &Access<'_>,
    ) -> anyhow::Result<Self> {
        if stores.store_file.is_some() {
            let together = "and --store-file can't be used together";
            anyhow::ensure!(list::all(&stores.store).next().is_none(), "--store {together}");
            anyhow::ensure!(stores.cache.location().is_none(), "--cache {together}");
        }
        let store = Arc::new(Swap::new(stores.source(access)?));
        let threads = stores.reach.concurrency.workers(store.in_flight());
        let limit = usize::try_from(flags.memory).unwrap_or(usize::MAX);
        Ok(Self {
            flags: stores,
            store,
            cache: Arc::new(ChunkCache::new(limit)),
            fetchers: Arc::new(Fetchers::new(threads)),
            threads,
        })
    }

    /// The blob of an index.
    pub(super) fn blob(&self, index: Arc<Index>) -> Arc<StoredBlob> {
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let blob = Blob::new(index, store, Arc::clone(&self.cache));
        Arc::new(StoredBlob::new(blob, self.cache.limit(), Arc::clone(&self.fetchers)))
    }

    /// Reads the store file anew, if there is one. What is wrong with it is said, and changes nothing.
    pub(super) fn reload(&self, access: &Access<'_>) {
        if self.flags.store_file.is_none() {
            return;
        }
        match self.flags.source(access) {
            Ok(new) => self.store.exchange(new),
            Err(e) => not_reloaded(&e),
        }
    }

    /// Refuses to fetch everything of a blob if there is no place for it.
    pub(super) fn check_prefetch(&self, blob: &StoredBlob) -> anyhow::Result<()> {
        anyhow::ensure!(
            blob.fits() || self.flags.cache.location().is_some() || self.flags.store_file.is_some(),
            "--prefetch needs a place for {} bytes: a --cache, or more --memory",
            blob.blob().size()
        );
        Ok(())
    }

    /// Fetches all chunks of a blob.
    pub(super) fn prefetch(&self, blob: &StoredBlob, stop: &AtomicBool) {
        blob.pass(self.threads, stop);
    }
}

impl MountFlags {
    /// Who owns what is mounted if nothing else says so.
    pub(super) fn owner(&self) -> (u32, u32) {
        let uid = self.uid.unwrap_or_else(|| geteuid().as_raw());
        (uid, self.gid.unwrap_or_else(|| getegid().as_raw()))
    }

    /// How it is mounted, under this name in tables of mounts.
    pub(super) fn mount_options(&self, source: &Location) -> MountOptions {
        let options = list::all(&self.options).cloned();
        let (others, options) = options.partition(|word| word == "allow_other");
        let others: Vec<String> = others;
        MountOptions {
            source: source.without_secrets(),
            allow_other: self.allow_other || !others.is_empty(),
            options,
            passthrough: geteuid().is_root(),
        }
    }

    /// Goes into the background if that was asked for. True if another process goes on there, and this one is done.
    pub(super) fn split(&self) -> anyhow::Result<bool> {
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

/// Mounts a file system, and serves it until it is unmounted. At SIGHUP `reload` is called.
pub(super) fn serve(
    fs: Arc<dyn FileSystem>,
    point: &Path,
    options: &MountOptions,
    context: &Context,
    reload: &(dyn Fn() + Sync),
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    let keeps_log = context.global.verbose || context.global.log_format.is_some();
    if !keeps_log {
        log::warnings();
    }
    let mounted = Mounted::new(fs, point, options)?;
    ready();
    let is_leaving = Arc::new(AtomicBool::new(false));
    let each = |signal| {
        if signal == SIGHUP {
            notify::reloading();
            reload();
            notify::ready();
        } else {
            leave(point, &is_leaving);
        }
    };
    let served = Signals::heed(each, || {
        notify::ready();
        background::ready(keeps_log).map_err(Error::io("go", "into the background"))?;
        mounted.serve().map_err(Error::io("serve", point))
    })?;
    is_leaving.store(true, Ordering::Relaxed);
    notify::stopping();
    context.signals.give_up();
    Ok(served?)
}

/// Unmounts, at the first call when nobody uses it any more, and at the second whoever does.
fn leave(point: &Path, is_leaving: &Arc<AtomicBool>) {
    let insists = is_leaving.swap(true, Ordering::Relaxed);
    match unmount(point, insists) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
            failure::warn(&in_use(point));
            let point = point.to_owned();
            // Until it works; when that is elsewhere, this process ends and the thread with it.
            thread::spawn(move || {
                while unmount(&point, false).is_err() {
                    thread::sleep(AGAIN);
                }
            });
        }
        Err(e) => failure::warn(&format!("{}: cannot be unmounted: {e}", point.display())),
    }
}

/// Says who uses a mount.
fn in_use(point: &Path) -> String {
    let name = point.display();
    let by: Vec<String> = holders(point)
        .iter()
        .map(|holder| format!("{} ({}) has {}", holder.name, holder.pid, holder.path.display()))
        .collect();
    let by = if by.is_empty() { "somebody else".to_owned() } else { by.join(", ") };
    format!("{name} is in use: {by}; it is unmounted when that ends, or at once at the next signal")
}

/// The time in nanoseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// What a mounted blob is called: as its index, without the last suffix.
pub(super) fn name_of(index: &Location) -> anyhow::Result<String> {
    let text = match index {
        Location::Stdio => return Ok("-".to_owned()),
        other => other.without_secrets(),
    };
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let last = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name = match last.rfind('.') {
        Some(dot) if dot > 0 => &last[..dot],
        _ => last,
    };
    anyhow::ensure!(!name.is_empty() && name != "." && name != "..", "`{text}` has no name");
    Some(name.to_owned()).context("it has a name")
}

/// Reads a number of threads.
pub(super) fn parse_count(text: &str) -> Result<usize, String> {
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
