//! `casync pull`: what the other side of ssh starts to read from here.

use std::ffi::OsString;

use clap::Parser;

use super::options::Options;
use crate::cli::{Context, pull};

pub(super) fn run(words: &[OsString], _: &Options, context: &Context) -> anyhow::Result<()> {
    let words = std::iter::once("pull".into()).chain(words.iter().cloned());
    pull::run(&pull::Args::try_parse_from(words)?, context)
}
