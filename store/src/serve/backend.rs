//! The stores behind a server of chunks.
//!
//! ```text
//! read-only   joined <- verified <- cache <- stores       joined, if they are far away: one request
//!                                                         for all who want the same
//! writable    verified <- store
//! ```
//! A cache keeps only what was verified, so with one everything is. What is behind a server can be
//! exchanged: whoever has asked the old stores gets their answer from them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cairn_formats::chunker::LARGEST_CHUNK;
use cairn_formats::coding::{DEFAULT_LEVEL, Decoder, Encoder};
use cairn_formats::{Chunk, ChunkId, CodedChunk, Coding, Digest, Form};

use super::metrics::StoreCounters;
use crate::combine::SingleFlight;
use crate::pass_on::pass_on;
use crate::{Error, Result, Store, WriteStore};

/// No chunk has more copies that are worth a try.
const MOST_COPIES: usize = 16;

/// What a server is called for whoever looks at its status.
#[derive(Clone, Debug, Default)]
pub struct StoreNames {
    /// The stores, without secrets.
    pub stores: Vec<String>,
    /// The cache, without secrets.
    pub cache: Option<String>,
    /// Directories without which it cannot work.
    pub directories: Vec<PathBuf>,
}

/// Makes the backends of one server, one behind the other.
#[derive(Clone)]
pub struct Reader {
    pub(super) counters: Arc<StoreCounters>,
    coders: Arc<Coders>,
    digest: Digest,
    /// In which clients want their chunks.
    form: Form,
    verify: bool,
}

/// The stores behind a server.
pub struct Backend {
    source: Source,
    reader: Reader,
    pub(super) names: StoreNames,
}

enum Source {
    Read(Box<dyn Store>),
    Write(Box<dyn WriteStore>),
}

impl Reader {
    /// For clients that want their chunks in this form. With `verify`, what is read is checked.
    pub fn new(form: Form, digest: Digest, verify: bool) -> Self {
        let (counters, coders) = (Arc::default(), Arc::default());
        Self { counters, coders, digest, form, verify }
    }

    /// A store for which a cache is about to be opened: what gets past the cache is counted.
    pub fn behind_cache(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        let counters = self.counters.clone();
        Box::new(Counted { store, counters, counter: |counters| &counters.fetches })
    }

    /// A backend that is only read: a store, or a cache in front of one that
    /// [was made known](Self::behind_cache) before.
    pub fn backend(&self, mut store: Box<dyn Store>, names: StoreNames) -> Backend {
        let has_cache = names.cache.is_some();
        if has_cache {
            let counters = self.counters.clone();
            store = Box::new(Counted { store, counters, counter: |counters| &counters.lookups });
        }
        if self.verify || has_cache {
            store = Box::new(Verified { store, reader: self.clone() });
        }
        if store.in_flight() > 0 {
            store = Box::new(SingleFlight::new(store));
        }
        Backend { source: Source::Read(store), reader: self.clone(), names }
    }

    /// A backend to which clients may write.
    pub fn writable_backend(&self, store: Box<dyn WriteStore>, names: StoreNames) -> Backend {
        Backend { source: Source::Write(store), reader: self.clone(), names }
    }

    /// A chunk whose bytes are known to match its id; of several copies the first that is good.
    fn verified(&self, store: &dyn Store, id: &ChunkId) -> Result<Option<CodedChunk>> {
        let mut first = None;
        for copy in 0..MOST_COPIES {
            let answer = if copy == 0 { store.get(id) } else { store.another(id, copy) };
            let coded = match answer {
                Ok(Some(coded)) => coded,
                Ok(None) => break,
                Err(e) if copy == 0 && e.is_damage() => {
                    first = Some(e);
                    continue;
                }
                Err(e) => return Err(first.unwrap_or(e)),
            };
            let opened =
                self.coders.with(|coders| coded.open(self.digest, &mut coders.1, LARGEST_CHUNK));
            match opened {
                Ok(chunk) => {
                    if store.keeps() {
                        store.keep(&chunk, &coded)?;
                    }
                    return Ok(Some(self.unpacked(chunk, coded)));
                }
                Err(source) => {
                    let place = store.origin(id, copy);
                    tracing::warn!(%id, store = place, error = %source, "chunk is damaged");
                    first.get_or_insert(Error::Invalid { place, source });
                }
            }
        }
        first.map_or(Ok(None), Err)
    }

