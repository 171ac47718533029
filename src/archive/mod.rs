//! Archives: trees of files into one stream, and back.
//!
//! ```text
//! step        a node on its way into an archive, wherever it comes from
//! pack        a tree, or steps -> an archive, or chunks of it in a store
//! tar_input   a tar -> steps                    kept    what of a node in it is recorded
//! unpack      an archive -> a tree              seed    a tree that has chunks of it already
//! tar_output  an archive -> a tar              encoder_cache   what is known of a tree from the last time
//! input       an archive to look into, wherever it is
//! walk        its nodes, one after the other    lines   where what is said of them goes
//! list, mtree, stat, digest, diff               what is said of them
//! ```

pub mod diff;
pub mod digest;
pub mod encoder_cache;
pub mod input;
pub mod kept;
pub mod lines;
pub mod list;
pub mod mtree;
pub mod pack;
pub mod seed;
pub mod stat;
pub mod step;
pub mod tar_input;
pub mod tar_output;
pub mod unpack;
pub mod walk;
