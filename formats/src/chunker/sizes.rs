//! How long chunks may be, and the forms in which users say so.

use std::fmt;
use std::str::FromStr;

use super::table::WINDOW;
use crate::{Error, Result};

/// No chunk is longer than this, in bytes: casync's limit, checked before anything is allocated.
pub const LARGEST_CHUNK: usize = 128 << 20;

/// The shortest, the aimed-at average and the longest chunk of a blob, in bytes.
///
/// Always `1 <= min <= avg <= max <= LARGEST_CHUNK`. All but the last chunk of a blob are at least
/// `min` long, and at least 48 bytes, the width of the rolling hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    min: usize,
    avg: usize,
    max: usize,
}

impl Default for ChunkSizes {
    /// 16, 64 and 256 KiB, the default of casync and desync.
    fn default() -> Self {
        Self { min: 16 << 10, avg: 64 << 10, max: 256 << 10 }
    }
}

impl ChunkSizes {
    /// Sizes to cut by, in bytes. A `max` under the width of the rolling hash is refused: casync
    /// cuts longer chunks than that and then fails to write its index.
    pub fn new(min: usize, avg: usize, max: usize) -> Result<Self> {
        let sizes = Self::recorded(min as u64, avg as u64, max as u64)?;
        if max < WINDOW {
            return Err(refused(min, avg, max, "the largest size must be at least 48 bytes"));
        }
        Ok(sizes)
    }

    /// Sizes around an average: a quarter of it, and four times it.
    pub fn around(avg: usize) -> Result<Self> {
        if avg > LARGEST_CHUNK {
            return Err(refused(avg, avg, avg, "sizes must be at most 128 MiB"));
        }
        Self::new((avg / 4).max(1), avg, (avg * 4).min(LARGEST_CHUNK))
    }

    /// Sizes as they stand in a foreign index.
    pub(crate) fn recorded(min: u64, avg: u64, max: u64) -> Result<Self> {
        let refused = |why| Err(refused(min, avg, max, why));
        if min == 0 || avg == 0 || max == 0 {
            return refused("sizes must be at least 1 byte");
        }
        if min > max {
            return refused("the smallest size must not be greater than the largest");
        }
        if min > avg {
            return refused("the smallest size must not be greater than the average");
        }
        if avg > max {
            return refused("the average size must not be greater than the largest");
        }
        if max > LARGEST_CHUNK as u64 {
            return refused("sizes must be at most 128 MiB");
        }
        Ok(Self { min: min as usize, avg: avg as usize, max: max as usize })
    }

    /// The shortest chunk asked for, in bytes.
    pub fn min(&self) -> usize {
        self.min
    }

    /// The average aimed at, in bytes.
    pub fn avg(&self) -> usize {
        self.avg
    }

    /// The longest chunk, in bytes.
    pub fn max(&self) -> usize {
        self.max
    }

    /// The divisor of the cut rule: a boundary is where the hash leaves the remainder `d - 1`.
    ///
    /// The formula is casync's fit of average chunk length to divisor. Its denominator turns
    /// negative from 9324557 on; casync on x86-64 then ends up with `max`, and so do we everywhere.
    pub fn discriminator(&self) -> u32 {
        let avg = self.avg as f64;
        let denominator = 1.332_375_15 - 1.428_888_52e-7 * avg;
        if denominator <= 0.0 {
            return self.max as u32;
        }
        ((avg / denominator) as usize).clamp(self.min, self.max) as u32
    }
}

impl fmt::Display for ChunkSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.min, self.avg, self.max)
    }
}

impl FromStr for ChunkSizes {
    type Err = Error;

    /// Reads what users type:
    ///
    /// ```text
    /// 16:64:256        three plain numbers: KiB, as desync takes them
    /// 16K:64K:256K     three numbers of which one has a suffix: bytes, as casync takes them
    /// 64K, 65536       the average alone, in bytes: min is a quarter, max four times
    /// auto             the default
    /// ```
    fn from_str(given: &str) -> Result<Self> {
        let fail = |why: String| Error::ChunkSizes { given: given.to_owned(), why };
        if given == "auto" {
            return Ok(Self::default());
        }
        let fields: Vec<&str> = given.split(':').collect();
        let plain = fields.iter().all(|field| field.bytes().all(|byte| byte.is_ascii_digit()));
        let unit = if plain && fields.len() == 3 { 1024 } else { 1 };
        let mut sizes = Vec::with_capacity(3);
        for field in &fields {
            let size = parse_size(field).and_then(|size| size.checked_mul(unit));
            let size = size.ok_or_else(|| fail(format!("`{field}` is not a size")))?;
            sizes.push(usize::try_from(size).unwrap_or(usize::MAX));
        }
        match sizes[..] {
            [avg] if plain && avg < 1024 => {
                Err(fail(format!("write {avg}K for KiB, or {avg}B if bytes are meant")))
            }
            [avg] => Self::around(avg),
            [min, avg, max] => Self::new(min, avg, max),
            _ => Err(fail("expected an average, or min:avg:max".to_owned())),
        }
    }
}