    /// What has been unpacked to be verified need not be unpacked again for clients that want it so.
    fn unpacked(&self, chunk: Chunk<'_>, coded: CodedChunk) -> CodedChunk {
        if self.form.is_compressed() || !coded.coding().is_compressed() {
            return coded;
        }
        CodedChunk::new(coded.id(), Coding::Plain, chunk.data().to_vec())
    }
}

impl Backend {
    /// Whether clients may write.
    pub fn is_writable(&self) -> bool {
        matches!(self.source, Source::Write(_))
    }

    /// Whether it is read where a request is answered: its bytes come from this machine, usually from
    /// memory, and nothing has to be computed.
    pub(super) fn is_near(&self) -> bool {
        let is_verified = self.reader.verify || self.names.cache.is_some();
        !is_verified && self.store().in_flight() == 0
    }

    pub(super) fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        match &self.source {
            Source::Read(store) => store.get(id),
            Source::Write(store) if self.reader.verify => self.reader.verified(store, id),
            Source::Write(store) => store.get(id),
        }
    }

    pub(super) fn has(&self, id: &ChunkId) -> Result<bool> {
        self.store().has(id)
    }

    /// The store to write to, if there is one.
    pub(super) fn writer(&self) -> Option<&dyn WriteStore> {
        match &self.source {
            Source::Read(_) => None,
            Source::Write(store) => Some(store.as_ref()),
        }
    }

    /// Whether the chunk can be sent as it is.
    pub(super) fn is_in_form(&self, chunk: &CodedChunk) -> bool {
        let form = &self.reader.form;
        !form.is_sealed() && chunk.coding().is_compressed() == form.is_compressed()
    }

    /// The bytes to send for a chunk. Compresses, unpacks or seals where that is needed.
    pub(super) fn in_form(&self, chunk: CodedChunk) -> Result<Vec<u8>> {
        if self.is_in_form(&chunk) {
            return Ok(chunk.into_bytes());
        }
        let Reader { form, coders, .. } = &self.reader;
        let sent = coders.with(|Pair(encoder, decoder)| {
            let chunk = chunk.recode(form.coding(), encoder, decoder, LARGEST_CHUNK)?;
            Ok(form.seal(&chunk)?.into_owned())
        });
        sent.map_err(Error::invalid(self.store().origin(&chunk.id(), 0)))
    }

    /// Whether the stores answer. Looks for a chunk that is hardly there.
    pub(super) fn is_well(&self) -> bool {
        let directories = &self.names.directories;
        directories.iter().all(|directory| directory.is_dir())
            && self.has(&ChunkId::from_bytes([0; 32])).is_ok()
    }

    fn store(&self) -> &dyn Store {
        match &self.source {
            Source::Read(store) => store.as_ref(),
            Source::Write(store) => store.as_ref(),
        }
    }
}

/// Coders that are not in use.
#[derive(Default)]
pub(super) struct Coders(Mutex<Vec<Pair>>);

pub(super) struct Pair(pub(super) Encoder, pub(super) Decoder);

impl Coders {
    pub(super) fn with<T>(&self, job: impl FnOnce(&mut Pair) -> T) -> T {
        // No operation leaves the list half changed, so a panic elsewhere does not matter.
        let idle = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut pair = taken.unwrap_or_else(|| Pair(Encoder::new(DEFAULT_LEVEL), Decoder::new()));
        let done = job(&mut pair);
        idle().push(pair);
        done
    }
}

/// A store whose chunks are verified before anybody gets them, and kept in its cache if it has one.
struct Verified {
    store: Box<dyn Store>,
    reader: Reader,
}

impl Store for Verified {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.reader.verified(self.store.as_ref(), id)
    }

    pass_on!(self => self.store; has, has_many, in_flight, origin, name);
}

/// A store whose requests for chunks are counted.
struct Counted {
    store: Box<dyn Store>,
    counters: Arc<StoreCounters>,
    counter: fn(&StoreCounters) -> &AtomicU64,
}

impl Counted {
    fn count(&self, number: usize) {
        (self.counter)(&self.counters).fetch_add(number as u64, Ordering::Relaxed);
    }
}

impl Store for Counted {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.count(1);
        self.store.get(id)
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        self.count(ids.len());
        self.store.get_many(ids, each);
    }

    pass_on!(self => self.store; has, has_many, in_flight, another, origin, keeps, keep, name);
}
