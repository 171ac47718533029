//! Chunks over HTTP, as desync's chunk server has them.
//!
//! ```text
//! /<first 4 digits>/<64 hex digits><suffix>     GET, HEAD, PUT
//! ```
//! The suffix tells the form, and a server speaks one: nothing is negotiated.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use cairn_formats::chunker::LARGEST_CHUNK;
use cairn_formats::{ChunkId, CodedChunk, Digest, Error as FormatError, Form};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use tokio::task::spawn_blocking;

use super::backend::{Backend, Coders, Reader};
use super::batch;
use super::reply::{self, Object, Reply};
use super::request::Asked;
use super::site::Peer;
use super::upload::{self, Upload};
use crate::{Error, Result};

/// No chunk in any form is longer.
const LONGEST_BODY: usize = LARGEST_CHUNK + LARGEST_CHUNK / 8;

/// A store on this machine that takes longer than this for a chunk does not have it in memory, unless
/// another process was given the processor meanwhile.
const SLOW: Duration = Duration::from_millis(2);

/// Of so many chunks in a row, four slow ones are no chance.
const LOOKED_AT: u32 = 64;

/// So many chunks are then read where waiting is nobody's loss.
const SLOW_CHUNKS: u32 = 256;

/// How chunks go over the wire.
pub struct WireOptions {
    /// The form clients want and send them in.
    pub form: Form,
    /// What ids are made with.
    pub digest: Digest,
    /// Whether chunks that clients send are stored unseen.
    pub skip_verify_write: bool,
}

/// What answers requests for chunks.
pub struct ChunkService {
    reader: Reader,
    backend: RwLock<Arc<Backend>>,
    options: WireOptions,
    /// What names of chunks end in.
    suffix: String,
    coders: Coders,
    /// How many of the next chunks are not read in place.
    slow: AtomicU32,
    /// Goes up with each slow chunk, and slowly down with others.
    slowness: AtomicU32,
}

impl ChunkService {
    /// Serves what is in a backend of this reader.
    pub fn new(reader: Reader, backend: Backend, options: WireOptions) -> Self {
        let zero = ChunkId::from_bytes([0; 32]);
        let path = options.form.path(&zero);
        let name = path.rsplit('/').next().unwrap_or(&path);
        let suffix = name.trim_start_matches(&zero.to_hex()).to_owned();
        Self {
            reader,
            backend: RwLock::new(Arc::new(backend)),
            options,
            suffix,
            coders: Coders::default(),
            slow: AtomicU32::new(0),
            slowness: AtomicU32::new(0),
        }
    }

    /// Takes another backend from now on. What is being answered is answered by the old one.
    pub fn exchange(&self, backend: Backend) {
        *self.backend.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(backend);
    }

