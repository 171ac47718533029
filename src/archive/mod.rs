//! Archives: trees of files into one stream, and back.
//!
//! ```text
//! pack      a tree -> steps -> layout -> bytes of the archive
//! step      a node on its way into an archive, wherever it comes from
//! kept      what of a node is recorded
//! tar_input   a tar -> steps
//! tar_output  an archive -> a tar
//! ```

pub mod kept;
pub mod step;
pub mod tar_input;
pub mod tar_output;
