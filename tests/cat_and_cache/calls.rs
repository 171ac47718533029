//! What is asked of a store behind a cache.

use std::collections::HashSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use cairn::Silent;
use cairn::cat::{CatOptions, cat};
use cairn::extract::{ExtractOptions, extract};
use cairn::make::{Input, MakeOptions, make};
use cairn_formats::{ChunkId, ChunkSizes, CodedChunk, Index};
use cairn_store::combine::Cache;
use cairn_store::testing::{Call, Recorder};
use cairn_store::{MemoryStore, Result, Store};

use super::content;

/// An index, a store that records, and the ids of all chunks but those of zeros.
fn made(directory: &tempfile::TempDir) -> (Index, Recorder<MemoryStore>, HashSet<ChunkId>) {
    let path = directory.path().join("blob");
    fs::write(&path, content()).unwrap();
    let store = Recorder::new(MemoryStore::default());
    let sizes = ChunkSizes::new(2048, 8192, 32_768).unwrap();
    let options = MakeOptions { sizes, workers: 2, ..MakeOptions::default() };
    let (index, _) = make(Input::open(&path).unwrap(), Some(&store), &options, &Silent).unwrap();
    store.take();
    let zeros = index.digest().hash(&vec![0; 32_768]);
    let ids = index.chunks().map(|chunk| chunk.id).filter(|id| *id != zeros).collect();
    (index, store, ids)
}

fn gets(calls: &[Call]) -> Vec<ChunkId> {
    let id = |call: &Call| if let Call::Get(id) = call { Some(*id) } else { None };
    calls.iter().filter_map(id).collect()
}

#[test]
fn a_second_extract_asks_the_store_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (index, store, ids) = made(&directory);
    let kept = Recorder::new(MemoryStore::default());
    let cache = Cache::new(&kept, &store, true);
    let output = directory.path().join("output");
    let options = ExtractOptions { workers: 3, ..ExtractOptions::default() };
    let run = || {
        extract(&index, Vec::new(), &cache, &output, &options, &Silent).unwrap();
        assert!(fs::read(&output).unwrap() == content());
        (store.take(), kept.take())
    };
    let (asked, put) = run();
    assert_eq!(asked.len(), ids.len(), "one get for each distinct chunk and nothing else");
    assert_eq!(gets(&asked).into_iter().collect::<HashSet<_>>(), ids);
    assert_eq!(put.iter().filter(|call| matches!(call, Call::Put(_))).count(), ids.len());
    let (asked, put) = run();
    assert_eq!(asked, []);
    assert_eq!(put.len(), gets(&put).len(), "nothing is put again");
}

#[test]
fn a_range_is_all_that_cat_asks_for() {
    let directory = tempfile::tempdir().unwrap();
    let (index, store, ids) = made(&directory);
    let read = |range: std::ops::Range<u64>, workers: usize| {
        let mut written = Vec::new();
        let options = CatOptions { range: range.clone(), workers };
        let name = "memory".as_ref();
        cat(&index, &store, &mut written, name, &options, &Silent).unwrap();
        let end = range.end.min(index.blob_size());
        assert!(written == content()[range.start as usize..end as usize]);
        gets(&store.take())
    };
    let chunk = index.chunk(20);
    assert_eq!(read(chunk.start..chunk.end(), 3), [chunk.id]);
    assert_eq!(read(chunk.end() - 1..chunk.end(), 1), [chunk.id]);
    assert_eq!(read(chunk.end() - 1..chunk.end() + 1, 1), [chunk.id, index.chunk(21).id]);
    assert_eq!(read(5..5, 1), []);
    // In the zeros.
    assert_eq!(read(1_000_000..1_500_000, 2), []);
    let all = read(0..u64::MAX, 2);
    assert_eq!(all.into_iter().collect::<HashSet<_>>(), ids);
}

/// A store that is slow to give one chunk and does not have another.
struct Uneven<'a> {
    store: &'a MemoryStore,
    slow: ChunkId,
    missing: ChunkId,
}

impl Store for Uneven<'_> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        if *id == self.slow {
            sleep(Duration::from_millis(100));
        }
        if *id == self.missing { Ok(None) } else { self.store.get(id) }
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.store.has(id)
    }

    fn name(&self) -> String {
        "uneven".to_owned()
    }
}

#[test]
fn a_failure_waits_for_what_is_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let (index, store, _) = made(&directory);
    let workers = 2;
    // As cat splits a small blob.
    let share = index.blob_size() / (4 * workers);
    let batches: Vec<_> = index.batches(0..index.len(), share).collect();
    for missing in [1, 5] {
        let start = index.chunk(batches[missing].start);
        let slow = index.chunk(batches[missing - 1].end - 1).id;
        let uneven = Uneven { store: store.store(), slow, missing: start.id };
        let mut written = Vec::new();
        let options = CatOptions { range: 0..u64::MAX, workers: workers as usize };
        let failed = cat(&index, &uneven, &mut written, "memory".as_ref(), &options, &Silent);
        assert!(failed.unwrap_err().to_string().contains(&start.id.to_hex()));
        assert!(written == content()[..start.start as usize], "{} bytes", written.len());
    }
}
