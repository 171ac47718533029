//! A session that fetches chunks.
//!
//! ```text
//! REQUEST id ->        <- CHUNK id or MISSING id, in any order
//! ```
//! casync answers each id once in a session and passes over what is asked again, so each is asked once;
//! whoever needs it again takes another session. Requests are sent ahead, but no more than fit into
//! the smallest pipe: see [`Session`].

use std::collections::HashSet;
use std::process::Command;

use cairn_formats::protocol::Frame;
use cairn_formats::protocol::services::PULLS_CHUNKS;
use cairn_formats::{ChunkId, CodedChunk, Coding};

use super::patient::Patience;
use super::pool::Pooled;
use super::session::Session;
use crate::{Again, Error, Result};

/// Requests without an answer. Each has 56 bytes, and the smallest pipe holds 4096.
const AHEAD: usize = 64;

/// A session that fetches chunks.
pub(super) struct PullSession {
    session: Session,
    place: String,
    /// All that was ever asked for, by the first bytes of its id: a mistake costs a new session.
    asked: HashSet<u64>,
}

impl PullSession {
    /// Starts it with this command.
    pub(super) fn start(command: Command, place: &str, patience: &Patience) -> Result<Self> {
        let session = Session::start(command, place, PULLS_CHUNKS, patience)?;
        Ok(Self { session, place: place.to_owned(), asked: HashSet::new() })
    }

    /// Whether none of these was asked for yet.
    pub(super) fn fits(&self, ids: &[ChunkId]) -> bool {
        ids.iter().all(|id| !self.asked.contains(&key(id)))
    }

    /// Fetches these, which must fit and be distinct. Calls `each` for every answer; after an error
    /// those not told of have none.
    pub(super) fn fetch(
        &mut self,
        ids: &[ChunkId],
        mut each: impl FnMut(ChunkId, Result<Option<CodedChunk>>),
    ) -> Result<()> {
        let mut open = HashSet::with_capacity(AHEAD);
        let mut next = ids.iter();
        loop {
            // Several at once rather than one for each that comes.
            if open.len() <= AHEAD / 2 {
                for id in next.by_ref().take(AHEAD - open.len()) {
                    self.asked.insert(key(id));
                    open.insert(*id);
                    let ids = std::slice::from_ref(id).into();
                    self.session.send(&Frame::Request { urgent: true, ids })?;
                }
            }
            if open.is_empty() {
                return Ok(());
            }
            let (id, answer) = match self.session.receive()? {
                Frame::Chunk { compressed, id, bytes } => {
                    (id, self.chunk(id, compressed, bytes.into_owned()).map(Some))
                }
                Frame::Missing(id) => (id, Ok(None)),
                other => return Err(self.session.unexpected(&other)),
            };
            if !open.remove(&id) {
                let why = format!("the other side sent chunk {id}, for which nobody has asked");
                return Err(self.session.unreachable(why, Again::Yes));
            }
            each(id, answer);
        }
    }

    fn chunk(&self, id: ChunkId, compressed: bool, bytes: Vec<u8>) -> Result<CodedChunk> {
        if !compressed {
            return Ok(CodedChunk::new(id, Coding::Plain, bytes));
        }
        CodedChunk::from_compressed(id, bytes).map_err(Error::invalid(&self.place))
    }
}

impl Pooled for PullSession {
    fn part(&mut self) {
        self.session.part();
    }

    fn close(self) {
        self.session.close();
    }
}

fn key(id: &ChunkId) -> u64 {
    let (first, _) = id.as_bytes().split_first_chunk().expect("an id is longer");
    u64::from_le_bytes(*first)
}
