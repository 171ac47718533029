//! A store that is asked again when it fails.
//!
//! ```text
//! ask -failed, may pass-> wait (n times the interval, give or take a quarter) -> ask again, at most so often
//! ```
//! Only what may pass is tried again: a chunk that is missing, or a password that is wrong, stays so.
//! Of a batch only those that failed are asked for again. A body that turns out damaged on its way is
//! got again too, as a further copy.

use std::time::Duration;

use cairn_formats::{ChunkId, CodedChunk};

use super::open::Open;
use crate::pass_on::pass_on;
use crate::{Again, Error, Facts, PruneStore, Result, Retry, Stop, Store, Stored, WriteStore};

/// No store makes us wait for longer at a time, whatever it says.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// A store, and how often it is asked again.
#[derive(Debug)]
pub struct Retrying<S> {
    store: S,
    retry: Retry,
    stop: Stop,
}

impl<S> Retrying<S> {
    /// Asks a store again, until `stop` says that nobody waits any more.
    pub fn new(store: S, retry: Retry, stop: Stop) -> Self {
        Self { store, retry, stop }
    }

    fn run<T>(&self, attempt: impl FnMut() -> Result<T>) -> Result<T> {
        self.retry.run(&self.stop, attempt)
    }
}

impl Retry {
    /// Calls `attempt` until it succeeds, fails for good, or was tried often enough.
    pub fn run<T>(&self, stop: &Stop, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            match attempt() {
                Err(e) if tries < self.times && e.again() != Again::No => {
                    tries += 1;
                    self.wait(tries, std::slice::from_ref(&e), stop)?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Waits before the `number`th further attempt, for what these errors ask for.
    fn wait(&self, number: u32, errors: &[Error], stop: &Stop) -> Result<()> {
        let asked = errors.iter().filter_map(|error| match error.again() {
            Again::After(time) => Some(time),
            Again::Yes | Again::No => None,
        });
        // Without some chance in it, all who were turned away come back at the same time.
        let usual = self.base_interval.saturating_mul(number).mul_f64(0.75 + 0.5 * chance());
        let wait = asked.max().unwrap_or_default().max(usual).min(LONGEST_WAIT);
        if let Some(error) = errors.first() {
            let (count, error) = (errors.len(), error.to_string());
            tracing::info!(number, count, wait = ?wait, error, "trying again");
        }
        stop.sleep(wait)
    }

    /// Tries again the `failed` among the outcomes of a batch: `ask` gets their places.
    fn run_many<T>(
        &self,
        outcomes: &mut [Result<T>],
        stop: &Stop,
        mut ask: impl FnMut(&[usize]) -> Vec<Result<T>>,
    ) {
        for number in 1..=self.times {
            let mut failed = Vec::new();
            let mut errors = Vec::new();
            for (place, outcome) in outcomes.iter_mut().enumerate() {
                match outcome {
                    Err(e) if e.again() != Again::No => {
                        failed.push(place);
                        errors.push(std::mem::replace(e, asked_again()));
                    }
                    _ => {}
                }
            }
            if failed.is_empty() {
                return;
            }
            if self.wait(number, &errors, stop).is_err() {
                failed.iter().for_each(|&place| outcomes[place] = Err(Error::Stopped));
                return;
            }
            for (place, outcome) in failed.iter().zip(ask(&failed)) {
                outcomes[*place] = outcome;
            }
        }
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// Stands for an error until the answer to the next attempt is in its place.
fn asked_again() -> Error {
    Error::Unreachable { place: String::new(), why: "asked again".to_owned(), again: Again::No }
}

impl<S: Store> Store for Retrying<S> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.run(|| self.store.get(id))
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        let mut open = Open::all(ids);
        for number in 0..=self.retry.times {
            let Open { places, ids, failures } = open.take();
            if ids.is_empty() {
                return;
            }
            if number > 0 {
                let errors: Vec<Error> = failures.into_iter().flatten().collect();
                if self.retry.wait(number, &errors, &self.stop).is_err() {
                    places.iter().for_each(|&place| each(place, Err(Error::Stopped)));
                    return;
                }
            }
            let is_last = number == self.retry.times;
            self.store.get_many(&ids, &mut |at, answer| match answer {
                Err(e) if !is_last && e.again() != Again::No => {
                    open.add(places[at], ids[at], Some(e));
                }
                answer => each(places[at], answer),
            });
        }
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.run(|| self.store.has(id))
    }

    fn has_many(&self, ids: &[ChunkId]) -> Vec<Result<bool>> {
        let mut outcomes = self.store.has_many(ids);
        self.retry.run_many(&mut outcomes, &self.stop, |failed| {
            let ids: Vec<ChunkId> = failed.iter().map(|&place| ids[place]).collect();
            self.store.has_many(&ids)
        });
        outcomes
    }

    /// The further copies of the store, and behind them its first again, as often as it may be asked
    /// again: it may have been damaged on its way.
    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        if let Some(copy) = self.run(|| self.store.another(id, tried))? {
            return Ok(Some(copy));
        }
        match u32::try_from(tried) {
            Ok(tried) if tried <= self.retry.times => {
                tracing::info!(%id, tried, "getting a damaged chunk again");
                self.get(id)
            }
            _ => Ok(None),
        }
    }

    pass_on!(self => self.store; in_flight, origin, keeps, keep, name);
}

impl<S: WriteStore> WriteStore for Retrying<S> {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        self.run(|| self.store.put(chunk))
    }

    fn put_many(&self, chunks: &[CodedChunk]) -> Vec<Result<()>> {
        let mut outcomes = self.store.put_many(chunks);
        self.retry.run_many(&mut outcomes, &self.stop, |failed| {
            // One at a time: what failed is little, and copying it is what a batch would cost.
            failed.iter().map(|&place| self.store.put(&chunks[place])).collect()
        });
        outcomes
    }

    fn sync(&self) -> Result<()> {
        self.run(|| self.store.sync())
    }

    pass_on!(self => self.store; coding);
}

impl<S: PruneStore> PruneStore for Retrying<S> {
    fn facts(&self, found: &Stored) -> Result<Option<Facts>> {
        self.run(|| self.store.facts(found))
    }

