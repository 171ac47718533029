//! `cairn info`

use std::io::{self, Write};
use std::path::PathBuf;

use cairn::Error;
use cairn::ids::IdSet;
use cairn::upkeep::info::{Info, Sources, info};
use cairn::upkeep::{add_index, sizes};
use cairn_store::{Location, Store};
use clap::{Parser, ValueEnum};

use super::Context;
use super::access::Access;
use super::list::{self, List};
use super::store_flags::StoreFlags;

/// Print what an index describes, and how much of it is at hand
///
/// Distinct chunks are counted once.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Index to read, `-` for standard input
    index: Location,

    /// Store to look for chunks in; several are one
    #[arg(short, long, value_name = "STORE", value_parser = list::parse::<Location>)]
    store: Vec<List<Location>>,

    /// Cache to look for chunks in
    #[arg(short, long, value_name = "STORE")]
    cache: Option<Location>,

    /// Index of a blob that is there already
    #[arg(long, value_name = "INDEX", value_parser = list::parse::<Location>)]
    seed: Vec<List<Location>>,

    /// Form of the output
    #[arg(short, long, value_name = "FORM", default_value = "json")]
    format: Format,

    /// Sizes of chunks in a store, as `inspect-chunks` prints them
    #[arg(long, value_name = "FILE")]
    chunks_info: Option<PathBuf>,

    /// End with 1 if a chunk is neither in a store nor in the cache nor in a seed
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    reach: StoreFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// As JSON
    Json,
    /// As lines of text
    Plain,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let access = Access::new(context, &args.reach);
    let index = access.index(&args.index)?;
    let mut seed = IdSet::default();
    for location in list::all(&args.seed) {
        add_index(&mut seed, &access.index(location)?);
    }
    let sizes = args.chunks_info.as_deref().map(sizes::read).transpose()?;
    let stores: Vec<Location> = list::all(&args.store).cloned().collect();
    let store = (!stores.is_empty()).then(|| access.stores(&stores)).transpose()?;
    let cache = args.cache.as_ref().map(|cache| access.stores(std::slice::from_ref(cache)));
    let cache = cache.transpose()?;
    let sources = Sources {
        store: store.as_deref().map(|store| store as &dyn Store),
        cache: cache.as_deref().map(|cache| cache as &dyn Store),
        seed: Some(&seed).filter(|seed| !seed.ids().is_empty()),
        sizes: sizes.as_ref(),
    };
    let progress = context.progress.without_lines();
    let in_flight = store.as_ref().map_or(0, |store| store.in_flight());
    let workers = args.reach.concurrency.workers(in_flight);
    let info = info(&index, &sources, workers, &progress)?;
    print(&info, args.format).map_err(Error::io("write to", "standard output"))?;
    anyhow::ensure!(
        !args.check || info.missing == 0,
        "{}: {} of {} chunks are neither in a store nor in the cache nor in a seed",
        args.index,
        info.missing,
        info.unique
    );
    Ok(())
}

/// desync's keys and lines, in its order.
fn print(info: &Info, format: Format) -> io::Result<()> {
    let (min, avg, max) = (info.sizes.min(), info.sizes.avg(), info.sizes.max());
    let size_wanted = info.size_not_in_seed_nor_cache;
    let stored_wanted = info.stored_size_not_in_seed_nor_cache;
    let mut output = io::stdout();
    match format {
        Format::Json => {
            let json = super::json::ordered_json(&[
                ("total", info.total),
                ("unique", info.unique),
                ("in-store", info.in_store),
                ("in-seed", info.in_seed),
                ("in-cache", info.in_cache),
                ("not-in-seed-nor-cache", info.not_in_seed_nor_cache),
                ("size", info.size),
                ("dedup-size-not-in-seed", info.size_not_in_seed),
                ("dedup-size-not-in-seed-nor-cache", size_wanted),
                ("dedup-size-not-in-seed-nor-cache-compressed", stored_wanted),
                ("chunk-size-min", min as u64),
                ("chunk-size-avg", avg as u64),
                ("chunk-size-max", max as u64),
            ]);
            writeln!(output, "{json}")
        }
        Format::Plain => {
            let lines = [
                ("Blob size", info.size),
                ("Size of deduplicated chunks not in seed", info.size_not_in_seed),
                ("Size of deduplicated chunks not in seed nor cache", size_wanted),
                ("Total chunks", info.total),
                ("Unique chunks", info.unique),
                ("Chunks in store", info.in_store),
                ("Chunks in seed", info.in_seed),
                ("Chunks in cache", info.in_cache),
                ("Chunks not in seed nor cache", info.not_in_seed_nor_cache),
                ("Compressed chunks not in seed nor cache", stored_wanted),
                ("Chunk size min", min as u64),
                ("Chunk size avg", avg as u64),
                ("Chunk size max", max as u64),
            ];
            let text: String =
                lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            output.write_all(text.as_bytes())
        }
    }
}
