//! What an index describes, and how much of it is at hand.

use std::sync::Mutex;

use cairn_formats::{ChunkId, ChunkSizes, Index};
use cairn_store::Store;

use super::sizes::SizesById;
use crate::flow::{each, lock};
use crate::ids::{IdSet, distinct};
use crate::{Error, Monitor, Result, Unit};

/// Chunks asked about at once.
const BATCH: usize = 1024;

/// Where chunks may be at hand.
#[derive(Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The stores, as one.
    pub store: Option<&'a dyn Store>,
    /// The cache.
    pub cache: Option<&'a dyn Store>,
    /// Chunks of blobs that are there already.
    pub seed: Option<&'a IdSet>,
    /// What chunks take in a store.
    pub sizes: Option<&'a SizesById>,
}

/// Counts of chunks, each distinct one once, and sums of their plain sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Chunks, with repetitions.
    pub total: u64,
    /// Distinct chunks.
    pub unique: u64,
    /// Distinct chunks in the store.
    pub in_store: u64,
    /// Distinct chunks in a seed.
    pub in_seed: u64,
    /// Distinct chunks in the cache.
    pub in_cache: u64,
    /// Distinct chunks in neither.
    pub not_in_seed_nor_cache: u64,
    /// Distinct chunks that are nowhere.
    pub missing: u64,
    /// Size of the blob.
    pub size: u64,
    /// Bytes in distinct chunks not in a seed.
    pub size_not_in_seed: u64,
    /// Bytes in distinct chunks neither in a seed nor in the cache.
    pub size_not_in_seed_nor_cache: u64,
    /// What these take in a store; 0 if it is not known of all.
    pub stored_size_not_in_seed_nor_cache: u64,
    /// The sizes the blob was cut by.
    pub sizes: ChunkSizes,
}

/// Counts the chunks of an index, and looks for them in all sources.
pub fn info(
    index: &Index,
    sources: &Sources<'_>,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<Info> {
    let positions = distinct(index, workers);
    let sums = Mutex::new(Sums::default());
    let batches = positions.chunks(BATCH);
    let add = |(): &mut (), positions: &[u32]| {
        monitor.check()?;
        let batch = Sums::of(index, positions, sources)?;
        lock(&sums).add(&batch);
        monitor.advance(positions.len() as u64);
        Ok::<(), Error>(())
    };
    monitor.start("Looking", Unit::Chunks, Some(positions.len() as u64));
    let outcome = each(workers, batches, || (), add);
    monitor.finish();
    outcome?;
    let sums = *lock(&sums);
    let is_known = sources.sizes.is_some() && sums.unknown == 0;
    Ok(Info {
        total: index.len() as u64,
        unique: positions.len() as u64,
        in_store: sums.in_store,
        in_seed: sums.in_seed,
        in_cache: sums.in_cache,
        not_in_seed_nor_cache: sums.wanted,
        missing: sums.missing,
        size: index.blob_size(),
        size_not_in_seed: sums.size_not_in_seed,
        size_not_in_seed_nor_cache: sums.size_wanted,
        stored_size_not_in_seed_nor_cache: if is_known { sums.stored_wanted } else { 0 },
        sizes: index.sizes(),
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    in_store: u64,
    in_seed: u64,
    in_cache: u64,
    /// Neither in a seed nor in the cache.
    wanted: u64,
    missing: u64,
    size_not_in_seed: u64,
    size_wanted: u64,
    stored_wanted: u64,
    /// Wanted chunks whose stored size nobody has told.
    unknown: u64,
}

impl Sums {
    /// Of the chunks at some positions.
    fn of(index: &Index, positions: &[u32], sources: &Sources<'_>) -> Result<Self> {
        let ids: Vec<ChunkId> =
            positions.iter().map(|&position| index.chunk(position as usize).id).collect();
        let in_store = look(sources.store, &ids)?;
        let in_cache = look(sources.cache, &ids)?;
        let mut sums = Self::default();
        for (at, &position) in positions.iter().enumerate() {
            let chunk = index.chunk(position as usize);
            let len = chunk.len as u64;
            let stored = stored_size(sources.sizes, &chunk.id, len)?;
            sums.in_store += u64::from(in_store[at]);
            sums.in_cache += u64::from(in_cache[at]);
            if sources.seed.is_some_and(|seed| seed.contains(&chunk.id)) {
                sums.in_seed += 1;
                continue;
            }
            sums.size_not_in_seed += len;
            if !in_cache[at] {
                sums.wanted += 1;
                sums.size_wanted += len;
                sums.stored_wanted += stored;
                sums.unknown += u64::from(stored == 0);
                sums.missing += u64::from(!in_store[at]);
            }
        }
        Ok(sums)
    }

    fn add(&mut self, more: &Self) {
        self.in_store += more.in_store;
        self.in_seed += more.in_seed;
        self.in_cache += more.in_cache;
        self.wanted += more.wanted;
        self.missing += more.missing;
        self.size_not_in_seed += more.size_not_in_seed;
        self.size_wanted += more.size_wanted;
        self.stored_wanted += more.stored_wanted;
        self.unknown += more.unknown;
    }
}

fn look(store: Option<&dyn Store>, ids: &[ChunkId]) -> Result<Vec<bool>> {
    let Some(store) = store else { return Ok(vec![false; ids.len()]) };
    Ok(store.has_many(ids).into_iter().collect::<cairn_store::Result<_>>()?)
}

/// What a chunk takes in a store, 0 if nobody has told.
fn stored_size(sizes: Option<&SizesById>, id: &ChunkId, len: u64) -> Result<u64> {
    let Some(sizes) = sizes.and_then(|sizes| sizes.get(id)) else { return Ok(0) };
    if sizes.plain != len {
        let given = sizes.plain;
        let why = format!("it is said to have {given} bytes instead of {len}");
        return Err(Error::file("the list of chunk sizes", format!("chunk {id}: {why}")));
    }
    Ok(sizes.stored)
}
