//! Several stores, asked in their order.

use cairn_formats::{Chunk, ChunkId, CodedChunk};

use crate::{Error, Result, Store};

/// Several stores as one: the first that has a chunk answers.
///
/// A store that fails does not hide the ones behind it: only when none has the chunk is the first
/// failure reported.
pub struct Router {
    stores: Vec<Box<dyn Store>>,
}

impl Router {
    /// The stores in the order in which they are asked.
    pub fn new(stores: Vec<Box<dyn Store>>) -> Self {
        Self { stores }
    }

    /// The first answer, or the first failure if there is none.
    fn ask<T>(
        &self,
        mut question: impl FnMut(&dyn Store) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut failure = None;
        for store in &self.stores {
            match question(store.as_ref()) {
                Ok(Some(answer)) => return Ok(Some(answer)),
                Ok(None) => {}
                Err(e) => {
                    tracing::warn!(
                        store = store.name(),
                        error = e.to_string(),
                        "store failed, the next is asked"
                    );
                    failure = failure.or(Some(e));
                }
            }
        }
        failure.map_or(Ok(None), Err)
    }

    /// A copy of a chunk by its number among all copies that the stores can hand out.
    ///
    /// What a store refuses to hand out as damaged has a number in that store but none here, for `get`
    /// and `another` alike, and the store's further copies come before those of the next.
    fn copy(&self, id: &ChunkId, number: usize) -> Result<Option<CodedChunk>> {
        let mut skip = number;
        self.ask(|store| {
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
                    Err(e @ Error::Invalid { .. }) => damage = damage.or(Some(e)),
                    Err(e) => return Err(damage.unwrap_or(e)),
                }
            }
        })
    }
}

impl Store for Router {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.copy(id, 0)
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        Ok(self.ask(|store| Ok(store.has(id)?.then_some(())))?.is_some())
    }

    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        match self.copy(id, tried) {
            // That there is damage is known by now; there is no further copy, which ends the search.
            Err(Error::Invalid { .. }) => Ok(None),
            answer => answer,
        }
    }

    fn keeps(&self) -> bool {
        self.stores.iter().any(|store| store.keeps())
    }

    fn keep(&self, chunk: &Chunk<'_>, coded: &CodedChunk) -> Result<()> {
        // Each knows what it is waiting for.
        let mut keeping = self.stores.iter().filter(|store| store.keeps());
        keeping.try_for_each(|store| store.keep(chunk, coded))
    }

    fn origin(&self, id: &ChunkId, copy: usize) -> String {
        let mut stores = self.stores.iter();
        let first = stores.find(|store| copy == 0 && store.has(id).unwrap_or(false));
        first.map_or_else(|| self.name(), |store| store.origin(id, copy))
    }

    fn name(&self) -> String {
        self.stores.iter().map(|store| store.name()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use cairn_formats::Coding;

    use super::*;
    use crate::{MemoryStore, WriteStore};

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
        let router = Router::new(vec![Box::new(first), Box::new(second)]);
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
        let router =
            Router::new(vec![copy(10), Box::new(MemoryStore::default()), copy(11), copy(12)]);
        let id = coded(1).id();
        assert_eq!(router.get(&id).unwrap().unwrap().bytes(), [10]);
        assert_eq!(router.another(&id, 1).unwrap().unwrap().bytes(), [11]);
        assert_eq!(router.another(&id, 2).unwrap().unwrap().bytes(), [12]);
        assert_eq!(router.another(&id, 3).unwrap(), None);
    }

    #[test]
    fn a_failing_store_hides_nothing_but_is_reported() {
        let good = MemoryStore::default();
        good.put(&coded(1)).unwrap();
        let router = Router::new(vec![Box::new(Broken), Box::new(good)]);
        assert_eq!(router.get(&coded(1).id()).unwrap(), Some(coded(1)));
        assert!(router.get(&coded(2).id()).is_err());
        assert!(router.has(&coded(2).id()).is_err());
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
        let inner = Router::new(vec![damaged(&[]), damaged(&[12])]);
        let router = Router::new(vec![damaged(&[10, 11]), Box::new(inner), Box::new(good)]);
        assert_eq!(router.get(&id).unwrap().unwrap().bytes(), [10]);
        for (tried, byte) in [(1, 11), (2, 12), (3, 1)] {
            assert_eq!(router.another(&id, tried).unwrap().unwrap().bytes(), [byte]);
        }
        assert_eq!(router.another(&id, 4).unwrap(), None);
        let hopeless = Router::new(vec![damaged(&[]), damaged(&[])]);
        assert!(matches!(hopeless.get(&id), Err(Error::Invalid { .. })));
        assert_eq!(hopeless.another(&id, 1).unwrap(), None);
    }
}
