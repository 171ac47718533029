//! An archive in parts that workers take: data to be read, holes, and chunks that are known.
//!
//! ```text
//! segments -+-----------------------------------> data | hole | data ...
//!           +- queue -(verdicts of the matcher)-> data | known chunks | data ...
//! ```

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use super::encoded::Slice;
use super::later::Later;
use crate::archive::encoder_cache::{Atom, EncoderCache, Matcher, Start, Verdict};
use crate::archive::step::Origin;
use crate::make::source::SHORTEST_HOLE;

/// Bytes that one part of known chunks stands for, about. Nobody has to hold them.
const KNOWN: u64 = 16 << 20;

/// A part of an archive.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// Data of so many bytes.
    Data(Vec<Segment<'a>>, usize),
    /// So many zeros of a file that nobody has to read.
    Hole(Arc<Origin>, u64),
    /// Chunks of an earlier archive.
    Known(Known<'a>),
}

/// Chunks that need not be read, and what they would be read from.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    /// Each with where in the archive it begins, and behind which segment it ends.
    pub(super) chunks: Vec<(u64, Start, usize)>,
    pub(super) segments: Vec<Segment<'a>>,
    /// Bytes of all of them.
    pub(super) len: u64,
}

/// Bytes that come together.
#[derive(Debug)]
pub(super) enum Segment<'a> {
    Bytes(Vec<u8>),
    /// Those of records.
    Records(Slice<'a>),
    /// Bytes of an open file, from this place on.
    File(Arc<Origin>, u64, usize),
    /// Bytes of one that is not open.
    Later(Unread<'a>, u64, usize),
    /// So many zeros of a file.
    Zeros(Arc<Origin>, usize),
}

/// A file that is not open, and its name.
#[derive(Clone, Debug)]
pub(super) struct Unread<'a> {
    pub(super) file: Later,
    pub(super) name: Slice<'a>,
}

impl Part<'_> {
    /// How many bytes of the archive it is.
    pub(super) fn len(&self) -> u64 {
        match self {
            Part::Data(_, len) => *len as u64,
            Part::Hole(_, len) => *len,
            Part::Known(known) => known.len,
        }
    }
}

impl Segment<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::Records(records) => records.bytes().len(),
            Segment::File(.., len) | Segment::Later(.., len) | Segment::Zeros(_, len) => *len,
        }
    }

    /// The first so many bytes, and the others.
    fn split(self, at: usize) -> (Self, Self) {
        let rest = self.len() - at;
        match self {
            Segment::Bytes(mut bytes) => {
                let rest = bytes.split_off(at);
                (Segment::Bytes(bytes), Segment::Bytes(rest))
            }
            Segment::Records(records) => {
                let (some, rest) = records.split(at);
                (Segment::Records(some), Segment::Records(rest))
            }
            Segment::File(file, from, _) => (
                Segment::File(Arc::clone(&file), from, at),
                Segment::File(file, from + at as u64, rest),
            ),
            Segment::Later(file, from, _) => (
                Segment::Later(file.clone(), from, at),
                Segment::Later(file, from + at as u64, rest),
            ),
            Segment::Zeros(file, _) => {
                (Segment::Zeros(Arc::clone(&file), at), Segment::Zeros(file, rest))
            }
        }
    }
}

/// Parts as they become complete.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// The most data in a part, in bytes.
    window: usize,
    /// Records that follow one another.
    records: Vec<u8>,
    /// The part that is being filled, and its length but for the records.
    segments: Vec<Segment<'a>>,
    len: usize,
    /// Known chunks that follow one another.
    known: Known<'a>,
    ready: VecDeque<Part<'a>>,
    /// Those the cache does not know of yet.
    atoms: Vec<Atom>,
    cache: Option<&'a EncoderCache>,
    matching: Option<Matching<'a>>,
}

/// What waits for a verdict.
#[derive(Debug)]
struct Matching<'a> {
    matcher: Matcher<'a>,
    queue: VecDeque<Segment<'a>>,
}

impl<'a> Parts<'a> {
    /// Parts of at most `window` bytes of data.
    pub(super) fn new(window: usize, cache: Option<&'a EncoderCache>) -> Self {
        let matching = cache.and_then(EncoderCache::matcher);
        let matching = matching.map(|matcher| Matching { matcher, queue: VecDeque::new() });
        Self {
            window,
            records: Vec::new(),
            segments: Vec::new(),
            len: 0,
            known: Known::default(),
            ready: VecDeque::new(),
            atoms: Vec::new(),
            cache,
            matching,
        }
    }

    /// Records of a batch that come next.
    pub(super) fn add_records(&mut self, records: Slice<'a>) {
        match &mut self.matching {
            Some(Matching { queue, .. }) => queue.push_back(Segment::Records(records)),
            None => self.records.extend_from_slice(records.bytes()),
        }
    }