/// Reads a size in bytes: `65536`, `64K`, `1.5M`, `1M 512K`. Units are powers of 1024 and descend.
pub fn parse_size(text: &str) -> Option<u64> {
    const UNITS: &[u8] = b"BKMGTPE";
    let mut total: u64 = 0;
    let mut last_unit = UNITS.len();
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = match tail.bytes().next() {
            None | Some(b' ') => 0,
            Some(letter) => UNITS.iter().position(|&u| u == letter)?,
        };
        if unit >= last_unit {
            return None;
        }
        last_unit = unit;
        total = total.checked_add(scaled(number, 1 << (10 * unit))?)?;
        rest = tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).trim_start();
        // A letter run longer than the one unit is no suffix.
        if tail.len() > 1 && tail.as_bytes()[1].is_ascii_alphabetic() {
            return None;
        }
    }
    Some(total)
}

/// `number * unit` for a decimal number with an optional fraction, rounded down.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() {
        return None;
    }
    let value = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if fraction.is_empty() {
        return (!number.ends_with('.')).then_some(value);
    }
    // Nine digits are exact in 128 bits and finer than a byte for all but absurd sizes.
    let digits = u32::try_from(fraction.len()).ok().filter(|&digits| digits <= 9)?;
    let part = fraction.parse::<u64>().ok()? as u128 * unit as u128 / 10_u128.pow(digits);
    value.checked_add(u64::try_from(part).ok()?)
}

fn refused(
    min: impl fmt::Display,
    avg: impl fmt::Display,
    max: impl fmt::Display,
    why: &str,
) -> Error {
    Error::ChunkSizes { given: format!("{min}:{avg}:{max}"), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(usize, usize, usize)> {
        text.parse::<ChunkSizes>().ok().map(|s| (s.min, s.avg, s.max))
    }

    #[test]
    fn desync_and_casync_forms_parse() {
        assert_eq!(parsed("16:64:256"), Some((16384, 65536, 262_144)));
        assert_eq!(parsed("16K:64K:256K"), Some((16384, 65536, 262_144)));
        assert_eq!(parsed("16384B:65536:262144"), Some((16384, 65536, 262_144)));
        assert_eq!(parsed("16B:64B:256B"), Some((16, 64, 256)));
        assert_eq!(parsed("64K"), Some((16384, 65536, 262_144)));
        assert_eq!(parsed("65536"), Some((16384, 65536, 262_144)));
        assert_eq!(parsed("1.5M"), Some((393_216, 1_572_864, 6_291_456)));
        assert_eq!(parsed("1M 512K"), Some((393_216, 1_572_864, 6_291_456)));
        assert_eq!(parsed("64M"), Some((16 << 20, 64 << 20, 128 << 20)));
        assert_eq!(parsed("auto"), Some((16384, 65536, 262_144)));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            ":",
            "1:2",
            "16:64",
            "16:64:256:1",
            "x",
            "16:x:256",
            "-1:64:256",
            "0:64:256",
            "64:16:256",
            "16:256:64",
            "256:64:16",
            "16B:32B:47B",
            "129M",
            "1K 1M",
            "1K1K",
            "1KB",
            "64",
            "99999999999999999999",
            "16777216T",
            "1..5M",
            ".5M",
            "0",
            "1:1:999999999",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn discriminators_match_casync() {
        // As casync 2 takes them for --chunk-size=AVG; most stand in the golden file too.
        for (avg, d) in [
            (64, 48),
            (1024, 768),
            (4096, 3075),
            (16384, 12318),
            (32768, 24680),
            (65536, 49535),
            (131_072, 99_777),
            (262_144, 202_440),
            (524_288, 416_942),
            (1_048_576, 886_711),
            (2_097_152, 2_030_716),
            (4_194_304, 5_721_670),
            (8_388_608, 33_554_432),
            (16_777_216, 67_108_864),
        ] {
            assert_eq!(ChunkSizes::around(avg).unwrap().discriminator(), d, "{avg}");
        }
        assert_eq!(ChunkSizes::new(3500, 4096, 16384).unwrap().discriminator(), 3500);
        assert_eq!(ChunkSizes::new(4000, 4096, 4200).unwrap().discriminator(), 4000);
    }
}
