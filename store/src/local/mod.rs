//! A directory of chunk files, and index files.
//!
//! ```text
//! chunks     the store: <dir>/<4 hex>/<64 hex>[.cacnk]
//! index      index files, which appear whole or not at all
//! new_file   a file that appears whole or not at all
//! ```

mod chunks;
mod index;
mod new_file;

pub use chunks::{Durability, LocalOptions, LocalStore};
pub use index::{read_index, write_index};
pub use new_file::NewFile;
