//! The name the program was called by. As `desync` and `casync` it behaves as scripts for these expect.

use std::env;
use std::path::Path;

/// The program that the user means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Cairn,
    /// Called through a link of this name: wrong use ends with 1, errors begin with `Error: `, and
    /// desync's configuration file comes first.
    Desync,
    /// Called through a link of this name, or as `cairn casync`: the words are those of casync, and
    /// wrong use ends with 1.
    Casync,
}

impl Program {
    pub(super) fn called() -> Self {
        let path = env::args_os().next().unwrap_or_default();
        match Path::new(&path).file_name() {
            Some(name) if name == "desync" => Program::Desync,
            Some(name) if name == "casync" => Program::Casync,
            _ => Program::Cairn,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Program::Cairn => "cairn",
            Program::Desync => "desync",
            Program::Casync => "casync",
        }
    }
}
