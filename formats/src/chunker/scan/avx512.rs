//! The scan with AVX-512: sixteen rolling hashes side by side, one for each sixteenth of a block.
//!
//! Lanes, rows and how a block begins are those of the AVX2 kernel. Only the lookup differs: the
//! table stays in registers, as four planes (one for each byte of a word) of four times 64 bytes.
//!
//! ```text
//! bytes    16 of every lane  -> 4 vectors of 64: row t of lanes 0..=3, row t + 1 of them ...
//! planes   each byte -> 4 byte permutes, one kept by its top two bits; the same in 4 planes
//! words    planes 0 and 1 interleaved by bytes, 2 and 3 likewise, these two by 16 bits: 4 rows
//! ```
//!
//! A vector is four quarters of 128 bits, and interleaving stays within them: quarter `q` holds the
//! lanes `4 q ..= 4 q + 3` throughout, so that the words come out in the order of the lanes.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm512_add_epi32, _mm512_alignr_epi32, _mm512_castsi128_si512,
    _mm512_cmple_epu32_mask, _mm512_inserti32x4, _mm512_loadu_si512, _mm512_mask_permutexvar_epi8,
    _mm512_min_epu32, _mm512_movepi8_mask, _mm512_mullo_epi32, _mm512_permutexvar_epi8,
    _mm512_rol_epi32, _mm512_rorv_epi32, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_ternarylogic_epi32, _mm512_test_epi8_mask, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16,
    _mm512_unpacklo_epi8, _mm512_unpacklo_epi16, _mm512_xor_si512,
};

use super::{hash_of_window, in_blocks};
use crate::chunker::divisor::Divisor;
use crate::chunker::table::{TABLE, WINDOW};
use crate::simd::Level;

const LANES: usize = 16;
const ROWS: usize = 128;
/// Rows looked up together: one 128-bit load from each lane.
const GROUP: usize = 16;

/// A block, lane by lane.
type Block = [[u8; ROWS]; LANES];

const _: () = assert!(ROWS >= 2 * WINDOW);
const _: () = assert!(ROWS.is_multiple_of(GROUP) && WINDOW.is_multiple_of(GROUP));

/// Finds the first boundary at `from` or behind it; `from` is at least the window's length.
///
/// Panics on a CPU without AVX-512 and its byte permutes.
pub(super) fn find(divisor: &Divisor, data: &[u8], from: usize) -> Option<usize> {
    assert!(Level::detected() >= Level::Avx512);
    // SAFETY: the CPU has all of the level's features, as just asserted.
    unsafe { find_wide(divisor, data, from) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn find_wide(divisor: &Divisor, data: &[u8], from: usize) -> Option<usize> {
    let before = data.get(..from)?.last_chunk()?;
    let mut lanes = Lanes::new();
    lanes.start_behind(before);
    in_blocks(divisor, data, from, |block| lanes.roll(divisor, block))
}

/// What one block hands to the next, and the rows on the way.
struct Lanes {
    /// The rows of a block behind the WINDOW rows before it. Between blocks only the last WINDOW
    /// count.
    rows: [__m512i; WINDOW + ROWS],
    /// The hash at the end of every lane.
    ends: __m512i,
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn new() -> Lanes {
        Lanes { rows: [_mm512_setzero_si512(); WINDOW + ROWS], ends: _mm512_setzero_si512() }
    }

    /// Sets the stage for a first block behind the window `before`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn start_behind(&mut self, before: &[u8; WINDOW]) {
        // Only the last lane goes over into the block; all get its words and its hash.
        for (row, byte) in self.rows[ROWS..].iter_mut().zip(before) {
            *row = _mm512_set1_epi32(TABLE[*byte as usize] as i32);
        }
        self.ends = _mm512_set1_epi32(hash_of_window(before) as i32);
    }

    /// Rolls all lanes over a block; returns the first lane that has a boundary.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn roll(&mut self, divisor: &Divisor, block: &Block) -> Option<usize> {
        let table = Planes::load();
        let test = Test::new(divisor);
        let mut hash = self.enter(&table, block);
        let mut least = _mm512_set1_epi32(-1);
        for group in 0..(ROWS - WINDOW) / GROUP {
            for (quad, bytes) in load_group(block, group).into_iter().enumerate() {
                for (i, row) in table.look_up(bytes).into_iter().enumerate() {
                    let t = group * GROUP + quad * 4 + i;
                    hash = roll_one(hash, self.rows[t], row);
                    self.rows[WINDOW + t] = row;
                    least = _mm512_min_epu32(least, test.quotient(hash));
                }
            }
        }
        for t in ROWS - WINDOW..ROWS {
            hash = roll_one(hash, self.rows[t], self.rows[WINDOW + t]);
            least = _mm512_min_epu32(least, test.quotient(hash));
        }
        test.first_lane(least)
    }

    /// Looks up the block's last rows, sets the rows before the block, and returns the hash there.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn enter(&mut self, table: &Planes, block: &Block) -> __m512i {
        let mut hash = _mm512_setzero_si512();
        for group in 0..WINDOW / GROUP {
            let last = (ROWS - WINDOW) / GROUP + group;
            for (quad, bytes) in load_group(block, last).into_iter().enumerate() {
                for (i, row) in table.look_up(bytes).into_iter().enumerate() {
                    let t = group * GROUP + quad * 4 + i;
                    self.rows[t] = lanes_up(row, self.rows[ROWS + t]);
                    self.rows[ROWS + t] = row;
                    hash = _mm512_xor_si512(_mm512_rol_epi32::<1>(hash), row);
                }
            }
        }
        let start = lanes_up(hash, self.ends);
        self.ends = hash;
        start
    }
}

