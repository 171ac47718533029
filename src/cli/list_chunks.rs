//! `cairn list-chunks`

use std::io::{self, Write};

use cairn::Error;
use cairn_formats::Index;
use cairn_store::Location;
use clap::Parser;

use super::Context;
use super::access::Access;
use super::store_flags::StoreFlags;

/// Lines written at once; they fit a second-level cache.
const LINES_AT_ONCE: usize = 2048;

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
    print(&index, io::stdout().lock()).map_err(Error::io("write to", "standard output"))?;
    Ok(())
}

/// Lines of 65 bytes by the million: laid out in a buffer of our own, each by one copy.
fn print(index: &Index, mut output: impl Write) -> io::Result<()> {
    let mut lines = Vec::with_capacity(LINES_AT_ONCE * 65);
    let mut chunks = index.chunks();
    loop {
        lines.clear();
        for chunk in chunks.by_ref().take(LINES_AT_ONCE) {
            let mut line = [b'\n'; 65];
            line[..64].copy_from_slice(&chunk.id.hex_digits());
            lines.extend_from_slice(&line);
        }
        if lines.is_empty() {
            return output.flush();
        }
        output.write_all(&lines)?;
    }
}
