//! Several stores, asked in their order.
//!
//! ```text
//! get   first -none, failed-> second -none, failed-> third ...     failed: asked last for a while
//! put   first -failed-> second ...
//! ```
//! Stores that hold different chunks (`-s a -s b`) and mirrors of one another (`-s 'a|b'`) are served
//! by the same rule. A store that fails does not hide the ones behind it, and is spared for some
//! seconds: then it comes first again.

use std::sync::atomic::{AtomicBool, Ordering};

use cairn_formats::{Chunk, ChunkId, CodedChunk, WriteCoding};

use super::health::Health;
use super::open::Open;
use crate::{Again, Error, Result, Store, WriteStore};

/// Several stores as one: the first that has a chunk answers.
///
/// Only when none has the chunk is the first failure reported.
pub struct Router<S = Box<dyn Store>> {
    members: Vec<Member<S>>,
    /// Whether it is enough if one member can tell that it does not have a chunk.
    one_no_is_enough: bool,
}

struct Member<S> {
    store: S,
    health: Health,
    /// Whether it could ever not be asked.
    has_failed: AtomicBool,
    /// Whether something was put here.
    is_written: AtomicBool,
}

impl<S: Store> Router<S> {
    /// The stores in the order in which they are asked.
    pub fn new(stores: Vec<S>) -> Self {
        let member = |store| Member {
            store,
            health: Health::default(),
            has_failed: AtomicBool::new(false),
            is_written: AtomicBool::new(false),
        };
        Self { members: stores.into_iter().map(member).collect(), one_no_is_enough: false }
    }

    /// Mirrors to write to: a chunk that one does not have and another cannot tell of is not here, for
    /// it can be put where it is not.
    pub fn of_mirrors(stores: Vec<S>) -> Self {
        Self { one_no_is_enough: true, ..Self::new(stores) }
    }

    /// The members in the order in which they are to be asked now: those that failed lately are the
    /// last, but not left out, for they may be the only ones with the chunk.
    fn in_turn(&self) -> Vec<&Member<S>> {
        let (paused, mut turn): (Vec<_>, Vec<_>) =
            self.members.iter().partition(|member| member.health.is_paused());
        turn.extend(paused);
        turn
    }

    /// The first answer, or the first failure if there is none.
    fn ask<T>(
        turn: Vec<&Member<S>>,
        mut question: impl FnMut(&S) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut failure = None;
        for member in turn {
            match question(&member.store) {
                Ok(Some(answer)) => {
                    member.health.works();
                    return Ok(Some(answer));
                }
                Ok(None) => member.health.works(),
                Err(e) => {
                    member.note(&e);
                    failure = Some(first(failure, e));
                }
            }
        }
        failure.map_or(Ok(None), Err)
    }

    /// A copy of a chunk by its number among all copies that the stores can hand out.
    ///
    /// What a store refuses to hand out as damaged has a number in that store but none here, for `get`
    /// and `another` alike, and the store's further copies come before those of the next.
    ///
    /// Copy 0 comes from the store whose turn it is; which that was is not known any more when the
    /// others are counted. So these are counted in the order of the stores, and where a store has ever
    /// failed from the very first: one may come twice, which costs a fetch, but none is left out.
    fn copy(&self, id: &ChunkId, number: usize) -> Result<Option<CodedChunk>> {
        let is_certain = !self.members.iter().any(|m| m.has_failed.load(Ordering::Relaxed));
        let (turn, mut skip) = match number {
            0 => (self.in_turn(), 0),
            number => (self.members.iter().collect(), number - usize::from(!is_certain)),
        };
        Self::ask(turn, |store| {
            let mut damage = None;
            let mut asked = 0;
            loop {
                let copy = if asked == 0 { store.get(id) } else { store.another(id, asked) };
                asked += 1;
                match copy {
                    Ok(Some(copy)) if skip == 0 => {
                        if let Some(error) = damage.filter(|_| number == 0) {
                            tracing::warn!(%id, %error, "chunk is damaged");
                        }
                        if number > 0 {
                            let store = store.name();
                            tracing::warn!(%id, store, "chunk is taken from another copy");
                        }
                        return Ok(Some(copy));
                    }
                    Ok(Some(_)) => skip -= 1,
                    Ok(None) => return damage.map_or(Ok(None), Err),
                    Err(e) if e.is_damage() => damage = damage.or(Some(e)),
                    Err(e) => {
                        // It had one before, maybe.
                        skip = skip.saturating_sub(1);
                        return Err(damage.unwrap_or(e));
                    }
                }
            }
        })
    }
}

