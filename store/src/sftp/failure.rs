//! What can go wrong with a request, before it is said whose.

use crate::{Again, Error};

/// Why a request has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such file, or no directory for it.
    Missing,
    /// The server does not let us.
    Denied(String),
    /// The server does not know how to.
    Unsupported(String),
    /// The server says no: a full disk, a name that is taken, and what else it has no word for.
    Refused(String),
    /// There is no session, or not any more.
    Lost { why: String, again: Again },
}

impl Failure {
    /// A session that has worked is gone: another may work as well.
    pub(super) fn lost(why: impl Into<String>) -> Self {
        Failure::Lost { why: why.into(), again: Again::Yes }
    }

    /// The server has sent what is no answer to that.
    pub(super) fn nonsense() -> Self {
        Failure::Refused("the server has answered something else than it was asked".to_owned())
    }

    /// The error, at a place.
    pub(super) fn at(self, place: impl Into<String>) -> Error {
        let place = place.into();
        match self {
            Failure::Missing => {
                let why = "no such file or directory".to_owned();
                Error::Unreachable { place, why, again: Again::No }
            }
            Failure::Denied(why) => Error::Denied { place, why },
            Failure::Unsupported(why) => Error::Unsupported { place, why },
            Failure::Refused(why) => Error::Unreachable { place, why, again: Again::No },
            Failure::Lost { why, again } => Error::Unreachable { place, why, again },
        }
    }
}
