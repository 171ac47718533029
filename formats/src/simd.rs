//! Which vector instructions the kernels of this crate may use.
//!
//! A kernel asks for nothing itself: it is handed a [`Level`] and runs the best code of that level
//! or a lower one. Programs pass [`Level::chosen`]; tests and benches walk through
//! [`Level::supported`].

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The environment variable that caps [`Level::chosen`]: `portable`, `avx2` or `avx512`.
const VARIABLE: &str = "CAIRN_SIMD";

/// A set of vector instructions; a higher level includes the lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain Rust, on any CPU.
    Portable,
    /// 256-bit vectors.
    Avx2,
    /// 512-bit vectors, with the F, BW, VL and VBMI parts of AVX-512.
    Avx512,
}

impl Level {
    const ALL: [Level; 3] = [Level::Portable, Level::Avx2, Level::Avx512];

    /// Returns the highest level this CPU and its operating system have.
    #[cfg(target_arch = "x86_64")]
    pub fn detected() -> Level {
        if !is_x86_feature_detected!("avx2") {
            return Level::Portable;
        }
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi");
        if avx512 { Level::Avx512 } else { Level::Avx2 }
    }

    /// Returns the highest level this CPU and its operating system have.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn detected() -> Level {
        Level::Portable
    }

    /// Returns the level to work with: the detected one, capped by the environment variable
    /// `CAIRN_SIMD`.
    ///
    /// The variable is read once, at the first call. A value that names no level is ignored.
    pub fn chosen() -> Level {
        static CHOSEN: OnceLock<Level> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let asked = std::env::var(VARIABLE).ok();
            Level::detected().capped(asked.as_deref())
        })
    }

    /// Returns every level this CPU can run, lowest first.
    pub fn supported() -> impl Iterator<Item = Level> {
        let best = Level::detected();
        Level::ALL.into_iter().filter(move |level| *level <= best)
    }

    /// Returns the name that `CAIRN_SIMD` and [`FromStr`] know the level by.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    fn capped(self, asked: Option<&str>) -> Level {
        match asked.map(str::parse::<Level>) {
            Some(Ok(asked)) => self.min(asked),
            Some(Err(_)) | None => self,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown SIMD level, not one of portable, avx2, avx512")
    }
}

impl std::error::Error for UnknownLevel {}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Level, UnknownLevel> {
        Level::ALL.into_iter().find(|level| level.name() == text).ok_or(UnknownLevel)
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, UnknownLevel};

    #[test]
    fn names_parse_back() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!("AVX2".parse::<Level>(), Err(UnknownLevel));
    }

    /// Lets a test run say what it believes to run on: the kernels' tests pass just as well where
    /// nothing but portable code is there to be tested.
    #[test]
    fn the_expected_level_is_there() {
        if let Ok(expected) = std::env::var("CAIRN_EXPECT_SIMD") {
            assert_eq!(Level::detected().name(), expected);
        }
    }

    #[test]
    fn supported_levels_go_from_portable_to_the_detected_one() {
        let levels: Vec<Level> = Level::supported().collect();
        assert_eq!(levels.first(), Some(&Level::Portable));
        assert_eq!(levels.last(), Some(&Level::detected()));
        assert!(levels.is_sorted());
        assert!(levels.contains(&Level::chosen()));
    }

    #[test]
    fn a_cap_lowers_and_never_raises() {
        assert_eq!(Level::Avx512.capped(Some("avx2")), Level::Avx2);
        assert_eq!(Level::Avx2.capped(Some("portable")), Level::Portable);
        assert_eq!(Level::Avx2.capped(Some("avx512")), Level::Avx2);
        assert_eq!(Level::Avx2.capped(Some("fast")), Level::Avx2);
        assert_eq!(Level::Avx2.capped(Some("")), Level::Avx2);
        assert_eq!(Level::Avx512.capped(None), Level::Avx512);
    }
}
