//! How many files may be open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files that are asked for: of each batch of names that is looked at, all may be large and stay open.
const WANTED: u64 = 1 << 16;

/// Asks the system for as many as it gives, up to a number that is enough.
pub(super) fn allow_many() {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| current < WANTED) {
        let current = now.maximum.map_or(WANTED, |maximum| WANTED.min(maximum));
        // Where it gives none, a tree with many large files may end with an error that says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..now });
    }
}
