//! Groups of flags that several commands share.

use std::env;
use std::fs::Metadata;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;

use anyhow::Context as _;
use cairn::ids::IdSet;
use cairn::upkeep::{add_index, id_list};
use cairn_formats::chunker::CutRule;
use cairn_formats::coding::DEFAULT_LEVEL;
use cairn_formats::{ChunkSizes, Form};
use cairn_store::{Durability, FormOptions, Location};
use clap::Args;

use super::access::Access;
use super::config::{Flags, Key, Value};
use super::list::{self, List};
use super::store_flags::Given;

/// What casync has compressed chunks end in, if it is set.
const SUFFIX_VARIABLE: &str = "CASYNC_COMPRESSED_CHUNK_SUFFIX";

/// A worker that waits has a batch of chunks on its way, about twice as many.
const REQUESTS_PER_WORKER: usize = 16;

/// Workers, and requests under way, if nothing is said.
const DEFAULT_WORKERS: NonZeroUsize = NonZeroUsize::new(10).unwrap();

/// How many workers.
#[derive(Debug, Args)]
pub(super) struct Concurrency {
    /// Number of workers, no more than there are processors, and of requests under way to a store
    /// far away
    #[arg(short = 'n', long = "concurrency", value_name = "N", default_value_t = DEFAULT_WORKERS)]
    workers: NonZeroUsize,
}

impl Default for Concurrency {
    /// As if nothing was said.
    fn default() -> Self {
        Self { workers: DEFAULT_WORKERS }
    }
}

impl Concurrency {
    /// As many as the user said.
    pub(super) fn number(&self) -> usize {
        self.workers.get()
    }

    /// Workers for a job that the processors bound: more would only push each other's data out of
    /// the caches.
    pub(super) fn processors(&self) -> usize {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.workers.get().min(processors)
    }

    /// Workers for a job that may also wait for a store, which makes use of so many requests at once:
    /// while some wait with their batches, others have work for the processors.
    pub(super) fn workers(&self, in_flight: usize) -> usize {
        self.processors() + in_flight.div_ceil(REQUESTS_PER_WORKER)
    }
}

/// Where chunks are read from.
#[derive(Debug, Args)]
pub(super) struct ReadStores {
    /// Store to read chunks from; several are asked in their order
    #[arg(short, long = "store", value_name = "STORE", required = true, value_parser = list::parse::<Location>)]
    store: Vec<List<Location>>,
}

impl ReadStores {
    /// All of them, in their order.
    pub(super) fn all(&self) -> Vec<Location> {
        list::all(&self.store).cloned().collect()
    }
}

/// Chunks to leave out.
#[derive(Debug, Args)]
pub(super) struct Ignored {
    /// Index whose chunks are left out
    #[arg(long, value_name = "INDEX", value_parser = list::parse::<Location>)]
    ignore: Vec<List<Location>>,

    /// File with ids of chunks to leave out, one a line
    #[arg(long, value_name = "FILE", value_parser = list::parse::<PathBuf>)]
    ignore_chunks: Vec<List<PathBuf>>,
}

impl Ignored {
    pub(super) fn ids(&self, access: &Access<'_>) -> anyhow::Result<IdSet> {
        let mut ids = IdSet::default();
        for location in list::all(&self.ignore) {
            add_index(&mut ids, &access.index(location)?);
        }
        for file in list::all(&self.ignore_chunks) {
            id_list::read(file, &mut ids)?;
        }
        Ok(ids)
    }
}

/// How a blob is cut into chunks, and how these are compressed.
#[derive(Debug, Args)]
pub(super) struct Cutting {
    /// Chunk sizes: min:avg:max in KiB, or in bytes if any has a suffix (16K:64K:256K), or the
    /// average alone (64K), or `auto`
    #[arg(short = 'm', long, value_name = "SIZES", default_value = "16:64:256")]
    pub(super) chunk_size: ChunkSizes,

    /// Cut rule: `buzhash` as casync and desync, or `fastcdc`, which shares no chunks with
    /// them
    #[arg(long, value_name = "NAME", default_value = "buzhash")]
    pub(super) chunker: CutRule,

    /// Level of zstd compression, 1 (fast) to 19 (small)
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LEVEL,
          value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(super) level: i32,
}

/// How chunks are written.
#[derive(Debug, Default, Args)]
pub(super) struct WriteOptions {
    /// Store chunks as they are instead of compressed
    #[arg(long)]
    uncompressed: bool,

    /// What must be on the disk when the command is done: `none` leaves that to the system, `batch`
    /// flushes all chunks before the index appears, `each` flushes every chunk before it appears
    #[arg(long, value_name = "WHEN", default_value = "none")]
    durability: Durability,
}

impl Given<WriteOptions> {
    /// What was said of the store's form.
    pub(super) fn given(&self) -> Flags {
        let uncompressed = (Key::Uncompressed, Value::Bool(self.uncompressed));
        self.is_given("uncompressed").then_some(uncompressed).into_iter().collect()
    }

    pub(super) fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether the index, too, must be on the disk.
    pub(super) fn flush(&self) -> bool {
        self.durability != Durability::None
    }
}

/// The form of a store's chunks, by what was asked for and by the environment.
pub(super) fn form(wishes: &FormOptions<'_>) -> anyhow::Result<Form> {
    let form = wishes.form()?;
    let Some(suffix) = env::var_os(SUFFIX_VARIABLE) else { return Ok(form) };
    let suffix = suffix.to_str().context("it is not UTF-8").context(SUFFIX_VARIABLE)?;
    form.with_compressed_suffix(suffix).context(SUFFIX_VARIABLE)
}

/// Whether two names lead to one file.
pub(super) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
