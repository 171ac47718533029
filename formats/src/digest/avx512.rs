//! SHA-512 compression of eight blocks at once, one in each 64-bit lane of a 512-bit vector.
//!
//! The same shape as the four-lane kernel in `avx2`, with wider vectors and better instructions: a
//! rotation is one, and so is any bitwise function of three inputs. State (8) and schedule window
//! (16) fit the 32 registers together.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m512i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm512_add_epi64,
    _mm512_castsi128_si512, _mm512_inserti32x4, _mm512_loadu_si512, _mm512_ror_epi64,
    _mm512_set_epi64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_srli_epi64, _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi64,
};

use super::sha512::{Block, Compress, K};

const LANES: usize = 8;

// Truth tables of three inputs: bit `4 * x + 2 * y + z` is the result for the bits x, y, z.
const XOR: i32 = 0b1001_0110;
const CHOICE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;

/// Returns the kernel if this CPU can run it.
pub(super) fn kernel() -> Option<Compress<LANES>> {
    /// Must not get out of `kernel` on a CPU without AVX-512 F and BW.
    fn compress(states: &mut [[u64; LANES]; 8], blocks: &[&[Block]; LANES]) {
        // SAFETY: the only way to this function is through the check below.
        unsafe { compress_avx512(states, blocks) }
    }
    let supported = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    supported.then_some(compress)
}

/// Compresses the blocks of every lane into the lane's state, as many as the shortest lane has.
#[target_feature(enable = "avx512f,avx512bw")]
fn compress_avx512(states: &mut [[u64; LANES]; 8], blocks: &[&[Block]; LANES]) {
    let count = blocks.iter().map(|lane| lane.len()).min().unwrap_or(0);
    let blocks = blocks.map(|lane| &lane[..count]);
    let mut state = states.each_ref().map(|word| load_state(word));
    for i in 0..count {
        let blocks = blocks.map(|lane| &lane[i]);
        for block in blocks {
            prefetch(block);
        }
        let mut w = load_words(blocks);
        let mut s = state;
        for k in K[..64].as_chunks::<16>().0 {
            sixteen_rounds::<true>(&mut s, &mut w, k);
        }
        for k in K[64..].as_chunks::<16>().0 {
            sixteen_rounds::<false>(&mut s, &mut w, k);
        }
        for (sum, word) in state.iter_mut().zip(s) {
            *sum = _mm512_add_epi64(*sum, word);
        }
    }
    for (word, vector) in states.iter_mut().zip(state) {
        store_state(word, vector);
    }
}

/// Asks for what lies eight blocks behind one, whether that is there or not.
///
/// The processor's own prefetching ends at every page, and eight lanes begin a page every few
/// microseconds: data that is not in the cache was hashed a tenth slower without.
#[inline]
#[target_feature(enable = "avx512f")]
fn prefetch(block: &Block) {
    let ahead: *const Block = std::ptr::from_ref(block).wrapping_add(8);
    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
    _mm_prefetch::<_MM_HINT_T0>(ahead.cast::<i8>().wrapping_add(64));
}

/// Reads eight blocks and turns them by the diagonal: vector `i` gets word `i` of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_words(blocks: [&Block; LANES]) -> [__m512i; 16] {
    // Written out: as a loop over arrays the pieces went through the stack in one width and came back in
    // another, which no processor forwards, and the kernel was a quarter slower.
    let mut words = [_mm512_setzero_si512(); 16];
    macro_rules! pairs {
        ($($pair:literal)*) => {$(
            // Every other lane together: the unpack, which keeps to 128-bit quarters, then gives the
            // lanes in order.
            let even = quarters($pair, blocks[0], blocks[2], blocks[4], blocks[6]);
            let odd = quarters($pair, blocks[1], blocks[3], blocks[5], blocks[7]);
            words[2 * $pair] = _mm512_unpacklo_epi64(even, odd);
            words[2 * $pair + 1] = _mm512_unpackhi_epi64(even, odd);
        )*};
    }
    pairs!(0 1 2 3 4 5 6 7);
    words
}

