//! What can go wrong in a store, by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cairn_formats::ChunkId;

/// The result of asking a store for something.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store does not have the chunk: try another one.
    #[error("chunk {id} is missing from store {store}")]
    Missing {
        /// The chunk.
        id: ChunkId,
        /// Where it was looked for.
        store: String,
    },
    /// What the store holds is damaged or not what it should be: repair it.
    #[error("{place}: {source}")]
    Invalid {
        /// The store or file.
        place: String,
        /// What is wrong with its bytes.
        source: cairn_formats::Error,
    },
    /// A chunk does not hold what the index asks for: repair it, or take another store.
    #[error("{store}: at offset {at}: {source}")]
    Chunk {
        /// The store it came from.
        store: String,
        /// Where in the blob it belongs, in bytes.
        at: u64,
        /// What is wrong with it.
        source: cairn_formats::Error,
    },
    /// Somebody else is using the place: wait and try again.
    #[error("{place}: {why}")]
    Busy {
        /// The store or file.
        place: String,
        /// Who is in the way.
        why: String,
    },
    /// The place can not be used as asked: choose another one.
    #[error("{place}: {why}")]
    Unsupported {
        /// The location as given.
        place: String,
        /// What it cannot do.
        why: String,
    },
    /// The place is far away and could not be reached, or failed to do what it should: try another,
    /// or the same again if that may help.
    #[error("{place}: {why}")]
    Unreachable {
        /// The store, chunk or index, without secrets.
        place: String,
        /// What happened.
        why: String,
        /// Whether it is worth trying again.
        again: Again,
    },
    /// The place does not let us in: give it other credentials.
    #[error("{place}: {why}")]
    Denied {
        /// The store, chunk or index, without secrets.
        place: String,
        /// What it said.
        why: String,
    },
    /// Whoever was asked gave up waiting, because the user wants an end.
    #[error("interrupted")]
    Stopped,
    /// What somebody else was told who asked for the same at the same time.
    #[error(transparent)]
    Joined(Arc<Error>),
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
}

/// Whether something that failed is worth trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It would fail again.
    No,
    /// It may pass.
    Yes,
    /// It may pass, but not before this time is over: the place said so.
    After(Duration),
}

impl Error {
    /// The error itself, if several were told of it: what to do about it does not depend on who asked.
    pub fn root(&self) -> &Self {
        let mut root = self;
        while let Error::Joined(error) = root {
            root = error;
        }
        root
    }

    /// Whether the same is worth trying again.
    pub fn again(&self) -> Again {
        match self.root() {
            Error::Unreachable { again, .. } => *again,
            _ => Again::No,
        }
    }

    /// Whether what the store holds of a chunk is damaged: another copy may be good.
    pub fn is_damage(&self) -> bool {
        matches!(self.root(), Error::Invalid { .. })
    }

    /// For `map_err`: what was being done, to which file.
    pub fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::Io { doing, path: path.as_ref().to_owned(), source }
    }

    /// For `map_err`: whose bytes are wrong.
    pub fn invalid(place: impl Into<String>) -> impl FnOnce(cairn_formats::Error) -> Self {
        move |source| Error::Invalid { place: place.into(), source }
    }
}
