//! The scan with AVX2: eight rolling hashes side by side, one for each eighth of a block.
//!
//! ```text
//! block   |lane 0      |lane 1      |lane 2      | ... |lane 7      |     8 lanes of ROWS bytes
//! row t    ^t           ^t           ^t                 ^t               their words: one vector
//! hash     = rol1(hash) ^ row[t] ^ rol16(row[t - WINDOW])                for all lanes at once
//! ```
//!
//! A lane's window begins in the lane before it, so the rows "before row 0" are the last WINDOW
//! rows with every lane moved up by one; into lane 0 comes lane 7 of the block before. That is why
//! the last rows are looked up first. The hash before row 0 comes about the same way: the hashes at
//! the lanes' ends, which are hashes over those last rows, moved up by one.
//!
//! There is no byte permute wide enough for the table, and gathers are slow on many CPUs. A row is
//! put together from eight plain loads instead, each blended into its lane as it is loaded.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_blend_epi32, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_add_epi32,
    _mm256_blend_epi32, _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_min_epu32,
    _mm256_movemask_ps, _mm256_mullo_epi32, _mm256_or_si256, _mm256_permutevar8x32_epi32,
    _mm256_set_m128i, _mm256_set1_epi32, _mm256_setr_epi8, _mm256_setr_epi32, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_sll_epi32, _mm256_srl_epi32, _mm256_srli_epi32, _mm256_xor_si256,
};

use super::{hash_of_window, in_blocks};
use crate::chunker::divisor::Divisor;
use crate::chunker::table::{TABLE, WINDOW};
use crate::simd::Level;

const LANES: usize = 8;
/// Not 256: with lanes a multiple of a cache line apart, all loads of a row fall on the same bank,
/// which costs a twelfth of the speed on Zen 3.
const ROWS: usize = 264;

/// A block, lane by lane.
type Block = [[u8; ROWS]; LANES];

const _: () = assert!(ROWS >= 2 * WINDOW);

/// Finds the first boundary at `from` or behind it; `from` is at least the window's length.
///
/// Panics on a CPU without AVX2.
pub(super) fn find(divisor: &Divisor, data: &[u8], from: usize) -> Option<usize> {
    assert!(Level::detected() >= Level::Avx2);
    // SAFETY: the CPU has AVX2, as just asserted.
    unsafe { find_wide(divisor, data, from) }
}

#[target_feature(enable = "avx2")]
fn find_wide(divisor: &Divisor, data: &[u8], from: usize) -> Option<usize> {
    let before = data.get(..from)?.last_chunk()?;
    let mut lanes = Lanes::new();
    lanes.start_behind(before);
    if divisor.twos == 0 {
        in_blocks(divisor, data, from, |block| lanes.roll::<false>(divisor, block))
    } else {
        in_blocks(divisor, data, from, |block| lanes.roll::<true>(divisor, block))
    }
}

/// The table, with room on both sides for loads that begin before the word they are for.
#[repr(align(64))]
struct Padded([u32; 3 + 256 + 3]);

static PADDED: Padded = {
    let mut padded = [0; 3 + 256 + 3];
    let mut byte = 0;
    while byte < 256 {
        padded[3 + byte] = TABLE[byte];
        byte += 1;
    }
    Padded(padded)
};

/// What one block hands to the next, and the rows on the way.
struct Lanes {
    /// The rows of a block behind the WINDOW rows before it. Between blocks only the last WINDOW
    /// count.
    rows: [__m256i; WINDOW + ROWS],
    /// The hash at the end of every lane.
    ends: __m256i,
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new() -> Lanes {
        Lanes { rows: [_mm256_setzero_si256(); WINDOW + ROWS], ends: _mm256_setzero_si256() }
    }

    /// Sets the stage for a first block behind the window `before`.
    #[target_feature(enable = "avx2")]
    fn start_behind(&mut self, before: &[u8; WINDOW]) {
        // Only the last lane goes over into the block; all get its words and its hash.
        for (row, byte) in self.rows[ROWS..].iter_mut().zip(before) {
            *row = _mm256_set1_epi32(TABLE[*byte as usize] as i32);
        }
        self.ends = _mm256_set1_epi32(hash_of_window(before) as i32);
    }

    /// Rolls all lanes over a block; returns the first lane that has a boundary.
    #[target_feature(enable = "avx2")]
    fn roll<const EVEN: bool>(&mut self, divisor: &Divisor, block: &Block) -> Option<usize> {
        let test = Test::new(divisor);
        let mut hash = self.enter(block);
        let mut least = _mm256_set1_epi32(-1);
        for t in 0..ROWS - WINDOW {
            let row = look_up(block, t);
            hash = roll_one(hash, self.rows[t], row);
            self.rows[WINDOW + t] = row;
            least = _mm256_min_epu32(least, test.quotient::<EVEN>(hash));
        }
        for t in ROWS - WINDOW..ROWS {
            hash = roll_one(hash, self.rows[t], self.rows[WINDOW + t]);
            least = _mm256_min_epu32(least, test.quotient::<EVEN>(hash));
        }
        test.first_lane(least)
    }

