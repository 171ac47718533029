//! All that is known of one node of an archive.

use std::os::fd::AsFd;
use std::path::Path;

use cairn_formats::catar::{Body, Found};
use cairn_formats::{ChunkId, flags};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::input::Input;
use super::walk::simple;
use crate::tree::Shift;
use crate::tree::attributes;
use crate::tree::record::Recorder;
use crate::{Error, Monitor, Result, Unit};

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
    /// Whether it has a project whose quota counts, be it number 0. Of archives only the number says so.
    pub has_project: bool,
}

/// What an archive of a directory would say of the directory itself.
pub fn stat_directory(root: &Path, features: u64, shift: Option<Shift>) -> Result<Stat> {
    let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, root, open, Mode::empty());
    let directory = directory.map_err(|e| Error::io("open", root)(e.into()))?;
    let has_project =
        features & flags::QUOTA_PROJID != 0 && attributes::has_project(directory.as_fd());
    let recorded = Recorder::new(features, shift).record_root(directory);
    let node = recorded.map_err(|failure| failure.at(root))?.node;
    let found = Found { node, start: 0, body: 0, end: 0 };
    Ok(Stat { path: Vec::new(), found, features, content: None, whole: None, has_project })
}

/// Looks up a node, and digests it.
pub fn stat(input: &Input, path: &[u8], workers: usize, monitor: &dyn Monitor) -> Result<Stat> {
    let archive = input.archive()?;
    let found = input.find(&archive, path)?;
    let features = archive.features();
    let has_project = found.node.projid != 0;
    let path = simple(path);
    let mut stat = Stat { path, found, features, content: None, whole: None, has_project };
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
