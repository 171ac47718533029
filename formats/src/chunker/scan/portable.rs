//! The scan in plain Rust: the rolling hash, rolled by two bytes a step.
//!
//! Rolling byte by byte makes each hash wait for the one before it. Two bytes a step read
//!
//! ```text
//! a = rol16(T[leaves]) ^ T[enters]              needs no hash
//! first  = rol1(hash) ^ a0                      tested, then forgotten
//! second = rol2(hash) ^ (rol1(a0) ^ a1)         tested, carried on
//! ```
//!
//! and only the last line is on the chain from hash to hash, once for two bytes.

use super::hash_of_window;
use crate::chunker::divisor::Divisor;
use crate::chunker::table::{TABLE, WINDOW};

/// Finds the first boundary at `from` or behind it; `from` is at least the window's length.
pub(super) fn find(divisor: &Divisor, data: &[u8], from: usize) -> Option<usize> {
    let window = data.get(..from)?.last_chunk::<WINDOW>()?;
    let mut hash = hash_of_window(window);
    if divisor.accepts(hash) {
        return Some(from);
    }
    let mut size = from;
    let enters = &data[from..];
    let leaves = &data[from - WINDOW..][..enters.len()];
    let (enters, last_enters) = enters.as_chunks::<2>();
    let (leaves, last_leaves) = leaves.as_chunks::<2>();
    for (enter, leave) in enters.iter().zip(leaves) {
        let change0 = change(leave[0], enter[0]);
        let change1 = change(leave[1], enter[1]);
        let first = hash.rotate_left(1) ^ change0;
        hash = hash.rotate_left(2) ^ (change0.rotate_left(1) ^ change1);
        if divisor.accepts(first) {
            return Some(size + 1);
        }
        size += 2;
        if divisor.accepts(hash) {
            return Some(size);
        }
    }
    let (enter, leave) = (last_enters.first()?, last_leaves.first()?);
    divisor.accepts(hash.rotate_left(1) ^ change(*leave, *enter)).then_some(size + 1)
}

/// Returns what a step of the window adds to the rotated hash.
#[inline(always)]
fn change(leaves: u8, enters: u8) -> u32 {
    // A word has been rotated by 48 when its byte leaves the window, and 48 mod 32 is 16.
    TABLE[leaves as usize].rotate_left(WINDOW as u32 % 32) ^ TABLE[enters as usize]
}
