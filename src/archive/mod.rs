//! Archives: trees of files into one stream, and back.
//!
//! ```text
//! pack      a tree -> steps -> layout -> bytes of the archive
//! input     an archive to look into, wherever it is
//! walk      its nodes, one after the other
//! list, mtree, stat, digest, diff                what is said of them
//! step      a node on its way into an archive, wherever it comes from
//! unpack    an archive -> a tree
//! ```

pub mod diff;
pub mod digest;
pub mod input;
pub mod lines;
pub mod list;
pub mod mtree;
pub mod pack;
pub mod stat;
pub mod step;
pub mod walk;
pub mod unpack;
