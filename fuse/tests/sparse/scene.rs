//! A blob with zeros in it, and what notes what is asked of it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cairn_formats::chunk::Chunk;
use cairn_formats::{ChunkSizes, Digest, Index, WriteCoding};
use cairn_fuse::{Bytes, Content, SparseFile, SparseOptions};
use cairn_store::testing::{Fault, Faulty};
use cairn_store::{Blob, ChunkCache, MemoryStore, Result, Store, WriteStore};
use tempfile::TempDir;

pub const LONGEST: usize = 16 << 10;

/// A blob, its index and store, and a directory.
pub struct Scene {
    pub plain: Vec<u8>,
    pub index: Arc<Index>,
    pub store: Arc<MemoryStore>,
    pub directory: TempDir,
}

impl Scene {
    /// About 300 chunks, each sixth of zeros.
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut chunks = Vec::new();
        for number in 0..300 {
            let zeros = number % 12 < 2;
            let len = if zeros { LONGEST } else { 1 + random.below(LONGEST as u64) as usize };
            chunks.push(if zeros { vec![0; len] } else { random.bytes(len) });
        }
        // Zeros that are not of the greatest length are a chunk as any other.
        chunks.push(vec![0; 1000]);
        Self::of(&chunks)
    }

    pub fn of(chunks: &[Vec<u8>]) -> Self {
        let store = MemoryStore::new(WriteCoding::Plain);
        let sizes = ChunkSizes::new(1, LONGEST / 4, LONGEST).unwrap();
        let mut index = Index::of_blob(Digest::default(), sizes);
        let mut encoder = cairn_formats::coding::Encoder::new(1);
        for plain in chunks {
            let chunk = Chunk::name(Digest::default(), plain.as_slice());
            index.push(chunk.id(), plain.len());
            store.put(&encoder.encode(&chunk, WriteCoding::Plain)).unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let (index, store) = (Arc::new(index), Arc::new(store));
        Self { plain: chunks.concat(), index, store, directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The blob as it comes from its store.
    pub fn within(&self) -> Arc<Within> {
        self.within_of(Arc::clone(&self.store) as Arc<dyn Store>)
    }

    /// The same with a store in which a get goes wrong, after so many good ones.
    pub fn faulty(&self, good: usize, fault: Fault) -> Arc<Within> {
        let store = MemoryStore::new(WriteCoding::Plain);
        for chunk in self.index.chunks() {
            store.put(&self.store.fetch(&chunk.id).unwrap()).unwrap();
        }
        self.within_of(Arc::new(Faulty::once_after(good, fault, store)))
    }

    pub fn within_of(&self, store: Arc<dyn Store>) -> Arc<Within> {
        let blob = Blob::new(Arc::clone(&self.index), store, Arc::new(ChunkCache::new(0)));
        Arc::new(Within { blob, asked: Mutex::default() })
    }

    /// The file `f`, with nothing known of it.
    pub fn open(&self, within: &Arc<Within>) -> SparseFile {
        self.open_with(within, &SparseOptions::default()).unwrap()
    }

    pub fn open_with(&self, within: &Arc<Within>, options: &SparseOptions) -> Result<SparseFile> {
        let within = Arc::clone(within) as Arc<dyn Content>;
        SparseFile::open(&self.path("f"), Arc::clone(&self.index), within, options)
    }

    /// Options with the state `s`.
    pub fn with_state(&self) -> SparseOptions {
        SparseOptions { state: Some(self.path("s")), init: None }
    }

    /// The file `f` filled up to half of the chunks, and its state `s`.
    pub fn half(&self) {
        let sparse = self.open(&self.within());
        let half: Vec<usize> = (0..self.index.len()).step_by(2).collect();
        sparse.fill(&half, 2, &false.into());
        sparse.save(&self.path("s")).unwrap();
    }

    pub fn span(&self, position: usize) -> Range<u64> {
        let chunk = self.index.chunk(position);
        chunk.start..chunk.end()
    }

    pub fn is_zeros(&self, position: usize) -> bool {
        let chunk = self.index.chunk(position);
        chunk.len == LONGEST && self.bytes(&self.span(position)).iter().all(|&byte| byte == 0)
    }

    pub fn bytes(&self, range: &Range<u64>) -> &[u8] {
        &self.plain[range.start as usize..range.end as usize]
    }

    /// The positions of what is there without asking anybody.
    pub fn there(&self, sparse: &SparseFile) -> Vec<usize> {
        (0..self.index.len()).filter(|&at| sparse.at_hand(self.span(at)).is_some()).collect()
    }

    /// Whatever is at hand must be right, and so must all that is read.
    #[track_caller]
    pub fn is_right(&self, sparse: &SparseFile) {
        for position in 0..self.index.len() {
            let span = self.span(position);
            if let Some(bytes) = sparse.at_hand(span.clone()) {
                assert!(*bytes == *self.bytes(&span), "chunk {position} at hand");
            }
        }
        assert!(*sparse.read(0..u64::MAX).unwrap() == *self.plain, "all that is read");
    }
}

/// The bytes of a blob, and a list of what was asked.
pub struct Within {
    blob: Blob,
    asked: Mutex<Vec<Range<u64>>>,
}

impl Within {
    /// What was asked so far, and forgets it.
    pub fn take(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Content for Within {
    fn size(&self) -> u64 {
        self.blob.size()
    }

    fn at_hand(&self, _range: Range<u64>) -> Option<Bytes> {
        None
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.asked.lock().unwrap().push(range.clone());
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let got = self.blob.read_at(range.start, &mut bytes)?;
        bytes.truncate(got);
        Ok(Bytes::Own(bytes))
    }
}

/// Numbers that look random and are the same every time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 20 ^ self.0 >> 43
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    pub fn range(&mut self, size: u64, longest: u64) -> Range<u64> {
        let start = self.below(size);
        start..(start + self.below(longest)).min(size)
    }
}
