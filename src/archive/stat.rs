//! All that is known of one node of an archive.

use cairn_formats::catar::{Body, Found};
use cairn_formats::{ChunkId, flags};

use super::input::Input;
use super::walk::simple;
use crate::{Monitor, Result, Unit};

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its path in the archive; empty for the root.
    pub path: Vec<u8>,
    /// The node, and where it lies.
    pub found: Found,
    /// What the archive records.
    pub features: u64,
    /// The digest of the bytes of a file.
    pub content: Option<ChunkId>,
    /// The digest of metadata and bytes, of all but directories: files of which it is the same may be links to
    /// one.
    pub whole: Option<ChunkId>,
}

/// Looks up a node, and digests it.
pub fn stat(input: &Input, path: &[u8], workers: usize, monitor: &dyn Monitor) -> Result<Stat> {
    let archive = input.archive()?;
    let found = input.find(&archive, path)?;
    let features = archive.features();
    let mut stat = Stat { path: simple(path), found, features, content: None, whole: None };
    if !stat.found.node.is_directory() {
        monitor.start("Reading", Unit::Bytes, Some(stat.found.end - stat.found.start));
        let digested = digest(input, &mut stat, workers, monitor);
        monitor.finish();
        digested?;
    }
    Ok(stat)
}

/// Digests metadata and bytes in one pass.
fn digest(input: &Input, stat: &mut Stat, workers: usize, monitor: &dyn Monitor) -> Result<()> {
    let Found { start, body, end, .. } = stat.found;
    let digest = flags::digest(stat.features);
    let (mut whole, mut content) = (digest.hasher(), digest.hasher());
    input.in_whole(start..end, workers, monitor, |from| {
        let mut buffer = vec![0; 256 << 10];
        let mut at = start;
        while at < end {
            // Metadata and bytes are not mixed in one buffer.
            let until = if at < body { body } else { end };
            let most = buffer.len().min(usize::try_from(until - at).unwrap_or(usize::MAX));
            from.read_exact(&mut buffer[..most]).map_err(|e| input.unreadable(e))?;
            monitor.check()?;
            monitor.advance(most as u64);
            whole.update(&buffer[..most]);
            if at >= body {
                content.update(&buffer[..most]);
            }
            at += most as u64;
        }
        Ok(())
    })?;
    let is_file = matches!(stat.found.node.body, Body::File(_));
    stat.content = is_file.then(|| content.finish());
    stat.whole = Some(whole.finish());
    Ok(())
}
