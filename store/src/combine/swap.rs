//! A store that can be exchanged for another one while it is used.
//!
//! Whoever has asked the old one gets the answer from it; it is closed after the last of them.

use std::sync::{Arc, PoisonError, RwLock};

use crate::Store;
use crate::pass_on::pass_on;

/// The store that is in use.
pub struct Swap {
    store: RwLock<Arc<dyn Store>>,
}

impl Swap {
    /// This one to begin with.
    pub fn new(store: Box<dyn Store>) -> Self {
        Self { store: RwLock::new(Arc::from(store)) }
    }

    /// From now on another one.
    pub fn exchange(&self, store: Box<dyn Store>) {
        let new = Arc::from(store);
        let old = std::mem::replace(
            &mut *self.store.write().unwrap_or_else(PoisonError::into_inner),
            new,
        );
        // Not under the lock: to close connections may take a while.
        drop(old);
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for Swap {
    pass_on!(self => self.store(); get, has, get_many, has_many, in_flight, another, origin, keeps, keep, name);
}

#[cfg(test)]
mod tests {
    use cairn_formats::coding::{Encoder, WriteCoding};
    use cairn_formats::{Chunk, Digest};

    use super::*;
    use crate::{MemoryStore, WriteStore};

    #[test]
    fn what_is_asked_goes_to_the_store_of_the_moment() {
        let chunk = Chunk::name(Digest::default(), &b"abc"[..]);
        let full = MemoryStore::default();
        full.put(&Encoder::new(3).encode(&chunk, WriteCoding::default())).unwrap();
        let swap = Swap::new(Box::new(MemoryStore::default()));
        assert!(swap.get(&chunk.id()).unwrap().is_none());
        swap.exchange(Box::new(full));
        assert!(swap.has(&chunk.id()).unwrap() && swap.get(&chunk.id()).unwrap().is_some());
    }
}
