//! `cairn list`

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use cairn::archive::lines::Lines;
use cairn::archive::list::{Form, list};
use cairn::archive::walk::Part;
use cairn_store::Location;
use clap::{ArgAction, Parser, ValueEnum};

use super::Context;
use super::access::Access;
use super::looked_into::{Sources, Tell, bytes_of};
use super::selection::boolean;

/// List what is in an archive
///
/// Nothing is unpacked, and of an index only the chunks are fetched that say what is there.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Archive, index of one, or directory; `-` for an archive on standard input
    #[arg(default_value = ".")]
    archive: Location,

    /// What to list in it, with all that is below
    subpath: Option<PathBuf>,

    /// Also what is in the directories of a directory: yes or no
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "yes", default_value = "yes",
          value_parser = boolean)]
    recursive: bool,

    /// The same as --recursive=no
    #[arg(long)]
    no_recursive: bool,

    /// Form of the output
    #[arg(short, long, value_name = "FORM", default_value = "plain")]
    format: Format,

    #[command(flatten)]
    sources: Sources,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// As lines of text, with permissions and path
    Plain,
    /// As JSON, with more of what is recorded
    Json,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let access = Access::new(context, &args.sources.reach);
    let (input, _) = args.sources.open(&args.archive, &access, Tell::ByContent, context.digest)?;
    let part = Part {
        path: bytes_of(args.subpath.as_ref()),
        is_shallow: args.no_recursive || !args.recursive,
    };
    let form = match args.format {
        Format::Plain => Form::Plain,
        Format::Json => Form::Json,
    };
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    list(&input, &part, form, Lines::new(&mut output, Path::new("standard output")))?;
    Ok(())
}
