//! Removes from a store what nobody refers to.
//!
//! ```text
//! store -(list)-> chunk     -(not to be kept? old enough?)-> removed
//!                 leftover  -(old enough?)-> removed
//! ```
//! What is to be kept has been collected before the first chunk is removed. The store was opened so
//! that none of our own writers is at work; other programs' are protected by the age of what they write.

use std::time::{Duration, SystemTime};

use cairn_formats::ChunkId;
use cairn_store::{Facts, PruneStore, Stored};

use super::verify::ended;
use crate::ids::IdSet;
use crate::{Monitor, Result, Unit};

/// No leftover is removed before this age: another program may be writing it.
const LEFTOVER_AGE: Duration = Duration::from_secs(5 * 60);

/// How a store is pruned.
#[derive(Clone, Copy, Debug, Default)]
pub struct PruneOptions {
    /// Whether to remove nothing and only count.
    pub dry_run: bool,
    /// Chunks younger than this stay: their index may not be written yet.
    pub grace: Duration,
}

/// What is removed at once: object stores take as many in one request.
const BATCH: usize = 1000;

/// What was found, and what was removed or, in a dry run, would have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneStats {
    /// Chunks that stay because somebody refers to them.
    pub kept: u64,
    /// Chunks that stay because they are too young.
    pub young: u64,
    /// Chunks removed.
    pub removed: u64,
    /// Bytes they took in the store.
    pub removed_bytes: u64,
    /// Leftovers of writers removed.
    pub leftovers: u64,
}

/// Removes all chunks but those to keep, and what killed writers left behind.
///
/// After an error or an interrupt what has been removed is gone, and all that is to be kept is there.
pub fn prune(
    store: &dyn PruneStore,
    keep: &IdSet,
    options: &PruneOptions,
    monitor: &dyn Monitor,
) -> Result<PruneStats> {
    prune_told(store, keep, options, &mut |_| {}, monitor)
}

/// As [`prune`], and tells of each chunk that is removed or, in a dry run, would be.
pub fn prune_told(
    store: &dyn PruneStore,
    keep: &IdSet,
    options: &PruneOptions,
    told: &mut dyn FnMut(&ChunkId),
    monitor: &dyn Monitor,
) -> Result<PruneStats> {
    if !options.grace.is_zero() && !store.is_dated() {
        let why =
            "the store does not tell when a chunk was written, so none can be kept for its age";
        let (place, why) = (store.name(), why.to_owned());
        return Err(cairn_store::Error::Unsupported { place, why }.into());
    }
    let now = SystemTime::now();
    let mut job = Job { store, keep, options, told, now, found: Vec::new(), doomed: Vec::new() };
    let mut stats = PruneStats::default();
    let mut interrupted = Ok(());
    monitor.start("Pruning", Unit::Chunks, None);
    let listed = store.list(&mut |found, facts| {
        interrupted = monitor.check();
        if interrupted.is_err() {
            return Err(ended());
        }
        monitor.advance(1);
        job.found(found, facts, &mut stats)
    });
    let outcome = listed.and_then(|()| job.ask(&mut stats)).and_then(|()| job.remove(&mut stats));
    monitor.finish();
    interrupted?;
    outcome?;
    Ok(stats)
}

struct Job<'a> {
    store: &'a dyn PruneStore,
    keep: &'a IdSet,
    options: &'a PruneOptions,
    told: &'a mut dyn FnMut(&ChunkId),
    now: SystemTime,
    /// What may have to be removed, but nothing is known of it yet.
    found: Vec<Stored>,
    /// What is to be removed, and how long it is.
    doomed: Vec<(Stored, u64)>,
}

impl Job<'_> {
    fn found(
        &mut self,
        found: Stored,
        facts: Option<Facts>,
        stats: &mut PruneStats,
    ) -> cairn_store::Result<()> {
        if matches!(&found, Stored::Chunk(id) if self.keep.contains(id)) {
            stats.kept += 1;
            return Ok(());
        }
        if let Some(facts) = facts {
            return self.known(found, &facts, stats);
        }
        self.found.push(found);
        if self.found.len() >= BATCH { self.ask(stats) } else { Ok(()) }
    }

    /// Asks for the facts of what was found without.
    fn ask(&mut self, stats: &mut PruneStats) -> cairn_store::Result<()> {
        let found = std::mem::take(&mut self.found);
        for (found, facts) in found.iter().zip(self.store.facts_many(&found)) {
            // What has gone meanwhile is no concern of ours.
            if let Some(facts) = facts? {
                self.known(found.clone(), &facts, stats)?;
            }
        }
        Ok(())
    }

    /// Dooms what is old enough.
    fn known(
        &mut self,
        found: Stored,
        facts: &Facts,
        stats: &mut PruneStats,
    ) -> cairn_store::Result<()> {
        let age = match &found {
            Stored::Chunk(_) => self.options.grace,
            Stored::Leftover(_) => self.options.grace.max(LEFTOVER_AGE),
        };
        if !self.is_as_old_as(facts, age) {
            stats.young += u64::from(matches!(found, Stored::Chunk(_)));
            return Ok(());
        }
        self.doomed.push((found, facts.len));
        if self.doomed.len() >= BATCH { self.remove(stats) } else { Ok(()) }
    }

    /// Removes what is doomed. The first failure is told after the rest has been removed.
    fn remove(&mut self, stats: &mut PruneStats) -> cairn_store::Result<()> {
        let (found, lens): (Vec<Stored>, Vec<u64>) = self.doomed.drain(..).unzip();
        let outcomes = if self.options.dry_run {
            found.iter().map(|_| Ok(())).collect()
        } else {
            self.store.remove_many(&found)
        };
        let mut failure = Ok(());
        for ((found, len), outcome) in found.iter().zip(lens).zip(outcomes) {
            match (found, outcome) {
                (_, Err(e)) => failure = failure.and(Err(e)),
                (Stored::Chunk(id), Ok(())) => {
                    (self.told)(id);
                    stats.removed += 1;
                    stats.removed_bytes += len;
                }
                (Stored::Leftover(_), Ok(())) => stats.leftovers += 1,
            }
        }
        failure
    }

    /// A file of the future has no age yet, and neither has what nobody dates.
    fn is_as_old_as(&self, facts: &Facts, age: Duration) -> bool {
        if !self.store.is_dated() {
            return age.is_zero();
        }
        age.is_zero() || self.now.duration_since(facts.modified).is_ok_and(|is| is >= age)
    }
}
