//! A session that brings chunks, to a casync that thinks an index is being pushed.
//!
//! ```text
//! INDEX item of a, of b, of two marks ->
//!                                     <- REQUEST b, mark       of what it has not: so it has a
//! CHUNK b, INDEX item of two marks ->
//!                                     <- REQUEST mark, mark    it has got so far: so it has b
//! ```
//! The other side asks for every chunk of the index that it does not have, in the order of the index,
//! and heeds one frame after the other. So an item with an id that nobody has, a *mark*, comes back
//! when all before it is done. Two are sent, for casync holds back the last item it has got: it
//! could be the end of the index. That end is never sent. So nothing is left but the chunks: casync
//! removes its unfinished index when the session is over.

use std::collections::HashSet;
use std::process::Command;

use cairn_formats::chunker::LARGEST_CHUNK;
use cairn_formats::protocol::services::{PUSHES_CHUNKS, PUSHES_INDEX, PUSHES_INDEX_CHUNKS};
use cairn_formats::protocol::{Frame, LONGEST_CHUNK};
use cairn_formats::{ChunkId, ChunkSizes, CodedChunk, Digest, Index};

use super::patient::Patience;
use super::pool::Pooled;
use super::session::Session;
use crate::{Again, Error, Result};

/// Ids asked about at once: the answer must fit into the smallest pipe, see [`Session`].
const AT_ONCE: usize = 64;

/// Items after which a session is not used any more, for the other side writes them all to a file.
const WORN: u64 = 200_000;

/// Of a mark: bytes that are the same in a session. The others count.
const MARK_PREFIX: usize = 24;

/// A session that brings chunks.
pub(super) struct PushSession {
    session: Session,
    place: String,
    digest: Digest,
    /// Items of the index so far.
    items: u64,
    /// How the marks of this session begin.
    mark_prefix: [u8; MARK_PREFIX],
    marks: u64,
    /// What the other side wants and has not got yet.
    requested: HashSet<ChunkId>,
}

impl PushSession {
    /// Starts it with this command, for chunks with ids of this digest.
    pub(super) fn start(
        command: Command,
        place: &str,
        digest: Digest,
        patience: &Patience,
    ) -> Result<Self> {
        let hello = PUSHES_CHUNKS | PUSHES_INDEX | PUSHES_INDEX_CHUNKS;
        let mut session = Session::start(command, place, hello, patience)?;
        let mut mark_prefix = [0; MARK_PREFIX];
        getrandom::fill(&mut mark_prefix)
            .map_err(|e| session.unreachable(format!("no random numbers: {e}"), Again::No))?;
        session.send(&Frame::Index(index_header(digest).into()))?;
        let place = place.to_owned();
        Ok(Self {
            session,
            place,
            digest,
            items: 0,
            mark_prefix,
            marks: 0,
            requested: HashSet::new(),
        })
    }

    /// Whether it is for ids of this digest, and not worn.
    pub(super) fn fits(&self, digest: Digest) -> bool {
        self.digest == digest && self.items < WORN
    }

    /// Whether the other side has each of these chunks.
    pub(super) fn has_many(&mut self, ids: &[ChunkId]) -> Result<Vec<bool>> {
        for ids in ids.chunks(AT_ONCE) {
            let mut items = Vec::new();
            for id in ids.iter().filter(|id| !self.requested.contains(id)) {
                self.items += 1;
                push_item(&mut items, self.items, id);
            }
            if !items.is_empty() {
                self.session.send(&Frame::Index(items.into()))?;
                self.wait_for_mark()?;
            }
        }
        Ok(ids.iter().map(|id| !self.requested.contains(id)).collect())
    }

    /// Brings those of these chunks that the other side does not have, and waits until it has them.
    pub(super) fn put(&mut self, chunks: &[&CodedChunk]) -> Result<()> {
        for chunk in chunks {
            let len = chunk.bytes().len();
            if len > LONGEST_CHUNK {
                let (place, id) = (self.place.clone(), chunk.id());
                let why =
                    format!("chunk {id} has {len} bytes, more than casync's protocol can carry");
                return Err(Error::Unsupported { place, why });
            }
        }
        let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id()).collect();
        let there = self.has_many(&ids)?;
        for (chunk, there) in chunks.iter().zip(&there) {
            // One that is here twice is wanted once.
            if *there || !self.requested.remove(&chunk.id()) {
                continue;
            }
            let compressed = chunk.coding().is_compressed();
            let (id, bytes) = (chunk.id(), chunk.bytes().into());
            self.session.send(&Frame::Chunk { compressed, id, bytes })?;
        }
        if there.iter().all(|there| *there) { Ok(()) } else { self.wait_for_mark() }
    }

    /// Returns when the other side has done everything that was sent so far.
    fn wait_for_mark(&mut self) -> Result<()> {
        let mut items = Vec::new();
        let mark = self.marks;
        for number in [mark, mark + 1] {
            self.items += 1;
            push_item(&mut items, self.items, &self.mark(number));
        }
        self.marks += 2;
        self.session.send(&Frame::Index(items.into()))?;
        let mark = self.mark(mark);
        let mut is_here = false;
        while !is_here {
            let ids = match self.session.receive()? {
                Frame::Request { ids, .. } => ids,
                other => return Err(self.session.unexpected(&other)),
            };
            for &id in ids.iter() {
                is_here |= id == mark;
                if !id.as_bytes().starts_with(&self.mark_prefix) {
                    self.requested.insert(id);
                }
            }
        }
        Ok(())
    }

    fn mark(&self, number: u64) -> ChunkId {
        let mut id = [0; 32];
        id[..MARK_PREFIX].copy_from_slice(&self.mark_prefix);
        id[MARK_PREFIX..].copy_from_slice(&number.to_le_bytes());
        ChunkId::from_bytes(id)
    }
}

impl Pooled for PushSession {
    /// Nothing is said: casync would take a goodbye for the end of an index that has none.
    fn part(&mut self) {}

    fn close(self) {}
}

/// The bytes of an index before its first item.
fn index_header(digest: Digest) -> Vec<u8> {
    let sizes = ChunkSizes::new(1, LARGEST_CHUNK / 2, LARGEST_CHUNK);
    let sizes = sizes.expect("any chunk may be meant, for no item of ours tells a true length");
    let mut bytes = Vec::new();
    let empty = Index::of_blob(digest, sizes);
    empty.write(&mut bytes).expect("memory can be written to");
    // Behind the header is the tail, which is as long as an item.
    bytes.truncate(bytes.len() - Index::ITEM_LEN);
    bytes
}

fn push_item(items: &mut Vec<u8>, end: u64, id: &ChunkId) {
    items.extend_from_slice(&end.to_le_bytes());
    items.extend_from_slice(id.as_bytes());
}
