//! One request after the other: who may ask, for what, and who answers.
//!
//! ```text
//! path not clean -> 307      health     authorization -> 401      pages, chunks or indexes
//! ```
//! The order is desync's. The pages are cairn's own, and not there when it is called by desync's name.

use std::convert::Infallible;
use std::fmt::Display;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode, Version};
use tokio::sync::watch;

use super::access_log::{AccessLog, Entry};
use super::batch;
use super::chunks::ChunkService;
use super::indexes::IndexService;
use super::memory::Memory;
use super::metrics::Counters;
use super::pages::Pages;
use super::reply::{self, Body, Reply};
use super::request::{cleaned, decoded};
use super::server::{Limits, Report};
use super::upload;
use super::watch::Progress;
use crate::{Error, Secret};

/// What is served.
#[derive(Clone)]
pub(super) enum Service {
    Chunks(Arc<ChunkService>),
    Indexes(Arc<IndexService>),
}

/// Everything that requests have in common.
pub(super) struct Site {
    pub(super) service: Service,
    pub(super) authorization: Option<Secret>,
    /// What all paths begin with; empty or `/…` without a slash at its end.
    pub(super) prefix: String,
    pub(super) pages: Option<Pages>,
    pub(super) log: Option<AccessLog>,
    pub(super) report: Report,
    pub(super) limits: Limits,
    pub(super) memory: Arc<Memory>,
    /// A set per worker.
    pub(super) counters: Vec<Counters>,
    pub(super) began: Instant,
}

/// Whoever is at the other end of a connection.
pub(super) struct Peer {
    pub(super) site: Arc<Site>,
    /// The worker that serves the connection.
    pub(super) worker: usize,
    pub(super) address: SocketAddr,
    pub(super) progress: Arc<Progress>,
    /// Becomes true when the server is to end.
    pub(super) stop: watch::Receiver<bool>,
}

impl Peer {
    pub(super) fn counters(&self) -> &Counters {
        &self.site.counters[self.worker]
    }

    pub(super) fn memory(&self) -> &Arc<Memory> {
        &self.site.memory
    }

    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Tells whoever runs the server what went wrong.
    pub(super) fn report(&self, what: &str, error: &dyn Display) {
        (self.site.report)(&format!("{what}: {error}"));
    }

    /// A store failed: the client is told that, and whoever runs the server is told why.
    pub(super) fn failed(&self, what: &str, error: &Error) -> Reply {
        self.store_failed(what, error);
        reply::internal_error()
    }

    /// A store failed in the middle of a reply.
    pub(super) fn store_failed(&self, what: &str, error: &Error) {
        self.counters().failed();
        self.report(what, error);
    }

