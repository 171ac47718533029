//! Workers over a stream of items: the only place where jobs start threads.
//!
//! A job is a function that every worker of a [`crew`] runs: it takes items until there are none,
//! and may pass two kinds of gates on the way.
//!
//! ```text
//!            +- worker -+        +- worker -+
//! source ----+- worker -+- Turns +- worker -+-- Gather --> in order
//!            +- worker -+        +- worker -+
//! ```
//! [`Turns`] lets the workers pass one at a time in the order of their items; a worker waits for
//! its turn. [`Gather`] takes results as they come and hands them on in order; nobody waits, so results
//! should be small. As each worker has one item at a time, a crew of n never works on more than n.
//!
//! The first error wins and is returned; the other workers stop at their next gate, or where they ask
//! [`Stop`]. A worker that panics stops the others too, and the panic goes on in the caller.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Tells the workers of a crew that one of them has failed.
#[derive(Debug, Default)]
pub struct Stop {
    stopped: AtomicBool,
    /// Wakes those who wait for their turn.
    turn: Condvar,
    /// Held between a waiter's test and its wait.
    gate: Mutex<()>,
}

impl Stop {
    /// Whether a worker has failed, so that there is no use in going on.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Under the lock, or a worker between its test and its wait would sleep for ever.
        drop(lock(&self.gate));
        self.turn.notify_all();
    }
}

/// Runs `job` in `workers` threads, at least one, and returns when all are done.
pub fn crew<E: Send>(
    workers: usize,
    stop: &Stop,
    job: impl Fn() -> Result<(), E> + Sync,
) -> Result<(), E> {
    let first = Mutex::new(None);
    let work = || {
        let outcome = panic::catch_unwind(AssertUnwindSafe(&job));
        if matches!(outcome, Ok(Ok(()))) {
            return;
        }
        stop.stop();
        lock(&first).get_or_insert(outcome);
    };
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        // The calling thread is one of them: a crew of one starts no thread.
        work();
    });
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(Ok(outcome)) => outcome,
        Some(Err(payload)) => panic::resume_unwind(payload),
    }
}

/// Runs `side` in a thread of its own beside `main`, and returns what both made. A panic of `side` goes on
/// here once `main` is done; so `main` must end when `side` does.
pub fn beside<A: Send, B>(side: impl FnOnce() -> A + Send, main: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let side = scope.spawn(side);
        let main = main();
        (side.join().unwrap_or_else(|payload| panic::resume_unwind(payload)), main)
    })
}

/// Runs `work` on every item, in `workers` threads, in no particular order. Every worker has a
/// state of its own, made by `state`.
pub fn each<T: Send, S, E: Send>(
    workers: usize,
    items: impl Iterator<Item = T> + Send,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let items = Mutex::new(items);
    let stop = Stop::default();
    crew(workers, &stop, || {
        let mut state = state();
        while !stop.is_stopped() {
            // Taken in a statement of its own, so that the lock is not held during the work.
            let item = lock(&items).next();
            let Some(item) = item else { break };
            work(&mut state, item)?;
        }
        Ok(())
    })
}

/// A value that workers may change only in turn, in the order of their items.
#[derive(Debug)]
pub struct Turns<'a, T> {
    stop: &'a Stop,
    state: Mutex<(u64, T)>,
}

impl<'a, T> Turns<'a, T> {
    /// A gate in front of `value`. The first turn is that of item 0.
    pub fn new(stop: &'a Stop, value: T) -> Self {
        Self { stop, state: Mutex::new((0, value)) }
    }

