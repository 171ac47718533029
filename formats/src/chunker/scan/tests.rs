//! Every kernel against the slow obvious scan.

use std::iter::successors;

use proptest::prelude::*;

use super::{WINDOW, find, find_with, hash_of_window};
use crate::chunker::divisor::Divisor;
use crate::simd::Level;

/// More than three blocks of any kernel, and odd.
const LONG: usize = 7001;

/// Discriminators that hit all the time, often, about once in a block, seldom and hardly ever.
const VALUES: [u32; 12] =
    [1, 2, 3, 48, 64, 768, 2048, 12318, 49535, 65536, 33_554_432, 0xffff_ffff];

/// Data hashed once, so that scans with any divisor from anywhere are quick to check.
struct Hashed {
    data: Vec<u8>,
    /// The hash at every position from WINDOW on.
    hashes: Vec<u32>,
}

impl Hashed {
    fn new(data: Vec<u8>) -> Hashed {
        let hashes = data.windows(WINDOW).map(from_the_definition).collect();
        Hashed { data, hashes }
    }

    /// Scans the first `len` bytes by testing each position in turn.
    fn find(&self, value: u32, len: usize, from: usize) -> Option<usize> {
        let from = from.max(WINDOW);
        let hits = |size: &usize| self.hashes[size - WINDOW] % value == value - 1;
        (from..=len).find(hits)
    }

    fn check(&self, level: Level, value: u32, len: usize, from: usize) -> Option<usize> {
        let divisor = Divisor::new(value);
        let expected = self.find(value, len, from);
        let found = find_with(level, &divisor, &self.data[..len], from);
        assert_eq!(found, expected, "{level:?}, d {value}, {len} bytes from {from}");
        let chosen = find(level, &divisor, &self.data[..len], from);
        assert_eq!(chosen, expected, "{level:?} or less, d {value}, {len} bytes from {from}");
        expected
    }

    /// Checks boundary after boundary to the end, but no more than `most` of them.
    fn check_through(&self, level: Level, value: u32, from: usize, most: usize) {
        let next = |from: usize| self.check(level, value, self.data.len(), from).map(|hit| hit + 1);
        let _ = successors(Some(from), |from| next(*from)).take(most).count();
    }
}

/// The hash as the format's text has it: each byte's word, rotated by how far back it lies.
fn from_the_definition(window: &[u8]) -> u32 {
    let word = |byte: u8| crate::chunker::table::TABLE[byte as usize];
    (0..WINDOW).fold(0, |hash, i| hash ^ word(window[WINDOW - 1 - i]).rotate_left(i as u32 % 32))
}

/// Bytes without pattern (splitmix64).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let word = |i: usize| {
        let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    (0..len).map(|i| word(i) as u8).collect()
}

#[test]
fn hash_has_the_published_values() {
    let count = |first: u8| std::array::from_fn(|i| first + i as u8);
    assert_eq!(hash_of_window(&[0; WINDOW]), 0x9e48_9e48);
    assert_eq!(hash_of_window(&count(0)), 0x6b67_dec6);
    assert_eq!(hash_of_window(&count(1)), 0xa3fc_25f1);
    assert_eq!(hash_of_window(&[0xff; WINDOW]), 0xfdc4_023b);
}

#[test]
fn hash_follows_the_definition() {
    for window in noise(1, 500).windows(WINDOW) {
        assert_eq!(hash_of_window(window.try_into().unwrap()), from_the_definition(window));
    }
}

#[test]
fn every_short_length_agrees() {
    let hashed = Hashed::new(noise(2, 300));
    for level in Level::supported() {
        for len in 0..=300usize {
            for from in [0, 47, 48, 49, len.saturating_sub(1), len, len + 1] {
                for value in [1, 3, 48, 200, 49535] {
                    hashed.check(level, value, len, from);
                }
            }
        }
    }
}

#[test]
fn lengths_around_blocks_agree() {
    let hashed = Hashed::new(noise(3, LONG));
    for level in Level::supported() {
        // 2048 and 2112 are the blocks of the two wide kernels.
        for block in [2048, 2112] {
            for blocks in 1..=3 {
                for len in (WINDOW + blocks * block).saturating_sub(3)..=WINDOW + blocks * block + 3
                {
                    for value in [2048, 33_554_432] {
                        hashed.check(level, value, len, WINDOW);
                        hashed.check(level, value, len, WINDOW + 1);
                    }
                }
            }
        }
    }
}

#[test]
fn a_lone_boundary_is_found_wherever_it_lies() {
    let data = noise(4, LONG);
    let hashed = Hashed::new(data);
    for level in Level::supported() {
        // With d = hash + 1 a given position is a boundary, and hardly any other is. Steps of 1
        // around the first lanes' and blocks' ends, odd ones elsewhere.
        let near = (WINDOW..WINDOW + 600).chain(2030..2230).chain(4100..4300);
        for at in near.chain((600..LONG).step_by(37)) {
            let value = hashed.hashes[at - WINDOW].saturating_add(1);
            hashed.check(level, value, LONG, WINDOW);
        }
    }
}

#[test]
fn every_start_agrees() {
    let hashed = Hashed::new(noise(5, LONG));
    for level in Level::supported() {
        for from in (0..600).chain(LONG - 2300..=LONG + 2) {
            hashed.check(level, 3075, LONG, from);
        }
    }
}

#[test]
fn all_boundaries_agree_on_noise() {
    let hashed = Hashed::new(noise(6, LONG));
    for level in Level::supported() {
        for value in VALUES {
            hashed.check_through(level, value, WINDOW, 200);
        }
    }
}

#[test]
fn all_boundaries_agree_on_constant_data() {
    for byte in [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff] {
        let hashed = Hashed::new(vec![byte; 5000]);
        // The only hash there is, made a boundary and made none.
        let hash = hashed.hashes[0];
        for level in Level::supported() {
            for value in [hash, hash.wrapping_add(1).max(1), 49535] {
                hashed.check_through(level, value, WINDOW, 3);
                hashed.check_through(level, value, 1000, 3);
            }
        }
    }
}

#[test]
fn constant_data_has_no_boundary_by_default() {
    for byte in [0, 0xff] {
        for level in Level::supported() {
            assert_eq!(find(level, &Divisor::new(49535), &[byte; 262_144], 16384), None);
        }
    }
}

#[test]
fn bytes_before_the_window_do_not_count() {
    let mut data = noise(7, LONG);
    let hashed = Hashed::new(data.clone());
    for level in Level::supported() {
        for from in [WINDOW + 1, 100, 2048, 3000] {
            let expected = hashed.find(768, LONG, from);
            data[..from - WINDOW].fill(0x55);
            assert_eq!(find_with(level, &Divisor::new(768), &data, from), expected);
        }
        data.copy_from_slice(&hashed.data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn mixtures_agree(
        runs in prop::collection::vec((any::<u64>(), prop::bool::ANY, 1usize..900), 1..12),
        value in prop_oneof![1u32..100, 100u32..10_000, 1u32..],
        from in 0usize..3000,
    ) {
        let mut data = Vec::new();
        for (seed, constant, len) in runs {
            data.extend(if constant { vec![seed as u8; len] } else { noise(seed, len) });
        }
        let hashed = Hashed::new(data);
        for level in Level::supported() {
            hashed.check_through(level, value, from, 60);
        }
    }
}
