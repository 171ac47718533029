//! Workers that begin on different processors.
//!
//! A new or woken thread is left on the processor of the one that did it where the system takes the others for busy,
//! as it does in virtual machines: an idle processor is one that the host has taken away. Two workers then take turns
//! on one processor until the load is balanced, again and again: what needs 26 ms with both took 36.
//!
//! ```text
//! the caller     where it is      | anywhere, as before
//! other workers  elsewhere        | anywhere
//!                +--- YOUNG ------+
//! ```
//! Later the system knows better: who else is busy may change. A worker that takes long for one item stays until that
//! is done. Threads and programs that a worker starts while it is
//! young stay where it is, so this is for workers that start none.

use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// How long workers stay apart.
const YOUNG: Duration = Duration::from_millis(200);

/// Keeps workers apart while they are young.
#[derive(Debug)]
pub(crate) struct Spread {
    caller: ThreadId,
    until: Instant,
    /// The processor the caller stays on, and all that it may use; none if workers are left to the system.
    places: Option<(usize, CpuSet)>,
}

/// A worker that is kept apart.
#[derive(Debug)]
pub(crate) struct Apart {
    until: Instant,
    all: Option<CpuSet>,
}

impl Spread {
    /// For so many workers, of which the caller is one. Where there are more than processors they are left alone.
    pub(crate) fn new(workers: usize) -> Self {
        let all = sched_getaffinity(None).ok();
        let all = all.filter(|all| workers > 1 && all.count() as usize >= workers);
        let places = all.map(|all| (sched_getcpu(), all));
        Self { caller: thread::current().id(), until: Instant::now() + YOUNG, places }
    }

    /// Takes the thread that calls this to its place, until it is no longer young or what is returned is dropped.
    pub(crate) fn take(&self) -> Apart {
        let is_caller = thread::current().id() == self.caller;
        let all = self.places.and_then(|(own, all)| {
            let mut place = all;
            if is_caller {
                place.clear();
                place.set(own);
            } else {
                place.unset(own);
            }
            sched_setaffinity(None, &place).ok().map(|()| all)
        });
        if is_caller && all.is_some() {
            // Those that begin here can leave only once they run.
            thread::yield_now();
        }
        Apart { until: self.until, all }
    }
}

impl Apart {
    /// Lets the worker go anywhere once it is not young any more.
    pub(crate) fn grow(&mut self) {
        if self.all.is_some() && Instant::now() >= self.until {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(all) = self.all.take() {
            let _ = sched_setaffinity(None, &all);
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<usize> {
        let all = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).collect()
    }

    #[test]
    fn workers_are_apart_while_they_are_young() {
        let before = allowed();
        let spread = Spread::new(2);
        let mut apart = spread.take();
        apart.until = Instant::now() + Duration::from_secs(3600);
        let here = allowed();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut apart = spread.take();
                if before.len() > 1 {
                    assert!(here.len() == 1 && !allowed().contains(&here[0]));
                }
                apart.until = Instant::now();
                apart.grow();
                assert_eq!(allowed().len(), before.len().max(here.len()));
            });
        });
        apart.grow();
        assert_eq!(allowed(), here, "it is still young");
        drop(apart);
        assert_eq!(allowed(), before);
    }

    #[test]
    fn more_workers_than_processors_are_left_alone() {
        let before = allowed();
        for workers in [1, before.len() + 1] {
            let _apart = Spread::new(workers).take();
            assert_eq!(allowed(), before);
        }
    }
}
