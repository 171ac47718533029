//! What can go wrong in a job.

use std::io;
use std::path::{Path, PathBuf};

/// The result of a job.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a job, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store or an index file failed.
    #[error(transparent)]
    Store(cairn_store::Error),
    /// Parameters or bytes that do not fit the formats.
    #[error(transparent)]
    Format(#[from] cairn_formats::Error),
    /// A file is not as it should be.
    #[error("{}: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system refused an operation on a file.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// The operation, as in "cannot …".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The user asked for an end.
    #[error("interrupted")]
    Interrupted,
}

impl From<cairn_store::Error> for Error {
    fn from(error: cairn_store::Error) -> Self {
        match error.root() {
            cairn_store::Error::Stopped => Error::Interrupted,
            _ => Error::Store(error),
        }
    }
}

impl Error {
    /// For `map_err`: what was being done, to which file.
    pub fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::Io { doing, path: path.as_ref().to_owned(), source }
    }

    /// A file that is not as it should be.
    pub fn file(path: impl AsRef<Path>, why: impl Into<String>) -> Self {
        Error::File { path: path.as_ref().to_owned(), why: why.into() }
    }
}
