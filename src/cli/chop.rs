//! `cairn chop`

use std::path::PathBuf;

use cairn::upkeep::chop::chop;
use cairn_store::{Location, open_writable};
use clap::Parser;

use super::Context;
use super::options::{self, Concurrency, Ignored, WriteOptions};

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
    write: WriteOptions,

    #[command(flatten)]
    concurrency: Concurrency,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let index = options::index(&args.index, context.digest)?;
    let ignored = args.ignored.ids(context.digest)?;
    context.signals.catch()?;
    let store = open_writable(&args.store, &args.write.store_options())?;
    let (workers, progress) = (args.concurrency.processors(), &context.progress);
    let stats = chop(&index, &args.file, store.as_ref(), ignored, workers, progress)?;
    context.progress.summary(
        &format!("{} chunks, {} new with {} bytes", stats.chunks, stats.stored, stats.stored_bytes),
        index.blob_size(),
    );
    Ok(())
}
