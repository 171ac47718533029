//! The command line: what was typed, turned into calls of the library.
//!
//! One file a command; its `Args` struct is the command's help. What all share stands beside them:
//! `options` (groups of flags), `progress` (bars and desync's progress lines), `signals`, `failure`
//! (an error as a line of text and an exit code), `json` (what scripts read), `age` (`7d`).

mod age;
mod cache;
mod chop;
mod chunk;
mod extract;
mod failure;
mod info;
mod inspect_chunks;
mod json;
mod list_chunks;
mod make;
mod options;
mod progress;
mod prune;
mod signals;
mod verify;
mod verify_index;

use std::process::ExitCode;

use cairn_formats::Digest;
use clap::{Parser, Subcommand};

use self::progress::Progress;
use self::signals::Signals;

/// Stores big files by content, compatible with casync and desync
#[derive(Debug, Parser)]
#[command(name = "cairn", version, propagate_version = true, disable_help_subcommand = false)]
struct Cli {
    /// Digest that chunk ids are made with: sha512-256 or sha256
    #[arg(long, global = true, value_name = "NAME", default_value = "sha512-256")]
    digest: Digest,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Make(make::Args),
    Extract(extract::Args),
    Chunk(chunk::Args),
    ListChunks(list_chunks::Args),
    Info(info::Args),
    InspectChunks(inspect_chunks::Args),
    VerifyIndex(verify_index::Args),
    Chop(chop::Args),
    Cache(cache::Args),
    Verify(verify::Args),
    Prune(prune::Args),
}

/// What every command is run with.
struct Context {
    digest: Digest,
    signals: Signals,
    progress: Progress,
}

/// Runs the command that was typed.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let signals = Signals::default();
    let context = Context {
        digest: cli.digest,
        progress: Progress::from_environment(signals.clone()),
        signals,
    };
    let outcome = match cli.command {
        Command::Make(args) => make::run(&args, &context),
        Command::Extract(args) => extract::run(&args, &context),
        Command::Chunk(args) => chunk::run(&args, &context),
        Command::ListChunks(args) => list_chunks::run(&args, &context),
        Command::Info(args) => info::run(&args, &context),
        Command::InspectChunks(args) => inspect_chunks::run(&args, &context),
        Command::VerifyIndex(args) => verify_index::run(&args, &context),
        Command::Chop(args) => chop::run(&args, &context),
        Command::Cache(args) => cache::run(&args, &context),
        Command::Verify(args) => verify::run(&args, &context),
        Command::Prune(args) => prune::run(&args, &context),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failure::report(&e, context.signals.caught()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
