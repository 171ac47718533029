//! How jobs say what they are doing. The library does not print.

use std::path::Path;

use crate::{Error, Result};

/// What a phase counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of the blob.
    Bytes,
    /// Chunks.
    Chunks,
}

/// Told by a job what it is doing, and asked whether to go on. Called from many threads.
pub trait Monitor: Sync {
    /// A phase begins, with the number of units it will take if that is known. Phases follow each
    /// other; `name` is a word such as `Chunking`.
    fn start(&self, _name: &str, _unit: Unit, _total: Option<u64>) {}

    /// It has become known how many units the phase will take.
    fn expect(&self, _total: u64) {}

    /// So many more units are done.
    fn advance(&self, _units: u64) {}

    /// The phase has come to its end, be it early.
    fn finish(&self) {}

    /// Something was not done with a file, or not as it should be, and the job goes on.
    fn notice(&self, _path: &Path, _what: &str) {}

    /// Whether the user wants the job to end now.
    fn is_interrupted(&self) -> bool {
        false
    }

    /// For `?`: an error if the user wants the job to end.
    fn check(&self) -> Result<()> {
        if self.is_interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// A monitor that shows nothing but may stop the job: for a job that is part of another one.
#[derive(Clone, Copy)]
pub(crate) struct Quiet<'a>(pub(crate) &'a dyn Monitor);

impl Monitor for Quiet<'_> {
    fn is_interrupted(&self) -> bool {
        self.0.is_interrupted()
    }
}

/// The same, but what there is to tell of files is told.
#[derive(Clone, Copy)]
pub(crate) struct Aside<'a>(pub(crate) &'a dyn Monitor);

impl Monitor for Aside<'_> {
    fn notice(&self, path: &Path, what: &str) {
        self.0.notice(path, what);
    }

    fn is_interrupted(&self) -> bool {
        self.0.is_interrupted()
    }
}

/// A monitor that neither shows nor stops anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {}
