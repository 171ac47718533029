//! `cairn chop`

use std::path::PathBuf;

use cairn::upkeep::chop::chop;
use cairn_store::Location;
use clap::Parser;

use super::Context;
use super::access::Access;
use super::options::{Ignored, WriteOptions};
use super::store_flags::{Given, StoreFlags};

/// Put the chunks of a file into a store, cut as an index says
///
/// Every chunk must be what the index says. Chunks the store has already are not written again. A
/// missing store directory is created.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Index to read, `-` for standard input
    index: Location,

    /// File or block device with the chunks
    file: PathBuf,

    /// Store to put chunks into
    #[arg(short, long, value_name = "STORE")]
    store: Location,

    #[command(flatten)]
    ignored: Ignored,

    #[command(flatten)]
    write: Given<WriteOptions>,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let access = Access::new(context, &args.reach);
    let index = access.index(&args.index)?;
    let ignored = args.ignored.ids(&access)?;
    let store = access.writable(&args.store, &args.write)?;
    // Only now: opening a store may wait for others, and there is nothing to clean up yet.
    context.signals.catch()?;
    let (workers, progress) =
        (args.reach.concurrency.workers(store.in_flight()), &context.progress);
    let stats = chop(&index, &args.file, store.as_ref(), ignored, workers, progress)?;
    context.progress.summary(
        &format!("{} chunks, {} new with {} bytes", stats.chunks, stats.stored, stats.stored_bytes),
        index.blob_size(),
    );
    Ok(())
}
