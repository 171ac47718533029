//! The list of ids that makes up a blob: `.caibx`, and `.caidx` for the stream of an archive.
//!
//! ```text
//! INDEX   size=48  type  feature flags  min  avg  max            6 words
//! TABLE   size=2^64-1  type                                      2 words
//! item    end offset of the chunk, id                            1 word + 32 bytes, n times
//! tail    0  0  48  size of TABLE = 16 + 40 n + 40  marker       5 words
//! ```
//! All words are little-endian. Items and tail have the same size on purpose: a reader takes a
//! unit for the tail when all its five words say so, and then the file must end.

use std::io::{self, Read, Write};
use std::ops::Range;

use crate::digest::Hasher;
use crate::wire::{read_full, word};
use crate::{ChunkId, ChunkSizes, Digest, Error, Result, flags};

const INDEX_TYPE: u64 = 0x9682_4d9c_7b12_9ff9;
const TABLE_TYPE: u64 = 0xe75b_9e11_2f17_417d;
const TAIL_MARKER: u64 = 0x4b4f_050e_5549_ecd1;
pub(crate) const HEADER_LEN: usize = 48;
pub(crate) const TABLE_HEADER_LEN: usize = 16;
pub(crate) const ITEM_LEN: usize = 40;

/// Items read or written at once; their bytes fit a first-level cache.
const ITEMS_AT_ONCE: usize = 256;

/// Where the chunks of a blob are, and what they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    flags: u64,
    sizes: ChunkSizes,
    /// Strictly increasing ends, each at most `sizes.max()` after the one before.
    items: Vec<Item>,
}

/// One item, as in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    end: u64,
    id: ChunkId,
}

/// One chunk of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexChunk {
    /// Where it starts in the blob, in bytes.
    pub start: u64,
    /// How long it is, in bytes: at least 1, at most the index's largest size.
    pub len: usize,
    /// What it is called.
    pub id: ChunkId,
}

impl IndexChunk {
    /// Where the next chunk starts.
    pub fn end(&self) -> u64 {
        self.start + self.len as u64
    }
}

impl Index {
    /// How many bytes an item has, and the tail.
    pub const ITEM_LEN: usize = ITEM_LEN;

    /// An index of a blob, still without chunks.
    pub fn of_blob(digest: Digest, sizes: ChunkSizes) -> Self {
        Self { flags: flags::of_blob(digest), sizes, items: Vec::new() }
    }

    /// The same list as the index of an archive with this feature word, which must be a valid one.
    pub fn with_flags(self, flags: u64) -> Self {
        assert!(flags::check(flags).is_ok() && flags::digest(flags) == self.digest());
        Self { flags, ..self }
    }

    /// Appends the next chunk. Its length must be in `1..=sizes().max()`.
    pub fn push(&mut self, id: ChunkId, len: usize) {
        assert!((1..=self.sizes.max()).contains(&len), "a chunk of {len} bytes");
        self.items.push(Item { end: self.blob_size() + len as u64, id });
    }

    /// The feature word.
    pub fn flags(&self) -> u64 {
        self.flags
    }

    /// The digest its ids are made with.
    pub fn digest(&self) -> Digest {
        flags::digest(self.flags)
    }

    /// The sizes the blob was cut by.
    pub fn sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// How many chunks the blob has.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the blob is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The size of the blob in bytes.
    pub fn blob_size(&self) -> u64 {
        self.items.last().map_or(0, |item| item.end)
    }

    /// The chunk at a position in the list. Panics beyond the last.
    pub fn chunk(&self, position: usize) -> IndexChunk {
        let Item { end, id } = self.items[position];
        let start = if position == 0 { 0 } else { self.items[position - 1].end };
        IndexChunk { start, len: (end - start) as usize, id }
    }

