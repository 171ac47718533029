//! The name of a chunk.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The digest of a chunk's plain bytes, by which it is named everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId([u8; 32]);

impl ChunkId {
    /// Takes the 32 raw bytes as they stand in an index.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hex digits, as used in file names.
    pub fn to_hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = String::with_capacity(64);
        for byte in self.0 {
            hex.push(DIGITS[usize::from(byte >> 4)].into());
            hex.push(DIGITS[usize::from(byte & 15)].into());
        }
        hex
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({self})")
    }
}

impl FromStr for ChunkId {
    type Err = Error;

    /// Reads 64 hex digits. Upper case is refused: names in stores are lower case.
    fn from_str(hex: &str) -> Result<Self> {
        let invalid = || Error::ChunkName { name: hex.to_owned() };
        let digits: &[u8; 64] = hex.as_bytes().try_into().map_err(|_| invalid())?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = hex_digit(pair[0]).ok_or_else(invalid)?;
            let low = hex_digit(pair[1]).ok_or_else(invalid)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_back() {
        let id = ChunkId::from_bytes(std::array::from_fn(|i| (i * 37) as u8));
        assert_eq!(id.to_hex().parse::<ChunkId>().unwrap(), id);
        assert_eq!(id.to_string().len(), 64);
    }

    #[test]
    fn other_names_are_refused() {
        let good = "0".repeat(64);
        assert!(good.parse::<ChunkId>().is_ok());
        for bad in ["", "00", &good[1..], &format!("{good}0"), &good.replace('0', "A")] {
            assert!(bad.parse::<ChunkId>().is_err(), "{bad}");
        }
        // 64 bytes, but not 64 ASCII digits
        assert!("é".repeat(32).parse::<ChunkId>().is_err());
    }
}