    pub(super) fn backend(&self) -> Arc<Backend> {
        self.backend.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What the wire form is called.
    pub(super) fn form(&self) -> String {
        self.options.form.to_string()
    }

    /// Answers a request for a decoded path.
    pub(super) async fn answer(
        self: &Arc<Self>,
        peer: &Peer,
        path: &str,
        request: &Parts,
        body: &mut Option<Incoming>,
    ) -> Reply {
        let id = match self.parse(path) {
            Ok(id) => id,
            Err(why) => return reply::error(StatusCode::BAD_REQUEST, &why),
        };
        match request.method {
            Method::GET => self.get(peer, id, request).await,
            Method::HEAD => self.head(peer, id, request).await,
            Method::PUT => self.put(peer, id, body).await,
            _ => {
                reply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET, PUT and HEAD are supported")
            }
        }
    }

    /// The id in a path, or what is wrong with it in desync's words.
    pub(super) fn parse(&self, path: &str) -> std::result::Result<ChunkId, String> {
        let suffix = &self.suffix;
        let Some(stem) = path.strip_suffix(&suffix[..]) else {
            return Err(
                "invalid chunk extension, verify compression and encryption settings".into()
            );
        };
        let name = stem.rsplit('/').next().unwrap_or(stem);
        if name.contains('.') {
            return Err(format!(
                "requested chunk with an unexpected file extension, this server expects \
                 '<chunkid>{suffix}', verify compression and encryption settings"
            ));
        }
        let id = || {
            let (prefix, name) = stem.strip_prefix('/')?.split_once('/')?;
            let id = name.to_ascii_lowercase().parse().ok()?;
            (prefix == name.get(..4)?).then_some(id)
        };
        id().ok_or_else(|| format!("expected format '/<prefix>/<chunkid>{suffix}"))
    }

    async fn get(self: &Arc<Self>, peer: &Peer, id: ChunkId, request: &Parts) -> Reply {
        match self.read(id).await {
            Ok(Some(bytes)) => {
                peer.counters().sent();
                self.object(peer, bytes, request)
            }
            Ok(None) => absent(id),
            Err(e) => peer.failed(&format!("failed to retrieve chunk {id}"), &e),
        }
    }

    async fn head(self: &Arc<Self>, peer: &Peer, id: ChunkId, request: &Parts) -> Reply {
        let backend = self.backend();
        if backend.is_near() {
            // As cheap as to look for it, and its length is known. What is damaged is looked for.
            match self.read(id).await {
                Ok(Some(bytes)) => return self.object(peer, bytes, request),
                Ok(None) => return reply::empty(StatusCode::NOT_FOUND),
                Err(_) => {}
            }
        }
        match blocking(move || backend.has(&id)).await {
            Ok(true) => reply::empty(StatusCode::OK),
            Ok(false) => reply::empty(StatusCode::NOT_FOUND),
            Err(e) => peer.failed(&format!("failed to check chunk {id}"), &e),
        }
    }

    fn object(&self, peer: &Peer, bytes: Vec<u8>, request: &Parts) -> Reply {
        let asked = Asked { method: &request.method, headers: &request.headers };
        // What is sealed is sealed anew for every request.
        let is_constant = !self.options.form.is_sealed();
        let mut reply = Object { bytes, is_constant, is_for_ever: true }.reply(&asked, peer);
        if peer.site.offers_batches() && self.backend().is_near() {
            batch::offer(&mut reply, request);
        }
        reply
    }

    /// The bytes to send for a chunk.
    async fn read(&self, id: ChunkId) -> Result<Option<Vec<u8>>> {
        let backend = self.backend();
        if !backend.is_near() || self.is_slow() {
            return blocking(move || backend.get(&id)?.map(|c| backend.in_form(c)).transpose())
                .await;
        }
        let began = Instant::now();
        let got = backend.get(&id)?;
        self.took(began.elapsed());
        match got {
            Some(chunk) if !backend.is_in_form(&chunk) => {
                blocking(move || backend.in_form(chunk)).await.map(Some)
            }
            got => Ok(got.map(CodedChunk::into_bytes)),
        }
    }

    /// A chunk was read in place, which took so long.
    pub(super) fn took(&self, time: Duration) {
        // Nearly always neither: nothing is written that other threads use.
        let before = self.slowness.load(Ordering::Relaxed);
        if time > SLOW {
            let now = before + LOOKED_AT / 4;
            self.slowness.store(now % LOOKED_AT, Ordering::Relaxed);
            if now >= LOOKED_AT {
                self.slow.store(SLOW_CHUNKS, Ordering::Relaxed);
            }
        } else if before > 0 {
            self.slowness.store(before - 1, Ordering::Relaxed);
        }
    }

    /// Whether the store was found to be slow lately.
    pub(super) fn is_slow(&self) -> bool {
        let left = self.slow.load(Ordering::Relaxed);
        if left > 0 {
            self.slow.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    async fn put(self: &Arc<Self>, peer: &Peer, id: ChunkId, body: &mut Option<Incoming>) -> Reply {
        let backend = self.backend();
        if !backend.is_writable() {
            let why = "writing to upstream chunk store is not enabled";
            return reply::error(StatusCode::BAD_REQUEST, why);
        }
        let Some(body) = body.take() else { return reply::internal_error() };
        let upload = match upload::read(body, LONGEST_BODY, peer.memory(), peer.progress()).await {
            Ok(upload) => upload,
            Err(reply) => return *reply,
        };
        peer.counters().received(upload.bytes.len() as u64);
        let service = self.clone();
        let stored = blocking(move || {
            let Upload { bytes, share: _share } = upload;
            let chunk = match service.take(id, bytes) {
                Ok(chunk) => chunk,
                Err(e) => return Ok(Some(e)),
            };
            backend.writer().map_or(Ok(()), |store| store.put(&chunk))?;
            Ok(None)
        });
        match stored.await {
            Ok(None) => {
                peer.counters().stored();
                reply::empty(StatusCode::OK)
            }
            Ok(Some(refused)) => reply::error(StatusCode::BAD_REQUEST, &refusal(id, &refused)),
            Err(e) => peer.failed(&format!("failed to store chunk {id}"), &e),
        }
    }

    /// The chunk in what a client sent, verified unless that was switched off.
    fn take(&self, id: ChunkId, bytes: Vec<u8>) -> cairn_formats::Result<CodedChunk> {
        let WireOptions { form, digest, skip_verify_write } = &self.options;
        let chunk = form.unseal(&id, form.is_compressed(), bytes)?;
        if !skip_verify_write {
            self.coders.with(|coders| chunk.open(*digest, &mut coders.1, LARGEST_CHUNK))?;
        }
        Ok(chunk)
    }
}

/// Asks a store on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(job).await.unwrap_or_else(|e| {
        let (place, why) = ("server".to_owned(), format!("the request was not answered: {e}"));
        Err(Error::Unreachable { place, why, again: crate::Again::Yes })
    })
}

fn absent(id: ChunkId) -> Reply {
    reply::text(StatusCode::NOT_FOUND, format!("chunk {id} not found"))
}

/// What is wrong with a chunk that a client sent, in desync's words.
fn refusal(id: ChunkId, error: &FormatError) -> String {
    match error {
        FormatError::WrongId { actual, .. } => {
            format!("chunk id {id} does not match its hash {actual}")
        }
        FormatError::BadCoding { why, .. } => format!("invalid chunk {id}: {why}"),
        FormatError::BadSeal { why, .. } => format!("invalid chunk {id}: {why}"),
        other => format!("invalid chunk {id}: {other}"),
    }
}
