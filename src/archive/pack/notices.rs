//! What is not in an archive, or not as it should be: told as it happens, and counted.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Monitor;
use crate::flow::lock;
use crate::tree::record::Why;

/// Tells and counts.
pub(super) struct Notices<'a> {
    monitor: &'a dyn Monitor,
    left_out: AtomicU64,
    changed: Mutex<HashSet<PathBuf>>,
}

impl<'a> Notices<'a> {
    pub(super) fn new(monitor: &'a dyn Monitor) -> Self {
        Self { monitor, left_out: AtomicU64::new(0), changed: Mutex::default() }
    }

    /// A name is not archived.
    pub(super) fn left_out(&self, path: &Path, why: Why) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
        self.monitor.notice(
            path,
            match why {
                Why::Kind => "left out: nothing of its kind is recorded",
                Why::NoDump => "left out: it is marked \"no dump\"",
                Why::OtherMount => "left out: it is in another mount",
                Why::Vanished => "left out: it was removed meanwhile",
            },
        );
    }

    /// The archive is not archived in itself, nor is what is known of the tree.
    pub(super) fn own(&self, path: &Path, is_cache: bool) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
        let why =
            if is_cache { "left out: it is the cache" } else { "left out: it is the archive" };
        self.monitor.notice(path, why);
    }

    /// A file was changed while it was archived. Each is told once, though it may be read in pieces.
    pub(super) fn changed(&self, path: &Path) {
        if lock(&self.changed).insert(path.to_owned()) {
            self.monitor.notice(path, "changed while it was archived");
        }
    }

    /// How many names were left out, and how many files changed.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.left_out.load(Ordering::Relaxed), lock(&self.changed).len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;

    #[test]
    fn a_file_that_changed_is_one_file() {
        let notices = Notices::new(&Silent);
        for path in ["a", "b", "a", "a"] {
            notices.changed(Path::new(path));
        }
        assert_eq!(notices.counts(), (0, 2));
    }
}
