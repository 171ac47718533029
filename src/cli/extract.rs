//! `cairn extract`

use std::io::{self, Write};
use std::path::PathBuf;

use cairn::Error;
use cairn::extract::{ExtractOptions, ExtractStats, extract};
use cairn_store::{Location, StoreOptions, open};
use clap::Parser;

use super::Context;
use super::options::{self, Concurrency, ReadStores};
use super::read_cache::ReadCache;

/// Write the file that an index describes, with chunks from a store
///
/// The output appears whole or not at all. A file it replaces keeps its mode and owner. Block
/// devices are written in place.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Index to read, `-` for standard input
    index: Location,

    /// File or block device to write
    output: PathBuf,

    #[command(flatten)]
    stores: ReadStores,

    #[command(flatten)]
    cache: ReadCache,

    /// Write into the output itself and keep the chunks it already holds; after an interruption,
    /// running again goes on from there
    #[arg(short = 'k', long)]
    in_place: bool,

    /// Return only when the output is on the disk
    #[arg(long)]
    fsync: bool,

    /// Print statistics as JSON to standard output
    #[arg(long)]
    print_stats: bool,

    #[command(flatten)]
    concurrency: Concurrency,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    if let Location::Local(index) = &args.index {
        let both = index.metadata().ok().zip(args.output.metadata().ok());
        anyhow::ensure!(
            *index != args.output && both.is_none_or(|(a, b)| !options::is_same_file(&a, &b)),
            "{}: input and output are the same file",
            index.display()
        );
    }
    // The index first: where it comes through a pipe, its maker may still be making the store.
    let index = options::index(&args.index, context.digest)?;
    context.signals.catch()?;
    let stores = &args.stores.store;
    let store = args.cache.open(stores, open(stores, &StoreOptions::default())?)?;
    let options = ExtractOptions {
        in_place: args.in_place,
        flush: args.fsync,
        workers: args.concurrency.processors(),
    };
    let progress = context.progress.with_prefix("Attempt 1: ");
    let stats = extract(&index, store.as_ref(), &args.output, &options, &progress)?;
    if args.print_stats {
        print_stats(&stats)?;
    }
    context.progress.summary(
        &format!(
            "{} chunks from the store, {} in place, {} zero, {} repeated",
            stats.fetched, stats.in_place, stats.zero, stats.own
        ),
        stats.bytes,
    );
    Ok(())
}

/// desync's keys, in its order. Its own output counts as a seed there, and so do zeros.
fn print_stats(stats: &ExtractStats) -> anyhow::Result<()> {
    let seeds = u64::from(stats.chunks > 0);
    let stats = super::json::ordered_json(&[
        ("chunks-from-seeds", stats.zero),
        ("chunks-from-store", stats.fetched + stats.own),
        ("chunks-in-place", stats.in_place),
        ("bytes-copied-from-seeds", 0),
        ("bytes-cloned-from-seeds", 0),
        ("blocksize", if stats.chunks > 0 { stats.block_size } else { 0 }),
        ("bytes-total", stats.bytes),
        ("chunks-total", stats.chunks),
        ("seeds", seeds),
    ]);
    writeln!(io::stdout(), "{stats}").map_err(Error::io("write to", "standard output"))?;
    Ok(())
}
