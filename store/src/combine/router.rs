//! Several stores, asked in their order.

use cairn_formats::{ChunkId, CodedChunk};

use crate::{Result, Store};

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
}

impl Store for Router {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.ask(|store| store.get(id))
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        Ok(self.ask(|store| Ok(store.has(id)?.then_some(())))?.is_some())
    }

    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        let mut skip = tried;
        self.ask(|store| {
            let mut copies = 0;
            let mut copy = store.get(id)?;
            while copy.is_some() && skip > 0 {
                (skip, copies) = (skip - 1, copies + 1);
                copy = store.another(id, copies)?;
            }
            if copy.is_some() {
                tracing::warn!(%id, store = store.name(), "chunk is taken from another copy");
            }
            Ok(copy)
        })
    }

    fn name(&self) -> String {
        self.stores.iter().map(|store| store.name()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use cairn_formats::Coding;

    use super::*;
    use crate::{Error, MemoryStore, WriteStore};

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
}
