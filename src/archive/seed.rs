//! A tree that holds chunks of another archive: a seed.
//!
//! ```text
//! tree -(packed, cut and hashed, but stored nowhere)-> ids, and where their bytes are in the tree
//! id   -> records and parts of files -> bytes, which whoever takes them verifies
//! ```
//! What has changed since is not handed out, so that a tree may be a seed while it is being written to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cairn_formats::{ChunkId, CodedChunk, Coding, Index};
use cairn_store::{Result as StoreResult, Store};

use crate::archive::pack::{Map, map};
use crate::make::MakeOptions;
use crate::{Monitor, Result};

/// A tree whose files are a store of chunks.
#[derive(Debug)]
pub struct TreeSeed {
    root: PathBuf,
    map: Map,
    /// Where in the archive the tree would be each chunk begins, and its length in bytes.
    chunks: HashMap<ChunkId, (u64, usize)>,
}

impl TreeSeed {
    /// Reads a tree as the archive of an index was made: only then are chunks the same.
    pub fn scan(root: &Path, index: &Index, workers: usize, monitor: &dyn Monitor) -> Result<Self> {
        let options = MakeOptions {
            sizes: index.sizes(),
            digest: index.digest(),
            workers,
            ..MakeOptions::default()
        };
        let mut chunks = HashMap::new();
        let mut at = 0;
        let map = map(root, index.flags(), &options, monitor, &mut |run| {
            chunks.entry(run.id).or_insert((at, run.len));
            at += run.count * run.len as u64;
        })?;
        Ok(Self { root: root.to_owned(), map, chunks })
    }

    /// How many chunks of an index it has.
    pub fn common(&self, index: &Index) -> usize {
        index.chunks().filter(|chunk| self.chunks.contains_key(&chunk.id)).count()
    }
}

impl Store for TreeSeed {
    fn get(&self, id: &ChunkId) -> StoreResult<Option<CodedChunk>> {
        let Some(&(at, len)) = self.chunks.get(id) else { return Ok(None) };
        // What cannot be read any more is not there any more.
        let bytes = self.map.read(&self.root, at, len).unwrap_or_default();
        Ok(bytes.map(|bytes| CodedChunk::new(*id, Coding::Plain, bytes)))
    }

    fn has(&self, id: &ChunkId) -> StoreResult<bool> {
        Ok(self.chunks.contains_key(id))
    }

    fn name(&self) -> String {
        self.root.display().to_string()
    }
}
