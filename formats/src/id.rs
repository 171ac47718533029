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
        str::from_utf8(&self.hex_digits()).expect("digits are ASCII").to_owned()
    }

    /// The same as ASCII bytes. Indexes are printed by the million ids, so this is plain arithmetic,
    /// which the compiler turns into vector code.
    pub fn hex_digits(self) -> [u8; 64] {
        let digit = |value: u8| value + b'0' + u8::from(value > 9) * (b'a' - b'0' - 10);
        let mut hex = [0; 64];
        for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
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
        let mut all = 0;
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let [high, low] = pair.map(|digit| VALUES[usize::from(digit)]);
            all |= high | low;
            *byte = high << 4 | low & 15;
        }
        if all & NO_DIGIT == 0 { Ok(Self(bytes)) } else { Err(invalid()) }
    }
}

/// Marks what is no hex digit in [`VALUES`].
const NO_DIGIT: u8 = 0x80;

/// The values of hex digits by their ASCII codes. A store's listing is parsed by the million names.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

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
        for at in 0..64 {
            let bad = format!("{}g{}", &good[..at], &good[at + 1..]);
            assert!(bad.parse::<ChunkId>().is_err(), "{bad}");
        }
        // 64 bytes, but not 64 ASCII digits
        assert!("é".repeat(32).parse::<ChunkId>().is_err());
    }
}
