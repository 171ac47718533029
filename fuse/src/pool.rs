//! Threads that wait in the place of others: no one slow chunk keeps those who answer the kernel.
//!
//! ```text
//! add -> queue -> an idle thread, or a new one up to a limit
//! ```
//! Threads begin as they are needed and end with the pool, once the queue is empty.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// Threads for jobs of which each may take a while.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    most: usize,
    name: &'static str,
}

struct Shared {
    state: Mutex<State>,
    /// Told when there is a job, or an end.
    news: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    is_over: bool,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// At most so many threads, which get this name.
    pub(crate) fn new(most: usize, name: &'static str) -> Self {
        let shared = Shared { state: Mutex::default(), news: Condvar::new() };
        Self { shared: Arc::new(shared), most: most.max(1), name }
    }

    /// How many jobs wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.lock().jobs.len()
    }

    /// Has a job done. Jobs begin in their order.
    pub(crate) fn add(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        state.jobs.push_back(Box::new(job));
        if state.idle < state.jobs.len() && state.threads.len() < self.most {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name(self.name.to_owned());
            match thread.spawn(move || shared.work()) {
                Ok(thread) => state.threads.push(thread),
                Err(e) if state.threads.is_empty() => {
                    tracing::warn!(error = %e, "no thread can be started");
                    // Better late than never.
                    let job = state.jobs.pop_back();
                    drop(state);
                    job.into_iter().for_each(|job| job());
                    return;
                }
                // Those that are there will do it.
                Err(_) => {}
            }
        }
        drop(state);
        self.shared.news.notify_one();
    }
}

impl Drop for Pool {
    /// Waits until all that was added is done, as somebody may wait for it.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.shared.news.notify_all();
        for thread in threads {
            // The last user of a pool may be one of its own jobs.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // What went wrong in one job is said by the panic itself; the others are still to be done.
                let _ = panic::catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
            } else if state.is_over {
                return;
            } else {
                state.idle += 1;
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_job_that_waits_does_not_keep_the_others() {
        let pool = Pool::new(2, "test");
        let (go, gate) = mpsc::channel::<()>();
        let (done, dones) = mpsc::channel();
        pool.add(move || {
            let _ = gate.recv();
        });
        for n in 0..10 {
            let done = done.clone();
            pool.add(move || done.send(n).unwrap());
        }
        for n in 0..10 {
            assert_eq!(dones.recv_timeout(SOON).unwrap(), n);
        }
        drop(go);
    }

    #[test]
    fn all_that_was_added_is_done_and_a_panic_ends_nothing() {
        let (done, dones) = mpsc::channel();
        let pool = Pool::new(3, "test");
        for n in 0..100 {
            let done = done.clone();
            pool.add(move || {
                assert!(n % 10 != 3, "as it should be");
                done.send(n).unwrap();
            });
        }
        drop((pool, done));
        assert_eq!(dones.iter().count(), 90);
    }
}
