//! The scan for boundaries: where does the hash of the last 48 bytes pass the divisor's test?
//!
//! The hash at a position depends on the window before it and on nothing else, so one position can
//! be tested without the ones before it, and many at once. Each kernel does that in its own way;
//! all give what [`hash_of_window`] and a division give at every position in turn.
//!
//! ```text
//! hash(s) = xor over i in 0..48 of rol(T[data[s - 1 - i]], i)    position s: s bytes lie before it
//! boundary at s     hash(s) mod d == d - 1
//! ```
//!
//! The wide kernels work in blocks and know after a block which of its lanes has a boundary, not
//! where. A lane is a run of consecutive positions, so the portable kernel then looks in the first
//! such lane.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::divisor::Divisor;
use super::table::{TABLE, WINDOW};
use crate::simd::Level;

/// The discriminator from which a wide kernel is worth its while (measured with AVX2). Below,
/// boundaries come so thick that most of a block's work is thrown away.
const SPARSE: u32 = 1024;

/// Returns the hash of a window, computed from nothing but its bytes.
pub fn hash_of_window(window: &[u8; WINDOW]) -> u32 {
    window.iter().fold(0u32, |hash, byte| hash.rotate_left(1) ^ TABLE[*byte as usize])
}

/// Finds the first boundary in `data` that lies at `from` or behind it.
///
/// Positions count from the first byte of `data`, which is a chunk's first byte. None lies before
/// the window's length. Nothing before `data[from - 48]` is read, and no more than a block (about 2
/// KiB) behind the boundary.
pub(crate) fn find(level: Level, divisor: &Divisor, data: &[u8], from: usize) -> Option<usize> {
    let level = if divisor.get() < SPARSE { Level::Portable } else { level };
    find_with(level, divisor, data, from)
}

/// Finds like [`find`], by the kernel of that level whatever the divisor.
fn find_with(level: Level, divisor: &Divisor, data: &[u8], from: usize) -> Option<usize> {
    let from = from.max(WINDOW);
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::find(divisor, data, from),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::find(divisor, data, from),
        _ => portable::find(divisor, data, from),
    }
}

/// Finds with a kernel that takes a block at a time, and says which lane of it has the first
/// boundary.
///
/// A block is `LANES` lanes of `ROWS` bytes. `first_lane` is given the blocks in turn, the first
/// one beginning at `from`, and tests the position behind each of a block's bytes.
#[cfg(target_arch = "x86_64")]
fn in_blocks<const ROWS: usize, const LANES: usize>(
    divisor: &Divisor,
    data: &[u8],
    from: usize,
    mut first_lane: impl FnMut(&[[u8; ROWS]; LANES]) -> Option<usize>,
) -> Option<usize> {
    let window = data.get(..from)?.last_chunk()?;
    if divisor.accepts(hash_of_window(window)) {
        return Some(from);
    }
    let mut size = from;
    for block in data[from..].as_chunks::<ROWS>().0.as_chunks::<LANES>().0 {
        if let Some(lane) = first_lane(block) {
            return portable::find(divisor, data, size + lane * ROWS + 1);
        }
        size += LANES * ROWS;
    }
    portable::find(divisor, data, size + 1)
}

#[cfg(test)]
mod tests;
