//! What `pull` and `push` share: the arguments that casync gives them, and their pipes.

use std::fs::File;
use std::io::{self, stdin, stdout};
use std::os::fd::AsFd;
use std::str::FromStr;

/// An argument, or nothing where `-` or an empty word stands.
#[derive(Clone, Debug)]
pub(super) struct Maybe<T>(pub(super) Option<T>);

/// An argument that is always `-`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nothing;

/// Reads an argument that may be nothing.
pub(super) fn something<T: FromStr>(text: &str) -> Result<Maybe<T>, T::Err> {
    match text {
        "" | "-" => Ok(Maybe(None)),
        text => text.parse().map(|argument| Maybe(Some(argument))),
    }
}

/// Reads an argument that must be nothing.
pub(super) fn nothing(text: &str) -> Result<Nothing, &'static str> {
    match text {
        "" | "-" => Ok(Nothing),
        _ => Err("only `-` is possible here"),
    }
}

/// Standard input and output as they are, without a buffer.
pub(super) fn standard() -> io::Result<(File, File)> {
    let input = stdin().as_fd().try_clone_to_owned()?;
    let output = stdout().as_fd().try_clone_to_owned()?;
    Ok((File::from(input), File::from(output)))
}
