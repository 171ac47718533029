//! Cuts made window by window, put together as if made in one pass.
//!
//! ```text
//! window k-1          window k
//! ....|------tail~~~~~|~~~x---+---o----o-----o---tail
//!                     ^   ^   ^   ^ from here on all guesses hold
//!                     |   |   +-- true boundary, no guess there: cut again
//!                     |   +------ guess made as if a chunk began at the window's first byte
//!                     +---------- the seam
//! ```
//! Each window is cut on its own ([`Cutter::cut_window`]), in any order and on any thread. The
//! stitcher takes windows in order, carries the true tail over the seam and cuts again until its
//! boundary equals a guess. From there on all guesses of the window hold, because a cut depends
//! only on what follows the cut before it. So bytes are scanned once and a little, memory is a few
//! windows, and the result equals the single pass for every input.

use std::ops::Range;

use super::Cutter;

/// One or more chunks, as found by the stitcher.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A chunk that began in an earlier window: its bytes.
    Joined(Vec<u8>),
    /// A chunk inside the current window: where in it.
    Within(Range<usize>),
    /// Chunks of nothing but zeros, each of `size` bytes, `count` times.
    Zeros {
        /// Bytes in each chunk.
        size: usize,
        /// How many such chunks.
        count: u64,
    },
}

/// Puts the cuts of consecutive windows together.
#[derive(Debug)]
pub struct Stitcher<'a> {
    cutter: &'a Cutter,
    /// The bytes since the last true boundary. They hold no boundary themselves.
    carry: Vec<u8>,
}

impl<'a> Stitcher<'a> {
    /// A stitcher at the start of a blob.
    pub fn new(cutter: &'a Cutter) -> Self {
        Self { cutter, carry: Vec::new() }
    }

    /// Whether a chunk begins with the next byte.
    pub fn is_at_cut(&self) -> bool {
        self.carry.is_empty()
    }

