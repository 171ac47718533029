//! SHA-512/256 of many inputs at once: one input in each lane of a vector kernel.
//!
//! A single SHA-512 cannot use wide vectors, since every round waits for the one before; many can,
//! side by side. Inputs differ in length, so a lane that finishes takes the next input from the
//! queue, and the kernel always runs to the end of the lane that is nearest to its own:
//!
//! ```text
//!   lane 0  [ input 0 ......................][ input 7 ..
//!   lane 1  [ input 1 ..................][ input 6 .......
//!   lane 2  [ input 2 ................][ input 5 .........
//!   lane 3  [ input 3 ............][ input 4 ........
//!           ^ call                ^   ^ ^   ^          and one more before each padding
//! ```
//!
//! The longest inputs go first, so that few blocks are left over when the queue is empty and lanes
//! fall idle. The last input in flight goes on alone, by the single-input code, from the state it
//! has reached.

#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, unused_variables, reason = "no kernel yet to run the lanes with")
)]

use std::array;
use std::cmp::Reverse;

use sha2::block_api::compress512;
use sha2::{Digest, Sha512_256};

#[cfg(target_arch = "x86_64")]
use super::avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::sha512::{Block, Compress, IV};
use crate::simd::Level;

/// Fewer busy lanes than this are quicker one after the other: a kernel call takes as long as about
/// two single ones in 256-bit vectors, less in wider ones, however many lanes are busy.
const WORTHWHILE: usize = 2;

/// Puts the SHA-512/256 of each input into the same place of `out`.
///
/// A level this CPU does not have is taken as the next lower one.
///
/// # Panics
///
/// If `inputs` and `out` differ in length.
pub(crate) fn hash_many(level: Level, inputs: &[&[u8]], out: &mut [[u8; 32]]) {
    assert_eq!(inputs.len(), out.len(), "one digest for each input");
    #[cfg(target_arch = "x86_64")]
    {
        if level >= Level::Avx512
            && let Some(compress) = avx512::kernel()
        {
            return hash_in_lanes(compress, inputs, out);
        }
        if level >= Level::Avx2
            && let Some(compress) = avx2::kernel()
        {
            return hash_in_lanes(compress, inputs, out);
        }
    }
    for (input, out) in inputs.iter().zip(out) {
        *out = Sha512_256::digest(input).into();
    }
}

fn hash_in_lanes<const L: usize>(compress: Compress<L>, inputs: &[&[u8]], out: &mut [[u8; 32]]) {
    let mut queue = longest_first(inputs).into_iter();
    let mut states = [[0; L]; 8];
    let mut lanes: [Option<Lane<'_>>; L] = [const { None }; L];
    loop {
        for (i, lane) in lanes.iter_mut().enumerate().filter(|(_, lane)| lane.is_none()) {
            let Some(index) = queue.next() else { break };
            *lane = Some(Lane::new(index, inputs[index]));
            put_state(&mut states, i, IV);
        }
        if lanes.iter().flatten().count() < WORTHWHILE {
            break;
        }
        let count = compress_together(compress, &mut states, &lanes);
        for (i, slot) in lanes.iter_mut().enumerate() {
            if let Some(lane) = slot {
                lane.advance(count);
                if lane.is_done() {
                    out[lane.index] = digest(state(&states, i));
                    *slot = None;
                }
            }
        }
    }
    for (i, lane) in lanes.into_iter().enumerate() {
        if let Some(lane) = lane {
            out[lane.index] = lane.finish_alone(state(&states, i));
        }
    }
}

/// Returns the indices of the inputs, by falling length.
fn longest_first(inputs: &[&[u8]]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_unstable_by_key(|&index| (Reverse(inputs[index].len()), index));
    order
}

/// Compresses as many blocks of each busy lane as the one with the fewest at hand has, and returns
/// how many.
fn compress_together<const L: usize>(
    compress: Compress<L>,
    states: &mut [[u64; L]; 8],
    lanes: &[Option<Lane<'_>>; L],
) -> usize {
    let shortest = lanes.iter().flatten().map(Lane::at_hand).min_by_key(|blocks| blocks.len());
    let shortest = shortest.unwrap_or_default();
    // Idle lanes repeat the work of another; nobody looks at their states.
    let blocks = array::from_fn(|i| match &lanes[i] {
        Some(lane) => &lane.at_hand()[..shortest.len()],
        None => shortest,
    });
    compress(states, &blocks);
    shortest.len()
}

/// An input on its way through a lane.
struct Lane<'a> {
    /// Which of the inputs it is.
    index: usize,
    /// The whole blocks of the input that are still to be compressed.
    body: &'a [Block],
    /// The rest of the input and the padding, in the last `padding_left` of these blocks.
    padding: [Block; 2],
    padding_left: usize,
}

impl<'a> Lane<'a> {
    fn new(index: usize, input: &'a [u8]) -> Lane<'a> {
        let (body, rest) = input.as_chunks::<128>();
        // What follows the input: a one bit, zeros, and the length in bits as 16 bytes that end a
        // block.
        let padding_left = if rest.len() + 1 + 16 <= 128 { 1 } else { 2 };
        let mut padding = [[0; 128]; 2];
        let bytes = padding.as_flattened_mut();
        let start = bytes.len() - 128 * padding_left;
        bytes[start..start + rest.len()].copy_from_slice(rest);
        bytes[start + rest.len()] = 0x80;
        let bits = 8 * input.len() as u128;
        bytes[256 - 16..].copy_from_slice(&bits.to_be_bytes());
        Lane { index, body, padding, padding_left }
    }

    /// Returns the blocks that come next and lie together: the rest of the body, after that the
    /// padding.
    fn at_hand(&self) -> &[Block] {
        if self.body.is_empty() { self.padding_at_hand() } else { self.body }
    }

    fn padding_at_hand(&self) -> &[Block] {
        &self.padding[self.padding.len() - self.padding_left..]
    }

    /// Drops the first `count` of the blocks at hand.
    fn advance(&mut self, count: usize) {
        if self.body.is_empty() {
            self.padding_left -= count;
        } else {
            self.body = &self.body[count..];
        }
    }

    fn is_done(&self) -> bool {
        self.body.is_empty() && self.padding_left == 0
    }

    fn finish_alone(&self, mut state: [u64; 8]) -> [u8; 32] {
        compress512(&mut state, self.body);
        compress512(&mut state, self.padding_at_hand());
        digest(state)
    }
}

fn state<const L: usize>(states: &[[u64; L]; 8], lane: usize) -> [u64; 8] {
    states.map(|word| word[lane])
}

fn put_state<const L: usize>(states: &mut [[u64; L]; 8], lane: usize, state: [u64; 8]) {
    for (words, word) in states.iter_mut().zip(state) {
        words[lane] = word;
    }
}

/// Returns the first half of the state as bytes: the digest, once the padding is compressed.
fn digest(state: [u64; 8]) -> [u8; 32] {
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<8>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}