impl<S: Store> Member<S> {
    /// Writes down a failure. What is wrong with one chunk says nothing of the others.
    fn note(&self, error: &Error) {
        if matches!(error.root(), Error::Stopped) {
            return;
        }
        let is_of_the_store =
            matches!(error.root(), Error::Unreachable { .. } | Error::Denied { .. });
        if is_of_the_store {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        if !is_of_the_store || self.health.pause() {
            let store = self.store.name();
            tracing::warn!(store, error = error.to_string(), "store failed, the next is asked");
        }
    }
}

impl<S: Store> Store for Router<S> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.copy(id, 0)
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        let mut damaged = Vec::new();
        let mut open = Open::all(ids);
        for member in self.in_turn() {
            let Open { places, ids, mut failures } = open.take();
            if ids.is_empty() {
                break;
            }
            member.store.get_many(&ids, &mut |at, answer| match answer {
                Ok(Some(coded)) => each(places[at], Ok(Some(coded))),
                // Its further copies come first.
                Err(e) if e.is_damage() => damaged.push(places[at]),
                Ok(None) => open.add(places[at], ids[at], failures[at].take()),
                Err(e) => {
                    member.note(&e);
                    open.add(places[at], ids[at], Some(first(failures[at].take(), e)));
                }
            });
        }
        let Open { places, failures, .. } = open;
        for (place, failure) in places.into_iter().zip(failures) {
            each(place, failure.map_or(Ok(None), Err));
        }
        for place in damaged {
            each(place, self.get(&ids[place]));
        }
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.has_many(std::slice::from_ref(id)).pop().unwrap_or(Ok(false))
    }

    fn has_many(&self, ids: &[ChunkId]) -> Vec<Result<bool>> {
        let mut here: Vec<Result<bool>> = ids.iter().map(|_| Ok(false)).collect();
        let mut is_denied = vec![false; ids.len()];
        let mut open = Open::all(ids);
        for member in self.in_turn() {
            let Open { places, ids, mut failures } = open.take();
            if ids.is_empty() {
                break;
            }
            for (at, answer) in member.store.has_many(&ids).into_iter().enumerate() {
                match answer {
                    Ok(true) => here[places[at]] = Ok(true),
                    Ok(false) => {
                        is_denied[places[at]] = true;
                        open.add(places[at], ids[at], failures[at].take());
                    }
                    Err(e) => {
                        member.note(&e);
                        open.add(places[at], ids[at], Some(first(failures[at].take(), e)));
                    }
                }
            }
        }
        for (place, failure) in open.places.into_iter().zip(open.failures) {
            let failure = failure.filter(|_| !(self.one_no_is_enough && is_denied[place]));
            here[place] = failure.map_or(Ok(false), Err);
        }
        here
    }

    fn in_flight(&self) -> usize {
        self.members.iter().map(|member| member.store.in_flight()).max().unwrap_or(0)
    }

    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        match self.copy(id, tried) {
            // That there is damage is known by now; there is no further copy, which ends the search.
            Err(e) if e.is_damage() => Ok(None),
            answer => answer,
        }
    }

    fn keeps(&self) -> bool {
        self.members.iter().any(|member| member.store.keeps())
    }

    fn keep(&self, chunk: &Chunk<'_>, coded: &CodedChunk) -> Result<()> {
        // Each knows what it is waiting for.
        let mut keeping = self.members.iter().filter(|member| member.store.keeps());
        keeping.try_for_each(|member| member.store.keep(chunk, coded))
    }

    fn origin(&self, id: &ChunkId, copy: usize) -> String {
        let mut stores = self.members.iter().map(|member| &member.store);
        let first = stores.find(|store| copy == 0 && store.has(id).unwrap_or(false));
        first.map_or_else(|| self.name(), |store| store.origin(id, copy))
    }

    fn name(&self) -> String {
        let names: Vec<String> = self.members.iter().map(|member| member.store.name()).collect();
        names.join(", ")
    }
}

