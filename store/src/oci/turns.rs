//! One at a time for each tag: two that put the same chunk would get into each other's way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The tags that are being written.
#[derive(Default)]
pub(super) struct Turns {
    busy: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

/// The right to write a tag, until it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    tag: &'a str,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody else writes the tag.
    pub(super) async fn turn<'a>(&'a self, tag: &'a str) -> Turn<'a> {
        // Made first, so that it cleans up even if nobody waits to the end.
        let mut turn = Turn { turns: self, tag, guard: None };
        let lock = self.busy().entry(tag.to_owned()).or_default().clone();
        turn.guard = Some(lock.lock_owned().await);
        turn
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<String, Arc<AsyncMutex<()>>>> {
        // Nothing leaves it half changed.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut busy = self.turns.busy();
        // Whoever else waits or writes holds it too.
        if busy.get(self.tag).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            busy.remove(self.tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::remote::runtime::wait;

    #[test]
    fn one_tag_is_for_one_and_nothing_is_left_behind() {
        let turns = Turns::default();
        let (writing, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        wait(async {
                            let _turn = turns.turn("a").await;
                            assert_eq!(writing.fetch_add(1, Ordering::SeqCst), 0);
                            tokio::task::yield_now().await;
                            writing.fetch_sub(1, Ordering::SeqCst);
                        });
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.load(Ordering::SeqCst), 400);
        wait(async {
            let (a, _b) = (turns.turn("a").await, turns.turn("b").await);
            // One that gives up while it waits.
            let short = std::time::Duration::from_millis(1);
            assert!(tokio::time::timeout(short, turns.turn("a")).await.is_err());
            assert_eq!(turns.busy().len(), 2);
            drop(a);
            assert_eq!(turns.busy().len(), 1);
        });
        assert!(turns.busy().is_empty());
    }
}
