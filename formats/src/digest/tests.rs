//! The many-input kernels against `sha2`, at every level this CPU has.

use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::test_runner::Config;
use sha2::{Digest, Sha512_256};

use super::lanes::hash_many;
use crate::simd::Level;

/// Long enough for every length below, without a period that a mixed-up offset could hide behind.
fn noise(len: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 56) as u8
    };
    (0..len).map(step).collect()
}

/// Asserts that every level gives the digests `sha2` gives.
#[track_caller]
fn assert_same_as_sha2(inputs: &[&[u8]]) {
    let expected: Vec<[u8; 32]> =
        inputs.iter().map(|input| Sha512_256::digest(input).into()).collect();
    for level in Level::supported() {
        let mut out = vec![[0xee; 32]; inputs.len()];
        hash_many(level, inputs, &mut out);
        for (i, input) in inputs.iter().enumerate() {
            let (at, len) = (format_args!("input {i} of {}", inputs.len()), input.len());
            assert_eq!(out[i], expected[i], "{at}, {len} bytes, {level}");
        }
    }
}

#[test]
fn known_answers_of_fips_180_4() {
    let abc = [
        0x53, 0x04, 0x8e, 0x26, 0x81, 0x94, 0x1e, 0xf9, 0x9b, 0x2e, 0x29, 0xb7, 0x6b, 0x4c, 0x7d,
        0xab, 0xe4, 0xc2, 0xd0, 0xc6, 0x34, 0xfc, 0x6d, 0x46, 0xe0, 0xe2, 0xf1, 0x31, 0x07, 0xe7,
        0xaf, 0x23,
    ];
    for level in Level::supported() {
        let mut out = [[0; 32]; 9];
        hash_many(level, &[b"abc".as_slice(); 9], &mut out);
        assert_eq!(out, [abc; 9], "{level}");
    }
}

#[test]
fn every_short_length() {
    let bytes = noise(401);
    // All of one length: lanes in step.
    for len in 0..=400 {
        assert_same_as_sha2(&[&bytes[..len]; 8]);
    }
    // All lengths together: lanes out of step.
    let inputs: Vec<&[u8]> = (0..=400).map(|len| &bytes[401 - len..]).collect();
    assert_same_as_sha2(&inputs);
}

#[test]
fn every_length_around_a_block_edge() {
    let bytes = noise(4096 + 32);
    for edge in (128..=4096).step_by(128) {
        // 17 and 16 bytes before an edge is where the padding spills into one more block.
        let inputs: Vec<&[u8]> = (edge - 20..edge + 4).map(|len| &bytes[..len]).collect();
        assert_same_as_sha2(&inputs);
    }
}

#[test]
fn every_count_of_inputs() {
    let bytes = noise(20 * 300 + 1500);
    for count in 0..=20 {
        let same: Vec<&[u8]> = (0..count).map(|i| &bytes[i * 300..][..1500]).collect();
        assert_same_as_sha2(&same);
        let rising: Vec<&[u8]> = (0..count).map(|i| &bytes[i..][..i * 150]).collect();
        assert_same_as_sha2(&rising);
        let falling: Vec<&[u8]> = rising.into_iter().rev().collect();
        assert_same_as_sha2(&falling);
    }
}

#[test]
fn one_long_input_among_short_ones() {
    let bytes = noise(200_000);
    for place in 0..12 {
        let mut inputs: Vec<&[u8]> = (0..12).map(|i| &bytes[i..][..100 * i]).collect();
        inputs[place] = &bytes;
        assert_same_as_sha2(&inputs);
    }
}

#[test]
fn a_level_above_the_detected_one_falls_back() {
    let mut out = [[0; 32]; 5];
    hash_many(Level::Avx512, &[b"abc".as_slice(); 5], &mut out);
    assert_eq!(out, [<[u8; 32]>::from(Sha512_256::digest(b"abc")); 5]);
}

#[test]
#[should_panic(expected = "one digest for each input")]
fn a_digest_too_few_is_refused() {
    hash_many(Level::Portable, &[b"abc", b""], &mut [[0; 32]]);
}

proptest! {
    #![proptest_config(Config { cases: 64, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_mixture_of_lengths(slices in vec((0..500_usize, 0..6000_usize), 0..40), seed: u8) {
        let mut bytes = noise(6500);
        bytes.iter_mut().for_each(|byte| *byte ^= seed);
        let inputs: Vec<&[u8]> = slices.iter().map(|&(at, len)| &bytes[at..][..len]).collect();
        assert_same_as_sha2(&inputs);
    }

    #[test]
    fn any_bytes(inputs in vec(vec(any::<u8>(), 0..700), 0..20)) {
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        assert_same_as_sha2(&inputs);
    }
}
