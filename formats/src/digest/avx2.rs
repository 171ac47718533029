//! SHA-512 compression of four blocks at once, one in each 64-bit lane of a 256-bit vector.
//!
//! Vector `s[i]` of the state holds word `i` of the four states, vector `w[i]` word `i` of the four
//! blocks:
//!
//! ```text
//!            lane 0     lane 1     lane 2     lane 3
//!   w[0]   A[0..8]    B[0..8]    C[0..8]    D[0..8]      A, B, C, D: the four blocks,
//!   w[1]   A[8..16]   B[8..16]   C[8..16]   D[8..16]     each word read as big endian
//!   ...
//! ```
//!
//! The message schedule is a window of 16 vectors: a round uses `w[i]` and then puts there the word
//! that is due 16 rounds later. State and window are more than the 16 registers hold, so the window
//! lives on the stack, where the additions read it.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi64, _mm256_and_si256, _mm256_castsi128_si256,
    _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_or_si256, _mm256_set_epi64x,
    _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi64,
    _mm256_srli_epi64, _mm256_storeu_si256, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

use super::sha512::{Block, Compress, K};

const LANES: usize = 4;

/// Returns the kernel if this CPU can run it.
pub(super) fn kernel() -> Option<Compress<LANES>> {
    /// Must not get out of `kernel` on a CPU without AVX2.
    fn compress(states: &mut [[u64; LANES]; 8], blocks: &[&[Block]; LANES]) {
        // SAFETY: the only way to this function is through the check below.
        unsafe { compress_avx2(states, blocks) }
    }
    is_x86_feature_detected!("avx2").then_some(compress)
}

/// Compresses the blocks of every lane into the lane's state, as many as the shortest lane has.
#[target_feature(enable = "avx2")]
fn compress_avx2(states: &mut [[u64; LANES]; 8], blocks: &[&[Block]; LANES]) {
    let [a, b, c, d] = *blocks;
    let mut state = states.each_ref().map(|word| load_state(word));
    for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
        let mut w = load_words([a, b, c, d]);
        let mut s = state;
        for k in K[..64].as_chunks::<16>().0 {
            sixteen_rounds::<true>(&mut s, &mut w, k);
        }
        for k in K[64..].as_chunks::<16>().0 {
            sixteen_rounds::<false>(&mut s, &mut w, k);
        }
        for (sum, word) in state.iter_mut().zip(s) {
            *sum = _mm256_add_epi64(*sum, word);
        }
    }
    for (word, vector) in states.iter_mut().zip(state) {
        store_state(word, vector);
    }
}

/// Reads four blocks and turns them by the diagonal: vector `i` gets word `i` of each.
#[inline]
#[target_feature(enable = "avx2")]
fn load_words(blocks: [&Block; LANES]) -> [__m256i; 16] {
    // Reverses the bytes of each word.
    let big_endian = _mm256_set_epi64x(
        0x0809_0a0b_0c0d_0e0f,
        0x0001_0203_0405_0607,
        0x0809_0a0b_0c0d_0e0f,
        0x0001_0203_0405_0607,
    );
    let mut words = [_mm256_setzero_si256(); 16];
    for (pair, words) in words.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let [a, b, c, d] = blocks.map(|block| load_pair(block, pair));
        // Lanes 0 and 2, 1 and 3 together: the unpack, which keeps to 128-bit halves, then gives
        // the lanes in order.
        let even = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), c);
        let odd = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(b), d);
        words[0] = _mm256_shuffle_epi8(_mm256_unpacklo_epi64(even, odd), big_endian);
        words[1] = _mm256_shuffle_epi8(_mm256_unpackhi_epi64(even, odd), big_endian);
    }
    words
}

