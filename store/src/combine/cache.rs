//! A store with a cache in front of it.
//!
//! ```text
//! get   cache --none, damaged--> source          "from the source" is noted
//! keep  verified; noted? -> cache                so nothing unverified gets into a cache
//! ```
//! The cache is there to save time, never to fail: one that cannot be written is done without, with a
//! warning, and what is damaged in it is fetched anew and replaced. Only who wants to know of damage
//! (without `repair`) gets an error for it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cairn_formats::coding::{DEFAULT_LEVEL, Encoder};
use cairn_formats::{Chunk, ChunkId, CodedChunk};

use super::health::Health;
use super::open::Open;
use crate::{Error, Result, Store, WriteStore};

/// Ids noted at most. Who gets chunks and never tells that they are good, as a server that passes
/// them on unread, would let them grow for ever; beyond this they are forgotten and their chunks
/// not kept.
const MOST_NOTED: usize = 1 << 16;

/// A cache, and the store it is for.
///
/// A chunk counts as kept in the cache once [`Store::keep`] was told that it is good. It is stored as
/// the source sent it if the cache wants that coding, else encoded from its plain bytes.
pub struct Cache<C, S> {
    cache: C,
    source: S,
    repair: bool,
    /// Chunks that came from the source and are still to be verified.
    noted: Mutex<HashSet<ChunkId>>,
    /// Those not in use.
    encoders: Mutex<Vec<Encoder>>,
    /// Whether the cache can be written.
    health: Health,
}

impl<C: WriteStore, S: Store> Cache<C, S> {
    /// A cache for a store. With `repair`, what is damaged in the cache counts as missing and is
    /// replaced; without it is an error.
    pub fn new(cache: C, source: S, repair: bool) -> Self {
        Self {
            cache,
            source,
            repair,
            noted: Mutex::default(),
            encoders: Mutex::default(),
            health: Health::default(),
        }
    }

    /// Notes that this answer of the source has to be kept once it is verified.
    fn note(&self, answer: Result<Option<CodedChunk>>) -> Result<Option<CodedChunk>> {
        if let Ok(Some(coded)) = &answer {
            let mut noted = lock(&self.noted);
            if noted.len() >= MOST_NOTED {
                noted.clear();
            }
            noted.insert(coded.id());
        }
        // Also where the source is trusted: who reads the cache later may not know of that.
        Ok(answer?.map(CodedChunk::distrusted))
    }

    fn put(&self, chunk: &Chunk<'_>, coded: &CodedChunk) -> Result<()> {
        let coding = self.cache.coding();
        if coded.coding() == coding.into() {
            return self.cache.put(coded);
        }
        let idle = lock(&self.encoders).pop();
        let mut encoder = idle.unwrap_or_else(|| Encoder::new(DEFAULT_LEVEL));
        let coded = encoder.encode(chunk, coding);
        lock(&self.encoders).push(encoder);
        self.cache.put(&coded)
    }
}

