//! A store from which no more than so many bytes a second are taken, or brought there.
//!
//! ```text
//! get_many   some -> wait for as long as they take -> some more ...
//! put_many   wait -> some -> wait -> ...
//! ```
//! Nobody waits while answers are on their way: who does not take them looks, to the store, like a
//! network that stands still.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cairn_formats::{ChunkId, CodedChunk};

use crate::pass_on::pass_on;
use crate::{Error, PruneStore, Result, Stop, Store, WriteStore};

/// What may be taken at once after a time of rest, in seconds of the rate.
const BURST: Duration = Duration::from_millis(250);

/// What is thought of the length of a chunk before it is here, in bytes: the usual average.
const USUAL_CHUNK: u64 = 64 << 10;

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

    /// Waits for as long as these bytes take. An error if nobody waits any more.
    fn take(&self, bytes: usize, stop: &Stop) -> Result<()> {
        let wait = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let time = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
            *paid = (*paid).max(now.checked_sub(BURST).unwrap_or(now)) + time;
            paid.saturating_duration_since(now)
        };
        stop.sleep(wait)
    }

    /// How many chunks to move at once, so that they do not come in waves.
    fn at_once(&self) -> usize {
        let burst = u128::from(self.bytes_per_second) * BURST.as_millis() / 1000;
        usize::try_from(burst / u128::from(USUAL_CHUNK)).unwrap_or(usize::MAX).max(1)
    }
}

/// A store, and how fast its bytes may move.
#[derive(Debug)]
pub struct RateLimited<S> {
    store: S,
    rate: Rate,
    stop: Stop,
}

impl<S> RateLimited<S> {
    /// Moves the chunks of a store no faster than this, until `stop` says that nobody waits any more.
    pub fn new(store: S, rate: Rate, stop: Stop) -> Self {
        Self { store, rate, stop }
    }

    fn taken(&self, answer: Result<Option<CodedChunk>>) -> Result<Option<CodedChunk>> {
        self.rate.take(len(&answer), &self.stop)?;
        answer
    }
}

fn len(answer: &Result<Option<CodedChunk>>) -> usize {
    answer.as_ref().ok().and_then(Option::as_ref).map_or(0, |coded| coded.bytes().len())
}

impl<S: Store> Store for RateLimited<S> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.taken(self.store.get(id))
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        let mut answered = 0;
        for ids in ids.chunks(self.rate.at_once()) {
            let mut bytes = 0;
            self.store.get_many(ids, &mut |place, answer| {
                bytes += len(&answer);
                each(answered + place, answer);
            });
            answered += ids.len();
            if self.rate.take(bytes, &self.stop).is_err() {
                break;
            }
        }
        (answered..ids.len()).for_each(|place| each(place, Err(Error::Stopped)));
    }

    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        self.taken(self.store.another(id, tried))
    }

    pass_on!(self => self.store; has, has_many, in_flight, origin, keeps, keep, name);
}

impl<S: WriteStore> WriteStore for RateLimited<S> {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        self.rate.take(chunk.bytes().len(), &self.stop)?;
        self.store.put(chunk)
    }

    fn put_many(&self, chunks: &[CodedChunk]) -> Vec<Result<()>> {
        let mut outcomes = Vec::with_capacity(chunks.len());
        for some in chunks.chunks(self.rate.at_once()) {
            let bytes = some.iter().map(|chunk| chunk.bytes().len()).sum();
            if self.rate.take(bytes, &self.stop).is_err() {
                break;
            }
            outcomes.extend(self.store.put_many(some));
        }
        outcomes.resize_with(chunks.len(), || Err(Error::Stopped));
        outcomes
    }

    pass_on!(self => self.store; coding, sync);
}

impl<S: PruneStore> PruneStore for RateLimited<S> {
    pass_on!(self => self.store; list, facts, facts_many, is_dated, remove, remove_many);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use cairn_formats::Coding;

    use super::*;
    use crate::MemoryStore;

    #[test]
    fn bytes_take_their_time_whoever_moves_them() {
        let rate = Rate::new(1_000_000);
        let stores =
            [0, 1].map(|_| RateLimited::new(MemoryStore::default(), rate.clone(), Stop::default()));
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

    #[test]
    fn nobody_waits_for_bytes_that_are_no_longer_wanted() {
        let asked = Arc::new(AtomicUsize::new(0));
        let rate = Rate::new(1);
        let store = RateLimited::new(MemoryStore::default(), rate, Stop::when(asked.clone()));
        let chunk = |byte| {
            CodedChunk::new(ChunkId::from_bytes([byte; 32]), Coding::Plain, vec![byte; 5000])
        };
        let chunks = [1, 2, 3].map(chunk);
        let ids = chunks.each_ref().map(CodedChunk::id);
        chunks.iter().for_each(|chunk| store.store.put(chunk).unwrap());
        let began = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| assert!(matches!(store.get(&ids[0]), Err(Error::Stopped))));
            scope.spawn(|| assert!(matches!(store.put(&chunks[0]), Err(Error::Stopped))));
            scope.spawn(|| {
                let outcomes = store.put_many(&chunks);
                assert!(matches!(outcomes[..], [.., Err(Error::Stopped), Err(Error::Stopped)]));
            });
            scope.spawn(|| {
                let mut answers = [0; 3];
                store.get_many(&ids, &mut |place, answer| {
                    answers[place] += 1;
                    assert!(place == 0 || matches!(answer, Err(Error::Stopped)));
                });
                assert_eq!(answers, [1; 3]);
            });
            asked.store(2, Ordering::Relaxed);
        });
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    }
}
