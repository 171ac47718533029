//! What is remembered of a copy-on-read file from one mount to the next.
//!
//! ```text
//!   0  magic "CAIRNCOR"
//!   8  version, 1
//!  16  SHA-512/256 of the index as a file                     32 bytes
//!  48  bytes of the blob
//!  56  chunks of the blob, n
//!  64  the file when this was saved: device, inode,
//!      seconds and nanoseconds of its last writing, the same of its last change
//! 112  bitmap of the chunks that are in the file              (n + 7) / 8 bytes
//!      SHA-512/256 of all before                              32 bytes
//! ```
//! All numbers are little-endian, of 64 bits. desync has the bitmap alone, so its states say neither what blob nor
//! what file they are of.

use std::fs::{self, File, Metadata};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cairn_formats::{ChunkId, Digest, Index};
use cairn_store::local::Output;
use cairn_store::{Error, Result};

use super::present::bitmap_len;

const MAGIC: &[u8; 8] = b"CAIRNCOR";
const VERSION: u64 = 1;
const HEAD_LEN: usize = 112;
const CHECKSUM_LEN: usize = 32;

/// No more of a state is read, but as much as one of the blob can have: enough for half a billion chunks.
const MOST: usize = 64 << 20;

/// What blob a state is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    index: ChunkId,
    size: u64,
    chunks: usize,
}

/// How a file was found, to see later whether anybody has changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp([u64; 6]);

/// What a state says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// How the file was when it was saved; desync does not say.
    pub(super) stamp: Option<Stamp>,
    /// The chunks that were in the file.
    pub(super) bitmap: Vec<u8>,
}

impl Subject {
    /// The blob of an index.
    pub(super) fn of(index: &Index) -> Self {
        Self { index: index.fingerprint(), size: index.blob_size(), chunks: index.len() }
    }
}

impl Stamp {
    /// A file as it is now.
    ///
    /// The time of the last change is there as well because any program may set that of the last writing.
    pub(super) fn of(file: &Metadata) -> Self {
        let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
        let [mtime, mtime_nsec, ctime, ctime_nsec] = times.map(i64::cast_unsigned);
        Self([file.dev(), file.ino(), mtime, mtime_nsec, ctime, ctime_nsec])
    }
}

impl State {
    /// Reads the state of a blob. `None` if it is damaged or something else, which is logged; an error if it is that of
    /// another blob.
    pub(super) fn read(path: &Path, subject: &Subject) -> Result<Option<Self>> {
        let metadata = fs::metadata(path).map_err(Error::io("read state", path))?;
        if !metadata.is_file() {
            return Err(unsupported(path, "a state is kept in a regular file"));
        }
        let longest = HEAD_LEN + bitmap_len(subject.chunks) + CHECKSUM_LEN;
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(Error::io("open state", path))?;
        let mut file = file.take(longest.max(MOST) as u64 + 1);
        file.read_to_end(&mut bytes).map_err(Error::io("read state", path))?;
        let why = match parse(&bytes, subject) {
            Parsed::State(state) => return Ok(Some(state)),
            Parsed::OfAnother => {
                let why = "this state was saved for another index; remove it to begin anew, or name another file";
                return Err(unsupported(path, why));
            }
            Parsed::Nothing(why) => why,
        };
        tracing::warn!(state = %path.display(), why, "the state of the copy-on-read file is ignored");
        Ok(None)
    }

    /// Replaces a state at once.
    pub(super) fn write(&self, path: &Path, subject: &Subject) -> Result<()> {
        let stamp = self.stamp.as_ref().expect("whoever saves knows the file");
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(subject.index.as_bytes());
        let numbers = [subject.size, subject.chunks as u64].into_iter().chain(stamp.0);
        bytes.extend(numbers.flat_map(u64::to_le_bytes));
        bytes.extend(&self.bitmap);
        let checksum = Digest::Sha512_256.hash(&bytes);
        bytes.extend(checksum.as_bytes());
        let output = Output::create(path, 0o644).map_err(Error::io("create state", path))?;
        output.file().write_all(&bytes).map_err(Error::io("write state", path))?;
        output.commit(true).map_err(Error::io("finish state", path))
    }
}

enum Parsed {
    State(State),
    OfAnother,
    Nothing(&'static str),
}

fn parse(bytes: &[u8], subject: &Subject) -> Parsed {
    if !bytes.starts_with(MAGIC) {
        // Told by its length alone: that of one with a head is another one.
        return if bytes.len() == bitmap_len(subject.chunks) {
            Parsed::State(State { stamp: None, bitmap: bytes.to_vec() })
        } else {
            Parsed::Nothing("it is no state, or desync's of another blob")
        };
    }
    let Some((covered, checksum)) = bytes.split_last_chunk::<CHECKSUM_LEN>() else {
        return Parsed::Nothing("it is cut off");
    };
    if covered.len() < HEAD_LEN || Digest::Sha512_256.hash(covered).as_bytes() != checksum {
        return Parsed::Nothing("it is damaged");
    }
    let (head, bitmap) = covered.split_at(HEAD_LEN);
    let word =
        |at: usize| u64::from_le_bytes(*head[at..].first_chunk().expect("it is in the head"));
    if word(8) != VERSION {
        return Parsed::Nothing("it is of a version that is not known");
    }
    let same = &head[16..48] == subject.index.as_bytes()
        && word(48) == subject.size
        && word(56) == subject.chunks as u64;
    if !same {
        return Parsed::OfAnother;
    }
    if bitmap.len() != bitmap_len(subject.chunks) {
        return Parsed::Nothing("its length is not that of its chunks");
    }
    let stamp = Stamp(std::array::from_fn(|i| word(64 + 8 * i)));
    Parsed::State(State { stamp: Some(stamp), bitmap: bitmap.to_vec() })
}

fn unsupported(path: &Path, why: &str) -> Error {
    Error::Unsupported { place: path.display().to_string(), why: why.to_owned() }
}
