//! Pages for people and programs that look after a server.
//!
//! ```text
//! /          status, one file without anything from elsewhere
//! /events    its numbers, every second for as long as somebody looks
//! /metrics   all numbers, in the OpenMetrics format
//! /healthz   200 while the stores answer; the only one that needs no authorization
//! ```
//! No chunk has such a path, and no index can be written there. What is said of stores holds no secrets.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use cairn_formats::Digest;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::backend::StoreNames;
use super::metrics::{StoreCounters, Totals};
use super::reply::{self, Body, Reply};
use super::site::{Peer, Service, Site};

const STATUS: &str = include_str!("status.html");

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How often whoever looks is told the numbers.
const BEAT: Duration = Duration::from_secs(1);

/// So many may look at a time.
const MOST_VIEWERS: usize = 64;

/// How long the stores have to answer a question about their health, and how long the answer holds: many
/// who ask must not cost them more than one.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);
const HEALTH_HOLDS: Duration = Duration::from_secs(1);

/// One of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Status,
    Events,
    Metrics,
    Health,
}

impl Page {
    /// Whether it is for everybody.
    pub(super) fn is_open(self) -> bool {
        self == Page::Health
    }
}

/// The pages of a server.
pub(super) struct Pages {
    policy: HeaderValue,
    /// Tells a page that it looks at another run of the server.
    run: u64,
    viewers: Arc<AtomicUsize>,
    health: Mutex<Option<(Instant, bool)>>,
}

impl Pages {
    pub(super) fn new() -> Self {
        Self {
            policy: policy(),
            run: RandomState::new().hash_one(0) >> 12,
            viewers: Arc::default(),
            health: Mutex::new(None),
        }
    }

    /// The page at a path.
    pub(super) fn find(path: &str) -> Option<Page> {
        match path {
            "/" => Some(Page::Status),
            "/events" => Some(Page::Events),
            "/metrics" => Some(Page::Metrics),
            "/healthz" => Some(Page::Health),
            _ => None,
        }
    }

    pub(super) async fn answer(&self, peer: &Arc<Peer>, page: Page, request: &Parts) -> Reply {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return reply::error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are supported");
        }
        let mut reply = match page {
            Page::Status => self.status(),
            Page::Metrics => {
                let text = peer.site.totals().open_metrics(peer.site.has_cache());
                let mut reply = reply::text(StatusCode::OK, text);
                reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
                reply
            }
            Page::Health => match self.is_well(&peer.site.service).await {
                true => reply::text(StatusCode::OK, "ok\n"),
                false => reply::error(StatusCode::SERVICE_UNAVAILABLE, "a store does not answer"),
            },
            Page::Events if request.method == Method::HEAD => reply::empty(StatusCode::OK),
            Page::Events => match Events::new(peer.clone(), self.run, &self.viewers) {
                Some(events) => {
                    let mut reply = Response::new(Body::Events(Box::new(events)));
                    let kind = HeaderValue::from_static("text/event-stream");
                    reply.headers_mut().insert(CONTENT_TYPE, kind);
                    // nginx would collect the events until they fill its buffer.
                    let name = HeaderName::from_static("x-accel-buffering");
                    reply.headers_mut().insert(name, HeaderValue::from_static("no"));
                    reply
                }
                None => reply::busy(),
            },
        };
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    }

    fn status(&self) -> Reply {
        let mut reply = reply::text(StatusCode::OK, STATUS);
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        reply
    }

    async fn is_well(&self, service: &Service) -> bool {
        let mut known = self.health.lock().await;
        if let Some((asked, answer)) = *known
            && asked.elapsed() < HEALTH_HOLDS
        {
            return answer;
        }
        let service = service.clone();
        let asking = tokio::task::spawn_blocking(move || service.is_well());
        let answer = tokio::time::timeout(HEALTH_LIMIT, asking).await;
        let answer = matches!(answer, Ok(Ok(true)));
        *known = Some((Instant::now(), answer));
        answer
    }
}

impl Service {
    fn is_well(&self) -> bool {
        match self {
            Service::Chunks(service) => service.backend().is_well(),
            Service::Indexes(service) => service.is_well(),
        }
    }

