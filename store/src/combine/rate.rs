//! A store from which no more than so many bytes a second are taken, or brought there.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn_formats::{Chunk, ChunkId, CodedChunk, WriteCoding};

use crate::{Facts, PruneStore, Result, Store, Stored, WriteStore};

/// What may be taken at once after a time of rest, in seconds of the rate.
const BURST: Duration = Duration::from_millis(250);

/// A number of bytes a second, shared by all who were given the same.
#[derive(Clone, Debug)]
pub struct Rate {
    bytes_per_second: u64,
    /// Until when what was taken pays.
    paid: Arc<Mutex<Instant>>,
}

impl Rate {
    /// So many bytes a second, at least one.
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            paid: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// Waits for as long as these bytes take.
    fn take(&self, bytes: usize) {
        let wait = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let time = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
            *paid = (*paid).max(now.checked_sub(BURST).unwrap_or(now)) + time;
            paid.saturating_duration_since(now)
        };
        sleep(wait);
    }
}

/// A store, and how fast its bytes may move.
#[derive(Debug)]
pub struct RateLimited<S> {
    store: S,
    rate: Rate,
}

impl<S> RateLimited<S> {
    /// Moves the chunks of a store no faster than this.
    pub fn new(store: S, rate: Rate) -> Self {
        Self { store, rate }
    }

    fn taken(&self, answer: Result<Option<CodedChunk>>) -> Result<Option<CodedChunk>> {
        if let Ok(Some(coded)) = &answer {
            self.rate.take(coded.bytes().len());
        }
        answer
    }
}

impl<S: Store> Store for RateLimited<S> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.taken(self.store.get(id))
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        self.store.get_many(ids, &mut |place, answer| each(place, self.taken(answer)));
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.store.has(id)
    }

    fn has_many(&self, ids: &[ChunkId]) -> Vec<Result<bool>> {
        self.store.has_many(ids)
    }

    fn in_flight(&self) -> usize {
        self.store.in_flight()
    }

    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        self.taken(self.store.another(id, tried))
    }

    fn keeps(&self) -> bool {
        self.store.keeps()
    }

    fn keep(&self, chunk: &Chunk<'_>, coded: &CodedChunk) -> Result<()> {
        self.store.keep(chunk, coded)
    }

    fn origin(&self, id: &ChunkId, copy: usize) -> String {
        self.store.origin(id, copy)
    }

    fn name(&self) -> String {
        self.store.name()
    }
}

impl<S: WriteStore> WriteStore for RateLimited<S> {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        self.rate.take(chunk.bytes().len());
        self.store.put(chunk)
    }

    fn put_many(&self, chunks: &[CodedChunk]) -> Vec<Result<()>> {
        self.rate.take(chunks.iter().map(|chunk| chunk.bytes().len()).sum());
        self.store.put_many(chunks)
    }

    fn coding(&self) -> WriteCoding {
        self.store.coding()
    }

    fn sync(&self) -> Result<()> {
        self.store.sync()
    }
}

impl<S: PruneStore> PruneStore for RateLimited<S> {
    fn list(&self, each: &mut dyn FnMut(Stored, Option<Facts>) -> Result<()>) -> Result<()> {
        self.store.list(each)
    }

    fn facts(&self, found: &Stored) -> Result<Option<Facts>> {
        self.store.facts(found)
    }

    fn facts_many(&self, found: &[Stored]) -> Vec<Result<Option<Facts>>> {
        self.store.facts_many(found)
    }

    fn is_dated(&self) -> bool {
        self.store.is_dated()
    }

    fn remove(&self, found: &Stored) -> Result<()> {
        self.store.remove(found)
    }

    fn remove_many(&self, found: &[Stored]) -> Vec<Result<()>> {
        self.store.remove_many(found)
    }
}

#[cfg(test)]
mod tests {
    use cairn_formats::Coding;

    use super::*;
    use crate::MemoryStore;

    #[test]
    fn bytes_take_their_time_whoever_moves_them() {
        let rate = Rate::new(1_000_000);
        let stores = [0, 1].map(|_| RateLimited::new(MemoryStore::default(), rate.clone()));
        let chunk = |byte| {
            CodedChunk::new(ChunkId::from_bytes([byte; 32]), Coding::Plain, vec![byte; 50_000])
        };
        let began = Instant::now();
        for store in &stores {
            assert!(store.put_many(&[chunk(1), chunk(2)]).into_iter().all(|done| done.is_ok()));
            let ids = [1, 2].map(|byte| chunk(byte).id());
            store.get_many(&ids, &mut |_, answer| assert!(answer.unwrap().is_some()));
            store.get(&ids[0]).unwrap();
        }
        // Half a million bytes, of which a quarter may come at once.
        assert!(began.elapsed() >= Duration::from_millis(240), "{:?}", began.elapsed());
    }
}
