//! The names in a directory, in the order of archives.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

/// Bytes of names that the system gives at once.
const BUFFER: usize = 32 << 10;

/// What a name may stand for, by the number it is said with.
const KINDS: [FileType; 9] = [
    FileType::Unknown,
    FileType::Unknown,
    FileType::RegularFile,
    FileType::Directory,
    FileType::Symlink,
    FileType::Fifo,
    FileType::Socket,
    FileType::CharacterDevice,
    FileType::BlockDevice,
];

/// The names in a directory, sorted by their bytes. Takes little more memory than the names.
#[derive(Debug, Default)]
pub struct Listing {
    /// The names, each with the NUL behind it.
    bytes: Vec<u8>,
    names: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    len: u16,
    kind: FileType,
}

impl Listing {
    /// What was once said of a directory, by [`Listing::said`]; `None` if it was not.
    pub(crate) fn again(said: &[u8]) -> Option<Self> {
        let mut names = Vec::with_capacity(said.len() / 16);
        let mut start = 0;
        for entry in said.split_inclusive(|&byte| byte == 0) {
            let (&kind, name) = entry.split_first()?;
            if name.contains(&b'/') || matches!(name, b".\0" | b"..\0") {
                return None;
            }
            let len =
                u16::try_from(name.len()).ok().filter(|&len| len > 1 && name.ends_with(b"\0"))?;
            names.push(Place { start: start + 1, len, kind: *KINDS.get(usize::from(kind))? });
            start += u32::from(len) + 1;
        }
        Some(Self { bytes: said.to_vec(), names })
    }

    /// All names in one piece: of each its kind, itself, and a NUL.
    pub(crate) fn said(&self) -> Vec<u8> {
        let mut said = Vec::with_capacity(self.bytes.len() + self.names.len());
        for place in &self.names {
            // Zero ends an entry, so no kind has that number.
            let kind = KINDS.iter().skip(1).position(|kind| *kind == place.kind);
            said.push(kind.map_or(1, |kind| kind as u8 + 1));
            said.extend_from_slice(&self.bytes[place.range()]);
        }
        said
    }

    /// Reads an open directory from its beginning.
    pub fn read(directory: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut listing = Self::default();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if name == b".\0" || name == b"..\0" {
                continue;
            }
            // 4 GiB of names in one directory are beyond what file systems hold.
            let start = u32::try_from(listing.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
            let len = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
            listing.bytes.extend_from_slice(name);
            listing.names.push(Place { start, len, kind: entry.file_type() });
        }
        let bytes = &listing.bytes;
        listing.names.sort_unstable_by(|a, b| a.name(bytes).cmp(b.name(bytes)));
        Ok(listing)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name at a place, and what it is if the file system tells.
    pub fn get(&self, place: usize) -> Option<(&CStr, FileType)> {
        let place = self.names.get(place)?;
        let name = CStr::from_bytes_with_nul(&self.bytes[place.range()]);
        Some((name.expect("the system's names end in a NUL"), place.kind))
    }

    /// Whether there is such a name.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.names.binary_search_by(|place| place.name(&self.bytes).cmp(name)).is_ok()
    }
}

impl Place {
    fn range(&self) -> std::ops::Range<usize> {
        let start = self.start as usize;
        start..start + usize::from(self.len)
    }

    /// Without the NUL.
    fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let range = self.range();
        &bytes[range.start..range.end - 1]
    }
}
