//! The wish of the user that everybody who waits for a network stops waiting.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How soon the wish is noticed by those who wait.
pub(crate) const NOTICED: Duration = Duration::from_millis(50);

/// Whether those who wait for a network are to give up: a number that a signal handler can set.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Stops when the number is no longer 0.
    pub fn when(not_zero: Arc<AtomicUsize>) -> Self {
        Self(not_zero)
    }

    /// Whether there is no use in going on.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Sleeps, but no longer than until the wish. An error then.
    pub(crate) fn sleep(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            if self.is_asked() {
                return Err(Error::Stopped);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(NOTICED));
        }
    }

    /// The outcome of something, or an error once the wish is there.
    pub(crate) async fn or<T>(&self, outcome: impl Future<Output = Result<T>>) -> Result<T> {
        let asked = async {
            while !self.is_asked() {
                tokio::time::sleep(NOTICED).await;
            }
        };
        tokio::select! {
            biased;
            outcome = outcome => outcome,
            () = asked => Err(Error::Stopped),
        }
    }
}
