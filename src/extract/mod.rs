//! A blob out of its index and a store.
//!
//! ```text
//! index + seeds -(plan, pure)-> steps {in place | zero | own | seed | store}
//!               -(fill xN, positional writes)-> file -(rename)-> output
//! ```
//! The plan is a value and is tested as one; filling carries it out. Every byte written was verified
//! against its id first. Blocks shared with a seed are verified in the output, when nobody else can
//! change them any more; only where the user trusts the seeds they are not. Where a seed turns out
//! not to hold what its index says, the chunks concerned are planned again without it.

mod fill;
mod matches;
mod pieces;
mod plan;
mod seed;
mod tally;
mod target;

use std::path::Path;

use cairn_formats::Index;
use cairn_store::Store;

use self::fill::{Filling, Miss};
use self::matches::SeedMap;
pub use self::plan::{Plan, Step};
pub use self::seed::Seed;
pub use self::tally::ExtractStats;
use self::tally::Tally;
use self::target::Target;
use crate::check::chunks_in_place;
use crate::monitor::Quiet;
use crate::{Error, Monitor, Result, Silent, Unit};

/// How a blob is extracted.
#[derive(Clone, Debug)]
pub struct ExtractOptions {
    /// Write into the output itself and keep what is already right, instead of building a new file
    /// that replaces it. Block devices are always written in place.
    pub in_place: bool,
    /// Make a new index, in memory, of a seed that does not hold what its index says, instead of doing
    /// without that seed.
    pub regenerate: bool,
    /// Share blocks with seeds without reading them first: what the seed's index says is believed.
    pub trust_seeds: bool,
    /// Copy from seeds also where blocks could be shared with them.
    pub is_apart: bool,
    /// Return only when the output has reached the disk.
    pub flush: bool,
    /// How many threads work, at least 1.
    pub workers: usize,
}

impl Default for ExtractOptions {
    fn default() -> Self {
        Self {
            in_place: false,
            regenerate: false,
            trust_seeds: false,
            is_apart: false,
            flush: false,
            workers: 1,
        }
    }
}

/// Writes the blob of an index to `output`, with chunks from seeds, in their order of preference,
/// and from a store.
///
/// Unless it is written in place, the output appears whole or not at all, and a file it replaces
/// keeps its mode and owner. An output written in place is left as it is on an error, and running
/// again goes on from there.
pub fn extract(
    index: &Index,
    seeds: Vec<Seed>,
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
        vec![false; index.len()]
    } else {
        // On a device, zeros that are there need not be written; in a file a hole costs less than
        // looking.
        let zeros_matter = target.is_device();
        chunks_in_place(index, target.file(), output, zeros_matter, options.workers, monitor)?
    };
    let mut stats = ExtractStats {
        chunks: index.len() as u64,
        bytes: index.blob_size(),
        in_place: in_place.iter().filter(|&&is_there| is_there).count() as u64,
        block_size: target.block_size()?,
        ..ExtractStats::default()
    };
    let job = Job { index, store, target: &target, options, monitor, tally: Tally::default() };
    monitor.start("Assembling", Unit::Chunks, Some(stats.chunks));
    let assembled = job.assemble(in_place, seeds);
    monitor.finish();
    stats.missed = assembled?;
    job.tally.fill_in(&mut stats);
    target.finish(options.flush)?;
    Ok(stats)
}

/// A blob being put together.
struct Job<'a> {
    index: &'a Index,
    store: &'a dyn Store,
    target: &'a Target,
    options: &'a ExtractOptions,
    monitor: &'a dyn Monitor,
    tally: Tally,
}

impl Job<'_> {
    /// Plans and fills until every chunk is there. Returns how many chunks seeds have failed to give.
    ///
    /// After each round without success at least one seed is given up, or cut anew, which is done
    /// once; so this ends.
    fn assemble(&self, mut is_there: Vec<bool>, mut seeds: Vec<Seed>) -> Result<u64> {
        self.monitor.advance(is_there.iter().filter(|&&is_there| is_there).count() as u64);
        let mut missed = 0;
        loop {
            let shared = |seed: &Seed| {
                (!self.options.is_apart).then(|| self.target.block_shared_with(seed.file()))?
            };
            let blocks: Vec<Option<u64>> = seeds.iter().map(shared).collect();
            let plan = self.plan(&is_there, &seeds, &blocks);
            let filling = Filling {
                index: self.index,
                store: self.store,
                seeds: &seeds,
                blocks: &blocks,
                target: self.target,
                trust_seeds: self.options.trust_seeds,
                workers: self.options.workers,
                monitor: self.monitor,
                tally: &self.tally,
            };
            let misses = filling.fill(&plan.steps)?;
            if misses.is_empty() {
                filling.copy_own(&plan.steps)?;
                return Ok(missed);
            }
            missed += misses.len() as u64;
            is_there = there_now(&plan, &misses, self.index.len());
            seeds = self.mend(seeds, &misses)?;
        }
    }

    fn plan(&self, is_there: &[bool], seeds: &[Seed], blocks: &[Option<u64>]) -> Plan {
        let maps = seeds.iter().zip(blocks);
        let maps: Vec<SeedMap<'_>> =
            maps.map(|(seed, &block)| SeedMap::new(seed.index(), block)).collect();
        Plan::new(self.index, is_there, &maps)
    }

    /// The seeds without those that have failed; or these with a new index, if that is wanted.
    fn mend(&self, seeds: Vec<Seed>, misses: &[Miss]) -> Result<Vec<Seed>> {
        let mut mended = Vec::new();
        for (number, mut seed) in seeds.into_iter().enumerate() {
            if misses.iter().any(|miss| miss.seed == number) {
                if !self.options.regenerate || seed.is_fresh() {
                    continue;
                }
                match seed.cut(number + 1, self.options.workers, &Quiet(self.monitor)) {
                    Err(Error::Interrupted) => return Err(Error::Interrupted),
                    Err(error) => {
                        // The store has what it would have had.
                        let seed = seed.path().display().to_string();
                        tracing::warn!(seed, error = error.to_string(), "seed is done without");
                        continue;
                    }
                    Ok(()) => {}
                }
            }
            mended.push(seed);
        }
        Ok(mended)
    }
}

/// Which chunks are there after a plan was carried out with some misses, but for the copies inside
/// the output.
fn there_now(plan: &Plan, misses: &[Miss], len: usize) -> Vec<bool> {
    let mut is_there = vec![true; len];
    for step in &plan.steps {
        if let Step::Own { chunks, .. } = step {
            is_there[chunks.clone()].fill(false);
        }
    }
    for miss in misses {
        is_there[miss.position] = false;
    }
    is_there
}