    /// Answers a request, counts it and writes it down.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Reply, Infallible> {
        let began = Instant::now();
        let _working = self.progress.working();
        let (request, body) = request.into_parts();
        let mut body = Some(body);
        let mut reply = self.route(&request, &mut body).await;
        if let Some(body) = body.filter(|body| !body.is_end_stream()) {
            upload::discard(body, &self.progress).await;
        }
        if let Body::Batch(batch) = reply.body_mut() {
            batch.ends(request, began);
        } else {
            self.answered(&request, reply.status(), reply.body().len(), began.elapsed());
        }
        Ok(reply)
    }

    /// Counts a reply of so many bytes, and writes it down.
    pub(super) fn answered(&self, request: &Parts, status: StatusCode, bytes: u64, took: Duration) {
        self.counters().answered(&request.method, status, bytes, took);
        if let Some(log) = &self.site.log {
            log.write(&Entry {
                client: self.address,
                method: &request.method,
                uri: &request.uri,
                version: request.version,
                status,
                bytes,
                took,
            });
        }
    }

    async fn route(self: &Arc<Self>, request: &Parts, body: &mut Option<Incoming>) -> Reply {
        let site = &self.site;
        let path = request.uri.path();
        if !path.starts_with('/') {
            let is_ping = request.method == Method::OPTIONS;
            return reply::empty(if is_ping { StatusCode::OK } else { StatusCode::BAD_REQUEST });
        }
        if request.version == Version::HTTP_11 && !request.headers.contains_key(HOST) {
            return reply::error(StatusCode::BAD_REQUEST, "missing required Host header");
        }
        if let Some(clean) = cleaned(&request.uri) {
            return redirect(&clean);
        }
        let page = site.pages.as_ref().and_then(|pages| {
            let page = Pages::find(path.strip_prefix(&site.prefix[..])?)?;
            Some((pages, page))
        });
        let is_open = page.as_ref().is_some_and(|(_, page)| page.is_open());
        if !is_open && !site.lets_in(&request.headers) {
            return site.unauthorized();
        }
        if let Some(service) = site.batches(request) {
            return match site.memory.is_full() {
                true => reply::busy(),
                false => batch::answer(service, self, body).await,
            };
        }
        if let Some((pages, page)) = page {
            return pages.answer(self, page, request).await;
        }
        if site.memory.is_full() {
            return reply::busy();
        }
        let Some(path) = decoded(path) else {
            return reply::error(StatusCode::BAD_REQUEST, "invalid path");
        };
        let Some(path) = path.strip_prefix(&site.prefix[..]).filter(|rest| rest.starts_with('/'))
        else {
            return reply::error(StatusCode::NOT_FOUND, "not found");
        };
        match &site.service {
            Service::Chunks(service) => service.answer(self, path, request, body).await,
            Service::Indexes(service) => service.answer(self, path, request, body).await,
        }
    }
}

impl Site {
    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(expected) = &self.authorization else { return true };
        let given = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        is_same(given, expected.reveal().as_bytes())
    }

    /// What answers the request if it is one for many chunks.
    fn batches(&self, request: &Parts) -> Option<&Arc<ChunkService>> {
        let rest = request.uri.path().strip_prefix(&self.prefix[..])?;
        let Service::Chunks(service) = &self.service else { return None };
        let is_one = request.method == Method::POST && rest == "/";
        (is_one && self.offers_batches()).then_some(service)
    }

    /// Whether clients may ask for many chunks at once. What is called desync is like it.
    pub(super) fn offers_batches(&self) -> bool {
        self.pages.is_some()
    }

    fn unauthorized(&self) -> Reply {
        let mut reply = reply::error(StatusCode::UNAUTHORIZED, "Unauthorized");
        let is_basic = |value: &Secret| value.reveal().starts_with("Basic ");
        if self.authorization.as_ref().is_some_and(is_basic) {
            // So that a browser asks for name and password.
            let scheme = HeaderValue::from_static("Basic realm=\"cairn\"");
            reply.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        reply
    }
}

fn redirect(to: &str) -> Reply {
    match HeaderValue::try_from(to) {
        Ok(to) => {
            let mut reply = reply::empty(StatusCode::TEMPORARY_REDIRECT);
            reply.headers_mut().insert(LOCATION, to);
            reply
        }
        Err(_) => reply::error(StatusCode::BAD_REQUEST, "invalid path"),
    }
}

/// Whether two secrets are equal. How long that takes tells nothing but the length of what was given.
fn is_same(given: &[u8], expected: &[u8]) -> bool {
    let mut difference = usize::from(given.len() != expected.len());
    for (at, byte) in given.iter().enumerate() {
        let other = expected.get(at % expected.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(black_box(byte ^ other));
    }
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_equal_secrets_are_equal() {
        for (given, expected, is_same) in [
            ("secret", "secret", true),
            ("secres", "secret", false),
            ("Secret", "secret", false),
            ("secre", "secret", false),
            ("secretsecret", "secret", false),
            ("", "secret", false),
            ("s", "", false),
            ("", "", true),
        ] {
            assert_eq!(super::is_same(given.as_bytes(), expected.as_bytes()), is_same, "{given}");
        }
    }
}
