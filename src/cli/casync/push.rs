//! `casync push`: what the other side of ssh starts to write to here.

use std::ffi::OsString;

use clap::Parser;

use super::options::Options;
use crate::cli::{Context, push};

pub(super) fn run(words: &[OsString], _: &Options, context: &Context) -> anyhow::Result<()> {
    let words = std::iter::once("push".into()).chain(words.iter().cloned());
    push::run(&push::Args::try_parse_from(words)?, context)
}
