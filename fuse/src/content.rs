//! The bytes of files, at hand or to be waited for.

use std::fs::File;
use std::ops::Range;

pub use cairn_store::Bytes;
use cairn_store::Result;

/// Where bytes of files are.
///
/// Ranges are as the caller has them from this content or from who knows it: what of one lies behind the end is left
/// out. Methods may be called from many threads at once.
pub trait Content: Send + Sync + 'static {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// These bytes, if they can be had without waiting for a store. May have others fetched meanwhile that are likely
    /// to be wanted next.
    fn at_hand(&self, range: Range<u64>) -> Option<Bytes>;

    /// These bytes, however long that takes.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;

    /// A file that has all the bytes in their places, if there is one by now: the kernel may read it itself.
    fn whole(&self) -> Option<&File> {
        None
    }
}
