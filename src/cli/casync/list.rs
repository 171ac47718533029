//! `casync list`

use std::ffi::OsString;
use std::io::{self, BufWriter};
use std::path::Path;

use cairn::archive::lines::Lines;
use cairn::archive::list::{Form, list};
use cairn::archive::walk::Part;

use super::looked::Looked;
use super::options::Options;
use super::what::What;
use crate::cli::Context;
use crate::cli::looked_into::bytes_of;

/// What can be listed.
pub(super) const KINDS: [What; 3] = [What::Archive, What::ArchiveIndex, What::Directory];

pub(super) fn run(words: &[OsString], options: &Options, context: &Context) -> anyhow::Result<()> {
    let looked = Looked::of("list", words, options, &KINDS)?;
    let (input, _) = looked.open(options, context)?;
    let part = Part { path: bytes_of(looked.path.as_ref()), is_shallow: !options.recursive };
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    list(&input, &part, Form::Plain, Lines::new(&mut output, Path::new("standard output")))?;
    Ok(())
}
