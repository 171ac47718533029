//! Archives seen as files.
//!
//! ```text
//! ahead        the nodes of an archive, at hand before they are read
//! kept_tree    what is known of an archive but the bytes of its files, from the last time or read now
//! ```

mod ahead;
pub mod kept_tree;