/// Runs 16 rounds; with `SCHEDULE`, leaves in `w` the words for the next 16.
#[inline]
#[target_feature(enable = "avx2")]
fn sixteen_rounds<const SCHEDULE: bool>(
    s: &mut [__m256i; 8],
    w: &mut [__m256i; 16],
    k: &[u64; 16],
) {
    macro_rules! rounds {
        ($($i:literal)*) => {$(
            round(s, w[$i], k[$i]);
            if SCHEDULE {
                w[$i] = scheduled(w[$i], w[($i + 1) % 16], w[($i + 9) % 16], w[($i + 14) % 16]);
            }
        )*};
    }
    rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// Runs one round on the state `a, b, ..., h`; the moves between variables cost nothing once
/// unrolled.
#[inline]
#[target_feature(enable = "avx2")]
fn round(s: &mut [__m256i; 8], w: __m256i, k: u64) {
    let [a, b, c, d, e, f, g, h] = *s;
    let sum1 = xor(xor(rotated::<14, 50>(e), rotated::<18, 46>(e)), rotated::<41, 23>(e));
    let choice = xor(g, _mm256_and_si256(e, xor(f, g)));
    // The word and the constant first: they are ready long before the state is.
    let kw = _mm256_add_epi64(w, _mm256_set1_epi64x(k.cast_signed()));
    let t1 = _mm256_add_epi64(_mm256_add_epi64(_mm256_add_epi64(h, kw), choice), sum1);
    let sum0 = xor(xor(rotated::<28, 36>(a), rotated::<34, 30>(a)), rotated::<39, 25>(a));
    // `a ^ b` is `b ^ c` of the next round.
    let majority = xor(b, _mm256_and_si256(xor(a, b), xor(b, c)));
    let t2 = _mm256_add_epi64(sum0, majority);
    *s = [_mm256_add_epi64(t1, t2), a, b, c, _mm256_add_epi64(d, t1), e, f, g];
}

/// Returns word `t + 16` of the schedule from words `t`, `t + 1`, `t + 9` and `t + 14`.
#[inline]
#[target_feature(enable = "avx2")]
fn scheduled(w0: __m256i, w1: __m256i, w9: __m256i, w14: __m256i) -> __m256i {
    // A rotation by whole bytes is one shuffle instead of two shifts.
    let rotate8 = _mm256_set_epi64x(
        0x080f_0e0d_0c0b_0a09,
        0x0007_0605_0403_0201,
        0x080f_0e0d_0c0b_0a09,
        0x0007_0605_0403_0201,
    );
    let sigma0 = xor(
        xor(rotated::<1, 63>(w1), _mm256_shuffle_epi8(w1, rotate8)),
        _mm256_srli_epi64::<7>(w1),
    );
    let sigma1 =
        xor(xor(rotated::<19, 45>(w14), rotated::<61, 3>(w14)), _mm256_srli_epi64::<6>(w14));
    _mm256_add_epi64(_mm256_add_epi64(w0, sigma0), _mm256_add_epi64(w9, sigma1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(x: __m256i, y: __m256i) -> __m256i {
    _mm256_xor_si256(x, y)
}

/// Rotates each word right; `LEFT` is `64 - RIGHT`, which a const argument cannot be computed from.
#[inline]
#[target_feature(enable = "avx2")]
fn rotated<const RIGHT: i32, const LEFT: i32>(x: __m256i) -> __m256i {
    const { assert!(RIGHT + LEFT == 64) };
    _mm256_or_si256(_mm256_srli_epi64::<RIGHT>(x), _mm256_slli_epi64::<LEFT>(x))
}

/// Reads words `2 * pair` and `2 * pair + 1` of a block.
#[inline]
#[target_feature(enable = "avx2")]
fn load_pair(block: &Block, pair: usize) -> __m128i {
    let bytes = &block.as_chunks::<16>().0[pair];
    // SAFETY: `bytes` is 16 readable bytes, and the load takes any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_state(word: &[u64; LANES]) -> __m256i {
    // SAFETY: `word` is 32 readable bytes, and the load takes any alignment.
    unsafe { _mm256_loadu_si256(word.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_state(word: &mut [u64; LANES], vector: __m256i) {
    // SAFETY: `word` is 32 writable bytes, and the store takes any alignment.
    unsafe { _mm256_storeu_si256(word.as_mut_ptr().cast(), vector) }
}
