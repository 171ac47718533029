//! How many files may be open at once.

use cairn_store::allow_files;

/// Open files that are asked for: of each batch of names that is looked at, all may be large and stay open. Where the
/// system gives fewer, a tree with many large files may end with an error that says so.
const WANTED: u64 = 1 << 16;

/// Asks the system for as many as it gives, up to a number that is enough.
pub(super) fn allow_many() {
    allow_files(WANTED);
}
