//! What a place for chunks can do.

use std::path::PathBuf;
use std::time::SystemTime;

use cairn_formats::{Chunk, ChunkId, CodedChunk, WriteCoding};

use crate::pass_on::pass_on;
use crate::{Error, Result};

/// A place from which chunks can be read.
///
/// Methods block and may be called from many threads at once.
pub trait Store: Send + Sync {
    /// The chunk as it is stored, or `None` if it is not here. Absence is never an error.
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>>;

    /// Whether the chunk is here, without fetching it. Its content is not looked at, but what
    /// plainly cannot be a chunk, such as an empty file, does not count.
    fn has(&self, id: &ChunkId) -> Result<bool>;

    /// Gets many chunks. Calls `each` once for every id, with its place in `ids` and what `get` would
    /// have said, in whatever order the answers come.
    ///
    /// A store that answers after a round trip asks for all at once. Nothing is asked for behind the
    /// caller's back: what `each` does meanwhile, such as decoding, overlaps with what is on its way.
    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        for (place, id) in ids.iter().enumerate() {
            each(place, self.get(id));
        }
    }

    /// Whether each of the chunks is here, in the order asked.
    ///
    /// A store that answers after a round trip asks about all at once.
    fn has_many(&self, ids: &[ChunkId]) -> Vec<Result<bool>> {
        ids.iter().map(|id| self.has(id)).collect()
    }

    /// The chunk as it is stored; absence is an error that names it.
    fn fetch(&self, id: &ChunkId) -> Result<CodedChunk> {
        self.get(id)?.ok_or_else(|| Error::Missing { id: *id, store: self.name() })
    }

    /// How many requests at once are of use, over what the processors of this machine keep busy: none
    /// for a store that is on this machine.
    ///
    /// Whoever works on many chunks has some more workers for this, each with a batch.
    fn in_flight(&self) -> usize {
        0
    }

    /// Another copy of a chunk of which `tried` copies have turned out to be damaged: the one that
    /// `get` gives, and those that this method gave for lower numbers.
    ///
    /// A store made of several can have more than one, and of what comes over a network the next copy
    /// may be whole.
    fn another(&self, _id: &ChunkId, _tried: usize) -> Result<Option<CodedChunk>> {
        Ok(None)
    }

    /// The store that a copy of a chunk came from, for messages; copy 0 is that of `get`, the others
    /// are those of `another`.
    fn origin(&self, _id: &ChunkId, _copy: usize) -> String {
        self.name()
    }

    /// Whether this store wants to be told of verified chunks, by [`Store::keep`].
    fn keeps(&self) -> bool {
        false
    }

    /// Told that a chunk which `get` or `another` handed out has been verified. A cache keeps it now;
    /// so nothing unverified ever gets into one.
    fn keep(&self, _chunk: &Chunk<'_>, _coded: &CodedChunk) -> Result<()> {
        Ok(())
    }

    /// The store as the user named it, for messages.
    fn name(&self) -> String;
}

/// A store to which chunks can be written.
pub trait WriteStore: Store {
    /// Keeps a chunk, whatever coding it comes in. It appears whole or not at all, and putting it
    /// again changes nothing.
    fn put(&self, chunk: &CodedChunk) -> Result<()>;

    /// Puts many chunks, and tells of each whether it is kept now, in the order given.
    ///
    /// A store that answers after a round trip sends all at once.
    fn put_many(&self, chunks: &[CodedChunk]) -> Vec<Result<()>> {
        chunks.iter().map(|chunk| self.put(chunk)).collect()
    }

    /// The coding in which this store wants its chunks.
    fn coding(&self) -> WriteCoding;

    /// Returns once everything put before is as durable as the store was asked to make it.
    fn sync(&self) -> Result<()>;
}

/// Something found in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A chunk in the store's own form.
    Chunk(ChunkId),
    /// What a killed writer left behind, by its path below the store.
    Leftover(PathBuf),
}

/// What is known of something in a store without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When it was written.
    pub modified: SystemTime,
    /// How long it is as it is stored, in bytes.
    pub len: u64,
}

/// A store from which chunks can be removed.
pub trait PruneStore: WriteStore {
    /// Calls `each` for everything here, in no particular order, until it fails, with the facts where
    /// they come with the listing. What `each` removes does not disturb it; what does not belong to a
    /// store is passed over.
    fn list(&self, each: &mut dyn FnMut(Stored, Option<Facts>) -> Result<()>) -> Result<()>;

    /// What is known of it without reading it; `None` if it is not here any more.
    fn facts(&self, found: &Stored) -> Result<Option<Facts>>;

    /// The facts of many, in the order given.
    fn facts_many(&self, found: &[Stored]) -> Vec<Result<Option<Facts>>> {
        found.iter().map(|found| self.facts(found)).collect()
    }

    /// Whether its facts say when something was written. If not, their time means nothing.
    fn is_dated(&self) -> bool {
        true
    }

    /// Removes it. That it was not there is no error.
    fn remove(&self, found: &Stored) -> Result<()>;

    /// Removes many, and tells of each whether it is gone now, in the order given.
    fn remove_many(&self, found: &[Stored]) -> Vec<Result<()>> {
        found.iter().map(|found| self.remove(found)).collect()
    }
}

impl<S: Store + ?Sized> Store for &S {
    pass_on!(self => (**self); get, has, get_many, has_many, in_flight, another, origin, keeps, keep, name);
}

impl<S: WriteStore + ?Sized> WriteStore for &S {
    pass_on!(self => (**self); put, put_many, coding, sync);
}

impl<S: PruneStore + ?Sized> PruneStore for &S {
    pass_on!(self => (**self); list, facts, facts_many, is_dated, remove, remove_many);
}

impl<S: Store + ?Sized> Store for Box<S> {
    pass_on!(self => (**self); get, has, get_many, has_many, in_flight, another, origin, keeps, keep, name);
}

impl<S: WriteStore + ?Sized> WriteStore for Box<S> {
    pass_on!(self => (**self); put, put_many, coding, sync);
}

impl<S: PruneStore + ?Sized> PruneStore for Box<S> {
    pass_on!(self => (**self); list, facts, facts_many, is_dated, remove, remove_many);
}
