//! Many chunks in one answer of a server.
//!
//! ```text
//! request    POST <store>/          the names of chunks, a line each: 1234/1234….cacnk
//! answer     frames in the order of the names
//! frame      u64 length, bytes      as the chunk is stored in the form of the name
//!            u64::MAX               there is no such chunk
//!            u64::MAX - 1           it could not be had
//! ```
//! Numbers are little-endian. A request for each chunk costs both sides more than reading it from a
//! disk cache does. A server that knows this says `Connection: cairn-batch` in its answers. As that
//! header is between neighbours only, it never passes through a proxy, whose cache would be of no use
//! to requests that cannot be cached.

/// What a server that answers such requests says in its `Connection` header.
pub const TOKEN: &str = "cairn-batch";

/// What the answer is, for its `Content-Type`.
pub const CONTENT_TYPE: &str = "application/vnd.cairn.batch";

/// Names in one request at most.
pub const MOST: usize = 1024;

const HEAD_LEN: usize = 8;
const MISSING: u64 = u64::MAX;
const FAILED: u64 = u64::MAX - 1;

/// What a server says of one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The chunk as it is stored.
    Chunk(Vec<u8>),
    /// It is not there.
    Missing,
    /// It could not be had.
    Failed,
}

impl Frame {
    /// What stands before the bytes of a chunk of this length.
    pub fn head(len: usize) -> [u8; HEAD_LEN] {
        (len as u64).to_le_bytes()
    }

    /// All of a frame without a chunk.
    pub fn missing() -> [u8; HEAD_LEN] {
        MISSING.to_le_bytes()
    }

    /// All of a frame for a chunk that could not be had.
    pub fn failed() -> [u8; HEAD_LEN] {
        FAILED.to_le_bytes()
    }
}

/// Somebody claims that a chunk has more bytes than any can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of {0} bytes is too long")]
pub struct TooLong(u64);

/// Takes frames out of bytes that arrive in pieces of any size.
#[derive(Debug)]
pub struct Frames {
    /// The longest chunk that is taken, in bytes.
    most: usize,
    head: [u8; HEAD_LEN],
    /// How much of the head is there.
    head_len: usize,
    body: Vec<u8>,
    /// How long the body will be, once the head is known.
    wanted: Option<usize>,
}

impl Frames {
    /// Refuses chunks that are longer than `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { most, head: [0; HEAD_LEN], head_len: 0, body: Vec::new(), wanted: None }
    }

    /// The next frame, if it is complete with what is taken from the front of `bytes`; to be called
    /// until it returns `None`.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, TooLong> {
        let wanted = match self.wanted {
            Some(wanted) => wanted,
            None => {
                let (head, rest) = bytes.split_at(bytes.len().min(HEAD_LEN - self.head_len));
                self.head[self.head_len..][..head.len()].copy_from_slice(head);
                self.head_len += head.len();
                *bytes = rest;
                if self.head_len < HEAD_LEN {
                    return Ok(None);
                }
                self.head_len = 0;
                match u64::from_le_bytes(self.head) {
                    MISSING => return Ok(Some(Frame::Missing)),
                    FAILED => return Ok(Some(Frame::Failed)),
                    len if len <= self.most as u64 => *self.wanted.insert(len as usize),
                    len => return Err(TooLong(len)),
                }
            }
        };
        if self.body.is_empty() {
            // No more than has come: the length is only what somebody claims.
            self.body.reserve_exact(wanted.min(bytes.len().max(1 << 16)));
        }
        let (some, rest) = bytes.split_at(bytes.len().min(wanted - self.body.len()));
        self.body.extend_from_slice(some);
        *bytes = rest;
        if self.body.len() < wanted {
            return Ok(None);
        }
        self.wanted = None;
        Ok(Some(Frame::Chunk(std::mem::take(&mut self.body))))
    }

    /// Whether no frame is only half there.
    pub fn is_at_end(&self) -> bool {
        self.head_len == 0 && self.wanted.is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            match frame {
                Frame::Chunk(chunk) => {
                    bytes.extend(Frame::head(chunk.len()));
                    bytes.extend(chunk);
                }
                Frame::Missing => bytes.extend(Frame::missing()),
                Frame::Failed => bytes.extend(Frame::failed()),
            }
        }
        bytes
    }

    fn frame() -> impl Strategy<Value = Frame> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Frame::Chunk),
            Just(Frame::Missing),
            Just(Frame::Failed),
        ]
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_cut(
            frames in prop::collection::vec(frame(), 0..20),
            cuts in prop::collection::vec(1..200_usize, 1..50),
        ) {
            let bytes = written(&frames);
            let mut reader = Frames::new(300);
            let mut back = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (mut some, behind) = rest.split_at((*cut).min(rest.len()));
                while let Some(frame) = reader.next(&mut some).unwrap() {
                    back.push(frame);
                }
                prop_assert!(some.is_empty());
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(back, frames);
            prop_assert!(reader.is_at_end());
        }
    }

    #[test]
    fn a_length_is_only_a_claim() {
        let mut reader = Frames::new(1 << 40);
        let head = Frame::head(1 << 40);
        assert_eq!(reader.next(&mut &head[..]).unwrap(), None);
        assert!(reader.body.capacity() <= 1 << 16);
        assert!(!reader.is_at_end());
        for len in [301, u64::MAX - 2] {
            let mut reader = Frames::new(300);
            assert!(reader.next(&mut &len.to_le_bytes()[..]).is_err());
        }
    }
}