    /// Takes the next window with its guesses, and returns the chunks that end in it.
    pub fn window(&mut self, window: &[u8], guesses: &[usize]) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(guesses.len() + 1);
        let Some(mut start) = self.join(window, &mut pieces) else {
            return pieces;
        };
        let mut next = 0;
        loop {
            next += guesses[next..].partition_point(|&guess| guess < start);
            // The window's first byte counts as a guess: they were all made from there.
            if start == 0 || guesses.get(next) == Some(&start) {
                break;
            }
            let Some(len) = self.cutter.cut(&window[start..], 0) else {
                self.carry.extend_from_slice(&window[start..]);
                return pieces;
            };
            pieces.push(Piece::Within(start..start + len));
            start += len;
        }
        // The guess equal to `start` ended a chunk that is already listed.
        let first = start;
        for &end in guesses[next..].iter().filter(|&&end| end > first) {
            pieces.push(Piece::Within(start..end));
            start = end;
        }
        self.carry.extend_from_slice(&window[start..]);
        pieces
    }

    /// Takes `len` bytes of zeros that nobody had to read.
    pub fn hole(&mut self, len: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut left = len;
        if !self.carry.is_empty() {
            // A chunk that began before the hole ends within `max` of it.
            let most = self.cutter.sizes().max() as u64;
            let zeros = vec![0; left.min(most) as usize];
            match self.join(&zeros, &mut pieces) {
                Some(used) => left -= used as u64,
                None => return pieces,
            }
        }
        let size = self.cutter.zero_run();
        let count = left / size as u64;
        if count > 0 {
            pieces.push(Piece::Zeros { size, count });
        }
        self.carry.resize((left % size as u64) as usize, 0);
        pieces
    }

    /// The last chunk of the blob, unless the blob ended with a boundary.
    pub fn end(&mut self) -> Option<Piece> {
        let carry = std::mem::take(&mut self.carry);
        (!carry.is_empty()).then_some(Piece::Joined(carry))
    }

    /// Completes the carried chunk with the beginning of `next`. Returns where in `next` it ends,
    /// or `None` if all of `next` went into the carry.
    fn join(&mut self, next: &[u8], pieces: &mut Vec<Piece>) -> Option<usize> {
        if self.carry.is_empty() {
            return Some(0);
        }
        let begun = self.carry.len();
        let mut used = 0;
        // Appended in growing steps: most chunks end long before the largest size.
        let mut step = self.cutter.sizes().avg();
        while used < next.len() {
            let tested = self.carry.len();
            let more = step.min(next.len() - used);
            self.carry.extend_from_slice(&next[used..used + more]);
            used += more;
            step *= 2;
            if let Some(len) = self.cutter.cut(&self.carry, tested) {
                self.carry.truncate(len);
                pieces.push(Piece::Joined(std::mem::take(&mut self.carry)));
                return Some(len.checked_sub(begun).expect("a carry holds no boundary"));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ChunkSizes;
    use crate::chunker::CutRule;

    /// The slow obvious way: one pass over the whole blob.
    fn single_pass(cutter: &Cutter, blob: &[u8]) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut start = 0;
        while start < blob.len() {
            start += cutter.cut(&blob[start..], 0).unwrap_or(blob.len() - start);
            ends.push(start);
        }
        ends
    }

    /// Part of a blob, and whether it is offered to the stitcher as a hole.
    #[derive(Clone, Debug)]
    enum Part {
        Bytes(Vec<u8>),
        Zeros { len: usize, hole: bool },
    }

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        let bytes = (0_usize..6000, any::<u64>(), 1_u8..=255).prop_map(|(len, seed, spread)| {
            // Few distinct byte values make long stretches without and with many boundaries.
            let mut x = seed | 1;
            let next = || {
                x = x
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (x >> 56) as u8 % spread
            };
            Part::Bytes(std::iter::repeat_with(next).take(len).collect())
        });
        let zeros =
            (0_usize..9000, any::<bool>()).prop_map(|(len, hole)| Part::Zeros { len, hole });
        prop::collection::vec(prop_oneof![3 => bytes, 2 => zeros], 0..6)
    }

    fn stitched(cutter: &Cutter, parts: &[Part], window: usize) -> (Vec<u8>, Vec<usize>) {
        let mut stitcher = Stitcher::new(cutter);
        let (mut blob, mut ends, mut done) = (Vec::new(), Vec::new(), 0);
        let mut note = |pieces: Vec<Piece>, base: usize| {
            for piece in pieces {
                match piece {
                    Piece::Joined(bytes) => {
                        done += bytes.len();
                        ends.push(done);
                    }
                    Piece::Within(range) => {
                        assert_eq!(base + range.start, done);
                        done += range.len();
                        ends.push(done);
                    }
                    Piece::Zeros { size, count } => {
                        for _ in 0..count {
                            done += size;
                            ends.push(done);
                        }
                    }
                }
            }
        };
        for part in parts {
            let data = match part {
                Part::Bytes(data) => data.clone(),
                Part::Zeros { len, .. } => vec![0; *len],
            };
            if let Part::Zeros { len, hole: true } = part {
                note(stitcher.hole(*len as u64), 0);
            } else {
                for (i, bytes) in data.chunks(window).enumerate() {
                    let guesses = cutter.cut_window(bytes);
                    note(stitcher.window(bytes, &guesses), blob.len() + i * window);
                }
            }
            blob.extend_from_slice(&data);
        }
        note(stitcher.end().into_iter().collect(), 0);
        (blob, ends)
    }

    fn cutters() -> impl Strategy<Value = Cutter> {
        let buzhash = prop_oneof![
            Just((1, 48, 64)),
            Just((16, 64, 256)),
            Just((48, 48, 48)),
            Just((64, 64, 64)),
            Just((100, 300, 1000)),
            Just((200, 210, 2000)),
            Just((1024, 4096, 16384)),
        ];
        let fastcdc = prop_oneof![Just((64, 256, 1024)), Just((100, 302, 1504))];
        prop_oneof![
            3 => buzhash.prop_map(|sizes| (CutRule::Buzhash, sizes)),
            1 => fastcdc.prop_map(|sizes| (CutRule::FastCdc, sizes)),
        ]
        .prop_map(|(rule, (min, avg, max))| {
            Cutter::new(rule, ChunkSizes::new(min, avg, max).unwrap()).unwrap()
        })
    }

    proptest! {
        #[test]
        fn stitched_cuts_equal_the_single_pass(
            cutter in cutters(), parts in parts(), window in 1_usize..5000,
        ) {
            let (blob, ends) = stitched(&cutter, &parts, window);
            prop_assert_eq!(ends, single_pass(&cutter, &blob));
        }
    }

    /// Where random bytes end has to be a boundary's place only once in so many seams.
    #[test]
    fn many_seams_before_holes_agree() {
        let mut x = 7_u64;
        let mut byte = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8 | 1
        };
        let parts: Vec<Part> = (0..3000)
            .flat_map(|n| {
                let bytes = (0..1000 + n % 700).map(|_| byte()).collect();
                [Part::Bytes(bytes), Part::Zeros { len: 3000, hole: true }]
            })
            .collect();
        for rule in [CutRule::Buzhash, CutRule::FastCdc] {
            let cutter = Cutter::new(rule, ChunkSizes::new(64, 256, 1024).unwrap()).unwrap();
            for window in [733, 1 << 20] {
                let (blob, ends) = stitched(&cutter, &parts, window);
                assert_eq!(ends, single_pass(&cutter, &blob), "{rule:?}, windows of {window}");
            }
        }
    }

    #[test]
    fn zero_chunks_of_a_hole_are_not_listed_one_by_one() {
        let cutter = Cutter::new(CutRule::Buzhash, ChunkSizes::default()).unwrap();
        let mut stitcher = Stitcher::new(&cutter);
        let pieces = stitcher.hole(1 << 50);
        assert_eq!(pieces, [Piece::Zeros { size: 256 << 10, count: 1 << 32 }]);
        assert_eq!(stitcher.end(), None);
    }
}
