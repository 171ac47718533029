//! The cut rule: how long is the chunk that starts at the first byte?

use std::str::FromStr;

use super::ChunkSizes;
use super::divisor::Divisor;
use super::scan::{self, hash_of_window};
use super::table::WINDOW;
use crate::simd::Level;
use crate::{Error, Result, is_zero};

/// The family of cut points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CutRule {
    /// casync's rolling hash over 48 bytes: the cut points of casync and desync.
    #[default]
    Buzhash,
    /// FastCDC of 2020: faster, but shares no chunks with blobs cut the other way.
    FastCdc,
}

impl FromStr for CutRule {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "buzhash" => Ok(CutRule::Buzhash),
            "fastcdc" => Ok(CutRule::FastCdc),
            _ => Err(format!("invalid chunker '{name}' (buzhash or fastcdc)")),
        }
    }
}

/// Cuts a blob by one rule. Holds no state: a cut depends only on the bytes since the one before.
#[derive(Clone, Debug)]
pub struct Cutter {
    sizes: ChunkSizes,
    method: Method,
    /// Length of a chunk cut out of endless zeros.
    zero_run: usize,
}

#[derive(Clone, Debug)]
enum Method {
    /// `min = avg = max`: no hashing at all, in casync as here.
    Fixed,
    Buzhash {
        level: Level,
        divisor: Divisor,
    },
    FastCdc,
}

impl Cutter {
    /// A cutter for the rule and sizes. FastCDC refuses sizes outside its own limits.
    pub fn new(rule: CutRule, sizes: ChunkSizes) -> Result<Self> {
        Self::at_level(Level::chosen(), rule, sizes)
    }

    /// As [`Cutter::new`], with the kernel of the given level, or the best one that this processor
    /// has: for tests and benches.
    pub fn at_level(level: Level, rule: CutRule, sizes: ChunkSizes) -> Result<Self> {
        let level = level.min(Level::detected());
        let method = match rule {
            _ if sizes.min() == sizes.max() => Method::Fixed,
            CutRule::Buzhash => {
                Method::Buzhash { level, divisor: Divisor::new(sizes.discriminator()) }
            }
            CutRule::FastCdc => {
                check_fastcdc(sizes)?;
                Method::FastCdc
            }
        };
        let mut cutter = Self { sizes, method, zero_run: 0 };
        cutter.zero_run = cutter.find_zero_run();
        Ok(cutter)
    }

    /// The sizes it cuts by.
    pub fn sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// The length of a chunk that begins in zeros which go on for at least that long.
    pub fn zero_run(&self) -> usize {
        self.zero_run
    }

    /// The length of the chunk that starts at `data[0]`, or `None` if `data` ends before its
    /// boundary. At the end of the blob the rest is then the last chunk.
    ///
    /// The caller may know that there is no boundary up to and including `tested` bytes, from an
    /// earlier call with the beginning of the same data; these are not looked at again.
    pub fn cut(&self, data: &[u8], tested: usize) -> Option<usize> {
        let longest = self.sizes.max();
        if data.len() >= self.zero_run && tested == 0 && is_zero(&data[..self.zero_run]) {
            return Some(self.zero_run);
        }
        let data = &data[..data.len().min(longest)];
        let boundary = match &self.method {
            Method::Fixed => None,
            Method::Buzhash { level, divisor } => {
                // casync tests the hash at exactly `min` bytes too.
                let first = self.sizes.min().max(WINDOW).max(tested + 1);
                scan::find(*level, divisor, data, first)
            }
            Method::FastCdc => self.cut_fastcdc(data),
        };
        boundary.or((data.len() == longest).then_some(longest))
    }

    /// Cuts a window as if a chunk began at its first byte, and returns the ends of the chunks
    /// found, in bytes from its start. What follows the last end is the window's tail.
    pub fn cut_window(&self, window: &[u8]) -> Vec<usize> {
        let typical = self.sizes.avg().max(WINDOW);
        let mut ends = Vec::with_capacity(window.len() / typical * 5 / 4 + 1);
        let mut start = 0;
        while let Some(len) = self.cut(&window[start..], 0) {
            start += len;
            ends.push(start);
        }
        ends
    }

    fn cut_fastcdc(&self, data: &[u8]) -> Option<usize> {
        let sizes = self.sizes;
        let cut = |padded: &[u8]| {
            let mut chunks =
                fastcdc::v2020::FastCDC::new(padded, sizes.min(), sizes.avg(), sizes.max());
            chunks.next().map(|chunk| chunk.length).filter(|&len| len < data.len())
        };
        if data.len().is_multiple_of(2) || data.len() >= sizes.max() {
            return cut(data);
        }
        // The library tests bytes in pairs and leaves an odd one at the end untested. A boundary
        // there must be found now, or it would come up when more data follows.
        cut(&[data, &[0]].concat())
    }

    fn find_zero_run(&self) -> usize {
        let at_boundary = match &self.method {
            Method::Fixed => false,
            Method::Buzhash { divisor, .. } => divisor.accepts(hash_of_window(&[0; WINDOW])),
            Method::FastCdc => {
                let zeros = vec![0; self.sizes.max() + 1];
                return self.cut_fastcdc(&zeros).unwrap_or(self.sizes.max());
            }
        };
        if at_boundary {
            self.sizes.min().max(WINDOW).min(self.sizes.max())
        } else {
            self.sizes.max()
        }
    }
}

/// FastCDC's own limits; outside them the library would panic.
fn check_fastcdc(sizes: ChunkSizes) -> Result<()> {
    use fastcdc::v2020::{
        AVERAGE_MAX, AVERAGE_MIN, MAXIMUM_MAX, MAXIMUM_MIN, MINIMUM_MAX, MINIMUM_MIN,
    };
    let within = (MINIMUM_MIN..=MINIMUM_MAX).contains(&sizes.min())
        && (AVERAGE_MIN..=AVERAGE_MAX).contains(&sizes.avg())
        && (MAXIMUM_MIN..=MAXIMUM_MAX).contains(&sizes.max())
        && [sizes.min(), sizes.avg(), sizes.max()].iter().all(|size| size % 2 == 0);
    if within {
        return Ok(());
    }
    let why = format!(
        "fastcdc takes {MINIMUM_MIN}..={MINIMUM_MAX}, {AVERAGE_MIN}..={AVERAGE_MAX} and \
         {MAXIMUM_MIN}..={MAXIMUM_MAX} bytes, all even"
    );
    Err(Error::ChunkSizes { given: sizes.to_string(), why })
}
