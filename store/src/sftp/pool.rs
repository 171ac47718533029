//! As many sessions as are of use, opened when they are needed.
//!
//! ```text
//! request -> the session with the fewest requests, if that has less than CROWD
//!         -> a new one, if there may be one more; meanwhile all others share those there are
//! ```
//! A session carries many requests, but what is under way in it at a time is limited by ssh: 2 MiB each
//! way, which over a long distance is little. Those that have ended are forgotten.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;

use super::address::Address;
use super::failure::Failure;
use super::session::Session;
use crate::RemoteOptions;

/// A session with so many users is worth another beside it.
const CROWD: usize = 16;

/// The sessions with a server.
#[derive(Debug)]
pub(super) struct Pool {
    address: Address,
    timeout: Option<Duration>,
    /// Whoever asks so soon after a failure to connect is told of that: a server that has turned us
    /// away must not be asked again by everybody at once. Shorter than the wait of who tries again.
    fresh: Duration,
    /// How many sessions there may be.
    most: usize,
    sessions: Mutex<Vec<Arc<Used>>>,
    /// Held by the one who opens a session; with the last failure to.
    opening: AsyncMutex<Option<(Instant, Failure)>>,
}

/// A session, and how many use it.
#[derive(Debug)]
struct Used {
    session: Session,
    users: AtomicUsize,
}

/// The use of a session.
#[derive(Debug)]
pub(super) struct Lease(Arc<Used>);

impl Pool {
    /// No session yet.
    pub(super) fn new(address: Address, options: &RemoteOptions) -> Self {
        let most = options.connections.div_ceil(CROWD).max(1);
        let fresh = options.retry.base_interval / 2;
        let (sessions, opening) = (Mutex::default(), AsyncMutex::default());
        Self { address, timeout: options.timeout, fresh, most, sessions, opening }
    }

    /// A session that works, as far as is known.
    pub(super) async fn session(&self) -> Result<Lease, Failure> {
        let (lease, count) = self.least_used();
        let Some(lease) = lease else { return self.first().await };
        if lease.0.users.load(Ordering::Relaxed) <= CROWD || count >= self.most {
            return Ok(lease);
        }
        match self.opening.try_lock() {
            // One that could not be opened once is not tried again while others work.
            Ok(mut failed) if failed.is_none() => match self.open().await {
                Ok(new) => Ok(new),
                Err(failure) => {
                    tracing::debug!(?failure, "no further sftp session");
                    *failed = Some((Instant::now(), failure));
                    Ok(lease)
                }
            },
            _ => Ok(lease),
        }
    }

    /// The first session, which all wait for that have come meanwhile.
    async fn first(&self) -> Result<Lease, Failure> {
        let mut failed = self.opening.lock().await;
        if let (Some(lease), _) = self.least_used() {
            return Ok(lease);
        }
        if let Some((at, failure)) = &*failed
            && at.elapsed() < self.fresh
        {
            return Err(failure.clone());
        }
        let opened = self.open().await;
        *failed = opened.as_ref().err().map(|failure| (Instant::now(), failure.clone()));
        opened
    }

    async fn open(&self) -> Result<Lease, Failure> {
        let session = Session::open(&self.address, self.timeout).await?;
        let used = Arc::new(Used { session, users: AtomicUsize::new(0) });
        let lease = Lease::of(&used);
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(used);
        Ok(lease)
    }

    /// The session with the fewest users, and how many there are.
    fn least_used(&self) -> (Option<Lease>, usize) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|used| !used.session.has_ended());
        let least = sessions.iter().min_by_key(|used| used.users.load(Ordering::Relaxed));
        (least.map(Lease::of), sessions.len())
    }
}

impl Lease {
    fn of(used: &Arc<Used>) -> Self {
        used.users.fetch_add(1, Ordering::Relaxed);
        Self(used.clone())
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0.session
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::Relaxed);
    }
}