/// Words `2 * pair` and `2 * pair + 1` of four blocks, a block in each quarter. Quarters inserted from memory spare the
/// one execution port that shuffles between registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn quarters(pair: usize, b0: &Block, b1: &Block, b2: &Block, b3: &Block) -> __m512i {
    let x = _mm512_castsi128_si512(load_pair(b0, pair));
    let x = _mm512_inserti32x4::<1>(x, load_pair(b1, pair));
    let x = _mm512_inserti32x4::<2>(x, load_pair(b2, pair));
    big_endian(_mm512_inserti32x4::<3>(x, load_pair(b3, pair)))
}

/// Reverses the bytes of each word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn big_endian(x: __m512i) -> __m512i {
    const HIGH: i64 = 0x0809_0a0b_0c0d_0e0f;
    const LOW: i64 = 0x0001_0203_0405_0607;
    let reversed = _mm512_set_epi64(HIGH, LOW, HIGH, LOW, HIGH, LOW, HIGH, LOW);
    _mm512_shuffle_epi8(x, reversed)
}

/// Runs 16 rounds; with `SCHEDULE`, leaves in `w` the words for the next 16.
#[inline]
#[target_feature(enable = "avx512f")]
fn sixteen_rounds<const SCHEDULE: bool>(
    s: &mut [__m512i; 8],
    w: &mut [__m512i; 16],
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
#[target_feature(enable = "avx512f")]
fn round(s: &mut [__m512i; 8], w: __m512i, k: u64) {
    let [a, b, c, d, e, f, g, h] = *s;
    let sum1 =
        xor3(_mm512_ror_epi64::<14>(e), _mm512_ror_epi64::<18>(e), _mm512_ror_epi64::<41>(e));
    let choice = _mm512_ternarylogic_epi64::<CHOICE>(e, f, g);
    // The word and the constant first: they are ready long before the state is.
    let kw = _mm512_add_epi64(w, _mm512_set1_epi64(k.cast_signed()));
    let t1 = _mm512_add_epi64(_mm512_add_epi64(_mm512_add_epi64(h, kw), choice), sum1);
    let sum0 =
        xor3(_mm512_ror_epi64::<28>(a), _mm512_ror_epi64::<34>(a), _mm512_ror_epi64::<39>(a));
    let majority = _mm512_ternarylogic_epi64::<MAJORITY>(a, b, c);
    let t2 = _mm512_add_epi64(sum0, majority);
    *s = [_mm512_add_epi64(t1, t2), a, b, c, _mm512_add_epi64(d, t1), e, f, g];
}

/// Returns word `t + 16` of the schedule from words `t`, `t + 1`, `t + 9` and `t + 14`.
#[inline]
#[target_feature(enable = "avx512f")]
fn scheduled(w0: __m512i, w1: __m512i, w9: __m512i, w14: __m512i) -> __m512i {
    let sigma0 =
        xor3(_mm512_ror_epi64::<1>(w1), _mm512_ror_epi64::<8>(w1), _mm512_srli_epi64::<7>(w1));
    let sigma1 =
        xor3(_mm512_ror_epi64::<19>(w14), _mm512_ror_epi64::<61>(w14), _mm512_srli_epi64::<6>(w14));
    _mm512_add_epi64(_mm512_add_epi64(w0, sigma0), _mm512_add_epi64(w9, sigma1))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<XOR>(x, y, z)
}

/// Reads words `2 * pair` and `2 * pair + 1` of a block.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_pair(block: &Block, pair: usize) -> __m128i {
    let bytes = &block.as_chunks::<16>().0[pair];
    // SAFETY: `bytes` is 16 readable bytes, and the load takes any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_state(word: &[u64; LANES]) -> __m512i {
    // SAFETY: `word` is 64 readable bytes, and the load takes any alignment.
    unsafe { _mm512_loadu_si512(word.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_state(word: &mut [u64; LANES], vector: __m512i) {
    // SAFETY: `word` is 64 writable bytes, and the store takes any alignment.
    unsafe { _mm512_storeu_si512(word.as_mut_ptr().cast(), vector) }
}
