//! An error as a line of text and an exit code.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use cairn::Error;

use super::program::Program;

/// Prints what is wrong with the command line, or the help that was asked for, and returns the exit
/// code: 0 for help, 2 for wrong use, but 1 as desync and casync.
pub(super) fn misuse(error: &clap::Error, program: Program) -> ExitCode {
    if program != Program::Cairn && error.use_stderr() {
        let text = error.render().to_string();
        let _ = writeln!(io::stderr(), "{}: {}", word(program), summary(&text));
        return ExitCode::from(1);
    }
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The first paragraph of clap's message on one line.
fn summary(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let paragraph = text.lines().take_while(|line| !line.trim().is_empty());
    paragraph.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// What `diff` ends with where there are differences: 1, and nothing is wrong.
#[derive(Debug, thiserror::Error)]
#[error("there are differences")]
pub(super) struct Differs;

/// Marks an error of a command for which 1 means something else: it ends with 2.
#[derive(Debug, thiserror::Error)]
#[error("")]
pub(super) struct Trouble;

/// Prints the error as one line, with a hint where one helps, and returns the exit code: 1, or
/// 128 and the number of the signal that ended the command.
pub(super) fn report(error: &anyhow::Error, signal: Option<u8>, program: Program) -> ExitCode {
    let failed = if error.is::<Trouble>() { 2 } else { 1 };
    if error.is::<Differs>() || is_closed_output(error) {
        // The reader of our standard output has seen enough, as in `cairn list-chunks … | head`.
        return ExitCode::from(failed);
    }
    // Where standard error is closed or full, the exit code has to do.
    let mut output = io::stderr();
    let _ = writeln!(output, "{}: {}", word(program), one_line(error));
    // Hints name flags, and casync's are others.
    if program != Program::Casync
        && let Some(hint) = hint(error)
    {
        let _ = writeln!(output, "hint: {hint}");
    }
    match (error.downcast_ref(), signal) {
        (Some(Error::Interrupted), Some(signal)) => ExitCode::from(128 + signal),
        _ => ExitCode::from(failed),
    }
}

/// What lines about errors begin with.
fn word(program: Program) -> &'static str {
    match program {
        Program::Cairn | Program::Casync => "error",
        Program::Desync => "Error",
    }
}

/// Prints a line about what did not stop the command.
pub(super) fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "warning: {}", printable(line));
}

/// `what: why: cause`, without saying anything twice.
pub(super) fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.ends_with(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    printable(&line)
}

/// One line for a terminal: file names may hold line breaks and what terminals take for commands.
pub(super) fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "?")
}

fn io_error(error: &anyhow::Error) -> Option<&io::Error> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

fn is_closed_output(error: &anyhow::Error) -> bool {
    use cairn_store::Error as Store;
    let (path, source) = match error.downcast_ref() {
        Some(Error::Io { path, source, .. } | Error::Store(Store::Io { path, source, .. })) => {
            (path, source)
        }
        _ => match error.downcast_ref() {
            Some(Store::Io { path, source, .. }) => (path, source),
            _ => return false,
        },
    };
    path == Path::new("standard output") && source.kind() == io::ErrorKind::BrokenPipe
}

/// Whether it was a store that gave us something wrong.
fn is_of_store(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Store(_)))
}

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    use cairn_formats::Error as Format;
    use cairn_store::{Again, Error as Store};
    let format = error.chain().find_map(|cause| cause.downcast_ref::<Format>());
    // What wraps a store's error without a word of its own hides it from the chain.
    let store = match error.downcast_ref() {
        Some(Error::Store(error)) => Some(error),
        _ => error.chain().find_map(|cause| cause.downcast_ref::<Store>()),
    };
    match (format, store.map(Store::root)) {
        (
            Some(
                Format::WrongId { .. }
                | Format::WrongSize { .. }
                | Format::BadCoding { .. }
                | Format::BadSeal { .. },
            ),
            _,
        ) if is_of_store(error) => Some(
            "the chunk is damaged in the store: add another store with -s, or write it again \
                 with `cairn make --repair` from the original",
        ),
        (_, Some(Store::Missing { .. })) => {
            Some("add the store that has the chunk with -s, or make it again from the original")
        }
        (_, Some(Store::Denied { .. })) => Some(
            "give credentials for it: in the configuration, in the environment or, for ssh and sftp, \
             in ssh's own configuration",
        ),
        (_, Some(Store::Unreachable { why, .. })) if why.contains("certificate") => Some(
            "--ca-cert names the authority to trust; --trust-insecure takes any certificate, and \
             anybody's",
        ),
        (_, Some(Store::Unreachable { again: Again::Yes | Again::After(_), .. })) => Some(
            "see that the server runs and the address is right; another store can be added with -s, \
             a mirror with '|'",
        ),
        (_, Some(Store::Busy { .. })) => Some("wait until it is done and run the command again"),
        _ => match io_error(error).map(io::Error::kind) {
            Some(io::ErrorKind::StorageFull) => Some("free some space and run the command again"),
            _ => None,
        },
    }
}
