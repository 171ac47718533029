//! `cairn mtree`

use std::io::{self, BufWriter, IsTerminal};
use std::path::{Path, PathBuf};

use cairn::archive::lines::Lines;
use cairn::archive::mtree::mtree;
use cairn::{Monitor, Silent};
use cairn_formats::mtree::Form;
use cairn_store::Location;
use clap::{Parser, ValueEnum};

use super::Context;
use super::access::Access;
use super::looked_into::{Sources, Tell, bytes_of};

/// List what is in an archive, with digests, in the form of mtree(5)
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Archive, index of one, or directory; `-` for an archive on standard input
    archive: Location,

    /// What to list in it, with all that is below
    subpath: Option<PathBuf>,

    /// Whose form the lines have
    #[arg(short, long, value_name = "FORM", default_value = "desync")]
    format: Format,

    #[command(flatten)]
    sources: Sources,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// As desync prints them
    Desync,
    /// As casync prints them
    Casync,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let access = Access::new(context, &args.sources.reach);
    let (input, workers) =
        args.sources.open(&args.archive, &access, Tell::ByContent, context.digest)?;
    let form = match args.format {
        Format::Desync => Form::Desync,
        Format::Casync => Form::Casync,
    };
    let progress = context.progress.without_lines();
    let is_seen = io::stdout().is_terminal();
    let monitor: &dyn Monitor = if is_seen { &Silent } else { &progress };
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let lines = Lines::new(&mut output, Path::new("standard output"));
    mtree(&input, &bytes_of(args.subpath.as_ref()), form, workers, lines, monitor)?;
    Ok(())
}
