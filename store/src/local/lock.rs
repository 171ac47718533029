//! Who writes to a store, and who clears it up.
//!
//! Writers hold the store's directory locked together, a prune holds it alone. Without that a prune could
//! remove a chunk that a writer has just seen to be there and so does not put. Other programs' writers
//! know nothing of this lock; against them a prune has its grace period.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::{Error, Result};

/// A lock on a store's directory, let go of when it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _directory: File,
}

impl Lock {
    /// Joins the writers of a store. Waits while a prune is going on.
    pub(super) fn among_writers(root: &Path) -> Result<Self> {
        match Self::take(root, FlockOperation::NonBlockingLockShared) {
            Err(Error::Busy { place, .. }) => {
                tracing::warn!(store = place, "waiting for another process to clear up the store");
                Self::take(root, FlockOperation::LockShared)
            }
            taken => taken,
        }
    }

    /// Excludes all writers. Fails if there are any: what they are writing is in no index yet, and
    /// would be taken for garbage.
    pub(super) fn alone(root: &Path) -> Result<Self> {
        Self::take(root, FlockOperation::NonBlockingLockExclusive)
    }

    fn take(root: &Path, operation: FlockOperation) -> Result<Self> {
        let directory = File::open(root).map_err(Error::io("open store", root))?;
        loop {
            match flock(&directory, operation) {
                Err(Errno::WOULDBLOCK) => {
                    let place = root.display().to_string();
                    let why = "another process is writing to the store";
                    return Err(Error::Busy { place, why: why.to_owned() });
                }
                Err(Errno::INTR) => {}
                // A file system without locks, such as some network ones, is no reason to fail.
                Ok(()) | Err(_) => return Ok(Self { _directory: directory }),
            }
        }
    }
}