impl<C: WriteStore, S: Store> Store for Cache<C, S> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        let damage = match self.cache.get(id) {
            Ok(Some(coded)) => return Ok(Some(coded)),
            Ok(None) => None,
            Err(e) if self.repair => Some(e),
            Err(e) => return Err(e),
        };
        answer_of_source(self.note(self.source.get(id)), damage)
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        Ok(self.cache.has(id).unwrap_or(false) || self.source.has(id)?)
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        let mut rest = Open::default();
        self.cache.get_many(ids, &mut |place, answer| match answer {
            Ok(None) => rest.add(place, ids[place], None),
            Err(e) if self.repair => rest.add(place, ids[place], Some(e)),
            answer => each(place, answer),
        });
        let Open { places, ids, mut failures } = rest;
        self.source.get_many(&ids, &mut |at, answer| {
            each(places[at], answer_of_source(self.note(answer), failures[at].take()));
        });
    }

    fn has_many(&self, ids: &[ChunkId]) -> Vec<Result<bool>> {
        let here = self.cache.has_many(ids).into_iter();
        let mut here: Vec<Result<bool>> = here.map(|here| Ok(here.unwrap_or(false))).collect();
        let is_open = |here: &Result<bool>| matches!(here, Ok(false));
        let rest: Vec<ChunkId> =
            ids.iter().zip(&here).filter(|(_, here)| is_open(here)).map(|(id, _)| *id).collect();
        if !rest.is_empty() {
            let answers = self.source.has_many(&rest);
            let unanswered = here.iter_mut().filter(|here| is_open(here));
            unanswered.zip(answers).for_each(|(here, answer)| *here = answer);
        }
        here
    }

    fn in_flight(&self) -> usize {
        self.source.in_flight().max(self.cache.in_flight())
    }

    /// The copies of the source, counted as if the first had been the cache's.
    ///
    /// Whether it was cannot be known for sure: others fill and clear the cache meanwhile. If it was
    /// not, a damaged copy of the source comes twice, which costs a fetch; none is ever left out.
    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        if !self.repair && !lock(&self.noted).contains(id) {
            return Ok(None);
        }
        let answer = match tried {
            0 | 1 => match self.source.get(id) {
                // Its further copies may be better.
                Err(e) if e.is_damage() => self.source.another(id, 1),
                answer => answer,
            },
            _ => self.source.another(id, tried - 1),
        };
        self.note(answer)
    }

    fn keeps(&self) -> bool {
        true
    }

    fn keep(&self, chunk: &Chunk<'_>, coded: &CodedChunk) -> Result<()> {
        if !lock(&self.noted).remove(&chunk.id()) {
            // It came from the cache.
            return Ok(());
        }
        if self.source.keeps() {
            self.source.keep(chunk, coded)?;
        }
        if self.health.is_paused() {
            return Ok(());
        }
        if let Err(error) = self.put(chunk, coded)
            && self.health.pause()
        {
            let cache = self.cache.name();
            tracing::warn!(cache, %error, "going on without keeping chunks in the cache");
        }
        Ok(())
    }

    fn origin(&self, id: &ChunkId, copy: usize) -> String {
        if copy == 0 && !lock(&self.noted).contains(id) {
            self.cache.name()
        } else {
            self.source.origin(id, copy.saturating_sub(1))
        }
    }

    fn name(&self) -> String {
        format!("{} (cache {})", self.source.name(), self.cache.name())
    }
}

/// What to say of a chunk that the source was asked for: if it does not have it either, the damage in
/// the cache is the thing to mend.
fn answer_of_source(
    answer: Result<Option<CodedChunk>>,
    damage: Option<Error>,
) -> Result<Option<CodedChunk>> {
    match (answer, damage) {
        (Ok(None), Some(damage)) => Err(damage),
        (answer, _) => answer,
    }
}

