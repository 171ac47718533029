//! The chunks of a blob that an index describes, into a store.
//!
//! ```text
//! blob + index -(read, hashed xN)-> chunks -(store has? else encode, put)-> store
//! ```
//! As `make`, but the index says where to cut, and every chunk must be what it says.

use std::path::Path;

use cairn_formats::coding::DEFAULT_LEVEL;
use cairn_formats::{Chunk, Index};
use cairn_store::WriteStore;

use crate::check::{Comparison, Outcomes, len_of, open_blob};
use crate::ids::IdSet;
use crate::storing::Storing;
use crate::{Error, Monitor, Result, Silent, Unit};

/// What was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChopStats {
    /// Chunks read and verified.
    pub chunks: u64,
    /// Distinct chunks that were not in the store yet.
    pub stored: u64,
    /// Plain bytes in these.
    pub stored_bytes: u64,
}

/// Puts the chunks of a blob that the store does not have yet, but for those to ignore.
///
/// The blob may be longer than the index. When this returns, the chunks are as durable as the store was
/// asked to make them.
pub fn chop(
    index: &Index,
    path: &Path,
    store: &dyn WriteStore,
    ignored: IdSet,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<ChopStats> {
    let (file, _) = open_blob(path)?;
    let len = len_of(&file).map_err(Error::io("measure", path))?;
    let comparison = Comparison::without(index, &file, path, ignored);
    let last = comparison.wanted(0..index.len()).next_back();
    let end = last.map_or(0, |position| index.chunk(position).end());
    if len < end {
        let chunk = index.chunk(index.position_at(len));
        let place = format!("within its chunk at bytes {}..{}", chunk.start, chunk.end());
        return Err(Error::file(path, format!("it ends at byte {len}, {place}")));
    }
    let chunks = comparison.wanted(0..index.len()).count() as u64;
    let storing = Storing::new(store, DEFAULT_LEVEL);
    // desync is silent where there is nothing to do.
    let monitor = if chunks == 0 { &Silent } else { monitor };
    monitor.start("", Unit::Chunks, Some(chunks));
    let put = |coders: &mut _, outcomes: Outcomes<'_>| {
        let chunks = outcomes.into_iter().map(|(_, outcome)| outcome);
        let chunks: Vec<Chunk<'_>> = chunks.collect::<Result<_>>()?;
        storing.put_missing(&chunks, coders, || monitor.check().map(|()| true))
    };
    let outcome = comparison.run(workers, monitor, || storing.coders(), put);
    monitor.finish();
    outcome?;
    store.sync()?;
    Ok(ChopStats { chunks, stored: storing.stored(), stored_bytes: storing.stored_bytes() })
}
