//! Reading and writing indexes, wherever they are. Files appear whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use cairn_formats::Index;

use crate::local::Output;
use crate::open::{read_remote_index, write_remote_index};
use crate::{Error, Location, RemoteOptions, Result};

/// Reads an index from a file, from standard input for `-`, or from a place far away.
pub fn read_index(location: &Location, remote: &RemoteOptions) -> Result<Index> {
    let index = match location {
        Location::Stdio => Index::read(io::stdin().lock()),
        Location::Local(path) => {
            let file = File::open(path).map_err(Error::io("open index", path))?;
            let len = file.metadata().map_or(0, |metadata| metadata.len());
            Index::read_sized(file, len)
        }
        Location::Remote { .. } => return read_remote_index(location, remote),
    };
    index.map_err(|e| match (e, location) {
        (cairn_formats::Error::Io(source), Location::Local(path)) => {
            Error::io("read index", path)(source)
        }
        (source, _) => Error::invalid(location.to_string())(source),
    })
}

/// Writes an index to a file or a place far away, where it appears whole or not at all, or for `-` to
/// standard output. `mode` is that of a new file, before the umask.
pub fn write_index(
    location: &Location,
    index: &Index,
    (mode, flush): (u32, bool),
    remote: &RemoteOptions,
) -> Result<()> {
    match location {
        Location::Stdio => {
            let mut output = io::stdout().lock();
            let written = index.write(&mut output).and_then(|()| output.flush());
            written.map_err(Error::io("write index to", "standard output"))
        }
        Location::Local(path) => {
            write_file(path, index, mode, flush).map_err(Error::io("write index", path))
        }
        Location::Remote { .. } => write_remote_index(location, index, remote),
    }
}

fn write_file(path: &Path, index: &Index, mode: u32, flush: bool) -> io::Result<()> {
    let new = Output::create(path, mode)?;
    let mut output = BufWriter::new(new.file());
    index.write(&mut output)?;
    output.flush()?;
    drop(output);
    new.commit(flush)
}
