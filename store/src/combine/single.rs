//! A store of which nobody asks the same twice at a time.
//!
//! ```text
//! get(x) -- first ----------> store --+
//! get(x) -- meanwhile: waits ---------+--> the same answer for all
//! ```
//! For servers: many clients that want the same chunk at once cost its source one request.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use cairn_formats::{ChunkId, CodedChunk};

use crate::pass_on::pass_on;
use crate::{Error, Result, Store};

/// A store, and the questions that are on their way.
pub struct SingleFlight<S> {
    store: S,
    flights: Mutex<HashMap<ChunkId, Arc<Flight>>>,
}

/// A question on its way, and its answer once there is one.
#[derive(Default)]
struct Flight {
    landed: Mutex<Option<Landed>>,
    arrival: Condvar,
}

/// An answer that many can have.
#[derive(Clone)]
enum Landed {
    Chunk(Option<CodedChunk>),
    Failed(Arc<Error>),
    /// Whoever asked panicked.
    Lost,
}

impl<S: Store> SingleFlight<S> {
    /// Joins what is asked of a store.
    pub fn new(store: S) -> Self {
        Self { store, flights: Mutex::default() }
    }
}

impl<S: Store> Store for SingleFlight<S> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        let (flight, is_first) = {
            let mut flights = lock(&self.flights);
            match flights.get(id) {
                Some(flight) => (flight.clone(), false),
                None => (flights.entry(*id).or_default().clone(), true),
            }
        };
        if !is_first {
            return flight.wait(id);
        }
        // Also if the store panics: those who wait must be told.
        let mut landing =
            Landing { flights: &self.flights, id, flight: &flight, landed: Landed::Lost };
        let answer = self.store.get(id);
        match answer {
            Ok(coded) => {
                landing.landed = Landed::Chunk(coded.clone());
                Ok(coded)
            }
            Err(e) => {
                let e = Arc::new(e);
                landing.landed = Landed::Failed(e.clone());
                Err(Error::Joined(e))
            }
        }
    }

    pass_on!(self => self.store; has, has_many, in_flight, another, origin, keeps, keep, name);
}

impl Flight {
    fn wait(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        let mut landed = lock(&self.landed);
        loop {
            match &*landed {
                Some(Landed::Chunk(coded)) => return Ok(coded.clone()),
                Some(Landed::Failed(e)) => return Err(Error::Joined(e.clone())),
                Some(Landed::Lost) => {
                    let (place, why) = (id.to_hex(), "whoever asked for it failed".to_owned());
                    return Err(Error::Unreachable { place, why, again: crate::Again::Yes });
                }
                None => {
                    landed = self.arrival.wait(landed).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// Tells those who wait, when it goes out of scope.
struct Landing<'a> {
    flights: &'a Mutex<HashMap<ChunkId, Arc<Flight>>>,
    id: &'a ChunkId,
    flight: &'a Flight,
    landed: Landed,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        // Before the answer is told, so that whoever comes later asks anew.
        lock(self.flights).remove(self.id);
        *lock(&self.flight.landed) = Some(self.landed.clone());
        self.flight.arrival.notify_all();
    }
}

/// No operation leaves these half changed, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use cairn_formats::Coding;

    use super::*;
    use crate::{MemoryStore, WriteStore};

    /// Takes its time, and counts.
    struct Slow {
        store: MemoryStore,
        gets: AtomicUsize,
    }

    impl Store for Slow {
        fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
            self.gets.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(200));
            match self.store.get(id)? {
                Some(coded) if coded.bytes() == [0] => {
                    let why = "broken".to_owned();
                    Err(Error::Unreachable { place: "slow".into(), why, again: crate::Again::Yes })
                }
                coded => Ok(coded),
            }
        }

        fn has(&self, id: &ChunkId) -> Result<bool> {
            self.store.has(id)
        }

        fn name(&self) -> String {
            "slow".to_owned()
        }
    }

    fn coded(byte: u8) -> CodedChunk {
        CodedChunk::new(ChunkId::from_bytes([byte; 32]), Coding::Plain, vec![byte])
    }

    #[test]
    fn all_who_ask_at_once_share_one_answer() {
        let store = MemoryStore::default();
        store.put(&coded(1)).unwrap();
        store.put(&coded(0)).unwrap();
        let single = SingleFlight::new(Slow { store, gets: AtomicUsize::new(0) });
        for (byte, gets) in [(1, 1), (2, 2), (0, 3), (1, 4)] {
            let barrier = Barrier::new(8);
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        barrier.wait();
                        match (byte, single.get(&coded(byte).id())) {
                            (1, answer) => assert_eq!(answer.unwrap(), Some(coded(1))),
                            (2, answer) => assert_eq!(answer.unwrap(), None),
                            (_, answer) => {
                                let error = answer.unwrap_err();
                                assert_eq!(error.to_string(), "slow: broken");
                                assert_eq!(error.again(), crate::Again::Yes);
                            }
                        }
                    });
                }
            });
            assert_eq!(single.store.gets.load(Ordering::Relaxed), gets);
        }
        assert!(lock(&single.flights).is_empty());
    }
}
