//! casync's command line: its verbs, options and defaults, what it prints and how it ends.
//!
//! ```text
//! casync [OPTIONS] VERB [ARGUMENTS]      options may stand anywhere; `--` ends them
//!
//! options    what is typed               place    a word -> a location; the default store
//! what       kinds of things worked on   looked   archives and blobs to look into
//! make, extract, list, mtree, stat, digest, mount, mkdev, gc, pull, push       the verbs
//! ```
//! What the verbs do is done by the library functions that cairn's own commands call, too. Results go to standard
//! output and look as casync's; what went wrong is one line on standard error, and the program ends with 1.

mod digest;
mod extract;
mod gc;
mod list;
mod looked;
mod make;
mod mkdev;
mod mount;
mod mtree;
mod options;
mod place;
mod pull;
mod push;
mod stat;
mod what;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use cairn_formats::flags;
use clap::{CommandFactory, Parser};

use self::options::{Asked, Options};
use self::what::What;
use super::program::Program;
use super::signals::Signals;
use super::store_flags::Given;
use super::{Context, Global, failure};

/// The word that says the rest are casync's.
pub(super) const NAME: &str = "casync";

/// The casync whose command line this is, and who stands in for it.
const VERSION: &str = concat!("2 (cairn ", env!("CARGO_PKG_VERSION"), ")");

const VERBS: &str = "\
  casync [OPTIONS] make [ARCHIVE|ARCHIVE_INDEX|BLOB_INDEX] [PATH]
  casync [OPTIONS] extract [ARCHIVE|ARCHIVE_INDEX|BLOB_INDEX] [PATH] [SUBPATH]
  casync [OPTIONS] list [ARCHIVE|ARCHIVE_INDEX|DIRECTORY] [SUBPATH]
  casync [OPTIONS] mtree [ARCHIVE|ARCHIVE_INDEX|DIRECTORY] [SUBPATH]
  casync [OPTIONS] stat [ARCHIVE|ARCHIVE_INDEX|DIRECTORY] [SUBPATH]
  casync [OPTIONS] digest [ARCHIVE|BLOB|ARCHIVE_INDEX|BLOB_INDEX|DIRECTORY] [SUBPATH]
  casync [OPTIONS] mount [ARCHIVE|ARCHIVE_INDEX|BLOB_INDEX] PATH
  casync [OPTIONS] mkdev [BLOB|BLOB_INDEX] [NODE]
  casync [OPTIONS] gc BLOB_INDEX|ARCHIVE_INDEX...
  casync help";

/// Content-addressable data synchronization, in casync's words
#[derive(Debug, Parser)]
#[command(name = NAME, version = VERSION, override_usage = VERBS.trim_start(), infer_long_args = true,
          args_override_self = true)]
struct Words {
    #[command(flatten)]
    options: Options,

    /// Verb and its arguments
    #[arg(hide = true)]
    words: Vec<OsString>,
}

/// Take casync's verbs and options, as through a link named `casync`
///
/// `casync` is the first word behind `cairn`, and all that follows is as casync has it: `cairn casync --help`
/// lists it.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Options, verb and arguments of casync
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<OsString>,
}

/// Runs what was typed behind the name.
pub(super) fn main(words: &[OsString]) -> ExitCode {
    let typed = std::iter::once(OsStr::new(NAME)).chain(words.iter().map(OsString::as_os_str));
    let words = match Words::try_parse_from(typed) {
        Ok(words) => words,
        Err(e) => return failure::misuse(&e, Program::Casync),
    };
    let signals = Signals::default();
    match run(&words, signals.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failure::report(&e, signals.caught(), Program::Casync),
    }
}

fn run(Words { options, words }: &Words, signals: Signals) -> anyhow::Result<()> {
    if options.asks_for_kinds() {
        let names = What::ALL.map(|what| format!("{}\n", what.name())).concat();
        return print(&format!("Allowed --what= selectors:\n{names}"));
    }
    if options.asks_for_features() {
        let single = flags::FEATURES.iter().filter(|(_, bits)| bits.is_power_of_two());
        let names: String = single.map(|(name, _)| format!("{name}\n")).collect();
        return print(&format!("Supported --with= and --without= flags:\n{names}"));
    }
    let (verb, words) =
        words.split_first().context("a verb is missing: `casync help` lists them")?;
    let verb = verb.to_string_lossy();
    if verb == "help" {
        return print(&Words::command().render_help().to_string());
    }
    let job = verb_named(&verb)?;
    job(words, options, &Context::new(globals(options)?, Program::Casync, signals)?)
}

/// What a verb does with its arguments.
type Job = fn(&[OsString], &Options, &Context) -> anyhow::Result<()>;

fn verb_named(verb: &str) -> anyhow::Result<Job> {
    Ok(match verb {
        "make" => make::run,
        "extract" => extract::run,
        "list" => list::run,
        "mtree" => mtree::run,
        "stat" => stat::run,
        "digest" => digest::run,
        "gc" => gc::run,
        "pull" => pull::run,
        "push" => push::run,
        "mount" => mount::run,
        "mkdev" => mkdev::run,
        _ => anyhow::bail!("there is no verb `{verb}`: `casync help` lists them"),
    })
}

/// What all commands of cairn have, as casync's options say it.
fn globals(options: &Options) -> anyhow::Result<Given<Global>> {
    let mut words = vec![
        "cairn".to_owned(),
        format!("--digest={}", options.digest),
        format!("--log-level={}", options.log_level()),
        format!("--rate-limit-bps={}", options.rate_limit_bps.unwrap_or(0)),
    ];
    words.extend(options.is_verbose().then(|| "--verbose".to_owned()));
    Ok(super::Cli::try_parse_from(words)?.global)
}

fn print(text: &str) -> anyhow::Result<()> {
    let written = io::stdout().write_all(text.as_bytes());
    Ok(written.map_err(cairn::Error::io("write to", "standard output"))?)
}

/// The value of an option that can also be asked what there is.
fn given<T: Copy>(asked: &Asked<T>) -> Option<T> {
    match asked {
        Asked::Help => None,
        Asked::Value(value) => Some(*value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Words::command().debug_assert();
    }

    #[test]
    fn options_stand_anywhere_and_may_be_cut_short() {
        let read = |line: &str| {
            let words = Words::try_parse_from(std::iter::once("casync").chain(line.split(' ')));
            words
                .map(|Words { options, words }| (options.dry_run, options.exclude_submounts, words))
        };
        let expected = |dry, submounts| (dry, submounts, vec!["list".into(), "x".into()]);
        for (line, expected) in [
            ("list x", expected(false, false)),
            ("-n list x", expected(true, false)),
            ("list -vn x", expected(true, false)),
            ("list x --dry", expected(true, false)),
            ("list --exclude-s=yes x", expected(false, true)),
            ("list x --exclude-submounts yes", expected(false, true)),
            ("--exclude-submounts=1 list x --exclude-submounts=off", expected(false, false)),
            ("-- list x", expected(false, false)),
        ] {
            assert_eq!(read(line).unwrap(), expected, "{line}");
        }
        for line in
            ["--exclude=yes list x", "list --nonsense", "list -x", "--delete list", "--store"]
        {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
