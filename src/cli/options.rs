//! Groups of flags that several commands share.

use std::fs::Metadata;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;

use cairn::ids::IdSet;
use cairn::upkeep::{add_index, id_list};
use cairn_formats::{Coding, Digest, Index};
use cairn_store::{Durability, LocalOptions, Location, StoreOptions, read_index};
use clap::Args;

/// How many workers.
#[derive(Debug, Args)]
pub(super) struct Concurrency {
    /// Number of workers; no more than there are processors
    #[arg(short = 'n', long = "concurrency", value_name = "N", default_value = "10")]
    workers: NonZeroUsize,
}

impl Concurrency {
    /// Workers for a job that the processors bound: more would only push each other's data out of
    /// the caches.
    pub(super) fn processors(&self) -> usize {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.workers.get().min(processors)
    }
}

/// Where chunks are read from.
#[derive(Debug, Args)]
pub(super) struct ReadStores {
    /// Store to read chunks from; several are asked in their order
    #[arg(short, long = "store", value_name = "STORE", required = true, value_delimiter = ',')]
    pub(super) store: Vec<Location>,
}

/// Chunks to leave out.
#[derive(Debug, Args)]
pub(super) struct Ignored {
    /// Index whose chunks are left out
    #[arg(long, value_name = "INDEX", value_delimiter = ',')]
    ignore: Vec<Location>,

    /// File with ids of chunks to leave out, one a line
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    ignore_chunks: Vec<PathBuf>,
}

impl Ignored {
    pub(super) fn ids(&self, digest: Digest) -> anyhow::Result<IdSet> {
        let mut ids = IdSet::default();
        for location in &self.ignore {
            add_index(&mut ids, &index(location, digest)?);
        }
        for file in &self.ignore_chunks {
            id_list::read(file, &mut ids)?;
        }
        Ok(ids)
    }
}

/// How chunks are written.
#[derive(Debug, Args)]
pub(super) struct WriteOptions {
    /// Store chunks as they are instead of compressed
    #[arg(long)]
    uncompressed: bool,

    /// What must be on the disk when the command is done: `none` leaves that to the system, `batch`
    /// flushes all chunks before the index appears, `each` flushes every chunk before it appears
    #[arg(long, value_name = "WHEN", default_value = "none")]
    durability: Durability,
}

impl WriteOptions {
    pub(super) fn store_options(&self) -> StoreOptions {
        let coding = if self.uncompressed { Coding::Plain } else { Coding::Zstd };
        StoreOptions { local: LocalOptions { coding, durability: self.durability } }
    }

    /// Whether the index, too, must be on the disk.
    pub(super) fn flush(&self) -> bool {
        self.durability != Durability::None
    }
}

/// Whether two names lead to one file.
pub(super) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Reads an index whose ids must be made with the digest the user said.
pub(super) fn index(location: &Location, digest: Digest) -> anyhow::Result<Index> {
    let index = read_index(location)?;
    if index.digest() != digest {
        let uses = index.digest();
        anyhow::bail!("{location}: the index uses {uses}; say so with --digest {uses}");
    }
    Ok(index)
}

/// Reads several of them.
pub(super) fn indexes(locations: &[Location], digest: Digest) -> anyhow::Result<Vec<Index>> {
    locations.iter().map(|location| index(location, digest)).collect()
}
