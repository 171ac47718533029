//! The command line: what was typed, turned into calls of the library.
//!
//! One file a command; its `Args` struct is the command's help. What all share stands beside them:
//!
//! ```text
//! program        the name we were called by      command_line   words -> flags and arguments
//! config         the configuration file          access         locations -> opened stores
//! options, store_flags, server_flags, seeds ...  groups of flags
//! duration, age                                  times as typed
//! progress       bars and desync's lines         log            what happens, for who wants it
//! signals        an orderly end                  outlet         where bytes in their order go
//! selection      what of a tree is recorded      failure        an error -> a line and an exit code
//! json           what scripts read               pipes   what pull and push share
//! looked_into    archives to look into   tree_seeds     directories with chunks of them
//! casync         the same jobs in casync's words
//! open_files     how many may be open            known_tree     what is known of one, kept
//! ```

mod access;
mod age;
mod awaited;
mod cache;
mod casync;
mod cat;
mod chop;
mod chunk;
mod chunk_server;
mod command_line;
mod completion;
mod config;
mod diff;
mod digest;
mod duration;
mod extract;
mod failure;
mod index_server;
mod info;
mod inspect_chunks;
mod json;
mod known_tree;
mod list;
mod list_chunks;
mod listing;
mod log;
mod looked_into;
mod make;
mod manpage;
mod mount;
mod mount_index;
mod mounting;
mod mtree;
mod open_files;
mod options;
mod outlet;
mod pipes;
mod program;
mod progress;
mod prune;
mod pull;
mod push;
mod read_cache;
mod seeds;
mod selection;
mod server_flags;
mod signals;
mod stat;
mod store_choice;
mod store_file;
mod store_flags;
mod tar;
mod tree_seeds;
mod untar;
mod verify;
mod verify_index;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use cairn_formats::Digest;
use clap::{CommandFactory, Parser, Subcommand};

use self::config::Config;
use self::log::LogFormat;
use self::program::Program;
use self::progress::Progress;
use self::signals::Signals;
use self::store_flags::Given;

/// Stores big files by content, compatible with casync and desync
#[derive(Debug, Parser)]
#[command(name = "cairn", version, propagate_version = true, disable_help_subcommand = false)]
struct Cli {
    #[command(flatten)]
    global: Given<Global>,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Flags that every command has.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of all commands")]
struct Global {
    /// Configuration file, instead of $HOME/.config/cairn/config.json or else that of desync
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Digest that chunk ids are made with: sha512-256 or sha256
    #[arg(long, global = true, value_name = "NAME", default_value = "sha512-256")]
    digest: Digest,

    /// Log to standard error what is done
    #[arg(long, global = true)]
    verbose: bool,

    /// Log in this form, without --verbose only what may need attention
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// What casync calls its level of logging: from 7 on, all is logged
    #[arg(long, global = true, hide = true, value_name = "N", default_value_t = 0)]
    log_level: u8,

