//! Sessions that are started when they are needed, up to a number, and used again.
//!
//! The first is started alone: ssh may ask for a passphrase, or fail, and once is enough for either.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// Sessions of one kind.
pub(super) struct Pool<T: Pooled> {
    limit: usize,
    state: Mutex<State<T>>,
    /// Told whenever the state changes.
    changed: Condvar,
}

/// Something kept in a pool.
pub(super) trait Pooled {
    /// Begins its end without waiting for it.
    fn part(&mut self);

    /// Ends it.
    fn close(self);
}

struct State<T> {
    idle: Vec<T>,
    /// Idle, in use, or being started.
    live: usize,
    /// Whether one was ever started.
    is_proven: bool,
    /// How often the first could not be started, and why at the last time.
    failures: u64,
    failure: Option<Arc<Error>>,
}

impl<T: Pooled> Pool<T> {
    /// At most so many at a time, and at least one.
    pub(super) fn new(limit: usize) -> Self {
        let state =
            State { idle: Vec::new(), live: 0, is_proven: false, failures: 0, failure: None };
        Self { limit: limit.max(1), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// How many at a time.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// A session that fits, started if there is none. If all are in use, waits for one.
    pub(super) fn take(
        &self,
        fits: impl Fn(&T) -> bool,
        start: impl FnOnce() -> Result<T>,
    ) -> Result<Lease<'_, T>> {
        let mut worn = None;
        let mut state = self.state();
        let failures = state.failures;
        loop {
            if let Some(at) = state.idle.iter().rposition(&fits) {
                let session = state.idle.swap_remove(at);
                return Ok(Lease { pool: self, session: Some(session) });
            }
            if state.failures > failures
                && let Some(failure) = &state.failure
            {
                return Err(Error::Joined(Arc::clone(failure)));
            }
            let limit = if state.is_proven { self.limit } else { 1 };
            if state.live < limit {
                state.live += 1;
                break;
            }
            worn = state.idle.pop();
            if worn.is_some() {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        // From here on the place it takes is given back by the lease, whatever happens.
        let mut lease = Lease { pool: self, session: None };
        if let Some(worn) = worn {
            worn.close();
        }
        match start() {
            Ok(session) => {
                lease.session = Some(session);
                let mut state = self.state();
                state.is_proven = true;
                self.changed.notify_all();
                drop(state);
                Ok(lease)
            }
            Err(e) => {
                let mut state = self.state();
                if state.is_proven {
                    return Err(e);
                }
                let error = Arc::new(e);
                state.failures += 1;
                state.failure = Some(Arc::clone(&error));
                drop(state);
                Err(Error::Joined(error))
            }
        }
    }

    /// Nothing leaves it half changed, so a panic elsewhere does not matter.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Pooled> Drop for Pool<T> {
    /// All say goodbye before the first is waited for.
    fn drop(&mut self) {
        let mut idle = std::mem::take(&mut self.state().idle);
        idle.iter_mut().for_each(Pooled::part);
        idle.into_iter().for_each(Pooled::close);
    }
}

/// A session in use. Dropped without [`Lease::done`] it ends: what it was in the midst of is not known.
pub(super) struct Lease<'a, T: Pooled> {
    pool: &'a Pool<T>,
    /// Nothing while it is being started, and at the end.
    session: Option<T>,
}

impl<T: Pooled> Lease<'_, T> {
    /// Gives the session back for others to use.
    pub(super) fn done(mut self) {
        if let Some(session) = self.session.take() {
            self.pool.state().idle.push(session);
            self.pool.changed.notify_all();
            // It stays alive.
            std::mem::forget(self);
        }
    }
}

impl<T: Pooled> Deref for Lease<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.session.as_ref().expect("a lease that was handed out has a session")
    }
}

impl<T: Pooled> DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.session.as_mut().expect("a lease that was handed out has a session")
    }
}

impl<T: Pooled> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        // Ended before its place is given to another.
        self.session = None;
        self.pool.state().live -= 1;
        self.pool.changed.notify_all();
    }
}
