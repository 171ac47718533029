//! Chunks that are known without cutting: looked for in the store, and cut anew only where the cuts before do not
//! lead up to them.

use std::sync::atomic::Ordering;

use cairn_formats::{Chunk, ChunkId};

use super::source::Known;
use super::{Job, Repeated};
use crate::Result;
use crate::buffer::Buffer;
use crate::storing::Coders;

impl Job<'_> {
    /// Takes chunks that are known. `None` if another worker has failed.
    pub(super) fn pass(
        &self,
        number: u64,
        known: &mut Known<'_>,
        buffer: &mut Buffer,
        coders: &mut Option<Coders>,
    ) -> Result<Option<Vec<Repeated>>> {
        let Some(begun) =
            self.stitcher.take(number, |stitcher| -> Result<(Vec<Repeated>, usize)> {
                let (mut runs, mut nth) = (Vec::new(), 0);
                while !stitcher.is_at_cut() && nth < known.chunks.len() {
                    let (id, len) = known.chunks[nth];
                    if len == self.cutter.zero_run() && id == self.zeros().id() {
                        // Of endless zeros there is nothing to be read.
                        nth += 1;
                        let pieces = stitcher.hole(len as u64);
                        let (named, chunks) = self.name(&pieces, &[]);
                        runs.extend(named);
                        self.put(&chunks, coders)?;
                        continue;
                    }
                    let window = buffer.front(known.chunks[nth].1);
                    (known.read)(nth, window)?;
                    nth += 1;
                    let guesses = self.cutter.cut_window(window);
                    let pieces = stitcher.window(window, &guesses);
                    let (named, chunks) = self.name(&pieces, window);
                    runs.extend(named);
                    self.put(&chunks, coders)?;
                }
                Ok((runs, nth))
            })
        else {
            return Ok(None);
        };
        let (mut runs, first) = begun?;
        let chunks = &known.chunks[first..];
        let ids: Vec<ChunkId> = chunks.iter().map(|&(id, _)| id).collect();
        let is_there = match &self.storing {
            Some(storing) => storing.have(&ids)?,
            None => vec![true; ids.len()],
        };
        for (nth, (&(id, len), is_there)) in chunks.iter().zip(is_there).enumerate() {
            if is_there {
                self.counts.known.fetch_add(1, Ordering::Relaxed);
                runs.push(Repeated { id, len, count: 1 });
                continue;
            }
            if self.stop.is_stopped() {
                return Ok(None);
            }
            let window = buffer.front(len);
            (known.read)(first + nth, window)?;
            // Named by what it is: a file may have changed since it was looked at.
            let chunk = Chunk::name(self.options.digest, &window[..]);
            runs.push(Repeated { id: chunk.id(), len, count: 1 });
            self.put(&[chunk], coders)?;
        }
        Ok(Some(runs))
    }
}
