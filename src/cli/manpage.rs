//! `cairn manpage`

use std::path::PathBuf;

use anyhow::Context;
use clap::{Command, CommandFactory, Parser};
use clap_mangen::Man;

use super::Cli;
use super::program::Program;

/// Write manual pages into a directory, one for each command
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Directory to write to; it must be there
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Title of all pages instead of the name of each
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,

    /// Section of the manual, letters and digits
    #[arg(long, value_name = "SECTION", default_value = "3", value_parser = section)]
    section: String,

    /// Where the program is from, for the foot of the pages
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,

    /// Name of the manual, for the head of the pages
    #[arg(long, value_name = "TEXT")]
    manual: Option<String>,
}

pub(super) fn run(args: &Args, program: Program) -> anyhow::Result<()> {
    let mut all = Cli::command().name(program.name()).bin_name(program.name());
    all.build();
    write_page(args, &all, program.name())?;
    for command in all.get_subcommands().filter(|command| command.get_name() != "help") {
        write_page(args, command, &format!("{}-{}", program.name(), command.get_name()))?;
    }
    Ok(())
}

/// Writes the page of a command into the file `name.section`.
fn write_page(args: &Args, command: &Command, name: &str) -> anyhow::Result<()> {
    // `name` is made of words that we chose, the section of letters and digits.
    let path = args.directory.join(format!("{name}.{}", args.section));
    let mut page = Man::new(command.clone())
        .title(args.title.as_deref().unwrap_or(name))
        .section(&args.section)
        .manual(args.manual.as_deref().unwrap_or_default());
    if let Some(source) = &args.source {
        page = page.source(source);
    }
    let mut text = Vec::new();
    page.render(&mut text)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A section becomes part of file names.
fn section(text: &str) -> Result<String, String> {
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
    is_plain.then(|| text.to_owned()).ok_or_else(|| "not letters and digits".to_owned())
}
