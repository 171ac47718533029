//! Whether a peer makes progress. Who does not is cut off, so that nobody holds a connection, or what is
//! in memory for it, for as long as they like.
//!
//! ```text
//! header    from its first byte to its last              at most `header` long
//! idle      between requests                             at most `idle` long
//! receiving a body is being read                         at least SLOWEST bytes a second
//! sending   a reply waits for the client to read         the same
//! working   a store is being asked                       as long as it takes: that is not the peer's fault
//! ```
//! The numbers are counted where bytes pass, and looked at a few times per limit: no timer is set or
//! reset for a request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use std::io::{self, IoSlice};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::server::Limits;

/// Bytes a second below which a peer counts as standing still.
const SLOWEST: u64 = 1024;

/// Looks at a connection per shortest limit.
const LOOKS: u32 = 4;

/// What passes on a connection. One thread at a time writes it, so nothing here is contended.
#[derive(Debug, Default)]
pub(super) struct Progress {
    read: AtomicU64,
    written: AtomicU64,
    /// Whether the last write had to wait for the peer.
    is_blocked: AtomicBool,
    requests: AtomicU64,
    working: AtomicU32,
    receiving: AtomicU32,
    sending: AtomicU32,
}

/// What a connection is doing for as long as this is there.
#[derive(Debug)]
pub(super) struct Doing {
    progress: Arc<Progress>,
    what: fn(&Progress) -> &AtomicU32,
}

impl Progress {
    /// A request is being answered.
    pub(super) fn working(self: &Arc<Self>) -> Doing {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.doing(|progress| &progress.working)
    }

    /// The body of a request is being read.
    pub(super) fn receiving(self: &Arc<Self>) -> Doing {
        self.doing(|progress| &progress.receiving)
    }

    /// The body of a reply is not yet handed to the connection.
    pub(super) fn sending(self: &Arc<Self>) -> Doing {
        self.doing(|progress| &progress.sending)
    }

    /// A slow store is asked in the middle of a reply.
    pub(super) fn reading(self: &Arc<Self>) -> Doing {
        self.doing(|progress| &progress.working)
    }

    fn doing(self: &Arc<Self>, what: fn(&Progress) -> &AtomicU32) -> Doing {
        what(self).fetch_add(1, Ordering::Relaxed);
        Doing { progress: self.clone(), what }
    }

    fn phase(&self) -> Phase {
        let any = |number: &AtomicU32| number.load(Ordering::Relaxed) > 0;
        if any(&self.receiving) {
            Phase::Receiving
        } else if self.is_blocked.load(Ordering::Relaxed) {
            Phase::Sending
        } else if any(&self.working) {
            Phase::Working
        } else if any(&self.sending) {
            Phase::Sending
        } else {
            Phase::Idle
        }
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        (self.what)(&self.progress).fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Header,
    Idle,
    Receiving,
    Sending,
    Working,
}

/// Looks at a connection now and then.
pub(super) struct Watch {
    progress: Arc<Progress>,
    limits: Limits,
    phase: Phase,
    since: Instant,
    /// What the numbers were then.
    read: u64,
    written: u64,
    requests: u64,
}

impl Watch {
    /// Of a connection on which nothing has been said yet.
    pub(super) fn new(progress: Arc<Progress>, limits: Limits, now: Instant) -> Self {
        Self {
            progress,
            limits,
            phase: Phase::Header,
            since: now,
            read: 0,
            written: 0,
            requests: 0,
        }
    }

    /// When to look again.
    pub(super) fn pause(&self) -> Duration {
        let Limits { header, idle, stall, .. } = self.limits;
        (header.min(idle).min(stall) / LOOKS)
            .clamp(Duration::from_millis(20), Duration::from_secs(5))
    }

