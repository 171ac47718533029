//! `cairn inspect-chunks`

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use cairn::Error;
use cairn::upkeep::sizes;
use cairn_formats::Index;
use cairn_store::local::Output;
use cairn_store::{LocalStore, Location, PruneStore};
use clap::Parser;

use super::Context;
use super::access::Access;
use super::store_flags::StoreFlags;

/// Print the sizes of all chunks of an index as JSON, with those in a store
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Index to read, `-` for standard input
    index: Location,

    /// File to write; standard output without one
    output: Option<PathBuf>,

    /// Store to look at, a directory on this machine
    #[arg(short, long, value_name = "STORE")]
    store: Option<Location>,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let access = Access::new(context, &args.reach);
    let index = access.index(&args.index)?;
    let store = args.store.as_ref().map(|store| access.local(store));
    // Plain chunks have no compressed size; sealed ones have one as in desync.
    let tells = |store: &LocalStore| store.form().is_compressed() || store.form().is_sealed();
    let store = store.transpose()?.filter(tells);
    match &args.output {
        Some(path) => write_file(path, &index, store.as_ref(), context),
        None => write(
            io::stdout().lock(),
            Path::new("standard output"),
            &index,
            store.as_ref(),
            context,
        ),
    }
}

/// What a link leads to is replaced, not the link. The file appears whole or not at all.
fn write_file(
    path: &Path,
    index: &Index,
    store: Option<&LocalStore>,
    context: &Context,
) -> anyhow::Result<()> {
    let failed = || Error::io("write", path);
    // A stream has nothing that must be cleaned up, and a write to it may take for ever: there, the
    // system ends us.
    if !Output::is_stream(path) {
        context.signals.catch()?;
    }
    let output = Output::create(path, 0o666).map_err(failed())?;
    write(output.file(), path, index, store, context)?;
    output.commit(false).map_err(failed())?;
    Ok(())
}

fn write(
    output: impl Write,
    path: &Path,
    index: &Index,
    store: Option<&LocalStore>,
    context: &Context,
) -> anyhow::Result<()> {
    let mut output = BufWriter::new(output);
    let store = store.map(|store| store as &dyn PruneStore);
    sizes::write(index, store, &mut output, path, &context.progress)?;
    output.flush().map_err(Error::io("write to", path))?;
    Ok(())
}