/// Writes go to the first member that takes them: of mirrors, one has each chunk.
impl<S: WriteStore> WriteStore for Router<S> {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        let mut failure = None;
        for member in self.in_turn() {
            member.is_written.store(true, Ordering::Relaxed);
            match member.store.put(chunk) {
                Ok(()) => {
                    member.health.works();
                    return Ok(());
                }
                Err(e) => {
                    member.note(&e);
                    failure = Some(first(failure, e));
                }
            }
        }
        Err(failure.unwrap_or_else(no_member))
    }

    fn put_many(&self, chunks: &[CodedChunk]) -> Vec<Result<()>> {
        let Some(&first) = self.in_turn().first() else {
            return chunks.iter().map(|_| Err(no_member())).collect();
        };
        first.is_written.store(true, Ordering::Relaxed);
        let outcomes = first.store.put_many(chunks);
        let again = |(chunk, outcome): (&CodedChunk, Result<()>)| match outcome {
            Err(e) if self.members.len() > 1 => {
                first.note(&e);
                self.put(chunk)
            }
            outcome => outcome,
        };
        chunks.iter().zip(outcomes).map(again).collect()
    }

    fn coding(&self) -> WriteCoding {
        self.in_turn().first().map_or_else(Default::default, |member| member.store.coding())
    }

    fn sync(&self) -> Result<()> {
        let mut written = self.members.iter().filter(|m| m.is_written.load(Ordering::Relaxed));
        written.try_for_each(|member| member.store.sync())
    }
}

/// What to say of two failures: the first, unless the user wants an end meanwhile.
fn first(earlier: Option<Error>, error: Error) -> Error {
    match earlier {
        Some(earlier) if !matches!(error.root(), Error::Stopped) => earlier,
        _ => error,
    }
}

fn no_member() -> Error {
    let why = "the group has no store".to_owned();
    Error::Unreachable { place: "store".to_owned(), why, again: Again::No }
}

#[cfg(test)]
mod tests {
    use cairn_formats::Coding;

    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::MemoryStore;

    struct Broken;

    impl Store for Broken {
        fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
            Err(Error::Missing { id: *id, store: "broken".into() })
        }

        fn has(&self, id: &ChunkId) -> Result<bool> {
            self.get(id).map(|_| false)
        }

