//! Whose turn it is to remove from a cache, and who asks that it be done once more.
//!
//! ```text
//! one who removes    lock, forget wishes, look, remove, unlock; a wish since then? once more
//! one who ends       puts done; locked by another? wish, and try again; still locked? leave
//! ```
//! So whoever ends need not wait until the others are through, however long they take: either he gets
//! the lock, or whoever holds it unlocks it later and then finds the wish. A wish that is gone was
//! forgotten by somebody who looks afterwards.
//!
//! A writer or a prune holds the same lock and grants no wishes. A wish made meanwhile stays until
//! somebody removes for a reason of his own.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::lock::Lock;
use crate::{Error, Result};

/// An empty file in the cache. By this name desync's `prune` clears it like other temporary files.
const WISH: &str = ".tmp-cacnk.look";

/// The right to remove from a cache, which one at a time has.
#[derive(Debug)]
pub(super) struct Turn {
    lock: Lock,
    root: PathBuf,
    /// Whether a wish that is there came after the turn was taken.
    forgot: bool,
}

impl Turn {
    /// Takes the turn, and all wishes with it. `None` if somebody else is removing, or writing.
    pub(super) fn take(root: &Path) -> Result<Option<Self>> {
        let lock = match Lock::alone(root) {
            Err(Error::Busy { .. }) => return Ok(None),
            lock => lock?,
        };
        // Another user's wish may be one that we cannot remove. It must not keep us at work for ever.
        let forgot = match fs::remove_file(root.join(WISH)) {
            Ok(()) => true,
            Err(e) => e.kind() == ErrorKind::NotFound,
        };
        Ok(Some(Self { lock, root: root.to_owned(), forgot }))
    }

    /// Lets go. Whether somebody wished meanwhile that it be taken once more.
    pub(super) fn end(self) -> bool {
        // In this order: who wishes afterwards finds it unlocked.
        drop(self.lock);
        self.forgot && is_wished(&self.root)
    }
}

/// Asks whoever has the turn, if he does not let go at once, to take it once more.
pub(super) fn wish(root: &Path) -> io::Result<()> {
    // Not through a link.
    let made = OpenOptions::new().write(true).create_new(true).open(root.join(WISH));
    match made {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Whether nobody has taken the turn since the last wish.
pub(super) fn is_wished(root: &Path) -> bool {
    root.join(WISH).symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LocalOptions, LocalStore};

    fn take(root: &Path) -> Turn {
        Turn::take(root).unwrap().unwrap()
    }

    #[test]
    fn a_wish_is_heard_once() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        wish(root).unwrap();
        let turn = take(root);
        assert!(!is_wished(root) && Turn::take(root).unwrap().is_none());
        wish(root).unwrap();
        wish(root).unwrap();
        assert!(turn.end());
        assert!(!take(root).end());
    }

    #[test]
    fn a_writer_has_the_turn() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let writer = LocalStore::create(root, LocalOptions::default()).unwrap();
        wish(root).unwrap();
        assert!(Turn::take(root).unwrap().is_none() && is_wished(root));
        drop(writer);
        assert!(!take(root).end() && !is_wished(root));
    }

    #[test]
    fn a_wish_that_cannot_be_forgotten_is_not_granted_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join(WISH)).unwrap();
        wish(root).unwrap();
        assert!(!take(root).end());
    }

    #[test]
    fn a_wish_follows_no_link() {
        let directory = tempfile::tempdir().unwrap();
        let (root, target) = (directory.path(), directory.path().join("target"));
        std::os::unix::fs::symlink(&target, root.join(WISH)).unwrap();
        wish(root).unwrap();
        assert!(!target.exists() && is_wished(root));
        assert!(!take(root).end() && !is_wished(root));
    }
}
