//! What will be read next, guessed from what was read.
//!
//! ```text
//! read:    [----)[----)[----)          a run: each read begins where one ended
//! ahead:         [--)[-----)[----------)   what is fetched doubles, up to a limit
//! ```
//! Reads that fit no run fetch nothing ahead, so random reads cost what they ask for. Several runs are followed at
//! once, of whatever files: where these lie in one archive, a program that goes through all of them makes one run.
//! The kernel asks for parts of a run in several threads at once, so they may come slightly out of order.

use std::collections::VecDeque;
use std::ops::Range;

/// Runs that are followed at once; the one that was quiet for longest is forgotten.
const RUNS: usize = 32;

/// What is fetched ahead of a run that has just shown itself, in bytes.
const FIRST: u64 = 1 << 20;

/// How much a read may lie before or behind the end of a run and still belong to it: the kernel reads 1 MiB at once at most.
const LATE: u64 = 1 << 20;

/// What of a run is kept behind its end, in bytes: the kernel has two requests under way for whoever reads in order, and
/// what the earlier one waits for must not be dropped because the later one was seen.
const KEPT: u64 = 4 << 20;

/// The runs of one blob.
#[derive(Debug)]
pub(crate) struct Runs {
    /// The one that was read last comes first.
    runs: VecDeque<Run>,
    /// A gap up to this size is none, in bytes.
    gap: u64,
    /// How far ahead is fetched at most, in bytes.
    most: u64,
}

#[derive(Debug)]
struct Run {
    /// Where what was read of it ends.
    next: u64,
    /// Where what was fetched of it ends.
    ahead: u64,
    /// How far ahead is to be fetched; 0 until a second read shows that it is a run.
    window: u64,
    /// Up to where it is over and done with.
    done: u64,
}

/// What a read means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Whether it goes on with a run.
    pub(crate) is_run: bool,
    /// What is to be fetched now; empty for nothing.
    pub(crate) fetch: Range<u64>,
    /// What nobody will ask for again, as the kernel has it; empty for nothing.
    pub(crate) done: Range<u64>,
}

impl Runs {
    /// For a blob in which gaps of this size do not matter. So many bytes are fetched ahead at most.
    pub(crate) fn new(gap: u64, most: u64) -> Self {
        Self { runs: VecDeque::with_capacity(RUNS), gap, most }
    }

    /// Takes note of a read.
    pub(crate) fn read(&mut self, range: &Range<u64>) -> Step {
        let (gap, most) = (self.gap, self.most);
        let belongs = |run: &Run| {
            let (late, early) = if run.window > 0 { (LATE, gap.max(LATE)) } else { (0, gap) };
            (run.next.saturating_sub(late)..=run.next.saturating_add(early)).contains(&range.start)
        };
        let Some(place) = self.runs.iter().position(belongs) else {
            self.runs.truncate(RUNS - 1);
            let Range { start: done, end } = *range;
            self.runs.push_front(Run { next: end, ahead: end, window: 0, done });
            return Step { is_run: false, fetch: 0..0, done: 0..0 };
        };
        let mut run = self.runs.remove(place).expect("it was found there");
        run.next = run.next.max(range.end);
        run.ahead = run.ahead.max(run.next);
        // Before half of it is used up, so that nobody waits.
        let is_low = run.ahead - run.next <= run.window / 2;
        let mut fetch = 0..0;
        if is_low {
            run.window = (2 * run.window).max(FIRST).min(most);
            fetch = run.ahead..run.next.saturating_add(run.window);
            run.ahead = fetch.end.max(run.ahead);
        }
        let done = run.done..run.next.saturating_sub(KEPT).max(run.done);
        run.done = done.end;
        self.runs.push_front(run);
        Step { is_run: true, fetch, done }
    }

    /// Whether a range that was read belongs to a run.
    pub(crate) fn has_read(&self, range: &Range<u64>) -> bool {
        let near = |run: &Run| run.next.saturating_sub(LATE)..=run.next;
        self.runs.iter().any(|run| run.window > 0 && near(run).contains(&range.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    fn runs() -> Runs {
        Runs::new(64 * KIB, 8 << 20)
    }

    #[test]
    fn a_run_fetches_everything_once_and_more_and_more_at_once() {
        let mut runs = runs();
        let (mut fetched, mut greatest, mut done) = (0, 0, 0);
        for at in (0..64 << 20).step_by(128 << 10) {
            let step = runs.read(&(at..at + 128 * KIB));
            assert_eq!(step.is_run, at > 0);
            if !step.fetch.is_empty() {
                assert!(step.fetch.start == fetched || fetched == 0);
                greatest = greatest.max(step.fetch.end - step.fetch.start);
                fetched = step.fetch.end;
            }
            assert!(at < 512 * KIB || fetched >= at + 256 * KIB, "{at}: nobody waits");
            assert!(fetched <= at + (9 << 20));
            assert_eq!(step.done.start, done);
            done = step.done.end.max(done);
            assert!(
                at < 5 << 20 || (4 << 20..5 << 20).contains(&(at + 128 * KIB - done)),
                "{at} {done}"
            );
        }
        assert!(greatest >= 4 << 20);
    }

    #[test]
    fn random_reads_fetch_nothing_ahead() {
        let mut runs = runs();
        let mut at: u64 = 7;
        for _ in 0..10_000 {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let start = at >> 20;
            assert_eq!(runs.read(&(start..start + 4 * KIB)).fetch, 0..0);
        }
    }

    #[test]
    fn several_runs_are_followed_and_parts_may_come_late() {
        let mut runs = runs();
        for step in 0..100u64 {
            for run in 0..10u64 {
                let start = (run << 32) + (step ^ 1) * 128 * KIB;
                let is_run = runs.read(&(start..start + 128 * KIB)).is_run;
                assert!(is_run || step < 6, "{run} {step}");
            }
        }
    }

    #[test]
    fn nothing_overflows_at_the_end_of_numbers() {
        let mut runs = runs();
        for start in [u64::MAX - 100, u64::MAX - 50, u64::MAX] {
            runs.read(&(start..u64::MAX));
        }
    }
}