    /// Waits until it is the turn of item `number`, then changes the value. `None` if the crew has
    /// been stopped meanwhile.
    pub fn take<R>(&self, number: u64, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut gate = lock(&self.stop.gate);
        while self.stop.is_stopped() || lock(&self.state).0 != number {
            if self.stop.is_stopped() {
                return None;
            }
            gate = self.stop.turn.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
        drop(gate);
        let mut state = lock(&self.state);
        let result = change(&mut state.1);
        state.0 += 1;
        drop(state);
        drop(lock(&self.stop.gate));
        self.stop.turn.notify_all();
        Some(result)
    }

    /// The value, when all have had their turns.
    pub fn into_inner(self) -> T {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// Results that arrive in any order and are handed to `sink` in theirs.
#[derive(Debug)]
pub struct Gather<T, F> {
    state: Mutex<Gathered<T, F>>,
}

#[derive(Debug)]
struct Gathered<T, F> {
    next: u64,
    waiting: BTreeMap<u64, T>,
    sink: F,
}

impl<T, E, F: FnMut(T) -> Result<(), E>> Gather<T, F> {
    /// The first result handed to `sink` is that of item 0.
    pub fn new(sink: F) -> Self {
        Self { state: Mutex::new(Gathered { next: 0, waiting: BTreeMap::new(), sink }) }
    }

    /// Takes the result of item `number`.
    pub fn put(&self, number: u64, result: T) -> Result<(), E> {
        let mut state = lock(&self.state);
        let Gathered { next, waiting, sink } = &mut *state;
        waiting.insert(number, result);
        while let Some(result) = waiting.remove(next) {
            *next += 1;
            sink(result)?;
        }
        Ok(())
    }
}

/// Locks, also after a panic elsewhere: the crew is being stopped then, and no job's state is used
/// after its crew has failed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// Numbers the calls, as a source does.
    fn numbers(end: u64) -> impl Fn() -> Option<u64> + Sync {
        let next = AtomicU64::new(0);
        move || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&number| number < end)
    }

    #[test]
    fn turns_come_in_order() {
        for workers in [1, 2, 7] {
            let stop = Stop::default();
            let turns = Turns::new(&stop, Vec::new());
            let next = numbers(1000);
            let done = crew(workers, &stop, || {
                while let Some(number) = next() {
                    turns.take(number, |seen| seen.push(number)).unwrap();
                }
                Ok::<(), ()>(())
            });
            assert_eq!(done, Ok(()));
            assert!(turns.state.into_inner().unwrap().1.into_iter().eq(0..1000));
        }
    }

    #[test]
    fn gathered_results_are_in_order() {
        let mut seen = Vec::new();
        let gather = Gather::new(|result| {
            seen.push(result);
            Ok::<(), ()>(())
        });
        for number in [3, 0, 2, 1, 4] {
            gather.put(number, number * 10).unwrap();
        }
        drop(gather);
        assert_eq!(seen, [0, 10, 20, 30, 40]);
    }

    #[test]
    fn the_first_error_stops_everybody() {
        let stop = Stop::default();
        let turns = Turns::new(&stop, ());
        let next = numbers(u64::MAX);
        let outcome = crew(4, &stop, || {
            while let Some(number) = next() {
                if number == 100 {
                    return Err("item 100");
                }
                // All items after 100 wait for a turn that never comes.
                if turns.take(number, |()| ()).is_none() {
                    return Ok(());
                }
            }
            Ok(())
        });
        assert_eq!(outcome, Err("item 100"));
    }

    #[test]
    fn each_item_is_worked_on_once() {
        let sum = AtomicU64::new(0);
        let done = each(
            3,
            1..=1000_u64,
            || (),
            |(), n| {
                sum.fetch_add(n, Ordering::Relaxed);
                Ok::<(), ()>(())
            },
        );
        assert_eq!((done, sum.into_inner()), (Ok(()), 500_500));
        let failed = each(3, 0.., || (), |(), n: u64| if n < 50 { Ok(()) } else { Err(n) });
        assert!(failed.unwrap_err() >= 50);
    }

    #[test]
    fn two_run_beside_each_other() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (sent, received) = beside(|| sender.send(7), || receiver.recv());
        assert_eq!((sent, received), (Ok(()), Ok(7)));
        let outcome = panic::catch_unwind(|| beside(|| panic!("aside"), || ()));
        assert!(outcome.is_err());
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let stop = Stop::default();
        let turns = Turns::new(&stop, ());
        let next = numbers(8);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            crew(4, &stop, || match next() {
                Some(0) => panic!("worker 0"),
                Some(number) => turns.take(number, |()| ()).ok_or(()).or(Ok::<(), ()>(())),
                None => Ok(()),
            })
        }));
        assert!(outcome.is_err());
    }
}
