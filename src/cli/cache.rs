//! `cairn cache`

use cairn::upkeep::copy::{copy, distinct_chunks};
use cairn_store::{Location, StoreOptions, open, open_writable};
use clap::Parser;

use super::Context;
use super::options::{self, Concurrency, Ignored, ReadStores, WriteOptions};

/// Copy the chunks of indexes from stores into another store
///
/// Chunks the cache has already are not fetched. A missing cache directory is created.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Indexes to read, `-` for standard input
    #[arg(required = true)]
    index: Vec<Location>,

    #[command(flatten)]
    stores: ReadStores,

    /// Store to copy chunks to
    #[arg(short, long, value_name = "STORE")]
    cache: Location,

    #[command(flatten)]
    ignored: Ignored,

    #[command(flatten)]
    write: WriteOptions,

    #[command(flatten)]
    concurrency: Concurrency,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let indexes = options::indexes(&args.index, context.digest)?;
    let chunks = distinct_chunks(&indexes, args.ignored.ids(context.digest)?);
    drop(indexes);
    context.signals.catch()?;
    let source = open(&args.stores.store, &StoreOptions::default())?;
    let target = open_writable(&args.cache, &args.write.store_options())?;
    let (workers, progress) = (args.concurrency.processors(), &context.progress);
    let stats = copy(&chunks, context.digest, source.as_ref(), target.as_ref(), workers, progress)?;
    context.progress.summary(
        &format!("{} chunks, {} of them copied", stats.chunks, stats.copied),
        stats.copied_bytes,
    );
    Ok(())
}
