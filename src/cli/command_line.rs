//! Reading the command line, with flags that may be given a value: `--in-place=false`.
//!
//! The commands declare a flag as a plain `bool`. Help, man pages and completions are made from
//! that declaration; what is typed is read with another in which every such flag takes a value.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, Error, Parser};

/// Reads the command line. The error may also be the help that the user asked for.
pub(super) fn read<T: Parser>(words: &[OsString]) -> Result<T, Error> {
    let matches = with_values(T::command()).try_get_matches_from(words);
    matches.and_then(|matches: ArgMatches| T::from_arg_matches(&matches)).map_err(|error| {
        match error.kind() {
            ErrorKind::DisplayHelp => plain_help::<T>(words).unwrap_or(error),
            _ => error,
        }
    })
}

/// The same help without values. There is none if a flag with a value stands before it.
fn plain_help<T: CommandFactory>(words: &[OsString]) -> Option<Error> {
    let error = T::command().try_get_matches_from(words).err()?;
    (error.kind() == ErrorKind::DisplayHelp).then_some(error)
}

/// The flag that may not be given again where it takes one value: whoever names two stores to write to
/// wants both.
const ONCE: &str = "store";

/// The command with all flags, also those of its commands, taking `true` or `false`.
fn with_values(command: Command) -> Command {
    command.mut_args(with_value).mut_subcommands(with_values)
}

/// Of a flag with one value that is given again the last counts, so that a script can take back what its
/// defaults say.
fn with_value(flag: Arg) -> Arg {
    let id = flag.get_id().clone();
    let is_flag = flag.get_long().is_some();
    match flag.get_action() {
        ArgAction::SetTrue => flag
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_name("BOOL")
            .value_parser(parse_bool)
            .default_missing_value("true")
            .default_value("false")
            .overrides_with(id),
        ArgAction::Set if is_flag && id != ONCE => flag.overrides_with(id),
        _ => flag,
    }
}

/// What Go takes for true and false.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[arg(short, long, global = true)]
        loud: bool,
        #[command(subcommand)]
        command: Option<Sub>,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Sub {
        Do {
            #[arg(short = 'k', long)]
            keep: bool,
        },
    }

    fn flags(words: &str) -> Option<(bool, bool)> {
        let words: Vec<OsString> =
            ["x"].into_iter().chain(words.split(' ')).map(Into::into).collect();
        let line: Line = read(&words).ok()?;
        line.command.map(|Sub::Do { keep }| (line.loud, keep))
    }

    #[test]
    fn flags_take_values() {
        for (words, expected) in [
            ("do", (false, false)),
            ("do -k", (false, true)),
            ("do --keep", (false, true)),
            ("do --keep=true", (false, true)),
            ("do --keep=false", (false, false)),
            ("do -k=false", (false, false)),
            ("do -k=T", (false, true)),
            ("do --keep --keep=0", (false, false)),
            ("do --keep=0 --keep", (false, true)),
            ("do --loud", (true, false)),
            ("--loud do --loud=false", (false, false)),
            ("--loud do -lk", (true, true)),
        ] {
            assert_eq!(flags(words), Some(expected), "{words}");
        }
        for words in ["do --keep=yes", "do --keep=", "do --keep true"] {
            assert_eq!(flags(words), None, "{words}");
        }
    }

    #[test]
    fn help_shows_plain_flags() {
        for words in ["x do --help", "x do -k --help"] {
            let words: Vec<OsString> = words.split(' ').map(Into::into).collect();
            let help = read::<Line>(&words).unwrap_err().to_string();
            assert!(help.contains("-k, --keep") && !help.contains("BOOL"), "{help}");
        }
    }
}