    /// All chunks in the order of the blob.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = IndexChunk> + '_ {
        (0..self.items.len()).map(|position| self.chunk(position))
    }

    /// The position of the chunk that holds the byte `at`; the number of chunks if that is behind the
    /// end.
    pub fn position_at(&self, at: u64) -> usize {
        self.items.partition_point(|item| item.end <= at)
    }

    /// Splits a range of positions into runs of about `bytes` each, at least one chunk.
    pub fn batches(
        &self,
        range: Range<usize>,
        bytes: u64,
    ) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut next = range.start;
        std::iter::from_fn(move || {
            let from = (next < range.end).then_some(next)?;
            let limit = self.chunk(from).start.saturating_add(bytes);
            let fitting = self.items[from..range.end].partition_point(|item| item.end <= limit);
            next = from + fitting.max(1);
            Some(from..next)
        })
    }

    /// Whether these are the first bytes of an index, of which 16 are enough.
    pub fn begins_with(bytes: &[u8]) -> bool {
        bytes.len() >= 16 && word(bytes, 0) == HEADER_LEN as u64 && word(bytes, 8) == INDEX_TYPE
    }

    /// Reads an index to the end of the input, which must be the end of the index.
    ///
    /// Nothing is allocated from a number in the file: memory grows with the items that are there.
    pub fn read(input: impl Read) -> Result<Self> {
        Self::read_sized(input, 0)
    }

    /// As [`Index::read`], with memory made ready for a file of `len` bytes. That is only a hint, and
    /// must come from the system.
    pub fn read_sized(mut input: impl Read, len: u64) -> Result<Self> {
        let (flags, sizes) = read_header(&mut input)?;
        let mut index = Self { flags, sizes, items: Vec::new() };
        let rest = len.saturating_sub((HEADER_LEN + TABLE_HEADER_LEN + ITEM_LEN) as u64);
        // A sparse file may be longer than memory: then it grows with the items, too.
        let _ = index.items.try_reserve_exact(rest as usize / ITEM_LEN);
        let mut buffer = vec![0; ITEM_LEN * ITEMS_AT_ONCE];
        loop {
            let got = read_full(&mut input, &mut buffer)?;
            let (units, rest) = buffer[..got].as_chunks::<ITEM_LEN>();
            for (position, unit) in units.iter().enumerate() {
                if !index.is_tail(unit) {
                    index.push_unit(unit)?;
                    continue;
                }
                if position + 1 < units.len()
                    || !rest.is_empty()
                    || read_full(&mut input, &mut [0])? > 0
                {
                    return Err(index.bad("bytes follow its tail"));
                }
                return Ok(index);
            }
            if got < buffer.len() {
                return Err(index.bad("it is cut off: the tail is missing"));
            }
        }
    }

    /// What names the index itself: the digest of the bytes it is written as.
    pub fn fingerprint(&self) -> ChunkId {
        let mut digested = Digested(Digest::Sha512_256.hasher());
        self.write(&mut digested).expect("a digest takes all bytes");
        digested.0.finish()
    }

    /// Writes the index, as casync would.
    pub fn write(&self, mut output: impl Write) -> io::Result<()> {
        let header = [
            HEADER_LEN as u64,
            INDEX_TYPE,
            self.flags,
            self.sizes.min() as u64,
            self.sizes.avg() as u64,
            self.sizes.max() as u64,
            u64::MAX,
            TABLE_TYPE,
        ];
        let mut buffer = Vec::with_capacity(ITEM_LEN * ITEMS_AT_ONCE);
        buffer.extend(header.iter().flat_map(|word| word.to_le_bytes()));
        for items in self.items.chunks(ITEMS_AT_ONCE) {
            output.write_all(&buffer)?;
            buffer.clear();
            for item in items {
                buffer.extend_from_slice(&item.end.to_le_bytes());
                buffer.extend_from_slice(item.id.as_bytes());
            }
        }
        buffer.extend(self.tail().iter().flat_map(|word| word.to_le_bytes()));
        output.write_all(&buffer)
    }

    /// How many bytes [`Index::write`] writes.
    pub fn file_size(&self) -> u64 {
        (HEADER_LEN + TABLE_HEADER_LEN + ITEM_LEN * (self.len() + 1)) as u64
    }

    /// The tail that belongs after the items read or pushed so far.
    fn tail(&self) -> [u64; 5] {
        let table_size = TABLE_HEADER_LEN + ITEM_LEN * (self.len() + 1);
        [0, 0, HEADER_LEN as u64, table_size as u64, TAIL_MARKER]
    }

    fn is_tail(&self, unit: &[u8; ITEM_LEN]) -> bool {
        self.tail().iter().enumerate().all(|(i, &expected)| word(unit, 8 * i) == expected)
    }

    fn push_unit(&mut self, unit: &[u8; ITEM_LEN]) -> Result<()> {
        let end = word(unit, 0);
        let last = self.blob_size();
        if end <= last {
            let why = if end == 0 {
                "an item ends at offset 0, or the tail is damaged".to_owned()
            } else {
                format!("chunk {} ends at {end}, not after {last}", self.len())
            };
            return Err(self.bad(why));
        }
        if end - last > self.sizes.max() as u64 {
            let (len, max) = (end - last, self.sizes.max());
            return Err(self.bad(format!("chunk {} has {len} bytes, more than {max}", self.len())));
        }
        let id = unit.last_chunk().expect("an item holds an id");
        self.items.push(Item { end, id: ChunkId::from_bytes(*id) });
        Ok(())
    }

    /// An error at the item that would be read next.
    fn bad(&self, why: impl Into<String>) -> Error {
        let at = HEADER_LEN + TABLE_HEADER_LEN + ITEM_LEN * self.len();
        Error::BadIndex { at: at as u64, why: why.into() }
    }
}