    fn facts_many(&self, found: &[Stored]) -> Vec<Result<Option<Facts>>> {
        let mut outcomes = self.store.facts_many(found);
        self.retry.run_many(&mut outcomes, &self.stop, |failed| {
            let found: Vec<Stored> = failed.iter().map(|&place| found[place].clone()).collect();
            self.store.facts_many(&found)
        });
        outcomes
    }

    fn remove(&self, found: &Stored) -> Result<()> {
        self.run(|| self.store.remove(found))
    }

    fn remove_many(&self, found: &[Stored]) -> Vec<Result<()>> {
        let mut outcomes = self.store.remove_many(found);
        self.retry.run_many(&mut outcomes, &self.stop, |failed| {
            let found: Vec<Stored> = failed.iter().map(|&place| found[place].clone()).collect();
            self.store.remove_many(&found)
        });
        outcomes
    }

    // A list that broke off cannot be begun again behind the caller's back.
    pass_on!(self => self.store; list, is_dated);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
    use std::thread;
    use std::time::Instant;

    use cairn_formats::{Coding, WriteCoding};

    use super::*;
    use crate::MemoryStore;
    use crate::testing::conformance;

    const QUICK: Retry = Retry { times: 3, base_interval: Duration::from_millis(1) };

    /// Fails at every call that is not the last of `each`.
    struct Flaky {
        store: MemoryStore,
        calls: AtomicU32,
        each: u32,
        again: Again,
    }

    impl Flaky {
        fn new(each: u32, again: Again) -> Self {
            Self { store: MemoryStore::default(), calls: AtomicU32::new(0), each, again }
        }

        fn call<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
            if (self.calls.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.each) {
                return call();
            }
            let why = "not now".to_owned();
            Err(Error::Unreachable { place: "flaky".to_owned(), why, again: self.again })
        }
    }

