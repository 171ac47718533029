//! `cairn cache`

use cairn::upkeep::copy::{copy, distinct_chunks};
use cairn_store::Location;
use clap::Parser;

use super::Context;
use super::access::Access;
use super::options::{Ignored, ReadStores, WriteOptions};
use super::store_flags::{Given, StoreFlags};

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
    write: Given<WriteOptions>,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let access = Access::new(context, &args.reach);
    let indexes = access.indexes(&args.index)?;
    let chunks = distinct_chunks(&indexes, args.ignored.ids(&access)?);
    drop(indexes);
    let source = access.stores(&args.stores.all())?;
    let target = access.writable(&args.cache, &args.write)?;
    // Only now: opening a store may wait for others, and there is nothing to clean up yet.
    context.signals.catch()?;
    let (workers, progress) = (
        args.reach.concurrency.workers(source.in_flight().max(target.in_flight())),
        &context.progress,
    );
    let stats = copy(&chunks, context.digest, source.as_ref(), target.as_ref(), workers, progress)?;
    context.progress.summary(
        &format!("{} chunks, {} of them copied", stats.chunks, stats.copied),
        stats.copied_bytes,
    );
    Ok(())
}