    /// The most bytes a second that pull and push send, as casync gives it; 0 for no limit
    #[arg(long, global = true, hide = true, value_name = "N", default_value_t = 0)]
    rate_limit_bps: u64,
}

/// casync's level at which everything is logged.
const DEBUG: u8 = 7;

#[derive(Debug, Subcommand)]
enum Command {
    Make(make::Args),
    Tar(tar::Args),
    Extract(extract::Args),
    Cat(cat::Args),
    Untar(untar::Args),
    Chunk(chunk::Args),
    ListChunks(list_chunks::Args),
    Info(info::Args),
    InspectChunks(inspect_chunks::Args),
    VerifyIndex(verify_index::Args),
    Chop(chop::Args),
    List(listing::Args),
    Mtree(mtree::Args),
    Stat(stat::Args),
    Digest(digest::Args),
    Diff(diff::Args),
    Cache(cache::Args),
    Verify(verify::Args),
    Prune(prune::Args),
    Mount(mount::Args),
    MountIndex(mount_index::Args),
    ChunkServer(chunk_server::Args),
    IndexServer(index_server::Args),
    Pull(pull::Args),
    Push(push::Args),
    Config(config::Args),
    Manpage(manpage::Args),
    Completion(completion::Args),
    Casync(casync::Args),
    /// Print the version
    Version,
}

/// What every command is run with.
struct Context {
    program: Program,
    global: Given<Global>,
    digest: Digest,
    config: Config,
    signals: Signals,
    progress: Progress,
}

/// Runs the command that was typed.
pub(crate) fn main() -> ExitCode {
    cairn::survive_bus_errors();
    let program = Program::called();
    let words: Vec<OsString> = env::args_os().collect();
    match (program, &words[..]) {
        (Program::Casync, [_, rest @ ..]) => return casync::main(rest),
        // Flags behind it are casync's, also those that cairn has, too.
        (Program::Cairn, [_, word, rest @ ..]) if word == casync::NAME => {
            return casync::main(rest);
        }
        _ => {}
    }
    let cli: Cli = match command_line::read(&words) {
        Ok(cli) => cli,
        Err(e) => return failure::misuse(&e, program),
    };
    let signals = Signals::default();
    match run(cli, program, signals.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failure::report(&e, signals.caught(), program),
    }
}

fn run(cli: Cli, program: Program, signals: Signals) -> anyhow::Result<()> {
    let Cli { global, command } = cli;
    let context = || Context::new(global, program, signals);
    match command {
        Some(Command::Make(args)) => make::run(&args, &context()?),
        Some(Command::Tar(args)) => tar::run(&args, &context()?),
        Some(Command::Extract(args)) => extract::run(&args, &context()?),
        Some(Command::Cat(args)) => cat::run(&args, &context()?),
        Some(Command::Untar(args)) => untar::run(&args, &context()?),
        Some(Command::Chunk(args)) => chunk::run(&args, &context()?),
        Some(Command::ListChunks(args)) => list_chunks::run(&args, &context()?),
        Some(Command::Info(args)) => info::run(&args, &context()?),
        Some(Command::InspectChunks(args)) => inspect_chunks::run(&args, &context()?),
        Some(Command::VerifyIndex(args)) => verify_index::run(&args, &context()?),
        Some(Command::Chop(args)) => chop::run(&args, &context()?),
        Some(Command::List(args)) => listing::run(&args, &context()?),
        Some(Command::Mtree(args)) => mtree::run(&args, &context()?),
        Some(Command::Stat(args)) => stat::run(&args, &context()?),
        Some(Command::Digest(args)) => digest::run(&args, &context()?),
        Some(Command::Diff(args)) => diff::run(&args, context()),
        Some(Command::Cache(args)) => cache::run(&args, &context()?),
        Some(Command::Verify(args)) => verify::run(&args, &context()?),
        Some(Command::Prune(args)) => prune::run(&args, &context()?),
        Some(Command::Mount(args)) => mount::run(&args, &context()?),
        Some(Command::MountIndex(args)) => mount_index::run(&args, &context()?),
        Some(Command::ChunkServer(args)) => chunk_server::run(&args, &context()?),
        Some(Command::IndexServer(args)) => index_server::run(&args, &context()?),
        Some(Command::Pull(args)) => pull::run(&args, &context()?),
        Some(Command::Push(args)) => push::run(&args, &context()?),
        Some(Command::Config(args)) => config::run(&args, &context()?),
        // What these say is of the program itself: no configuration is read, so none can be wrong.
        Some(Command::Manpage(args)) => manpage::run(&args, program),
        Some(Command::Completion(args)) => completion::run(&args, program),
        Some(Command::Casync(_)) => anyhow::bail!("`casync` must be the first word behind `cairn`"),
        Some(Command::Version) => print(&Cli::command().render_version()),
        None => print(&Cli::command().bin_name(program.name()).render_help()),
    }
}

impl Context {
    /// Starts the log and reads the configuration.
    fn new(global: Given<Global>, program: Program, signals: Signals) -> anyhow::Result<Self> {
        let is_logging = log::start(global.verbose || global.log_level >= DEBUG, global.log_format);
        Ok(Self {
            program,
            digest: global.digest,
            config: Config::load(program, global.config.as_deref())?,
            progress: Progress::from_environment(signals.clone(), is_logging),
            signals,
            global,
        })
    }
}

fn print(text: &dyn std::fmt::Display) -> anyhow::Result<()> {
    write!(io::stdout(), "{text}").map_err(cairn::Error::io("write to", "standard output"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
