//! `cairn verify-index`

use std::path::PathBuf;

use cairn::check::verify_index;
use cairn_store::Location;
use clap::Parser;

use super::Context;
use super::access::Access;
use super::store_flags::StoreFlags;

/// Check that a file is what an index describes
///
/// Prints nothing and ends with 0 if every chunk of the file has the id that the index gives.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Index to read, `-` for standard input
    index: Location,

    /// File or block device to check
    file: PathBuf,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let index = Access::new(context, &args.reach).index(&args.index)?;
    verify_index(&index, &args.file, args.reach.concurrency.processors(), &context.progress)?;
    Ok(())
}