/// The divisor's test on sixteen hashes, in vectors.
struct Test {
    inverse: __m512i,
    offset: __m512i,
    twos: __m512i,
    most: __m512i,
}

impl Test {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(divisor: &Divisor) -> Test {
        Test {
            inverse: _mm512_set1_epi32(divisor.inverse as i32),
            offset: _mm512_set1_epi32(divisor.offset as i32),
            twos: _mm512_set1_epi32(divisor.twos as i32),
            most: _mm512_set1_epi32(divisor.most as i32),
        }
    }

    /// Returns what the divisor compares with its bound.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn quotient(&self, hash: __m512i) -> __m512i {
        let moved = _mm512_add_epi32(_mm512_mullo_epi32(hash, self.inverse), self.offset);
        _mm512_rorv_epi32(moved, self.twos)
    }

    /// Returns the first lane whose smallest quotient is within the bound.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn first_lane(&self, least: __m512i) -> Option<usize> {
        let mask = _mm512_cmple_epu32_mask(least, self.most);
        (mask != 0).then(|| mask.trailing_zeros() as usize)
    }
}

/// The table by byte planes: `PLANES[p][q][i]` is byte `p` of the word for the byte `64 q + i`.
#[repr(align(64))]
struct PlaneBytes([[[u8; 64]; 4]; 4]);

static PLANES: PlaneBytes = {
    let mut planes = [[[0; 64]; 4]; 4];
    let mut byte = 0;
    while byte < 256 {
        let word = TABLE[byte].to_le_bytes();
        let mut plane = 0;
        while plane < 4 {
            planes[plane][byte / 64][byte % 64] = word[plane];
            plane += 1;
        }
        byte += 1;
    }
    PlaneBytes(planes)
};

/// The table in registers, laid out like [`PLANES`].
struct Planes([[__m512i; 4]; 4]);

impl Planes {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load() -> Planes {
        let mut planes = [[_mm512_setzero_si512(); 4]; 4];
        for (plane, quarters) in planes.iter_mut().zip(&PLANES.0) {
            for (part, bytes) in plane.iter_mut().zip(quarters) {
                // SAFETY: a quarter of a plane is 64 bytes, which an unaligned load of 64 covers.
                *part = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
            }
        }
        Planes(planes)
    }