    /// Why the connection has to be cut off, if it has to.
    pub(super) fn look(&mut self, now: Instant) -> Option<&'static str> {
        let read = self.progress.read.load(Ordering::Relaxed);
        let written = self.progress.written.load(Ordering::Relaxed);
        let requests = self.progress.requests.load(Ordering::Relaxed);
        let phase = match self.progress.phase() {
            // The first bytes of a request make it a header, until it is whole.
            Phase::Idle if requests == self.requests && self.phase == Phase::Header => {
                Phase::Header
            }
            Phase::Idle
                if requests == self.requests && self.phase == Phase::Idle && read > self.read =>
            {
                Phase::Header
            }
            phase => phase,
        };
        if phase != self.phase || requests != self.requests {
            (self.phase, self.since, self.requests) = (phase, now, requests);
            (self.read, self.written) = (read, written);
            return None;
        }
        let waited = now - self.since;
        let needed = SLOWEST * self.limits.stall.as_millis() as u64 / 1000;
        let (limit, passed, why) = match phase {
            Phase::Working => return None,
            Phase::Header => (self.limits.header, None, "its request took too long"),
            Phase::Idle => (self.limits.idle, None, "it was idle"),
            Phase::Receiving => (self.limits.stall, Some(read - self.read), "it sends too slowly"),
            Phase::Sending => {
                (self.limits.stall, Some(written - self.written), "it reads too slowly")
            }
        };
        if waited < limit {
            return None;
        }
        if passed.is_some_and(|passed| passed >= needed.max(1)) {
            (self.since, self.read, self.written) = (now, read, written);
            return None;
        }
        Some(why)
    }
}

/// A stream whose bytes are counted.
pub(super) struct Watched<S> {
    stream: S,
    progress: Arc<Progress>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, progress: Arc<Progress>) -> Self {
        Self { stream, progress }
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        self.progress.is_blocked.store(outcome.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(len)) = outcome {
            self.progress.written.fetch_add(*len as u64, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let len = buffer.filled().len() - before;
        self.progress.read.fetch_add(len as u64, Ordering::Relaxed);
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watched(now: Instant) -> (Arc<Progress>, Watch) {
        let progress = Arc::new(Progress::default());
        let limits = Limits {
            header: 3 * SECOND,
            idle: 10 * SECOND,
            stall: 2 * SECOND,
            ..Limits::default()
        };
        (progress.clone(), Watch::new(progress, limits, now))
    }

    /// The second in which the connection is cut off, if `each` is done before every look.
    fn cut(watch: &mut Watch, start: Instant, mut each: impl FnMut()) -> Option<u32> {
        (1..30).find(|&second| {
            each();
            watch.look(start + second * SECOND).is_some()
        })
    }

    #[test]
    fn a_header_that_trickles_is_cut_off() {
        let start = Instant::now();
        let (progress, mut watch) = watched(start);
        let trickle = || {
            progress.read.fetch_add(1, Ordering::Relaxed);
        };
        assert_eq!(cut(&mut watch, start, trickle), Some(3));
    }

    #[test]
    fn an_idle_connection_lasts_longer_than_a_header() {
        let start = Instant::now();
        let (progress, mut watch) = watched(start);
        progress.read.fetch_add(100, Ordering::Relaxed);
        drop(progress.working());
        assert_eq!(cut(&mut watch, start, || {}), Some(11));
        let (progress, mut watch) = watched(start);
        drop(progress.working());
        assert!(watch.look(start).is_none());
        progress.read.fetch_add(1, Ordering::Relaxed);
        assert_eq!(cut(&mut watch, start, || {}), Some(4));
    }

    #[test]
    fn work_takes_as_long_as_it_takes() {
        let start = Instant::now();
        let (progress, mut watch) = watched(start);
        let _working = progress.working();
        assert_eq!(cut(&mut watch, start, || {}), None);
    }

    #[test]
    fn bodies_must_keep_moving() {
        let start = Instant::now();
        for (rate, end) in [(0, Some(3)), (100, Some(3)), (5000, None)] {
            let (progress, mut watch) = watched(start);
            let _working = progress.working();
            let _receiving = progress.receiving();
            let trickle = || {
                progress.read.fetch_add(rate, Ordering::Relaxed);
            };
            assert_eq!(cut(&mut watch, start, trickle), end, "receiving {rate}");
            let (progress, mut watch) = watched(start);
            drop(progress.working());
            progress.is_blocked.store(true, Ordering::Relaxed);
            let trickle = || {
                progress.written.fetch_add(rate, Ordering::Relaxed);
            };
            assert_eq!(cut(&mut watch, start, trickle), end, "sending {rate}");
        }
    }
}
