//! `casync mtree`

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal};
use std::path::Path;

use cairn::archive::lines::Lines;
use cairn::archive::mtree::mtree;
use cairn::{Monitor, Silent};
use cairn_formats::mtree::Form;

use super::list::KINDS;
use super::looked::Looked;
use super::options::Options;
use crate::cli::Context;
use crate::cli::looked_into::bytes_of;

pub(super) fn run(words: &[OsString], options: &Options, context: &Context) -> anyhow::Result<()> {
    let looked = Looked::of("mtree", words, options, &KINDS)?;
    let (input, workers) = looked.open(options, context)?;
    let progress = context.progress.without_lines();
    let is_seen = io::stdout().is_terminal();
    let monitor: &dyn Monitor = if is_seen { &Silent } else { &progress };
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let lines = Lines::new(&mut output, Path::new("standard output"));
    mtree(&input, &bytes_of(looked.path.as_ref()), Form::Casync, workers, lines, monitor)?;
    Ok(())
}
