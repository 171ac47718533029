//! The test that makes a hash a boundary: `hash mod d == d - 1`, without a division.
//!
//! Write `d = m * 2^k` with `m` odd. Modulo 2^32, `m` has an inverse, and multiplying by it takes
//! every multiple of `m` to its quotient. So with `n = hash - (d - 1)`:
//!
//! ```text
//! x = n * inverse(m)     modulo 2^32
//! d divides n            the low k bits of x are zero, and x >> k is n / d, at most (2^32 - 1) / d
//! ```
//!
//! A boundary's `n` is a true difference, not one that wrapped below zero, so its quotient is at
//! most `2^32 / d - 1`; a wrapped `n` that happens to be a multiple of `d` has a larger one. With
//! that bound the test is exact, the hash `2^32 - 1` included. (Asking instead whether `d` divides
//! `hash + 1` takes that hash for a boundary of every `d`, because the sum wraps to zero.)
//!
//! `n * inverse(m)` is computed as `hash * inverse + offset`, with `-(d - 1) * inverse` as the
//! offset.

/// A discriminator `d`, prepared for testing many hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divisor {
    value: u32,
    /// The inverse of `d`'s odd part modulo 2^32.
    pub(super) inverse: u32,
    /// What `hash * inverse` is moved by, so that a hash of `d - 1` gives zero.
    pub(super) offset: u32,
    /// The exponent of two in `d`.
    pub(super) twos: u32,
    /// The largest quotient a boundary can have.
    pub(super) most: u32,
}

impl Divisor {
    /// Prepares the discriminator `value`.
    ///
    /// Panics if `value` is 0: no hash has a remainder by it.
    pub fn new(value: u32) -> Divisor {
        assert!(value > 0, "a discriminator is at least 1");
        let twos = value.trailing_zeros();
        let inverse = inverse_of_odd(value >> twos);
        let offset = (value - 1).wrapping_mul(inverse).wrapping_neg();
        // 2^32 / value - 1, rounded down, is (2^32 - value) / value.
        let most = value.wrapping_neg() / value;
        Divisor { value, inverse, offset, twos, most }
    }

    /// Returns `d` itself.
    pub fn get(&self) -> u32 {
        self.value
    }

    /// Tells whether `hash mod d == d - 1`.
    #[inline(always)]
    pub fn accepts(&self, hash: u32) -> bool {
        self.quotient(hash) <= self.most
    }

    /// Returns the number that is at most `most` for a boundary, and for no other hash.
    #[inline(always)]
    fn quotient(&self, hash: u32) -> u32 {
        // Rotating brings low bits that are not zero to the top, where they break the bound.
        hash.wrapping_mul(self.inverse).wrapping_add(self.offset).rotate_right(self.twos)
    }
}

/// Returns the inverse of `odd` modulo 2^32.
fn inverse_of_odd(odd: u32) -> u32 {
    // An odd number is its own inverse modulo 8; each Newton step doubles the bits that are right:
    // 3, 6, 12, 24, 48.
    let mut inverse = odd;
    for _ in 0..4 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Divisor;

    fn by_division(value: u32, hash: u32) -> bool {
        hash % value == value - 1
    }

    fn agrees(value: u32, hash: u32) {
        let divisor = Divisor::new(value);
        let expected = by_division(value, hash);
        assert_eq!(divisor.accepts(hash), expected, "hash {hash} by {value}");
    }

    #[test]
    fn agrees_with_division_where_it_could_slip() {
        let mut values = vec![1, 2, 3, 5, 6, 7, 48, 768, 12318, 49535, 49536, 99777, 33554432];
        values.extend((0..32).flat_map(|k| {
            let power = 1u32 << k;
            [power, power | 1, power.wrapping_sub(1).max(1), power.wrapping_mul(3).max(1)]
        }));
        values.extend((0..64).map(|less| u32::MAX - less));
        for value in values {
            // The ends of the hash's range, and the boundaries nearest to them and to the middle.
            let last = u64::from(u32::MAX) / u64::from(value);
            for quotient in [0, 1, 2, last / 2, last.saturating_sub(1), last] {
                let around = quotient * u64::from(value);
                for hash in around.saturating_sub(3)..=around + 3 {
                    agrees(value, hash as u32);
                }
            }
            for near in 0..100 {
                agrees(value, near);
                agrees(value, u32::MAX - near);
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_division(value in 1u32.., hash: u32) {
            agrees(value, hash);
        }

        #[test]
        fn agrees_with_division_for_round_values(
            odd in 0u32..4096, twos in 0u32..32, hash: u32,
        ) {
            let value = (odd * 2 + 1) << twos;
            prop_assume!(value > 0);
            agrees(value, hash);
            agrees(value, (hash / value).wrapping_mul(value).wrapping_sub(1));
        }
    }

    #[test]
    #[should_panic(expected = "at least 1")]
    fn zero_is_refused() {
        Divisor::new(0);
    }
}
