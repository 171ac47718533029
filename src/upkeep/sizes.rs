//! What chunks take in a store, as a list for other programs: JSON in desync's form.
//!
//! ```json
//! [
//!   { "id": "4e2a…", "uncompressed_size": 65536, "compressed_size": 20112 }
//! ]
//! ```
//! The stored size is left out where it is not known.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

use cairn_formats::{ChunkId, Index, IndexChunk};
use cairn_store::{PruneStore, Stored};
use serde::Deserialize;

use crate::{Error, Monitor, Result};

/// Sizes of a chunk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Its own.
    pub plain: u64,
    /// What it takes in a store; 0 if that is not known.
    pub stored: u64,
}

/// The sizes of chunks, by their ids.
pub type SizesById = HashMap<ChunkId, Sizes>;

/// Writes the sizes of all chunks of an index, in its order, to a file by this name.
pub fn write(
    index: &Index,
    store: Option<&dyn PruneStore>,
    mut output: impl Write,
    path: &Path,
    monitor: &dyn Monitor,
) -> Result<()> {
    let written = |e| Error::io("write to", path)(e);
    if index.is_empty() {
        return output.write_all(b"null\n").map_err(written);
    }
    for (position, chunk) in index.chunks().enumerate() {
        monitor.check()?;
        let facts = store.map(|store| store.facts(&Stored::Chunk(chunk.id))).transpose()?.flatten();
        let before = if position == 0 { "[\n" } else { ",\n" };
        let stored = facts.map_or(0, |facts| facts.len);
        write_one(&mut output, before, &chunk, stored).map_err(written)?;
    }
    output.write_all(b"\n]\n").map_err(written)
}

fn write_one(
    output: &mut impl Write,
    before: &str,
    chunk: &IndexChunk,
    stored: u64,
) -> io::Result<()> {
    write!(output, "{before}  {{\n    \"id\": \"{}\",\n", chunk.id)?;
    write!(output, "    \"uncompressed_size\": {}", chunk.len)?;
    if stored > 0 {
        write!(output, ",\n    \"compressed_size\": {stored}")?;
    }
    output.write_all(b"\n  }")
}

/// Reads such a list, by whichever program it was made. As in desync, ids may be in upper case.
pub fn read(path: &Path) -> Result<SizesById> {
    /// As it stands in the file.
    #[derive(Deserialize)]
    struct Listed {
        id: String,
        #[serde(default)]
        uncompressed_size: u64,
        #[serde(default)]
        compressed_size: u64,
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    let listed: Option<Vec<Listed>> = serde_json::from_reader(BufReader::new(file))
        .map_err(|e| Error::file(path, format!("not a list of chunk sizes: {e}")))?;
    let listed = listed.unwrap_or_default().into_iter();
    let by_id = listed.map(|Listed { id, uncompressed_size, compressed_size }| {
        let sizes = Sizes { plain: uncompressed_size, stored: compressed_size };
        Ok((id.to_ascii_lowercase().parse().map_err(|e| Error::file(path, format!("{e}")))?, sizes))
    });
    by_id.collect()
}
