//! What is on this machine: a directory of chunk files, and files that appear at once.
//!
//! ```text
//! chunks     the store: <dir>/<4 hex>/<64 hex>[.cacnk]
//! listing    all that is in it
//! lock       writers among each other, a prune alone
//! lru        a cache that stays below a size
//! late       file systems on which errors come late
//! new_file   a file that appears whole or not at all
//! output     that, or a pipe or device that is there
//! turn       whose turn it is to remove from a cache
//! ```

mod chunks;
mod late;
mod listing;
mod lock;
mod lru;
mod new_file;
mod output;
mod turn;

pub use chunks::{Durability, LocalOptions, LocalStore};
pub(crate) use chunks::{LARGEST_FILE, TEMPORARY_PREFIX};
pub use late::fails_late;
#[cfg(feature = "sftp")]
pub(crate) use listing::is_prefix;
pub use lru::LruStore;
pub use new_file::{NewFile, leads_to_descriptor};
pub use output::Output;
