//! Many chunks in one reply, for clients that ask so.
//!
//! ```text
//! POST /   names, a line each  ->  frames in their order, read while they are sent
//! ```
//! What goes over the wire stands in [`cairn_formats::batch`]. Such requests are offered only where
//! chunks are read in place: everywhere else, reading a chunk costs so much more than a request that
//! a request for each is better, as it can be joined with those of others and cached on its way.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use std::vec;

use cairn_formats::batch::{CONTENT_TYPE, Frame, MOST, TOKEN};
use cairn_formats::{ChunkId, CodedChunk};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE as CONTENT_TYPE_HEADER, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode, Version};
use tokio::task::spawn_blocking;

use super::backend::Backend;
use super::chunks::ChunkService;
use super::reply::{self, Body, Reply};
use super::site::Peer;
use super::upload;
use super::watch::Doing;
use crate::Result;

/// Bytes of chunks that are sent together: what has just been read is still in the processor's cache
/// when it is sent.
const PART: usize = 64 << 10;

/// The longest name of a chunk with its line end: digits, directory, suffix.
const LONGEST_NAME: usize = 128;

/// Tells a neighbour that it may ask so.
pub(super) fn offer(reply: &mut Reply, request: &Parts) {
    // Later versions have no such header.
    if request.version == Version::HTTP_11 {
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static(TOKEN));
    }
}

/// Answers a request for many chunks.
pub(super) async fn answer(
    service: &Arc<ChunkService>,
    peer: &Arc<Peer>,
    body: &mut Option<Incoming>,
) -> Reply {
    let Some(body) = body.take() else { return reply::internal_error() };
    let limit = MOST * LONGEST_NAME;
    let upload = match upload::read(body, limit, peer.memory(), peer.progress()).await {
        Ok(upload) => upload,
        Err(reply) => return *reply,
    };
    let ids = match ids(service, &upload.bytes) {
        Ok(ids) => ids.into_iter(),
        Err(why) => return reply::error(StatusCode::BAD_REQUEST, &why),
    };
    let batch = Batch {
        service: service.clone(),
        _sending: peer.progress().sending(),
        peer: peer.clone(),
        ids,
        reading: None,
        is_work: false,
        sent: 0,
        asked: None,
    };
    let mut reply = Response::new(Body::Batch(Box::new(batch)));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// The chunks that are asked for.
fn ids(service: &ChunkService, names: &[u8]) -> std::result::Result<Vec<ChunkId>, String> {
    let names = str::from_utf8(names).map_err(|e| e.to_string())?;
    let ids = names.lines().take(MOST + 1).map(|name| service.parse(&format!("/{name}")));
    let ids: Vec<ChunkId> = ids.collect::<std::result::Result<_, _>>()?;
    if ids.len() > MOST {
        return Err(format!("more than {MOST} chunks at once"));
    }
    Ok(ids)
}

/// Chunks on their way to a client.
pub(super) struct Batch {
    service: Arc<ChunkService>,
    peer: Arc<Peer>,
    ids: Ids,
    reading: Option<Reading>,
    /// Whether chunks have to be coded for this client, which is no work to be done in place.
    is_work: bool,
    sent: u64,
    /// The request, and when it came, to be counted once its answer has ended.
    asked: Option<(Parts, Instant)>,
    _sending: Doing,
}

/// The chunks that are still to be read.
type Ids = vec::IntoIter<ChunkId>;

/// Some frames, and what is still to be done.
#[derive(Default)]
struct Part {
    frames: Bytes,
    ids: Ids,
    is_work: bool,
}

type Reading = Pin<Box<dyn Future<Output = Part> + Send>>;

impl Batch {
    /// What is to be counted once it has been answered.
    pub(super) fn ends(&mut self, request: Parts, began: Instant) {
        self.asked = Some((request, began));
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None if self.ids.as_slice().is_empty() => return Poll::Ready(None),
            none => {
                let ids = mem::take(&mut self.ids);
                let (service, peer) = (self.service.clone(), self.peer.clone());
                none.insert(Box::pin(read(service, peer, ids, self.is_work)))
            }
        };
        let Part { frames, ids, is_work } = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        (self.ids, self.is_work) = (ids, is_work);
        self.sent += frames.len() as u64;
        Poll::Ready(Some(frames))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some((request, began)) = self.asked.take() {
            self.peer.answered(&request, StatusCode::OK, self.sent, began.elapsed());
        }
    }
}

/// Reads chunks until there is enough to send: here, or on a thread that may wait if the store is slow or
/// there is more to do than to read.
async fn read(service: Arc<ChunkService>, peer: Arc<Peer>, ids: Ids, is_work: bool) -> Part {
    if !is_work && !service.is_slow() {
        return part(&service, &peer, ids);
    }
    let _reading = peer.progress().reading();
    // Without the rest the answer is too short, which says enough.
    spawn_blocking(move || part(&service, &peer, ids)).await.unwrap_or_default()
}

fn part(service: &ChunkService, peer: &Peer, mut ids: Ids) -> Part {
    let backend = service.backend();
    let mut frames = Vec::with_capacity(PART + PART / 2);
    let mut is_work = false;
    while frames.len() < PART
        && let Some(id) = ids.next()
    {
        if peer.memory().is_full() {
            frames.extend(Frame::failed());
            continue;
        }
        let began = Instant::now();
        let got = backend.get(&id);
        service.took(began.elapsed());
        is_work |= matches!(&got, Ok(Some(chunk)) if !backend.is_in_form(chunk));
        add(&mut frames, &id, got, &backend, peer);
    }
    let len = frames.len();
    let frames = peer.memory().counted(frames, 0..len);
    Part { frames, ids, is_work }
}

/// Adds what there is to say of a chunk.
fn add(
    frames: &mut Vec<u8>,
    id: &ChunkId,
    got: Result<Option<CodedChunk>>,
    backend: &Backend,
    peer: &Peer,
) {
    match got.and_then(|chunk| chunk.map(|chunk| backend.in_form(chunk)).transpose()) {
        Ok(Some(chunk)) => {
            peer.counters().sent();
            frames.extend(Frame::head(chunk.len()));
            frames.extend(chunk);
        }
        Ok(None) => frames.extend(Frame::missing()),
        Err(e) => {
            peer.store_failed(&format!("failed to retrieve chunk {id}"), &e);
            frames.extend(Frame::failed());
        }
    }
}
