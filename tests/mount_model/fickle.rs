//! A store in which something goes wrong now and then, until it is told to calm down.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use cairn_formats::{ChunkId, CodedChunk};
use cairn_store::testing::{Fault, Faulty};
use cairn_store::{MemoryStore, Result, Store};

/// Of so many calls one has each of the faults, and one comes late.
const OFTEN: u64 = 11;

const LATE: Duration = Duration::from_millis(2);

/// Chunks in memory, most of which come as they are.
pub struct Fickle {
    store: MemoryStore,
    seed: AtomicU64,
    is_calm: AtomicBool,
}

impl Fickle {
    /// As calm as can be.
    pub fn new(store: MemoryStore) -> Self {
        Self { store, seed: AtomicU64::new(0), is_calm: AtomicBool::new(true) }
    }

    /// Has things go wrong from now on, or no more.
    pub fn set_calm(&self, is_calm: bool) {
        self.is_calm.store(is_calm, Ordering::SeqCst);
    }

    /// What goes wrong in the next call: a number that nobody can guess, and the same in each run of one thread.
    fn next(&self) -> u64 {
        let number = self.seed.fetch_add(1, Ordering::SeqCst);
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)) % OFTEN
    }
}

impl Store for Fickle {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        if self.is_calm.load(Ordering::SeqCst) {
            return self.store.get(id);
        }
        let fault = match self.next() {
            0 => Fault::Fail,
            1 => Fault::Lose,
            2 => Fault::TurnBit,
            3 => Fault::CutShort,
            4 => {
                thread::sleep(LATE);
                return self.store.get(id);
            }
            _ => return self.store.get(id),
        };
        Faulty::after(0, fault, &self.store).get(id)
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.store.has(id)
    }

    fn name(&self) -> String {
        "fickle".to_owned()
    }
}
