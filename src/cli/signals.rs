//! SIGINT, SIGTERM and SIGHUP: the first ends a job in good order, the second at once.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use cairn_store::Stop;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals as Arriving};

/// Knows whether the user wants an end.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    /// Number of the signal caught, 0 for none.
    caught: Arc<AtomicUsize>,
}

impl Signals {
    /// Begins to catch signals. To be called when a job begins that has something to clean up:
    /// before that, and in commands that only print, the system ends us as it does everybody.
    pub(super) fn catch(&self) -> io::Result<()> {
        let again = Arc::new(AtomicBool::new(false));
        let ignored = ignored_signals();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // `nohup` and shells that start us in the background ask for that.
            if ignored >> (signal - 1) & 1 == 1 {
                continue;
            }
            // Handlers run in this order: the first signal sets `again`, the second then ends us
            // as if nobody had caught it. A killed process leaves nothing that counts.
            flag::register_conditional_default(signal, Arc::clone(&again))?;
            flag::register(signal, Arc::clone(&again))?;
            flag::register_usize(signal, Arc::clone(&self.caught), signal as usize)?;
        }
        Ok(())
    }

    /// For those who wait for a network.
    pub(super) fn stop(&self) -> Stop {
        Stop::when(self.caught.clone())
    }

    /// For a program that ends only when it is told to: runs `job` and calls `end` at the first SIGINT or
    /// SIGTERM, the second of which ends us at once, and `reload` at every SIGHUP.
    pub(super) fn while_running<T>(
        end: impl FnOnce() + Send,
        reload: impl Fn() + Send,
        job: impl FnOnce() -> T,
    ) -> io::Result<T> {
        let again = Arc::new(AtomicBool::new(false));
        for signal in wanted().filter(|&signal| signal != SIGHUP) {
            flag::register_conditional_default(signal, Arc::clone(&again))?;
            flag::register(signal, Arc::clone(&again))?;
        }
        let mut end = Some(end);
        let each = move |signal| match (signal, end.take()) {
            (SIGHUP, kept) => {
                reload();
                end = kept;
            }
            (_, Some(end)) => end(),
            (_, None) => {}
        };
        Self::heed(each, job)
    }

    /// Runs `job` and calls `each` at every signal, with its number: SIGHUP, and of SIGINT and SIGTERM those that
    /// whoever started us does not want ignored. None ends us by itself.
    pub(super) fn heed<T>(
        mut each: impl FnMut(i32) + Send,
        job: impl FnOnce() -> T,
    ) -> io::Result<T> {
        let mut arriving = Arriving::new(wanted())?;
        Ok(thread::scope(|scope| {
            let closing = Closing(arriving.handle());
            scope.spawn(move || arriving.forever().for_each(&mut each));
            let done = job();
            drop(closing);
            done
        }))
    }

    /// Has those who wait for a network give up, as at a signal.
    pub(super) fn give_up(&self) {
        self.caught.store(SIGTERM as usize, Ordering::Relaxed);
    }

    /// The number of the signal that was caught.
    pub(super) fn caught(&self) -> Option<u8> {
        u8::try_from(self.caught.load(Ordering::Relaxed)).ok().filter(|&signal| signal > 0)
    }
}

/// Lets whoever waits for signals go, also if the job panics.
struct Closing(Handle);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The signals that a program which ends only when it is told to listens to.
fn wanted() -> impl Iterator<Item = i32> {
    let ignored = ignored_signals();
    let ends = [SIGINT, SIGTERM].into_iter();
    ends.filter(move |signal| ignored >> (signal - 1) & 1 == 0).chain([SIGHUP])
}

/// The signals that whoever started us wants ignored, a bit each; none where that is not known.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