    impl Store for Flaky {
        fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
            self.call(|| self.store.get(id))
        }

        fn has(&self, id: &ChunkId) -> Result<bool> {
            self.call(|| self.store.has(id))
        }

        fn name(&self) -> String {
            "flaky".to_owned()
        }
    }

    impl WriteStore for Flaky {
        fn put(&self, chunk: &CodedChunk) -> Result<()> {
            self.call(|| self.store.put(chunk))
        }

        fn coding(&self) -> WriteCoding {
            self.store.coding()
        }

        fn sync(&self) -> Result<()> {
            self.call(|| self.store.sync())
        }
    }

    impl PruneStore for Flaky {
        fn list(&self, each: &mut dyn FnMut(Stored, Option<Facts>) -> Result<()>) -> Result<()> {
            self.store.list(each)
        }

        fn facts(&self, found: &Stored) -> Result<Option<Facts>> {
            self.call(|| self.store.facts(found))
        }

        fn remove(&self, found: &Stored) -> Result<()> {
            self.call(|| self.store.remove(found))
        }
    }

    fn coded(byte: u8) -> CodedChunk {
        CodedChunk::new(ChunkId::from_bytes([byte; 32]), Coding::Plain, vec![byte])
    }

    #[test]
    fn a_store_that_fails_now_and_then_conforms() {
        // Threads make the calls of one another succeed or fail, so there must be tries to spare.
        let retry = Retry { times: 40, base_interval: Duration::from_micros(20) };
        conformance::all(|| Retrying::new(Flaky::new(3, Again::Yes), retry, Stop::default()));
    }

    #[test]
    fn it_is_tried_as_often_as_was_said() {
        for (each, again, calls) in
            [(4, Again::Yes, 4), (5, Again::Yes, 4), (2, Again::No, 1), (1, Again::Yes, 1)]
        {
            let store = Retrying::new(Flaky::new(each, again), QUICK, Stop::default());
            assert_eq!(store.get(&coded(1).id()).is_ok(), calls == each, "{each}");
            assert_eq!(store.store.calls.load(Ordering::Relaxed), calls);
        }
        let never = Retry { times: 0, ..QUICK };
        assert!(
            Retrying::new(Flaky::new(2, Again::Yes), never, Stop::default())
                .has(&coded(1).id())
                .is_err()
        );
    }

    #[test]
    fn what_the_store_asks_for_is_waited() {
        let wait = Duration::from_millis(80);
        let store = Retrying::new(Flaky::new(2, Again::After(wait)), QUICK, Stop::default());
        let began = Instant::now();
        store.put(&coded(1)).unwrap();
        assert!(began.elapsed() >= wait);
    }

    #[test]
    fn a_damaged_chunk_is_got_again_as_often() {
        let store = Retrying::new(MemoryStore::default(), QUICK, Stop::default());
        store.put(&coded(1)).unwrap();
        for tried in 1..=3 {
            assert!(store.another(&coded(1).id(), tried).unwrap().is_some());
        }
        assert_eq!(store.another(&coded(1).id(), 4).unwrap(), None);
    }

    #[test]
    fn nobody_waits_for_what_is_no_longer_wanted() {
        let slow = Retry { times: 10, base_interval: Duration::from_secs(60) };
        let asked = Arc::new(AtomicUsize::new(0));
        let stop = Stop::when(asked.clone());
        let store = Retrying::new(Flaky::new(100, Again::Yes), slow, stop);
        let ids = [coded(1).id()];
        thread::scope(|scope| {
            scope.spawn(|| assert!(matches!(store.get(&ids[0]), Err(Error::Stopped))));
            scope.spawn(|| assert!(matches!(store.has_many(&ids)[..], [Err(Error::Stopped)])));
            scope.spawn(|| {
                store.get_many(&ids, &mut |_, answer| {
                    assert!(matches!(answer, Err(Error::Stopped)));
                });
            });
            asked.store(2, Ordering::Relaxed);
        });
    }
}