pub(crate) fn read_header(input: &mut impl Read) -> Result<(u64, ChunkSizes)> {
    let mut header = [0; HEADER_LEN + TABLE_HEADER_LEN];
    let got = read_full(input, &mut header)?;
    if got == 0 {
        return Err(Error::NotAnIndex { why: "it is empty".to_owned() });
    }
    if !Index::begins_with(&header[..got]) {
        let why = "it does not begin with an index header".to_owned();
        return Err(Error::NotAnIndex { why });
    }
    let bad = |at, why: &str| Error::BadIndex { at, why: why.to_owned() };
    if got < header.len() {
        return Err(bad(got as u64, "it is cut off inside its header"));
    }
    let flags = word(&header, 16);
    flags::check(flags)?;
    let sizes = ChunkSizes::recorded(word(&header, 24), word(&header, 32), word(&header, 40));
    let sizes = sizes.map_err(|e| bad(24, &e.to_string()))?;
    if word(&header, 48) != u64::MAX || word(&header, 56) != TABLE_TYPE {
        return Err(bad(48, "no chunk table follows the header"));
    }
    Ok((flags, sizes))
}

/// A digest that can be written to.
struct Digested(Hasher);

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(chunks: usize) -> Index {
        let mut index = Index::of_blob(Digest::Sha512_256, ChunkSizes::default());
        for i in 0..chunks {
            index.push(ChunkId::from_bytes([i as u8; 32]), 1 + i * 1000 % 200_000);
        }
        index
    }

    fn bytes(index: &Index) -> Vec<u8> {
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        bytes
    }

    fn read_error(bytes: &[u8]) -> String {
        Index::read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn written_indexes_read_back() {
        for chunks in [0, 1, 2, ITEMS_AT_ONCE - 1, ITEMS_AT_ONCE, ITEMS_AT_ONCE + 1, 1000] {
            let index = sample(chunks);
            let bytes = bytes(&index);
            assert_eq!(bytes.len() as u64, index.file_size());
            assert_eq!(bytes.len(), 104 + 40 * chunks);
            assert_eq!(Index::read(&bytes[..]).unwrap(), index);
        }
    }

    #[test]
    fn chunks_know_where_they_are() {
        let index = sample(3);
        let chunks: Vec<_> = index.chunks().map(|chunk| (chunk.start, chunk.len)).collect();
        assert_eq!(chunks, [(0, 1), (1, 1001), (1002, 2001)]);
        assert_eq!(index.blob_size(), 3003);
        let at = [0, 1, 1001, 1002, 3002, 3003, u64::MAX].map(|at| index.position_at(at));
        assert_eq!(at, [0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn batches_cover_a_range_in_order() {
        let index = sample(100);
        for bytes in [0, 1, 5000, 1 << 20, u64::MAX] {
            let batches: Vec<_> = index.batches(3..90, bytes).collect();
            assert!(batches.iter().cloned().flatten().eq(3..90));
            for batch in batches.iter().filter(|batch| batch.len() > 1) {
                assert!(index.chunk(batch.end - 1).end() - index.chunk(batch.start).start <= bytes);
            }
        }
        assert_eq!(index.batches(5..5, 1).count(), 0);
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = bytes(&sample(3));
        for len in 0..bytes.len() {
            assert!(Index::read(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        for chunks in [0, 1, ITEMS_AT_ONCE - 2, ITEMS_AT_ONCE - 1, ITEMS_AT_ONCE] {
            for more in [1, 39, 40, 41] {
                let mut bytes = bytes(&sample(chunks));
                bytes.resize(bytes.len() + more, 0);
                assert!(read_error(&bytes).contains("follow"), "{chunks} chunks, {more} more");
            }
        }
    }

    #[test]
    fn damaged_words_are_refused() {
        let good = bytes(&sample(3));
        let item = |i: usize| 64 + 40 * i;
        for (at, value, expected) in [
            (0, 47, "not an index"),
            (8, TABLE_TYPE, "not an index"),
            (16, 1 << 50, "unknown feature flags"),
            (16, 3, "contradict"),
            (24, 0, "at least 1 byte"),
            (32, u64::MAX, "must not be greater"),
            (40, 1 << 40, "at most 128 MiB"),
            (40, 0, "at least 1 byte"),
            (48, 200, "no chunk table"),
            (56, INDEX_TYPE, "no chunk table"),
            (item(1), 1, "chunk 1 ends at 1, not after 1"),
            (item(1), 0, "ends at offset 0"),
            (item(1), 1 + 262_145, "more than 262144"),
            (item(2), u64::MAX, "more than 262144"),
            (item(3), 1, "not after"),
            (item(3) + 8, 1, "tail is damaged"),
            (item(3) + 16, 40, "tail is damaged"),
            (item(3) + 24, 16, "tail is damaged"),
            (item(3) + 32, 0, "tail is damaged"),
        ] {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
            let error = read_error(&bytes);
            assert!(error.contains(expected), "word {value:#x} at {at}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            mut garbage in prop::collection::vec(any::<u8>(), 0..300), keep in 0_usize..70,
        ) {
            let good = bytes(&sample(2));
            let keep = keep.min(garbage.len());
            garbage[..keep].copy_from_slice(&good[..keep]);
            let _ = Index::read(&garbage[..]);
        }
    }
}
