//! `cairn extract`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cairn::Error;
use cairn::extract::{ExtractOptions, ExtractStats, extract};
use cairn_store::Location;
use clap::Parser;

use super::access::Access;
use super::options::{self, ReadStores};
use super::read_cache::ReadCache;
use super::seeds::Seeds;
use super::store_flags::StoreFlags;
use super::{Context, failure};

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

    #[command(flatten)]
    seeds: Seeds,

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
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    check_output(&args.index, &args.output)?;
    // The index first: where it comes through a pipe, its maker may still be making the store.
    let access = Access::new(context, &args.reach);
    let index = access.index(&args.index)?;
    let store = access.cached(&args.stores.all(), &args.cache, args.reach.cache_repair())?;
    // Only now: opening a store may wait for others, and there is nothing to clean up yet.
    context.signals.catch()?;
    let options = ExtractOptions {
        in_place: args.in_place,
        regenerate: args.seeds.invalid.regenerate,
        trust_seeds: args.seeds.trust_seeds,
        flush: args.fsync,
        workers: args.reach.concurrency.workers(store.in_flight()),
        ..ExtractOptions::default()
    };
    let seeds = args.seeds.open(&index, &args.index, options.workers, context, &access)?;
    let seed_count = seeds.len() as u64;
    let progress = context.progress.with_prefix("Attempt 1: ");
    let stats = extract(&index, seeds, store.as_ref(), &args.output, &options, &progress)?;
    if stats.missed > 0 && !args.seeds.invalid.skip {
        let missed = stats.missed;
        failure::warn(&format!("seeds do not hold {missed} of the chunks that their indexes list"));
    }
    if args.print_stats {
        print_stats(&stats, seed_count)?;
    }
    context.progress.summary(
        &format!(
            "{} chunks from the store, {} from seeds, {} in place, {} zero, {} repeated",
            stats.fetched, stats.seeded, stats.in_place, stats.zero, stats.own
        ),
        stats.bytes,
    );
    Ok(())
}

/// Refuses to write over the index that is read.
pub(super) fn check_output(index: &Location, output: &Path) -> anyhow::Result<()> {
    let Location::Local(index) = index else { return Ok(()) };
    let both = index.metadata().ok().zip(output.metadata().ok());
    anyhow::ensure!(
        *index != output && both.is_none_or(|(a, b)| !options::is_same_file(&a, &b)),
        "{}: input and output are the same file",
        index.display()
    );
    Ok(())
}

/// desync's keys, in its order. Zeros count as a seed there, and chunks copied inside the output as
/// chunks of the store.
fn print_stats(stats: &ExtractStats, seeds: u64) -> anyhow::Result<()> {
    let seeds = if stats.chunks > 0 { 1 + seeds } else { 0 };
    let stats = super::json::ordered_json(&[
        ("chunks-from-seeds", stats.zero + stats.seeded),
        ("chunks-from-store", stats.fetched + stats.own),
        ("chunks-in-place", stats.in_place),
        ("bytes-copied-from-seeds", stats.copied_bytes),
        ("bytes-cloned-from-seeds", stats.shared_bytes),
        ("blocksize", if stats.chunks > 0 { stats.block_size } else { 0 }),
        ("bytes-total", stats.bytes),
        ("chunks-total", stats.chunks),
        ("seeds", seeds),
    ]);
    writeln!(io::stdout(), "{stats}").map_err(Error::io("write to", "standard output"))?;
    Ok(())
}
