//! Whether a store is worth asking.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a store that failed is left alone: it may come back while a mount or a server runs, and
/// a broken one should not be asked for every chunk.
const PAUSE: Duration = Duration::from_secs(10);

/// Remembers that a store failed, for a while.
#[derive(Debug, Default)]
pub(super) struct Health {
    failed: Mutex<Option<Instant>>,
}

impl Health {
    /// Whether it is to be left alone at the moment.
    pub(super) fn is_paused(&self) -> bool {
        self.failed().is_some_and(|failed| failed.elapsed() < PAUSE)
    }

    /// Leaves it alone from now on, for a while. Whether nobody had to before, since it last worked.
    pub(super) fn pause(&self) -> bool {
        self.failed().replace(Instant::now()).is_none()
    }

    /// It works.
    pub(super) fn works(&self) {
        self.failed().take();
    }

    /// Pretends that the pause is over.
    #[cfg(test)]
    pub(super) fn age(&self) {
        let mut failed = self.failed();
        *failed = failed.and_then(|failed| failed.checked_sub(PAUSE));
    }

    /// Nothing leaves it half changed, so a panic elsewhere does not matter.
    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
