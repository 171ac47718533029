//! What a client is told: statuses, headers and bodies.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::pages::Events;
use super::request::{Asked, Wanted};
use super::site::Peer;
use super::watch::Doing;

/// What chunks are for a web cache: they never change.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What may change at any time.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A reply.
pub(super) type Reply = Response<Body>;

/// The body of a reply.
pub(super) enum Body {
    Empty,
    /// All at once; the connection is sending until it is taken.
    Full {
        bytes: Option<Bytes>,
        _sending: Option<Doing>,
    },
    /// Live numbers, for as long as the client listens.
    Events(Box<Events>),
}

impl Body {
    /// How long it is; 0 where nobody knows.
    pub(super) fn len(&self) -> u64 {
        match self {
            Body::Full { bytes: Some(bytes), .. } => bytes.len() as u64,
            _ => 0,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Full { bytes, .. } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Body::Events(events) => {
                events.poll_next(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Empty | Body::Full { bytes: None, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Events(_) => SizeHint::default(),
            body => SizeHint::with_exact(body.len()),
        }
    }
}

/// A reply without body.
pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::Empty);
    *reply.status_mut() = status;
    reply
}

/// A reply with a few words, as they are.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Body::Full { bytes: Some(text.into()), _sending: None });
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, TEXT);
    reply
}

/// An error as Go's servers send it: with a line end, and not to be taken for anything but text.
pub(super) fn error(status: StatusCode, why: &str) -> Reply {
    let mut reply = text(status, format!("{why}\n"));
    let headers = reply.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// What the client must not know more of.
pub(super) fn internal_error() -> Reply {
    error(StatusCode::INTERNAL_SERVER_ERROR, "internal server error")
}

/// Too much is going on; the client may come again.
pub(super) fn busy() -> Reply {
    let mut reply = error(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
    let headers = reply.headers_mut();
    headers.insert(hyper::header::RETRY_AFTER, HeaderValue::from_static("1"));
    reply
}

/// Something stored, to be sent whole or in part.
pub(super) struct Object {
    pub(super) bytes: Vec<u8>,
    /// Whether what has this name is always the same to the last byte. What is sealed anew for each
    /// request is not: its parts do not fit together.
    pub(super) is_constant: bool,
    /// Whether it never changes in meaning.
    pub(super) is_for_ever: bool,
}

impl Object {
    /// The reply to a GET or HEAD, by the conditions and the range that were asked for.
    pub(super) fn reply(self, asked: &Asked<'_>, peer: &Peer) -> Reply {
        let etag = self.is_constant.then(|| etag(&self.bytes));
        let len = self.bytes.len();
        let wanted = asked.wanted(etag.as_ref().map(|tag| tag.as_bytes()), len as u64);
        let (status, range) = match &wanted {
            Wanted::All => (StatusCode::OK, 0..len),
            Wanted::Part(range) => {
                (StatusCode::PARTIAL_CONTENT, range.start as usize..range.end as usize)
            }
            Wanted::Nothing => (StatusCode::NOT_MODIFIED, 0..0),
            Wanted::Impossible => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
        };
        let mut reply = match (status, asked.is_head()) {
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => error(status, "invalid range"),
            (StatusCode::NOT_MODIFIED, _) => empty(status),
            (_, true) => {
                let mut reply = empty(status);
                reply.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(range.len()));
                reply
            }
            (_, false) => {
                let bytes = peer.memory().counted(self.bytes, range);
                let mut reply = Response::new(Body::Full {
                    bytes: Some(bytes),
                    _sending: Some(peer.progress().sending()),
                });
                *reply.status_mut() = status;
                reply
            }
        };
        let headers = reply.headers_mut();
        if status.is_success() {
            headers.insert(CONTENT_TYPE, BINARY);
        }
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            headers.insert(CACHE_CONTROL, if self.is_for_ever { FOR_EVER } else { ASK_AGAIN });
        }
        if let Some(etag) = etag {
            headers.insert(ETAG, etag);
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        match wanted {
            Wanted::Part(range) => {
                headers.insert(CONTENT_RANGE, content_range(Some(&range), len));
            }
            Wanted::Impossible => {
                headers.insert(CONTENT_RANGE, content_range(None, len));
            }
            _ => {}
        }
        reply
    }
}

fn content_range(range: Option<&Range<u64>>, len: usize) -> HeaderValue {
    let text = match range {
        Some(range) => format!("bytes {}-{}/{len}", range.start, range.end - 1),
        None => format!("bytes */{len}"),
    };
    HeaderValue::try_from(text).expect("digits are fit for a header")
}

/// A name for these very bytes, in quotes: two stores may hold a chunk compressed in two ways.
///
/// Not proof against forgery, which nobody has anything from: two chains of wide products, side by side,
/// as fast as memory is read.
fn etag(bytes: &[u8]) -> HeaderValue {
    const KEYS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];
    let folded = |one: u64, other: u64| {
        let product = u128::from(one) * u128::from(other);
        product as u64 ^ (product >> 64) as u64
    };
    let mut sums = KEYS.map(|key| folded(key, bytes.len() as u64 + 1));
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    for block in blocks.iter().chain([&last]) {
        let mut words = block.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        for (sum, key) in sums.iter_mut().zip(KEYS) {
            let (one, other) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
            *sum = folded(one ^ key, other ^ *sum);
        }
    }
    let mixed = [folded(sums[0] ^ KEYS[1], sums[1] ^ KEYS[0]), sums[0].wrapping_add(sums[1])];
    let mut text = [b'"'; 34];
    for (at, digit) in text[1..33].iter_mut().enumerate() {
        let value = mixed[at / 16] >> (at % 16 * 4) & 15;
        *digit = b"0123456789abcdef"[value as usize];
    }
    HeaderValue::from_bytes(&text).expect("hex digits are fit for a header")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn other_bytes_have_another_etag() {
        let mut seen = HashSet::new();
        for len in 0..100 {
            assert!(seen.insert(etag(&vec![0; len])), "{len}");
        }
        for at in 0..1000 {
            for bit in 0..8 {
                let mut bytes = vec![7; 1000];
                bytes[at] ^= 1 << bit;
                assert!(seen.insert(etag(&bytes)), "{at} {bit}");
            }
        }
        assert_eq!(etag(&[7; 50]), etag(&[7; 50]));
    }
}
