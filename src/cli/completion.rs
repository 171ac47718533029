//! `cairn completion`

use std::io::{self, Write};

use cairn::Error;
use clap::{CommandFactory, Parser};
use clap_complete::{Shell, generate};

use super::Cli;
use super::program::Program;

/// Print a completion script for a shell
///
/// For bash, put it where bash looks for completions:
/// `cairn completion bash > ~/.local/share/bash-completion/completions/cairn`
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL")]
    shell: Option<String>,
}

/// As desync: for a shell that is not known, the help is printed, and that is no error.
pub(super) fn run(args: &Args, program: Program) -> anyhow::Result<()> {
    let shell = args.shell.as_deref().and_then(|name| name.parse::<Shell>().ok());
    let mut text = Vec::new();
    match shell {
        Some(shell) => generate(shell, &mut Cli::command(), program.name(), &mut text),
        None => {
            let mut all = Cli::command().bin_name(program.name());
            all.build();
            let own = all.find_subcommand_mut("completion").expect("it is this command");
            write!(text, "{}", own.render_long_help())?;
        }
    }
    io::stdout().write_all(&text).map_err(Error::io("write to", "standard output"))?;
    Ok(())
}
