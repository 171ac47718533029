//! `cairn digest`

use std::io::{self, Write};
use std::path::PathBuf;

use cairn::Error;
use cairn::archive::digest::{digest, digest_at};
use cairn_store::Location;
use clap::Parser;

use super::Context;
use super::access::Access;
use super::looked_into::{Sources, Tell, bytes_of};

/// Print the digest of an archive or blob, or of a file or directory in an archive
///
/// That of a directory is the digest of the archive it would be. A file whose name ends in `.caidx` or `.caibx`
/// stands for what it is the index of.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Archive or blob, index of one, or directory; `-` for standard input
    #[arg(default_value = ".")]
    archive: Location,

    /// File or directory in an archive
    subpath: Option<PathBuf>,

    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let access = Access::new(context, &args.sources.reach);
    let tell = if args.subpath.is_some() { Tell::ByContent } else { Tell::ByName };
    let (input, workers) = args.sources.open(&args.archive, &access, tell, context.digest)?;
    let progress = context.progress.without_lines();
    let digest = match &args.subpath {
        None => digest(&input, context.digest, workers, &progress)?,
        Some(path) => digest_at(&input, &bytes_of(Some(path)), workers, &progress)?,
    };
    writeln!(io::stdout(), "{digest}").map_err(Error::io("write to", "standard output"))?;
    Ok(())
}
