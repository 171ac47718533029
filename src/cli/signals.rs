//! SIGINT, SIGTERM and SIGHUP: the first ends the command in good order, the second at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Knows whether the user wants an end.
#[derive(Clone, Debug)]
pub(super) struct Signals {
    /// Number of the signal caught, 0 for none.
    caught: Arc<AtomicUsize>,
}

impl Signals {
    /// Begins to catch signals.
    pub(super) fn listen() -> io::Result<Self> {
        let caught = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Handlers run in this order: the first signal sets `again`, the second then ends us
            // as if nobody had caught it. A killed process leaves nothing that counts.
            flag::register_conditional_default(signal, Arc::clone(&again))?;
            flag::register(signal, Arc::clone(&again))?;
            flag::register_usize(signal, Arc::clone(&caught), signal as usize)?;
        }
        Ok(Self { caught })
    }

    /// The number of the signal that was caught.
    pub(super) fn caught(&self) -> Option<u8> {
        u8::try_from(self.caught.load(Ordering::Relaxed)).ok().filter(|&signal| signal > 0)
    }
}
