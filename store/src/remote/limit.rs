//! How many requests are under way at once: few where answers come at once, many where they take long.
//!
//! ```text
//! answers take about as long as the quickest did   -> one more for each answer: doubles every round trip
//! they take much longer: they wait for each other  -> fewer
//! the store says it is overloaded                  -> half as many
//! ```
//! The ceiling is what the user said. Where the wait is for the distance, requests beside each other
//! cost nothing and only the ceiling holds; where it is for the processor or the disk of a server near
//! by, more of them only make it longer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Again, Error, Result};

/// So many are always of use: one on its way, one at the server, one on its way back, one being
/// worked on here.
const FEWEST: usize = 4;

/// Answers that take so many times as long as the quickest wait for each other.
const CROWDED: u32 = 3;

/// Differences below this are noise.
const NOISE: Duration = Duration::from_millis(2);

/// The number of requests under way, and its bounds.
#[derive(Debug)]
pub(super) struct Limit {
    permits: Semaphore,
    ceiling: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Permits that exist, in use or not.
    allowed: usize,
    /// Permits to be taken away when they come back.
    excess: usize,
    /// How long the quickest answer took.
    quickest: Option<Duration>,
    /// Answers since the limit was last lowered.
    answers: usize,
}

/// A request under way.
pub(super) struct Turn<'a> {
    limit: &'a Limit,
    permit: SemaphorePermit<'a>,
    began: Instant,
}

impl Limit {
    /// At most `ceiling` at once, at least one.
    pub(super) fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        let allowed = FEWEST.min(ceiling);
        let state = State { allowed, excess: 0, quickest: None, answers: 0 };
        Self { permits: Semaphore::new(allowed), ceiling, state: Mutex::new(state) }
    }

    pub(super) fn ceiling(&self) -> usize {
        self.ceiling
    }

    /// Waits until one more request may be made.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let permit = self.permits.acquire().await.expect("nobody closes it");
        Turn { limit: self, permit, began: Instant::now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing leaves it half changed, so a panic elsewhere does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn allowed(&self) -> usize {
        self.state().allowed
    }
}

impl Turn<'_> {
    /// The answer has come.
    pub(super) fn end<T>(self, outcome: &Result<T>) {
        let took = self.began.elapsed();
        self.end_after(took, outcome);
    }

    fn end_after<T>(self, took: Duration, outcome: &Result<T>) {
        let Turn { limit, permit, .. } = self;
        let mut state = limit.state();
        match outcome {
            Ok(_) => {
                state.answers += 1;
                let quickest = *state.quickest.get_or_insert(took).min(&mut { took });
                state.quickest = Some(quickest);
                if took <= quickest * CROWDED + NOISE {
                    if state.excess > 0 {
                        state.excess -= 1;
                        state.allowed += 1;
                    } else if state.allowed < limit.ceiling {
                        state.allowed += 1;
                        limit.permits.add_permits(1);
                    }
                } else if state.answers >= state.allowed && state.allowed > FEWEST {
                    state.lower(1);
                }
            }
            Err(Error::Unreachable { again: Again::After(_), .. }) if state.answers > 0 => {
                let half = state.allowed / 2;
                state.lower(half);
            }
            Err(_) => {}
        }
        if state.excess > 0 {
            state.excess -= 1;
            permit.forget();
        }
    }
}

impl State {
    /// Takes permits away, as they come back. One at least stays.
    fn lower(&mut self, by: usize) {
        let by = by.min(self.allowed - 1);
        self.allowed -= by;
        self.excess += by;
        self.answers = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::runtime::wait;

    /// Makes rounds of as many requests as are allowed, each answered after a time that depends on
    /// their number.
    fn after_rounds(limit: &Limit, rounds: usize, time: impl Fn(usize) -> Duration) -> usize {
        for _ in 0..rounds {
            let count = limit.permits.available_permits();
            let turns: Vec<Turn<'_>> = (0..count).map(|_| wait(limit.turn())).collect();
            turns.into_iter().for_each(|turn| turn.end_after(time(count), &Ok(())));
        }
        assert!(limit.permits.available_permits() <= limit.ceiling);
        limit.allowed()
    }

    #[test]
    fn distance_is_made_up_for_by_numbers() {
        let limit = Limit::new(64);
        assert_eq!(after_rounds(&limit, 4, |_| Duration::from_millis(20)), 64);
        assert_eq!(after_rounds(&limit, 20, |_| Duration::from_millis(20)), 64);
    }

    #[test]
    fn a_server_that_works_on_one_at_a_time_is_not_crowded() {
        let limit = Limit::new(64);
        let allowed = after_rounds(&limit, 50, |count| Duration::from_millis(3) * count as u32);
        assert!((FEWEST..=16).contains(&allowed), "{allowed}");
    }

    #[test]
    fn the_ceiling_holds_and_one_is_always_allowed() {
        for ceiling in [0, 1, 3] {
            let limit = Limit::new(ceiling);
            assert_eq!(after_rounds(&limit, 20, |_| Duration::ZERO), ceiling.max(1));
        }
        let limit = Limit::new(64);
        after_rounds(&limit, 10, |_| Duration::from_millis(20));
        for _ in 0..20 {
            wait(limit.turn()).end_after(Duration::ZERO, &Ok(()));
            let why = "busy".to_owned();
            let again = Again::After(Duration::from_secs(1));
            let busy: Result<()> = Err(Error::Unreachable { place: String::new(), why, again });
            wait(limit.turn()).end_after(Duration::ZERO, &busy);
        }
        assert!(limit.allowed() >= 1);
        after_rounds(&limit, 200, |_| Duration::ZERO);
        assert_eq!(limit.allowed(), 64);
        assert_eq!(limit.permits.available_permits(), 64);
    }
}
