//! A blob out of its index and a store.
//!
//! ```text
//! index -(plan, pure)-> steps {in place | zero | own | store}
//!       -(fill xN, positional writes)-> file -(rename)-> output
//! ```
//! The plan is a value and is tested as one; filling carries it out. Every byte written was
//! verified against its id first.

mod fill;
mod plan;
mod target;

use std::path::Path;

use cairn_formats::Index;
use cairn_store::Store;

pub use self::plan::{Plan, Step};
use self::target::Target;
use crate::check::chunks_in_place;
use crate::{Monitor, Result, Silent, Unit};

/// How a blob is extracted.
#[derive(Clone, Debug)]
pub struct ExtractOptions {
    /// Write into the output itself and keep what is already right, instead of building a new file
    /// that replaces it. Block devices are always written in place.
    pub in_place: bool,
    /// Return only when the output has reached the disk.
    pub flush: bool,
    /// How many threads work, at least 1.
    pub workers: usize,
}

impl Default for ExtractOptions {
    fn default() -> Self {
        Self { in_place: false, flush: false, workers: 1 }
    }
}

/// Where the chunks of a run came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtractStats {
    /// Chunks in the index.
    pub chunks: u64,
    /// Bytes in the blob.
    pub bytes: u64,
    /// Chunks that the output held already.
    pub in_place: u64,
    /// Chunks of zeros, for which nothing was fetched.
    pub zero: u64,
    /// Chunks copied from elsewhere in the output.
    pub own: u64,
    /// Chunks fetched from the store.
    pub fetched: u64,
    /// The block size of the output, in bytes.
    pub block_size: u64,
}

/// Writes the blob of an index to `output`.
///
/// Unless it is written in place, the output appears whole or not at all, and a file it replaces
/// keeps its mode and owner. An output written in place is left as it is on an error, and running
/// again goes on from there.
pub fn extract(
    index: &Index,
    store: &dyn Store,
    output: &Path,
    options: &ExtractOptions,
    monitor: &dyn Monitor,
) -> Result<ExtractStats> {
    // desync is silent about an empty blob, and there is nothing to interrupt.
    let monitor = if index.is_empty() { &Silent } else { monitor };
    let target = Target::open(output, index.blob_size(), options.in_place)?;
    let in_place = if target.is_blank() {
        monitor.start("Validating", Unit::Chunks, Some(0));
        monitor.finish();
        Vec::new()
    } else {
        // On a device, zeros that are there need not be written; in a file a hole costs less than
        // looking.
        let zeros_matter = target.is_device();
        chunks_in_place(index, target.file(), output, zeros_matter, options.workers, monitor)?
    };
    let plan = Plan::new(index, &in_place);
    let stats = ExtractStats { block_size: target.block_size()?, ..plan.stats(index) };
    monitor.start("Assembling", Unit::Chunks, Some(stats.chunks));
    let filled = fill::fill(index, &plan, store, &target, options.workers, monitor);
    monitor.finish();
    filled?;
    target.finish(options.flush)?;
    Ok(stats)
}
