//! Archives: trees of files into one stream, and back.
//!
//! ```text
//! pack      a tree -> steps -> layout -> bytes of the archive
//! step      a node on its way into an archive, wherever it comes from
//! unpack    an archive -> a tree
//! ```

pub mod step;
pub mod unpack;