/// No operation leaves these half changed, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use cairn_formats::{Coding, Digest, IndexChunk, WriteCoding};

    use super::*;
    use crate::combine::Router;
    use crate::testing::{Call, Fault, Faulty, Recorder};
    use crate::{Fetcher, MemoryStore};

    type Recorded = Recorder<MemoryStore>;

    fn chunk(n: usize) -> Chunk<'static> {
        Chunk::name(Digest::default(), format!("chunk {n} ").repeat(50 + n).into_bytes())
    }

    fn coded(chunk: &Chunk<'_>, coding: WriteCoding) -> CodedChunk {
        Encoder::new(DEFAULT_LEVEL).encode(chunk, coding)
    }

    fn damaged(chunk: &Chunk<'_>) -> CodedChunk {
        CodedChunk::new(chunk.id(), Coding::Zstd, b"damaged".to_vec())
    }

    /// An empty cache and a source with chunks 0 to 9.
    fn stores(coding: WriteCoding) -> (Recorded, Recorded) {
        let source = MemoryStore::new(coding);
        (0..10).for_each(|n| source.put(&coded(&chunk(n), coding)).unwrap());
        (Recorder::new(MemoryStore::default()), Recorder::new(source))
    }

    /// Fetches some chunks at once and checks them.
    fn fetch(store: &dyn Store, numbers: impl Iterator<Item = usize>) -> Result<()> {
        let chunks: Vec<Chunk<'_>> = numbers.map(chunk).collect();
        let mut start = 0;
        let place = |chunk: &Chunk<'_>| {
            let len = chunk.data().len();
            start += len as u64;
            IndexChunk { start: start - len as u64, len, id: chunk.id() }
        };
        let wanted: Vec<IndexChunk> = chunks.iter().map(place).collect();
        let mut plain = vec![0; start as usize];
        Fetcher::new().fetch(store, Digest::default(), &wanted, &mut plain, |got| {
            assert_eq!(got, chunks);
        })
    }

    #[test]
    fn the_source_is_asked_once() {
        let (cache, source) = stores(WriteCoding::Zstd);
        let both = Cache::new(&cache, &source, true);
        fetch(&both, 0..10).unwrap();
        assert_eq!(source.take().len(), 10);
        cache.take();
        fetch(&both, 0..10).unwrap();
        assert_eq!(source.take(), []);
        // Nor is what came from the cache put into it again.
        assert!(cache.take().iter().all(|call| matches!(call, Call::Get(_))));
    }

    #[test]
    fn chunks_are_kept_in_the_coding_of_the_cache() {
        for coding in [WriteCoding::Zstd, WriteCoding::Plain] {
            let (cache, source) = stores(coding);
            fetch(&Cache::new(&cache, &source, true), 0..10).unwrap();
            for n in 0..10 {
                let kept = cache.fetch(&chunk(n).id()).unwrap();
                assert_eq!(kept, coded(&chunk(n), WriteCoding::Zstd));
            }
        }
    }

    #[test]
    fn what_is_not_verified_is_not_kept() {
        let (cache, source) = stores(WriteCoding::Zstd);
        source.put(&coded(&chunk(1), WriteCoding::Zstd)).unwrap();
        source.put(&damaged(&chunk(2))).unwrap();
        let both = Cache::new(&cache, &source, true);
        assert!(both.get(&chunk(1).id()).unwrap().is_some());
        assert!(fetch(&both, 2..3).is_err());
        assert!(cache.store().is_empty());
    }

    #[test]
    fn what_comes_from_a_trusted_source_is_verified_before_it_is_kept() {
        struct Trusted(Recorded);

        impl Store for Trusted {
            fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
                Ok(self.0.get(id)?.map(CodedChunk::trusted))
            }

            fn has(&self, id: &ChunkId) -> Result<bool> {
                self.0.has(id)
            }

            fn name(&self) -> String {
                self.0.name()
            }
        }

        let (cache, source) = stores(WriteCoding::Zstd);
        // As long as the chunk that it stands for, or decoding would find it.
        let other = chunk(1).data().to_ascii_uppercase();
        source.put(&CodedChunk::new(chunk(1).id(), Coding::Plain, other)).unwrap();
        let both = Cache::new(&cache, Trusted(source), true);
        assert!(fetch(&both, 1..2).is_err());
        assert!(cache.store().is_empty());
        fetch(&both, 2..3).unwrap();
        assert_eq!(cache.store().len(), 1);
    }

    #[test]
    fn a_damaged_chunk_in_the_cache_is_replaced() {
        let (cache, source) = stores(WriteCoding::Zstd);
        cache.put(&damaged(&chunk(3))).unwrap();
        cache
            .put(&CodedChunk::new(chunk(4).id(), Coding::Plain, chunk(5).data().to_vec()))
            .unwrap();
        let both = Cache::new(&cache, &source, true);
        fetch(&both, 0..10).unwrap();
        source.take();
        fetch(&both, 0..10).unwrap();
        assert_eq!(source.take(), []);
    }

    #[test]
    fn without_repair_damage_is_an_error_that_names_the_cache() {
        let (cache, source) = stores(WriteCoding::Zstd);
        cache.put(&damaged(&chunk(3))).unwrap();
        let named = Named { store: &cache, name: "the cache" };
        let both = Cache::new(&named, &source, false);
        let error = fetch(&both, 0..10).unwrap_err().to_string();
        assert!(error.starts_with("the cache: "), "{error}");
        assert_eq!(cache.fetch(&chunk(3).id()).unwrap(), damaged(&chunk(3)));
        // With it, and if nobody has a better copy, it is the same error.
        let empty = MemoryStore::default();
        let again = fetch(&Cache::new(&named, &empty, true), 3..4).unwrap_err().to_string();
        assert!(again.starts_with("the cache: "), "{again}");
    }

    #[test]
    fn every_copy_of_the_source_is_tried_whatever_the_cache_holds() {
        let bad = || {
            let store = MemoryStore::default();
            store.put(&damaged(&chunk(1))).unwrap();
            Box::new(store)
        };
        for cached in [None, Some(damaged(&chunk(1)))] {
            for repair in [true, false] {
                for before in 1..4 {
                    let (cache, good) = stores(WriteCoding::Zstd);
                    cached.iter().for_each(|coded| cache.put(coded).unwrap());
                    let mut all: Vec<Box<dyn Store>> = Vec::new();
                    (0..before).for_each(|_| all.push(bad()));
                    all.push(Box::new(good));
                    let both = Cache::new(&cache, Router::new(all), repair);
                    assert_eq!(fetch(&both, 1..2).is_ok(), repair || cached.is_none());
                }
            }
        }
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_done_without() {
        let (_, source) = stores(WriteCoding::Zstd);
        let cache = Recorder::new(Faulty::after(0, Fault::Fail, MemoryStore::default()));
        let both = Cache::new(&cache, &source, true);
        for _ in 0..2 {
            fetch(&both, 0..10).unwrap();
        }
        assert_eq!(source.take().len(), 20);
        // It was tried once and then left alone.
        let puts = cache.take().into_iter().filter(|call| matches!(call, Call::Put(_)));
        assert_eq!(puts.count(), 1);
    }

    #[test]
    fn only_the_rest_is_asked_of_the_source() {
        let (cache, source) = stores(WriteCoding::Zstd);
        cache.put(&coded(&chunk(4), WriteCoding::Zstd)).unwrap();
        cache.put(&coded(&chunk(11), WriteCoding::Zstd)).unwrap();
        let both = Cache::new(&cache, &source, true);
        source.take();
        let ids = [4, 5, 11, 12].map(|n| chunk(n).id());
        let here: Vec<bool> = both.has_many(&ids).into_iter().map(Result::unwrap).collect();
        assert_eq!(here, [true, true, true, false]);
        assert_eq!(source.take(), [Call::Has(ids[1]), Call::Has(ids[3])]);
        assert!(both.has(&ids[2]).unwrap() && !both.has(&ids[3]).unwrap());
        assert_eq!(source.take(), [Call::Has(ids[3])]);
    }

    #[test]
    fn a_cache_may_have_a_cache() {
        let (near, source) = stores(WriteCoding::Zstd);
        let far = Recorder::new(MemoryStore::new(WriteCoding::Plain));
        let both = Cache::new(&near, Cache::new(&far, &source, true), true);
        fetch(&both, 0..10).unwrap();
        assert_eq!((near.store().len(), far.store().len()), (10, 10));
    }

    #[test]
    fn who_never_verifies_costs_no_memory() {
        let (cache, source) = stores(WriteCoding::Zstd);
        let both = Cache::new(&cache, &source, true);
        let id = |n: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            ChunkId::from_bytes(bytes)
        };
        for n in 0..2 * MOST_NOTED as u32 {
            let _ = both.note(Ok(Some(CodedChunk::new(id(n), Coding::Plain, Vec::new()))));
        }
        assert!(lock(&both.noted).len() <= MOST_NOTED);
    }

    /// A store by another name.
    struct Named<'a> {
        store: &'a Recorded,
        name: &'static str,
    }

    impl Store for Named<'_> {
        fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
            self.store.get(id)
        }

        fn has(&self, id: &ChunkId) -> Result<bool> {
            self.store.has(id)
        }

        fn name(&self) -> String {
            self.name.to_owned()
        }
    }

    impl WriteStore for Named<'_> {
        fn put(&self, chunk: &CodedChunk) -> Result<()> {
            self.store.put(chunk)
        }

        fn coding(&self) -> WriteCoding {
            self.store.coding()
        }

        fn sync(&self) -> Result<()> {
            self.store.sync()
        }
    }
}
