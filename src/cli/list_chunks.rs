//! `cairn list-chunks`

use std::io::{self, BufWriter, Write};

use cairn::Error;
use cairn_store::Location;
use clap::Parser;

use super::Context;
use super::access::Access;
use super::store_flags::StoreFlags;

/// Print the ids of all chunks of an index, in its order
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Index to read, `-` for standard input
    index: Location,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let index = Access::new(context, &args.reach).index(&args.index)?;
    let mut output = BufWriter::new(io::stdout());
    let mut chunks = index.chunks();
    let written = chunks.try_for_each(|chunk| writeln!(output, "{}", chunk.id));
    written.and_then(|()| output.flush()).map_err(Error::io("write to", "standard output"))?;
    Ok(())
}
