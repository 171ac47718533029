//! Wakes workers that have nothing to do when something has changed.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::flow::lock;

/// Is rung at every change.
///
/// A worker reads the number of rings, looks whether there is anything to do, and if not, waits for a ring
/// after that number: none is missed.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rings: u64,
    waiting: usize,
}

impl Bell {
    pub(super) fn rings(&self) -> u64 {
        lock(&self.state).rings
    }

    pub(super) fn ring(&self) {
        let mut state = lock(&self.state);
        state.rings += 1;
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.rung.notify_all();
        }
    }

    /// Returns when it was rung more often than that.
    pub(super) fn wait_after(&self, rings: u64) {
        let mut state = lock(&self.state);
        state.waiting += 1;
        while state.rings == rings {
            state = self.rung.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }
}