        fn name(&self) -> String {
            "broken".into()
        }
    }

    fn coded(byte: u8) -> CodedChunk {
        CodedChunk::new(ChunkId::from_bytes([byte; 32]), Coding::Plain, vec![byte])
    }

    #[test]
    fn the_first_store_with_the_chunk_answers() {
        let (first, second) = (MemoryStore::default(), MemoryStore::default());
        second.put(&coded(1)).unwrap();
        let router: Router = Router::new(vec![Box::new(first), Box::new(second)]);
        assert_eq!(router.get(&coded(1).id()).unwrap(), Some(coded(1)));
        assert!(router.has(&coded(1).id()).unwrap());
        assert_eq!(router.get(&coded(2).id()).unwrap(), None);
        assert!(!router.has(&coded(2).id()).unwrap());
    }

    #[test]
    fn every_copy_can_be_had() {
        let copy = |byte: u8| {
            let store = MemoryStore::default();
            store.put(&CodedChunk::new(coded(1).id(), Coding::Plain, vec![byte])).unwrap();
            Box::new(store)
        };
        let router: Router =
            Router::new(vec![copy(10), Box::new(MemoryStore::default()), copy(11), copy(12)]);
        let id = coded(1).id();
        assert_eq!(router.get(&id).unwrap().unwrap().bytes(), [10]);
        assert_eq!(router.another(&id, 1).unwrap().unwrap().bytes(), [11]);
        assert_eq!(router.another(&id, 2).unwrap().unwrap().bytes(), [12]);
        assert_eq!(router.another(&id, 3).unwrap(), None);
    }

    #[test]
    fn no_copy_is_left_out_when_stores_come_and_go() {
        let id = coded(1).id();
        for is_gone_first in [true, false] {
            let (first, second) = (Switched::default(), Switched::default());
            for (store, byte) in [(&first, 10), (&second, 11)] {
                store.store.put(&CodedChunk::new(id, Coding::Plain, vec![byte])).unwrap();
            }
            let router = Router::new(vec![&first, &second]);
            let off = |is_off| {
                first.off.store(is_off, Ordering::Relaxed);
                // That is noticed by whoever is next.
                let _ = router.has(&coded(9).id());
            };
            off(is_gone_first);
            let mut copies = vec![router.get(&id).unwrap().unwrap()];
            off(!is_gone_first);
            while let Ok(Some(copy)) = router.another(&id, copies.len()) {
                copies.push(copy);
            }
            for byte in [10, 11] {
                assert!(copies.iter().any(|copy| copy.bytes() == [byte]), "{byte} {copies:?}");
            }
            assert!(copies.len() <= 3, "{copies:?}");
        }
    }

    #[test]
    fn a_failing_store_hides_nothing_but_is_reported() {
        let good = MemoryStore::default();
        good.put(&coded(1)).unwrap();
        let router: Router = Router::new(vec![Box::new(Broken), Box::new(good)]);
        assert_eq!(router.get(&coded(1).id()).unwrap(), Some(coded(1)));
        assert!(router.get(&coded(2).id()).is_err());
        assert!(router.has(&coded(2).id()).is_err());
    }

    /// Cannot be reached while it is off.
    #[derive(Default)]
    struct Switched {
        store: MemoryStore,
        off: AtomicBool,
        calls: AtomicUsize,
    }

    impl Switched {
        fn call<T>(&self, call: impl FnOnce(&MemoryStore) -> Result<T>) -> Result<T> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            if !self.off.load(Ordering::Relaxed) {
                return call(&self.store);
            }
            let why = "off".to_owned();
            Err(Error::Unreachable { place: "switched".into(), why, again: Again::Yes })
        }
    }

    impl Store for Switched {
        fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
            self.call(|store| store.get(id))
        }

        fn has(&self, id: &ChunkId) -> Result<bool> {
            self.call(|store| store.has(id))
        }

        fn name(&self) -> String {
            "switched".into()
        }
    }

    impl WriteStore for Switched {
        fn put(&self, chunk: &CodedChunk) -> Result<()> {
            self.call(|store| store.put(chunk))
        }

        fn coding(&self) -> WriteCoding {
            self.store.coding()
        }

        fn sync(&self) -> Result<()> {
            self.call(|store| store.sync())
        }
    }

    #[test]
    fn a_store_that_cannot_be_reached_is_spared_and_then_comes_first_again() {
        let (first, second) = (Switched::default(), Switched::default());
        for store in [&first.store, &second.store] {
            (1..4).for_each(|byte| store.put(&coded(byte)).unwrap());
        }
        first.off.store(true, Ordering::Relaxed);
        let router = Router::new(vec![&first, &second]);
        let ids = [1, 2, 3].map(|byte| coded(byte).id());
        for _ in 0..5 {
            let mut count = 0;
            router.get_many(&ids, &mut |_, answer| count += usize::from(answer.unwrap().is_some()));
            assert_eq!(count, 3);
            assert!(router.has(&ids[0]).unwrap());
        }
        // One batch found out.
        assert_eq!(first.calls.swap(0, Ordering::Relaxed), 3);
        // What nobody else has is asked of it all the same, and its failure is told.
        assert!(router.get(&coded(9).id()).is_err());
        assert_eq!(first.calls.swap(0, Ordering::Relaxed), 1);
        first.off.store(false, Ordering::Relaxed);
        second.calls.store(0, Ordering::Relaxed);
        router.members[0].health.age();
        assert!(router.has_many(&ids).into_iter().all(|here| here.unwrap()));
        assert_eq!(first.calls.load(Ordering::Relaxed), 3);
        assert_eq!(second.calls.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn mirrors_take_writes_as_long_as_one_works() {
        let (first, second) = (Switched::default(), Switched::default());
        let router = Router::new(vec![&first, &second]);
        router.put(&coded(1)).unwrap();
        first.off.store(true, Ordering::Relaxed);
        assert!(router.put_many(&[coded(2), coded(3)]).into_iter().all(|done| done.is_ok()));
        assert_eq!((first.store.len(), second.store.len()), (1, 2));
        second.off.store(true, Ordering::Relaxed);
        assert!(router.put(&coded(4)).is_err());
        assert!(router.sync().is_err());
    }

    /// Tells many at once what went wrong, as a store does that answers them with one session.
    struct Joining<S>(S);

    impl<S: Store> Store for Joining<S> {
        fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
            self.0.get(id).map_err(|e| Error::Joined(e.into()))
        }

        fn has(&self, id: &ChunkId) -> Result<bool> {
            self.0.has(id).map_err(|e| Error::Joined(e.into()))
        }

        fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
            self.0.another(id, tried)
        }

        fn name(&self) -> String {
            "joining".into()
        }
    }

    /// Gives up, because the user wants an end.
    struct Stopping;

    impl Store for Stopping {
        fn get(&self, _id: &ChunkId) -> Result<Option<CodedChunk>> {
            Err(Error::Stopped)
        }

        fn has(&self, _id: &ChunkId) -> Result<bool> {
            Err(Error::Stopped)
        }

        fn name(&self) -> String {
            "stopping".into()
        }
    }

    #[test]
    fn an_end_that_is_wanted_is_no_failure_of_a_store() {
        let id = coded(1).id();
        let router: Router = Router::new(vec![Box::new(Broken), Box::new(Stopping)]);
        assert!(matches!(router.get(&id), Err(Error::Stopped)));
        assert!(matches!(router.has(&id), Err(Error::Stopped)));
        router.get_many(&[id], &mut |_, answer| assert!(matches!(answer, Err(Error::Stopped))));
    }

    #[test]
    fn a_failure_told_to_many_is_the_same_failure() {
        let (first, second) = (Switched::default(), MemoryStore::default());
        first.off.store(true, Ordering::Relaxed);
        second.put(&coded(1)).unwrap();
        let id = coded(1).id();
        let router: Router<Box<dyn Store + '_>> =
            Router::new(vec![Box::new(Joining(&first)), Box::new(second)]);
        for _ in 0..5 {
            assert_eq!(router.get(&id).unwrap(), Some(coded(1)));
            assert!(router.has(&id).unwrap());
        }
        assert_eq!(first.calls.load(Ordering::Relaxed), 1, "it was not spared");
        // What is damaged has further copies, whoever was told.
        let damaged = || Box::new(Joining(Damaged(vec![7])));
        let router: Router = Router::new(vec![damaged(), damaged()]);
        assert_eq!(router.get(&id).unwrap().unwrap().bytes(), [7]);
        let mut answers = Vec::new();
        router.get_many(&[id, id], &mut |_, answer| answers.push(answer.unwrap().unwrap()));
        assert!(answers.len() == 2 && answers.iter().all(|copy| copy.bytes() == [7]));
        assert_eq!(router.another(&id, 2).unwrap(), None);
    }

    #[test]
    fn of_mirrors_to_write_to_one_may_be_silent() {
        let (first, second) = (Switched::default(), Switched::default());
        first.off.store(true, Ordering::Relaxed);
        second.put(&coded(1)).unwrap();
        let ids = [1, 2].map(|byte| coded(byte).id());
        let router = Router::of_mirrors(vec![&first, &second]);
        let here: Vec<bool> = router.has_many(&ids).into_iter().map(|here| here.unwrap()).collect();
        assert_eq!(here, [true, false]);
        assert!(!router.has(&ids[1]).unwrap());
        second.off.store(true, Ordering::Relaxed);
        assert!(router.has(&ids[1]).is_err());
    }

    /// A store that cannot hand out its first copy, but has others.
    struct Damaged(Vec<u8>);

    impl Store for Damaged {
        fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
            let why = "damaged".to_owned();
            let source = cairn_formats::Error::BadCoding { id: *id, coding: Coding::Zstd, why };
            Err(Error::invalid("damaged")(source))
        }

        fn has(&self, _id: &ChunkId) -> Result<bool> {
            Ok(true)
        }

        fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
            let copy = self.0.get(tried - 1);
            Ok(copy.map(|&byte| CodedChunk::new(*id, Coding::Plain, vec![byte])))
        }

        fn name(&self) -> String {
            "damaged".into()
        }
    }

    #[test]
    fn damage_hides_no_further_copy() {
        let id = coded(1).id();
        let good = MemoryStore::default();
        good.put(&coded(1)).unwrap();
        let damaged = |copies: &[u8]| Box::new(Damaged(copies.to_vec()));
        // A router among the stores, too: its end must be seen.
        let inner: Router = Router::new(vec![damaged(&[]), damaged(&[12])]);
        let router: Router = Router::new(vec![damaged(&[10, 11]), Box::new(inner), Box::new(good)]);
        assert_eq!(router.get(&id).unwrap().unwrap().bytes(), [10]);
        for (tried, byte) in [(1, 11), (2, 12), (3, 1)] {
            assert_eq!(router.another(&id, tried).unwrap().unwrap().bytes(), [byte]);
        }
        assert_eq!(router.another(&id, 4).unwrap(), None);
        let hopeless: Router = Router::new(vec![damaged(&[]), damaged(&[])]);
        assert!(matches!(hopeless.get(&id), Err(Error::Invalid { .. })));
        assert_eq!(hopeless.another(&id, 1).unwrap(), None);
    }
}