    /// The table of a directory, which comes next.
    pub(super) fn add_table(&mut self, table: Vec<u8>) {
        match &mut self.matching {
            Some(Matching { queue, .. }) => {
                // Of a large one chunks take parts, which must not be copies.
                let range = 0..table.len();
                queue.push_back(Segment::Records(Slice::Batch(Arc::new(table), range)));
            }
            None => self.records.extend_from_slice(&table),
        }
    }

    /// Other bytes that come next.
    pub(super) fn add(&mut self, segment: Segment<'a>) {
        if let Some(Matching { queue, .. }) = &mut self.matching {
            queue.push_back(segment);
            return;
        }
        self.end_records();
        self.place(segment);
    }

    /// What was added since the last time is one atom.
    pub(super) fn end_atom(&mut self, atom: Atom) {
        if self.cache.is_some() {
            self.atoms.push(atom);
        }
        if let Some(Matching { matcher, .. }) = &mut self.matching {
            matcher.push(atom);
        }
        self.obey();
        self.cut();
    }

    /// All has been added.
    pub(super) fn finish(&mut self) {
        if let Some(Matching { matcher, .. }) = &mut self.matching {
            matcher.finish();
        }
        self.obey();
        self.flush();
        self.flush_known();
    }

    /// The parts that have become complete.
    pub(super) fn take(&mut self) -> VecDeque<Part<'a>> {
        if let Some(cache) = self.cache {
            cache.laid_out(self.atoms.drain(..));
        }
        mem::take(&mut self.ready)
    }

    /// Drops all parts, complete or not.
    pub(super) fn forget(&mut self) {
        self.ready.clear();
        self.segments.clear();
        self.records.clear();
        self.len = 0;
    }

    /// Does what the matcher says.
    fn obey(&mut self) {
        while let Some(Matching { matcher, queue }) = &mut self.matching
            && let Some(verdict) = matcher.verdict()
        {
            match verdict {
                Verdict::Read(len) => {
                    let mut segments = Vec::new();
                    take(queue, len, &mut segments);
                    self.flush_known();
                    segments.into_iter().for_each(|segment| self.place(segment));
                }
                Verdict::Known(at, start) => {
                    let Known { chunks, segments, len } = &mut self.known;
                    take(queue, start.len.into(), segments);
                    chunks.push((at, start, segments.len()));
                    *len += u64::from(start.len);
                    self.flush();
                    if self.known.len >= KNOWN {
                        self.flush_known();
                    }
                }
            }
        }
    }

    /// Puts bytes into the part that is being filled, cut where it ends.
    fn place(&mut self, mut segment: Segment<'a>) {
        if matches!(&segment, Segment::Zeros(_, len) if *len as u64 >= SHORTEST_HOLE) {
            self.flush();
            if let Segment::Zeros(file, len) = segment {
                self.ready.push_back(Part::Hole(file, len as u64));
            }
            return;
        }
        while segment.len() > 0 {
            self.cut();
            let room = self.window.saturating_sub(self.len).max(1);
            let is_here = matches!(segment, Segment::Bytes(_) | Segment::Records(..));
            let is_one = segment.len() <= room || is_here;
            let (some, rest) =
                if is_one { (segment, Segment::Bytes(Vec::new())) } else { segment.split(room) };
            self.len += some.len();
            self.segments.push(some);
            segment = rest;
        }
    }

    /// Ends the part if it is long enough.
    fn cut(&mut self) {
        if self.len + self.records.len() >= self.window {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.end_records();
        if self.len > 0 {
            let (segments, len) = (mem::take(&mut self.segments), mem::take(&mut self.len));
            self.ready.push_back(Part::Data(segments, len));
        }
    }

    fn flush_known(&mut self) {
        if self.known.len > 0 {
            let known = mem::take(&mut self.known);
            if let Some(cache) = self.cache {
                cache.found_again(known.chunks.iter().map(|&(at, start, _)| (at, start)));
            }
            self.ready.push_back(Part::Known(known));
        }
    }

    fn end_records(&mut self) {
        if !self.records.is_empty() {
            self.len += self.records.len();
            self.segments.push(Segment::Bytes(mem::take(&mut self.records)));
        }
    }
}

/// Takes so many bytes from the front of a queue that has them.
fn take<'a>(queue: &mut VecDeque<Segment<'a>>, mut len: u64, taken: &mut Vec<Segment<'a>>) {
    while len > 0 {
        let segment = queue.pop_front().expect("verdicts are about what is in the queue");
        if segment.len() as u64 <= len {
            len -= segment.len() as u64;
            taken.push(segment);
        } else {
            let (some, rest) = segment.split(len as usize);
            queue.push_front(rest);
            taken.push(some);
            len = 0;
        }
    }
}
