//! `cairn make`

use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cairn::Error;
use cairn::make::{Input, MakeOptions, MakeStats, make};
use cairn_store::{Location, WriteStore};
use clap::Parser;

use super::Context;
use super::access::Access;
use super::options::{Cutting, WriteOptions, is_same_file};
use super::store_flags::{Given, StoreFlags};

/// Chunk a file into a store and write its index
///
/// The file may be a regular file, a block device, a pipe, or `-` for standard input. Holes of
/// sparse files are not read. Chunks the store has already are not written again. A missing store
/// directory is created.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Index to write, `-` for standard output
    index: Location,

    /// File to chunk, `-` for standard input
    file: PathBuf,

    /// Store to put chunks into; without one only the index is made
    #[arg(short, long, value_name = "STORE")]
    store: Option<Location>,

    #[command(flatten)]
    cutting: Cutting,

    /// Read the chunks that the store has already and write those again that are damaged
    #[arg(long)]
    repair: bool,

    /// Print statistics as JSON to standard error
    #[arg(long)]
    print_stats: bool,

    #[command(flatten)]
    write: Given<WriteOptions>,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let input = Input::open(&args.file)?;
    let metadata = input.metadata()?;
    if let Location::Local(index) = &args.index {
        check_place(index, &metadata)?;
    }
    let access = Access::new(context, &args.reach);
    let index_place = access.index_place(&args.index)?;
    if args.repair
        && let Some(store @ Location::Remote { scheme, .. }) = &args.store
        && scheme == "ssh"
    {
        let store = store.without_secrets();
        anyhow::bail!("{store}: --repair is not possible, casync's protocol replaces no chunks");
    }
    let store = args.store.as_ref().map(|store| access.writable(store, &args.write)).transpose()?;
    // Only now: opening a store may wait for others, and there is nothing to clean up yet.
    context.signals.catch()?;
    let options = MakeOptions {
        rule: args.cutting.chunker,
        sizes: args.cutting.chunk_size,
        digest: context.digest,
        level: args.cutting.level,
        archive: args.index.to_string().ends_with(".caidx"),
        repair: args.repair,
        whole: false,
        workers: args
            .reach
            .concurrency
            .workers(store.as_ref().map_or(0, |store| store.in_flight())),
    };
    let store: Option<&dyn WriteStore> = store.as_deref();
    let (index, stats) = make(input, store, &options, &context.progress)?;
    // A signal that came after the last chunk still means: no index.
    cairn::Monitor::check(&context.progress)?;
    // As casync: whoever may read the blob may read its index. The mode of a pipe says nothing.
    let mode = if metadata.is_file() { metadata.mode() & 0o666 } else { 0o666 };
    access.write_index(&args.index, &index, (mode, args.write.flush()), &index_place)?;
    if args.print_stats {
        print_stats(&stats)?;
    }
    context.progress.summary(
        &format!("{} chunks, {} new with {} bytes", stats.chunks, stats.stored, stats.stored_bytes),
        index.blob_size(),
    );
    Ok(())
}

/// Refuses early what would fail after all the work: an index in place of the input, of a
/// directory, or in a directory that is not there.
pub(super) fn check_place(index: &Path, input: &Metadata) -> anyhow::Result<()> {
    if let Ok(metadata) = index.metadata() {
        anyhow::ensure!(
            !is_same_file(&metadata, input),
            "{}: input and output are the same file",
            index.display()
        );
        anyhow::ensure!(!metadata.is_dir(), "{}: the index is a directory", index.display());
    }
    let parent = index.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
        anyhow::bail!("{}: there is no directory {}", index.display(), parent.display());
    }
    Ok(())
}

/// desync's keys, in its order.
fn print_stats(stats: &MakeStats) -> anyhow::Result<()> {
    let stats = super::json::ordered_json(&[
        ("ChunksAccepted", stats.chunks),
        ("ChunksProduced", stats.produced),
    ]);
    writeln!(io::stderr(), "{stats}").map_err(Error::io("write to", "standard error"))?;
    Ok(())
}
