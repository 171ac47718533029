//! Takes chunks and an index from a client.
//!
//! ```text
//! INDEX -> ids -(not in any store)-> REQUEST        CHUNK -> verify, put
//! all of the index here, all chunks here -> sync -> the index appears -> GOODBYE
//! ```
//! Frames are heeded one after the other: what is requested for an item comes after everything before
//! the item is done, and stays done if the client goes.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use cairn_formats::coding::Decoder;
use cairn_formats::protocol::Frame;
use cairn_formats::protocol::services::{ACCEPTS_CHUNKS, ACCEPTS_INDEX};
use cairn_formats::{ChunkId, CodedChunk, Coding, Index, IndexStream};

use super::{client, greet, lost, misread, unexpected, with_abort};
use crate::local::NewFile;
use crate::{Error, Result, Store, WriteStore};

/// The most ids in one REQUEST: 64 KiB, as casync.
const AT_ONCE: usize = 2048;

/// The most chunks that may be on their way to us. No honest client has us wait for so many: this is
/// an index of some 250 GiB.
const MOST_OPEN: usize = 4 << 20;

/// The mode of a new index, before the umask.
const MODE: u32 = 0o666;

/// What is accepted.
pub struct Push<'a> {
    /// Where the chunks go.
    pub store: Option<&'a dyn WriteStore>,
    /// What is in one of these need not be sent.
    pub others: &'a [Box<dyn Store>],
    /// The file for the index.
    pub index: Option<&'a Path>,
    /// Whether the index must have reached the disk when it appears.
    pub flush: bool,
}

/// Serves one client, until it has pushed everything.
///
/// Where that is an error, the client has been told, too, as far as it listens; the index is not there
/// then, but chunks that have come are.
pub fn serve_push(mut input: impl Read, output: impl Write, push: &Push<'_>) -> Result<()> {
    let mut output = BufWriter::new(output);
    let outcome = push.serve(&mut input, &mut output);
    with_abort(&mut output, outcome)
}

impl Push<'_> {
    fn serve(&self, input: &mut impl Read, output: &mut impl Write) -> Result<()> {
        let index = self.index.map(NewIndex::create).transpose()?;
        let chunks = self.store.map_or(0, |_| ACCEPTS_CHUNKS);
        greet(input, output, chunks | index.as_ref().map_or(0, |_| ACCEPTS_INDEX))?;
        if let Some(mut index) = index {
            self.receive(&mut index, input, output)?;
            if let Some(store) = self.store {
                store.sync()?;
            }
            index.install(self.flush)?;
        }
        Frame::Goodbye.write(output).and_then(|()| output.flush()).map_err(lost)
    }

    /// Receives the whole index and all its chunks.
    fn receive(
        &self,
        index: &mut NewIndex<'_>,
        input: &mut impl Read,
        output: &mut impl Write,
    ) -> Result<()> {
        let mut decoder = Decoder::new();
        let mut open = HashSet::new();
        while !index.is_complete || !open.is_empty() {
            match Frame::read(input).map_err(misread)? {
                Some(Frame::Index(bytes)) if !index.is_complete => {
                    let ids = index.add(&bytes)?;
                    self.request(&ids, &mut open, output)?;
                }
                Some(Frame::IndexEof) if !index.is_complete => index.is_complete = true,
                Some(Frame::Chunk { compressed, id, bytes }) if open.remove(&id) => {
                    let bytes = bytes.into_owned();
                    let chunk = if compressed {
                        CodedChunk::from_compressed(id, bytes).map_err(misread)?
                    } else {
                        CodedChunk::new(id, Coding::Plain, bytes)
                    };
                    self.keep(&chunk, index, &mut decoder)?;
                }
                Some(Frame::Missing(id)) => {
                    return Err(client(format!("it does not have chunk {id} of its own index")));
                }
                Some(other) => return Err(unexpected(&other)),
                None => return Err(client("it went away before everything was here")),
            }
        }
        Ok(())
    }

    /// Requests what is in none of the stores.
    fn request(
        &self,
        ids: &[ChunkId],
        open: &mut HashSet<ChunkId>,
        output: &mut impl Write,
    ) -> Result<()> {
        let Some(store) = self.store else { return Ok(()) };
        let mut wanted: Vec<ChunkId> = Vec::new();
        for (id, there) in ids.iter().zip(store.has_many(ids)) {
            if !there? && !self.is_elsewhere(id)? && open.insert(*id) {
                wanted.push(*id);
            }
        }
        if open.len() > MOST_OPEN {
            return Err(client("it sends an index without end and no chunks"));
        }
        for ids in wanted.chunks(AT_ONCE) {
            Frame::Request { urgent: false, ids: ids.into() }.write(output).map_err(lost)?;
        }
        output.flush().map_err(lost)
    }

    fn is_elsewhere(&self, id: &ChunkId) -> Result<bool> {
        for store in self.others {
            if store.has(id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Verifies a chunk and puts it into the store.
    fn keep(&self, chunk: &CodedChunk, index: &NewIndex<'_>, decoder: &mut Decoder) -> Result<()> {
        let (Some(store), Some(digest), Some(sizes)) =
            (self.store, index.stream.digest(), index.stream.sizes())
        else {
            return Err(client("it sent a chunk before the index"));
        };
        chunk.open(digest, decoder, sizes.max()).map_err(misread)?;
        store.put(chunk)
    }
}

/// An index that is being received, in a file without a name: whatever ends us, nothing is left of it.
struct NewIndex<'a> {
    path: &'a Path,
    file: File,
    stream: IndexStream,
    is_complete: bool,
}

impl<'a> NewIndex<'a> {
    fn create(path: &'a Path) -> Result<Self> {
        // Dropped, it loses its name.
        let file = NewFile::create(path, MODE).and_then(|new| new.file().try_clone());
        let file = file.map_err(Error::io("write index", path))?;
        Ok(Self { path, file, stream: IndexStream::default(), is_complete: false })
    }

    /// Writes the next bytes, and returns the ids in them.
    fn add(&mut self, bytes: &[u8]) -> Result<Vec<ChunkId>> {
        let mut ids = Vec::new();
        self.stream.feed(bytes, |id| ids.push(id)).map_err(misread)?;
        self.file.write_all(bytes).map_err(Error::io("write index", self.path))?;
        Ok(ids)
    }

    /// Puts it in its place, if it is a proper index.
    fn install(mut self, flush: bool) -> Result<()> {
        self.file.rewind().map_err(Error::io("read index", self.path))?;
        Index::read(BufReader::new(&self.file)).map_err(misread)?;
        self.write_to_its_place(flush).map_err(Error::io("write index", self.path))
    }

    fn write_to_its_place(&mut self, flush: bool) -> io::Result<()> {
        self.file.rewind()?;
        let new = NewFile::create(self.path, MODE)?;
        io::copy(&mut self.file, &mut new.file())?;
        new.commit(flush)
    }
}
