//! Where a blob is cut into chunks.
//!
//! ```text
//! sizes    the shortest, average and longest chunk, and how users write them
//! table    the constants of the rolling hash
//! divisor  the boundary test, `hash mod d == d - 1`, without a division
//! scan     finds the first boundary in a stretch of bytes (AVX-512, AVX2, portable)
//! cutter   the cut rule: the length of the chunk that starts here
//! stitch   cuts made window by window, put together as if made in one pass
//! ```
//!
//! All rules share one property on which everything here stands: a cut depends only on the bytes
//! since the cut before it. So a blob can be cut from several places at once, and as soon as two
//! passes agree on one cut they agree on all that follow.

mod cutter;
mod divisor;
mod scan;
mod sizes;
mod stitch;
mod table;

pub use cutter::{CutRule, Cutter};
pub use sizes::{ChunkSizes, LARGEST_CHUNK, parse_size};
pub use stitch::{Piece, Stitcher};
