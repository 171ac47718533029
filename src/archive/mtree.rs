//! What is in an archive, with digests, as lines of mtree(5).
//!
//! ```text
//! node -> small file? gathered -(2 MiB, digests side by side)-> lines
//!         other              --------------------------------> line
//! ```
//! A line stands there only if all its bytes have been read: what was cut short has none.

use std::io::{self, Read};
use std::ops::Range;

use cairn_formats::catar::Body;
use cairn_formats::mtree::{Form, HEADER, digest_word, line};
use cairn_formats::{ChunkId, Digest, flags};

use super::input::Input;
use super::lines::Lines;
use super::walk::{Visit, walk_content};
use crate::{Monitor, Result, Unit};

/// Files up to this size are digested together, in bytes.
const SMALL: u64 = 256 << 10;

/// Bytes of files digested at once: enough to fill the lanes of the hash kernel.
const GATHERED: usize = 2 << 20;

/// Lines that wait at most.
const WAITING: usize = 4096;

/// Writes the lines of a part of an archive.
pub fn mtree(
    input: &Input,
    path: &[u8],
    form: Form,
    workers: usize,
    lines: Lines<'_>,
    monitor: &dyn Monitor,
) -> Result<()> {
    let mut writer = Writer { input, form, monitor, lines, bytes: Vec::new(), waiting: Vec::new() };
    if form == Form::Desync {
        writer.lines.put(HEADER)?;
    }
    monitor.start("Reading", Unit::Bytes, input.size());
    let done = walk_content(input, path, workers, monitor, &mut |visit| writer.take(visit));
    // What was read whole before something failed is good.
    let flushed = writer.flush();
    monitor.finish();
    done?;
    flushed?;
    writer.lines.finish()
}

struct Writer<'a, 'o> {
    input: &'a Input,
    form: Form,
    monitor: &'a dyn Monitor,
    lines: Lines<'o>,
    /// The bytes of small files, one behind the other.
    bytes: Vec<u8>,
    waiting: Vec<Waiting>,
}

/// A line that is still to be written.
struct Waiting {
    line: String,
    features: u64,
    /// Where the bytes of a file are, whose digest it ends with.
    range: Option<Range<usize>>,
}

impl Writer<'_, '_> {
    fn take(&mut self, visit: Visit<'_>) -> Result<()> {
        self.monitor.check()?;
        let Visit { path, node, features, content } = visit;
        let is_file = matches!(node.body, Body::File(_));
        if is_file && node.size() > SMALL {
            self.flush()?;
            let digest = self.digest(features, content)?;
            let line = line(self.form, path, node, features) + &digest_word(features, &digest);
            return self.lines.put(&line);
        }
        let from = self.bytes.len();
        if is_file {
            // No more than the limit: the payload ends there.
            content.read_to_end(&mut self.bytes).map_err(|e| self.input.unreadable(e))?;
            self.monitor.advance(node.size());
        }
        let range = is_file.then_some(from..self.bytes.len());
        let line = line(self.form, path, node, features);
        self.waiting.push(Waiting { line, features, range });
        if self.bytes.len() >= GATHERED || self.waiting.len() >= WAITING {
            self.flush()?;
        }
        Ok(())
    }

    /// The digest of a large file.
    fn digest(&self, features: u64, content: &mut dyn Read) -> Result<ChunkId> {
        let mut hasher = flags::digest(features).hasher();
        let mut buffer = vec![0; SMALL as usize];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(read) => {
                    self.monitor.check()?;
                    self.monitor.advance(read as u64);
                    hasher.update(&buffer[..read]);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.input.unreadable(e)),
            }
        }
    }

    /// Writes the lines that wait.
    fn flush(&mut self) -> Result<()> {
        let digest = self.waiting.first().map_or(Digest::default(), |w| flags::digest(w.features));
        let ranges = self.waiting.iter().filter_map(|waiting| waiting.range.clone());
        let pieces: Vec<&[u8]> = ranges.map(|range| &self.bytes[range]).collect();
        let mut digests = digest.hash_many(&pieces).into_iter();
        for Waiting { mut line, features, range } in self.waiting.drain(..) {
            if let Some(digest) = range.and_then(|_| digests.next()) {
                line.push_str(&digest_word(features, &digest));
            }
            self.lines.put(&line)?;
        }
        self.bytes.clear();
        Ok(())
    }
}
