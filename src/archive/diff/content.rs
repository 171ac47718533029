//! Whether two ranges hold the same bytes, read only where their chunks do not tell.

use cairn_formats::Index;
use cairn_formats::catar::ReadAt;

use crate::archive::input::Input;
use crate::{Error, Result};

/// Bytes read and compared at once.
const PIECE: u64 = 256 << 10;

/// The bytes of two inputs.
pub(super) struct Contents<'a> {
    pub(super) inputs: [&'a Input; 2],
    pub(super) bytes: [&'a dyn ReadAt; 2],
}

impl Contents<'_> {
    /// Whether `len` bytes from `a` on in the one are the same as those from `b` on in the other.
    pub(super) fn are_equal(&self, a: u64, b: u64, len: u64) -> Result<bool> {
        let mut buffers = [Vec::new(), Vec::new()];
        let mut done = 0;
        while done < len {
            let (step, is_same) = self.step([a + done, b + done], len - done);
            if !is_same {
                for (side, at) in [a, b].into_iter().enumerate() {
                    buffers[side].resize(step as usize, 0);
                    self.read(side, at + done, &mut buffers[side])?;
                }
                if buffers[0] != buffers[1] {
                    return Ok(false);
                }
            }
            done += step;
        }
        Ok(true)
    }

    /// Whether they are the same and this is known by reading no more than their beginning and their end.
    pub(super) fn are_known(&self, a: u64, b: u64, len: u64) -> Result<bool> {
        let [Some(one), Some(_)] = self.inputs.map(Input::index) else { return Ok(false) };
        let limit = 2 * one.sizes().max() as u64;
        let (mut done, mut unknown) = (0, 0);
        while done < len {
            let (step, is_same) = self.step([a + done, b + done], len - done);
            unknown += if is_same { 0 } else { step };
            done += step;
            if unknown > limit {
                return Ok(false);
            }
        }
        self.are_equal(a, b, len)
    }

    /// How far to go at once, and whether the bytes up to there are known to be the same.
    fn step(&self, at: [u64; 2], len: u64) -> (u64, bool) {
        let [Some(a), Some(b)] = self.inputs.map(Input::index) else {
            return (len.min(PIECE), false);
        };
        let chunk = |index: &Index, at: u64| index.chunk(index.position_at(at));
        let (one, other) = (chunk(a, at[0]), chunk(b, at[1]));
        let left = (one.end() - at[0]).min(other.end() - at[1]).min(len);
        let is_same =
            (one.id, one.len, at[0] - one.start) == (other.id, other.len, at[1] - other.start);
        if is_same { (left, true) } else { (left.min(PIECE), false) }
    }

    fn read(&self, side: usize, at: u64, buffer: &mut [u8]) -> Result<()> {
        let input = self.inputs[side];
        let mut filled = 0;
        while filled < buffer.len() {
            let read = self.bytes[side].read_at(at + filled as u64, &mut buffer[filled..]);
            match read.map_err(|e| input.unreadable(e))? {
                0 => return Err(Error::file(input.name(), "ends too early")),
                read => filled += read,
            }
        }
        Ok(())
    }
}
