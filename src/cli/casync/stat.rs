//! `casync stat`

use std::ffi::OsString;

use cairn::archive::stat::{stat, stat_directory};

use super::list::KINDS;
use super::looked::Looked;
use super::options::Options;
use super::what::What;
use crate::cli::looked_into::bytes_of;
use crate::cli::{self, Context};

pub(super) fn run(words: &[OsString], options: &Options, context: &Context) -> anyhow::Result<()> {
    let looked = Looked::of("stat", words, options, &KINDS)?;
    if looked.what == What::Directory && looked.path.is_none() {
        let directory = looked.directory()?;
        return cli::stat::print(&stat_directory(
            directory,
            options.features(true),
            options.shift(),
        )?);
    }
    let (input, workers) = looked.open(options, context)?;
    let progress = context.progress.without_lines();
    cli::stat::print(&stat(&input, &bytes_of(looked.path.as_ref()), workers, &progress)?)
}
