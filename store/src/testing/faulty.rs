//! A store in which things go wrong.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use cairn_formats::{ChunkId, CodedChunk, WriteCoding};

use crate::{Error, Result, Store, WriteStore};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails as if the disk did.
    Fail,
    /// `get` finds nothing.
    Lose,
    /// `get` answers with one bit turned.
    TurnBit,
    /// `get` answers with the chunk cut short.
    CutShort,
}

/// Passes everything on until a given call, and lets the fault happen there and from then on.
#[derive(Debug)]
pub struct Faulty<S> {
    store: S,
    fault: Fault,
    /// Calls that still go well.
    good: AtomicUsize,
    /// Whether it happens only once.
    once: bool,
}

impl<S> Faulty<S> {
    /// A store whose first `good` gets and puts work.
    pub fn after(good: usize, fault: Fault, store: S) -> Self {
        Self { store, fault, good: AtomicUsize::new(good), once: false }
    }

    /// A store in which only the get or put after the first `good` ones goes wrong.
    pub fn once_after(good: usize, fault: Fault, store: S) -> Self {
        Self { once: true, ..Self::after(good, fault, store) }
    }

    fn is_due(&self) -> bool {
        let after = if self.once { usize::MAX } else { 0 };
        let one_less = |good: usize| Some(good.checked_sub(1).unwrap_or(after));
        self.good.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) == Ok(0)
    }

    fn failure<T>(&self, doing: &'static str, id: &ChunkId) -> Result<T> {
        Err(Error::io(doing, id.to_hex())(io::Error::other("injected fault")))
    }
}

impl<S: Store> Store for Faulty<S> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        let due = self.is_due();
        let Some(chunk) = self.store.get(id)? else {
            return Ok(None);
        };
        if !due {
            return Ok(Some(chunk));
        }
        let mut bytes = chunk.bytes().to_vec();
        match self.fault {
            Fault::Fail => return self.failure("read chunk", id),
            Fault::Lose => return Ok(None),
            Fault::TurnBit => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x10;
            }
            Fault::CutShort => bytes.truncate(bytes.len() / 2),
        }
        Ok(Some(CodedChunk::new(*id, chunk.coding(), bytes)))
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.store.has(id)
    }

    fn name(&self) -> String {
        format!("faulty {}", self.store.name())
    }
}

impl<S: WriteStore> WriteStore for Faulty<S> {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        if self.is_due() && self.fault == Fault::Fail {
            return self.failure("write chunk", &chunk.id());
        }
        self.store.put(chunk)
    }

    fn coding(&self) -> WriteCoding {
        self.store.coding()
    }

    fn sync(&self) -> Result<()> {
        self.store.sync()
    }
}
