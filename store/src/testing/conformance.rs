//! What every store must do. A new backend is a constructor and one line.
//!
//! ```text
//! #[test]
//! fn conforms() {
//!     conformance::all(|| LocalStore::create(&fresh_directory(), LocalOptions::default()));
//! }
//! ```
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::BTreeSet;

use cairn_formats::coding::{DEFAULT_LEVEL, Decoder, Encoder};
use cairn_formats::{Chunk, ChunkId, CodedChunk, Digest, WriteCoding};

use crate::{Error, PruneStore, Stored};

/// Runs every check, each on a fresh store.
pub fn all<S: PruneStore>(fresh: impl Fn() -> S) {
    absent_chunk_is_none(&fresh());
    put_chunk_comes_back(&fresh());
    putting_again_changes_nothing(&fresh());
    has_many_answers_in_order(&fresh());
    list_has_every_chunk_once(&fresh());
    removed_chunk_is_absent(&fresh());
    chunk_of_another_coding_is_a_chunk_too(&fresh());
    one_chunk_put_by_many_threads_is_whole(&fresh());
    the_longest_chunk_fits(&fresh());
}

/// A chunk in the store's own coding.
fn sample(store: &dyn PruneStore, n: usize) -> CodedChunk {
    let data = format!("chunk {n} ").repeat(1 + n * 100).into_bytes();
    coded(store, data)
}

fn coded(store: &dyn PruneStore, data: Vec<u8>) -> CodedChunk {
    let chunk = Chunk::name(Digest::default(), data);
    Encoder::new(DEFAULT_LEVEL).encode(&chunk, store.coding())
}

fn absent_chunk_is_none(store: &dyn PruneStore) {
    let id = ChunkId::from_bytes([7; 32]);
    assert_eq!(store.get(&id).unwrap(), None);
    assert!(!store.has(&id).unwrap());
    assert!(matches!(store.fetch(&id), Err(Error::Missing { id: missing, .. }) if missing == id));
}

fn put_chunk_comes_back(store: &dyn PruneStore) {
    for n in 0..20 {
        let chunk = sample(store, n);
        store.put(&chunk).unwrap();
        let back = store.fetch(&chunk.id()).unwrap();
        assert_eq!(back, chunk);
        back.open(Digest::default(), &mut Decoder::new(), 1 << 20).unwrap();
        assert!(store.has(&chunk.id()).unwrap());
    }
    store.sync().unwrap();
}

fn putting_again_changes_nothing(store: &dyn PruneStore) {
    let chunk = sample(store, 1);
    store.put(&chunk).unwrap();
    store.put(&chunk).unwrap();
    assert_eq!(store.fetch(&chunk.id()).unwrap(), chunk);
    assert_eq!(listed(store).len(), 1);
}

fn has_many_answers_in_order(store: &dyn PruneStore) {
    let chunks: Vec<CodedChunk> = (0..8).map(|n| sample(store, n)).collect();
    for chunk in chunks.iter().step_by(3) {
        store.put(chunk).unwrap();
    }
    let ids: Vec<ChunkId> = chunks.iter().map(CodedChunk::id).collect();
    let expected: Vec<bool> = (0..8).map(|n| n % 3 == 0).collect();
    assert_eq!(store.has_many(&ids).unwrap(), expected);
    assert_eq!(store.has_many(&[]).unwrap(), []);
}

fn list_has_every_chunk_once(store: &dyn PruneStore) {
    assert!(listed(store).is_empty());
    let chunks: Vec<CodedChunk> = (0..50).map(|n| sample(store, n)).collect();
    chunks.iter().for_each(|chunk| store.put(chunk).unwrap());
    let ids: BTreeSet<ChunkId> = chunks.iter().map(CodedChunk::id).collect();
    let listed = listed(store);
    assert_eq!(listed.len(), ids.len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), ids);
}

fn removed_chunk_is_absent(store: &dyn PruneStore) {
    let (gone, kept) = (sample(store, 1), sample(store, 2));
    store.put(&gone).unwrap();
    store.put(&kept).unwrap();
    store.remove(&Stored::Chunk(gone.id())).unwrap();
    store.remove(&Stored::Chunk(gone.id())).unwrap();
    assert_eq!(store.get(&gone.id()).unwrap(), None);
    assert_eq!(store.facts(&Stored::Chunk(gone.id())).unwrap(), None);
    let facts = store.facts(&Stored::Chunk(kept.id())).unwrap().unwrap();
    // A sealed chunk is longer than its coding.
    assert!(facts.len >= kept.bytes().len() as u64);
    assert!(facts.modified.elapsed().is_ok_and(|age| age.as_secs() < 3600));
    assert_eq!(listed(store), [kept.id()]);
}

fn chunk_of_another_coding_is_a_chunk_too(store: &dyn PruneStore) {
    let chunk = Chunk::name(Digest::default(), b"as another store sent it".repeat(50));
    let mut encoder = Encoder::new(DEFAULT_LEVEL);
    for coding in [WriteCoding::Plain, WriteCoding::Zstd] {
        store.put(&encoder.encode(&chunk, coding)).unwrap();
        let back = store.fetch(&chunk.id()).unwrap();
        assert_eq!(back.open(Digest::default(), &mut Decoder::new(), 1 << 20).unwrap(), chunk);
    }
    assert_eq!(listed(store), [chunk.id()]);
}

fn one_chunk_put_by_many_threads_is_whole<S: PruneStore>(store: &S) {
    let chunk = sample(store, 30);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    store.put(&chunk).unwrap();
                    // Once put, it must be there whole at any moment, rewritten or not.
                    assert_eq!(store.get(&chunk.id()).unwrap().as_ref(), Some(&chunk));
                }
            });
        }
    });
    assert_eq!(listed(store), [chunk.id()]);
}

fn the_longest_chunk_fits(store: &dyn PruneStore) {
    // Bytes that do not compress, so that the stored form is long too.
    let mut x = 1_u64;
    let noise = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    });
    let chunk = coded(store, noise.take(4 << 20).collect());
    store.put(&chunk).unwrap();
    assert_eq!(store.fetch(&chunk.id()).unwrap(), chunk);
}

fn listed(store: &dyn PruneStore) -> Vec<ChunkId> {
    let mut ids = Vec::new();
    store
        .list(&mut |found| {
            if let Stored::Chunk(id) = found {
                ids.push(id);
            }
            Ok(())
        })
        .unwrap();
    ids
}
