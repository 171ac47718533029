//! The name the program was called by. As `desync` it behaves as scripts for desync expect.

use std::env;
use std::path::Path;

/// The program that the user means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Cairn,
    /// Called through a link of this name: wrong use ends with 1, errors begin with `Error: `, and
    /// desync's configuration file comes first.
    Desync,
}

impl Program {
    pub(super) fn called() -> Self {
        let path = env::args_os().next().unwrap_or_default();
        match Path::new(&path).file_name() {
            Some(name) if name == "desync" => Program::Desync,
            _ => Program::Cairn,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Program::Cairn => "cairn",
            Program::Desync => "desync",
        }
    }
}
