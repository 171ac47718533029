//! `casync digest`

use std::ffi::OsString;

use cairn::archive::digest::{digest, digest_at, digest_blob};

use super::looked::Looked;
use super::options::Options;
use super::print;
use super::what::What;
use crate::cli::Context;
use crate::cli::looked_into::bytes_of;

pub(super) fn run(words: &[OsString], options: &Options, context: &Context) -> anyhow::Result<()> {
    let looked = Looked::of("digest", words, options, &What::ALL)?;
    let (input, workers) = looked.open(options, context)?;
    let progress = context.progress.without_lines();
    let path = bytes_of(looked.path.as_ref());
    let digest = match looked.what {
        What::Blob => digest_blob(&input, options.digest, workers, &progress)?,
        What::Archive if !input.is_stream() && path.is_empty() => {
            input.archive()?;
            digest(&input, options.digest, workers, &progress)?
        }
        _ if path.is_empty() => digest(&input, options.digest, workers, &progress)?,
        _ => digest_at(&input, &path, workers, &progress)?,
    };
    print(&format!("{digest}\n"))
}
