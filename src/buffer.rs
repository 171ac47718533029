//! A buffer that files are read into, again and again.

/// Bytes in a page of memory.
const PAGE: usize = 4096;

/// A growing buffer that begins on a page boundary.
///
/// That boundary is worth a factor of five: an allocator puts a large buffer 16 bytes behind one,
/// and processors that copy by `rep movsb` (AMD's Zen 3 for one) then take the target of a copy from
/// the page cache for its source and slow down to about 2 GB/s.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    /// The first `len` bytes, to be overwritten: they hold whatever was there before.
    pub(crate) fn front(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len + PAGE {
            // Anew rather than grown: nothing in it is worth copying.
            self.bytes = vec![0; len + PAGE];
        }
        let start = self.bytes.as_ptr().align_offset(PAGE);
        // The offset is not promised to be found; then any place will do.
        let start = if start > PAGE { 0 } else { start };
        &mut self.bytes[start..start + len]
    }

    /// What [`Buffer::front`] last gave, if that was as long.
    pub(crate) fn filled(&self, len: usize) -> &[u8] {
        let start = self.bytes.as_ptr().align_offset(PAGE);
        let start = if start > PAGE { 0 } else { start };
        &self.bytes[start..start + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_stays_aligned() {
        let mut buffer = Buffer::default();
        for len in [0, 1, 100, 5 << 20, 4096, 6 << 20] {
            let front = buffer.front(len);
            assert_eq!(front.len(), len);
            assert_eq!(front.as_ptr() as usize % PAGE, 0);
        }
    }
}