    /// Looks up the words of four rows; `bytes` is one vector of [`load_group`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn look_up(&self, bytes: __m512i) -> [__m512i; 4] {
        // A permute goes by a byte's low six bits. The top two say whose result holds: later ones
        // overwrite, so "bit 7 set" may be wrong about bytes with both bits set until the last.
        let bit6 = _mm512_test_epi8_mask(bytes, _mm512_set1_epi8(0x40));
        let bit7 = _mm512_movepi8_mask(bytes);
        let both = bit6 & bit7;
        let plane = |p: usize| {
            let [first, second, third, fourth] = self.0[p];
            let found = _mm512_permutexvar_epi8(bytes, first);
            let found = _mm512_mask_permutexvar_epi8(found, bit6, bytes, second);
            let found = _mm512_mask_permutexvar_epi8(found, bit7, bytes, third);
            _mm512_mask_permutexvar_epi8(found, both, bytes, fourth)
        };
        let (p0, p1, p2, p3) = (plane(0), plane(1), plane(2), plane(3));
        let (low01, high01) = (_mm512_unpacklo_epi8(p0, p1), _mm512_unpackhi_epi8(p0, p1));
        let (low23, high23) = (_mm512_unpacklo_epi8(p2, p3), _mm512_unpackhi_epi8(p2, p3));
        [
            _mm512_unpacklo_epi16(low01, low23),
            _mm512_unpackhi_epi16(low01, low23),
            _mm512_unpacklo_epi16(high01, high23),
            _mm512_unpackhi_epi16(high01, high23),
        ]
    }
}

/// Loads the bytes of a group's rows, four rows to a vector, row by row in each quarter.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_group(block: &Block, group: usize) -> [__m512i; 4] {
    let load = |lane: usize| {
        let bytes: &[u8; GROUP] = &block[lane].as_chunks().0[group];
        // SAFETY: `bytes` is 16 bytes, which an unaligned load of 16 bytes covers.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    };
    // Every fourth lane, one to a quarter.
    let fourth = |lane: usize| {
        let lanes = _mm512_castsi128_si512(load(lane));
        let lanes = _mm512_inserti32x4::<1>(lanes, load(lane + 4));
        let lanes = _mm512_inserti32x4::<2>(lanes, load(lane + 8));
        _mm512_inserti32x4::<3>(lanes, load(lane + 12))
    };
    let (l0, l1, l2, l3) = (fourth(0), fourth(1), fourth(2), fourth(3));
    let (low02, high02) = (_mm512_unpacklo_epi8(l0, l2), _mm512_unpackhi_epi8(l0, l2));
    let (low13, high13) = (_mm512_unpacklo_epi8(l1, l3), _mm512_unpackhi_epi8(l1, l3));
    [
        _mm512_unpacklo_epi8(low02, low13),
        _mm512_unpackhi_epi8(low02, low13),
        _mm512_unpacklo_epi8(high02, high13),
        _mm512_unpackhi_epi8(high02, high13),
    ]
}

/// Moves every lane of `now` up by one; lane 15 of `before` becomes lane 0.
#[inline]
#[target_feature(enable = "avx512f")]
fn lanes_up(now: __m512i, before: __m512i) -> __m512i {
    _mm512_alignr_epi32::<15>(now, before)
}

/// Rolls the hashes on: one byte leaves each window, one enters.
#[inline]
#[target_feature(enable = "avx512f")]
fn roll_one(hash: __m512i, leaves: __m512i, enters: __m512i) -> __m512i {
    // Rotating by 48 is rotating by 16; 0x96 is the truth table of a three-way xor.
    let (hash, leaves) = (_mm512_rol_epi32::<1>(hash), _mm512_rol_epi32::<16>(leaves));
    _mm512_ternarylogic_epi32::<0x96>(hash, leaves, enters)
}