    fn names(&self) -> StoreNames {
        match self {
            Service::Chunks(service) => service.backend().names.clone(),
            Service::Indexes(service) => {
                StoreNames { stores: vec![service.name()], ..StoreNames::default() }
            }
        }
    }

    fn is_writable(&self) -> bool {
        match self {
            Service::Chunks(service) => service.backend().is_writable(),
            Service::Indexes(service) => service.is_writable(),
        }
    }

    /// What it serves, and in which form.
    fn kind(&self) -> (&'static str, String) {
        match self {
            Service::Chunks(service) => ("chunks", service.form()),
            Service::Indexes(_) => ("indexes", "caibx".to_owned()),
        }
    }
}

impl Site {
    fn has_cache(&self) -> bool {
        match &self.service {
            Service::Chunks(service) => service.backend().names.cache.is_some(),
            Service::Indexes(_) => false,
        }
    }

    fn totals(&self) -> Totals {
        let none = StoreCounters::default();
        let stores = match &self.service {
            Service::Chunks(service) => &service.reader().counters,
            Service::Indexes(_) => &none,
        };
        Totals::add_up(self.counters.iter(), stores, self.memory.used(), self.began)
    }

    /// What the status page shows, as JSON.
    fn numbers(&self, run: u64) -> String {
        let totals = self.totals();
        let names = self.service.names();
        let (kind, form) = self.service.kind();
        let cache = names.cache.as_ref().map(|name| {
            json!({ "name": name, "hits": totals.cache_hits, "misses": totals.cache_misses })
        });
        json!({
            "run": run,
            "version": env!("CARGO_PKG_VERSION"),
            "kind": kind,
            "form": form,
            "writable": self.service.is_writable(),
            "stores": names.stores,
            "cache": cache,
            "uptime": totals.uptime.as_secs_f64(),
            "connections": totals.open,
            "connections_cut": totals.cut,
            "requests": totals.requests(),
            "refused": totals.answered_with(400..500),
            "failed": totals.answered_with(500..600),
            "sent": totals.chunks_out,
            "stored": totals.chunks_in,
            "bytes_out": totals.bytes_out,
            "bytes_in": totals.bytes_in,
            "latency_us": [totals.quantile(0.5), totals.quantile(0.9), totals.quantile(0.99)],
            "memory": totals.memory,
        })
        .to_string()
    }
}

/// The numbers, once a second.
pub(super) struct Events {
    peer: Arc<Peer>,
    run: u64,
    beat: Interval,
    viewers: Arc<AtomicUsize>,
}

impl Events {
    fn new(peer: Arc<Peer>, run: u64, viewers: &Arc<AtomicUsize>) -> Option<Self> {
        if viewers.fetch_add(1, Ordering::Relaxed) >= MOST_VIEWERS {
            viewers.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self { peer, run, beat, viewers: viewers.clone() })
    }

    /// The next event; none when the server ends.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        ready!(Pin::new(&mut self.beat).poll_tick(cx));
        if *self.peer.stop.borrow() {
            return Poll::Ready(None);
        }
        let numbers = self.peer.site.numbers(self.run);
        Poll::Ready(Some(Bytes::from(format!("data: {numbers}\n\n"))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the status page may do: run its own script, wear its own style, and ask this server.
fn policy() -> HeaderValue {
    let between = |tag: &str| {
        let rest = STATUS.split_once(&format!("<{tag}>")).map_or("", |(_, rest)| rest);
        rest.split_once(&format!("</{tag}>")).map_or("", |(inside, _)| inside)
    };
    let hash = |tag| base64(Digest::Sha256.hash(between(tag).as_bytes()).as_bytes());
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    );
    HeaderValue::try_from(policy).expect("base64 is fit for a header")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place > group.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_status_page_needs_nothing_from_elsewhere() {
        assert_eq!(STATUS.matches("<script>").count(), 1);
        assert_eq!(STATUS.matches("<style>").count(), 1);
        for outside in ["http://", "https://", " style=", " onclick=", "@import", "url("] {
            let found = STATUS.replace("http://www.w3.org/2000/svg", "");
            assert!(!found.contains(outside), "{outside}");
        }
    }
}