    /// Looks up the block's last rows, sets the rows before the block, and returns the hash there.
    #[target_feature(enable = "avx2")]
    fn enter(&mut self, block: &Block) -> __m256i {
        let mut hash = _mm256_setzero_si256();
        for t in 0..WINDOW {
            let row = look_up(block, ROWS - WINDOW + t);
            let last = &mut self.rows[ROWS + t];
            let before = lanes_up(row, *last);
            *last = row;
            self.rows[t] = before;
            hash = _mm256_xor_si256(rol1(hash), row);
        }
        let start = lanes_up(hash, self.ends);
        self.ends = hash;
        start
    }
}

/// The divisor's test on eight hashes, in vectors.
struct Test {
    inverse: __m256i,
    offset: __m256i,
    most: __m256i,
    right: __m128i,
    left: __m128i,
}

impl Test {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(divisor: &Divisor) -> Test {
        Test {
            inverse: _mm256_set1_epi32(divisor.inverse as i32),
            offset: _mm256_set1_epi32(divisor.offset as i32),
            most: _mm256_set1_epi32(divisor.most as i32),
            right: _mm_cvtsi32_si128(divisor.twos as i32),
            left: _mm_cvtsi32_si128(32 - divisor.twos as i32),
        }
    }

    /// Returns what the divisor compares with its bound; `EVEN` says that the divisor is even.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn quotient<const EVEN: bool>(&self, hash: __m256i) -> __m256i {
        let moved = _mm256_add_epi32(_mm256_mullo_epi32(hash, self.inverse), self.offset);
        if EVEN {
            let low = _mm256_srl_epi32(moved, self.right);
            _mm256_or_si256(low, _mm256_sll_epi32(moved, self.left))
        } else {
            moved
        }
    }

    /// Returns the first lane whose smallest quotient is within the bound.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn first_lane(&self, least: __m256i) -> Option<usize> {
        let within = _mm256_cmpeq_epi32(_mm256_min_epu32(least, self.most), least);
        let mask = _mm256_movemask_ps(_mm256_castsi256_ps(within));
        (mask != 0).then(|| mask.trailing_zeros() as usize)
    }
}

/// Looks up the words of a row.
///
/// The block's type carries all lengths, so that no bounds checks stay: with them the compiler no
/// longer inlines this, and the scan takes three times as long.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up(block: &Block, row: usize) -> __m256i {
    let low = look_up_four(block[0][row], block[1][row], block[2][row], block[3][row]);
    let high = look_up_four(block[4][row], block[5][row], block[6][row], block[7][row]);
    _mm256_set_m128i(high, low)
}

/// Looks up four words.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up_four(a: u8, b: u8, c: u8, d: u8) -> __m128i {
    let ab = _mm_blend_epi32::<0b0010>(word_in_lane::<0>(a), word_in_lane::<1>(b));
    let abc = _mm_blend_epi32::<0b0100>(ab, word_in_lane::<2>(c));
    _mm_blend_epi32::<0b1000>(abc, word_in_lane::<3>(d))
}

/// Loads four words of the table so that the word for `byte` comes to lie in `LANE`.
#[inline]
#[target_feature(enable = "avx2")]
fn word_in_lane<const LANE: usize>(byte: u8) -> __m128i {
    const { assert!(LANE < 4) };
    // SAFETY: the load covers words byte + 3 - LANE to byte + 6 - LANE of PADDED; with LANE within
    // 0..=3 and byte within 0..=255 these are within 0..=261, and PADDED has 262.
    unsafe { _mm_loadu_si128(PADDED.0.as_ptr().add(byte as usize + 3 - LANE).cast()) }
}

/// Moves every lane of `now` up by one; lane 7 of `before` becomes lane 0.
#[inline]
#[target_feature(enable = "avx2")]
fn lanes_up(now: __m256i, before: __m256i) -> __m256i {
    let up = _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6);
    let (now, before) =
        (_mm256_permutevar8x32_epi32(now, up), _mm256_permutevar8x32_epi32(before, up));
    _mm256_blend_epi32::<1>(now, before)
}

/// Rolls the hashes on: one byte leaves each window, one enters.
#[inline]
#[target_feature(enable = "avx2")]
fn roll_one(hash: __m256i, leaves: __m256i, enters: __m256i) -> __m256i {
    // Rotating by 48 is rotating by 16, which swaps the halves of a word: a byte shuffle.
    let swap = _mm256_setr_epi8(
        2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9,
        14, 15, 12, 13,
    );
    let change = _mm256_xor_si256(_mm256_shuffle_epi8(leaves, swap), enters);
    _mm256_xor_si256(rol1(hash), change)
}

/// Rotates every word left by one.
#[inline]
#[target_feature(enable = "avx2")]
fn rol1(words: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_add_epi32(words, words), _mm256_srli_epi32::<31>(words))
}
