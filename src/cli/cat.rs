//! `cairn cat`

use std::io::IsTerminal;
use std::ops::Range;
use std::path::PathBuf;

use cairn::cat::{CatOptions, cat, widen_pipe};
use cairn::{Error, Monitor, Silent};
use cairn_formats::Index;
use cairn_store::Location;
use clap::Parser;

use super::Context;
use super::access::Access;
use super::options::{self, ReadStores};
use super::outlet::{self, Patient};
use super::read_cache::ReadCache;
use super::store_flags::StoreFlags;

/// Write the blob of an index, or a part of it, to standard output or a file
///
/// A file appears whole or not at all; pipes and devices are written to as they are.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Index to read, `-` for standard input
    index: Location,

    /// File, pipe or device to write, `-` for standard output
    #[arg(default_value = "-")]
    output: PathBuf,

    #[command(flatten)]
    stores: ReadStores,

    #[command(flatten)]
    cache: ReadCache,

    /// First byte of the blob to write
    #[arg(short, long, value_name = "BYTE", default_value_t = 0)]
    offset: u64,

    /// Number of bytes to write, 0 for all to the end; an error if there are not so many
    #[arg(short, long, value_name = "BYTES", default_value_t = 0)]
    length: u64,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    if let (Location::Local(index), false) = (&args.index, outlet::is_stdout(&args.output)) {
        let both = index.metadata().ok().zip(args.output.metadata().ok());
        anyhow::ensure!(
            both.is_none_or(|(a, b)| !options::is_same_file(&a, &b)),
            "{}: input and output are the same file",
            index.display()
        );
    }
    let access = Access::new(context, &args.reach);
    let index = access.index(&args.index)?;
    let range = args.range(&index)?;
    let store = access.cached(&args.stores.all(), &args.cache, args.reach.cache_repair())?;
    let is_stream = outlet::is_stream(&args.output);
    // A stream has nothing that must be cleaned up, and a write to it may take for ever: there, the
    // system ends us.
    if !is_stream {
        context.signals.catch()?;
    }
    let (output, name) = outlet::open(&args.output)?;
    widen_pipe(output.file());
    let progress = context.progress.without_lines();
    let is_seen = is_stream && output.file().is_terminal();
    let monitor: &dyn Monitor = if is_seen { &Silent } else { &progress };
    let options = CatOptions {
        range: range.clone(),
        workers: args.reach.concurrency.workers(store.in_flight()),
    };
    cat(&index, store.as_ref(), &mut Patient(output.file()), name, &options, monitor)?;
    monitor.check()?;
    output.commit(false).map_err(Error::io("finish", name))?;
    let size = index.blob_size();
    anyhow::ensure!(
        range.end <= size,
        "{}: the blob ends at {size}, {} bytes before the end of what was asked for",
        args.index,
        range.end - size
    );
    Ok(())
}

impl Args {
    /// The bytes that are asked for, of which those behind the end of the blob will be missed.
    fn range(&self, index: &Index) -> anyhow::Result<Range<u64>> {
        let size = index.blob_size();
        anyhow::ensure!(
            self.offset <= size,
            "{}: the blob ends at {size}, before the offset {}",
            self.index,
            self.offset
        );
        let end = if self.length == 0 { size } else { self.offset.saturating_add(self.length) };
        Ok(self.offset..end)
    }
}
