//! What every store must do. A new backend is a constructor and one line in the list of all of them,
//! `tests/conformance/main.rs`:
//!
//! ```text
//! memory: all(|| MemoryStore::new(WriteCoding::Zstd));
//! ```
//! A store that cannot be pruned is held to [`writable`], and one that can only be read too, together
//! with another way to write to the same place: that is a [`Pair`](super::Pair).
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::BTreeSet;

use cairn_formats::coding::{DEFAULT_LEVEL, Decoder, Encoder};
use cairn_formats::{Chunk, ChunkId, CodedChunk, Digest, WriteCoding};

use crate::{Error, PruneStore, Stored, WriteStore};

/// Runs every check, each on a fresh store.
pub fn all<S: PruneStore>(fresh: impl Fn() -> S) {
    writable(&fresh);
    once_each_is_listed(&fresh());
    removed_chunk_is_absent(&fresh());
    many_are_removed_at_once(&fresh());
    what_is_put_again_is_listed_once(&fresh());
}

/// Runs the checks of reading and writing, each on a fresh store.
pub fn writable<S: WriteStore>(fresh: impl Fn() -> S) {
    absent_chunk_is_none(&fresh());
    put_chunk_comes_back(&fresh());
    putting_again_changes_nothing(&fresh());
    has_many_answers_in_order(&fresh());
    many_come_back_each_in_its_place(&fresh());
    chunk_of_another_coding_is_a_chunk_too(&fresh());
    one_chunk_put_by_many_threads_is_whole(&fresh());
    the_longest_chunk_fits(&fresh());
}

/// A chunk in the store's own coding.
fn sample(store: &dyn WriteStore, n: usize) -> CodedChunk {
    let data = format!("chunk {n} ").repeat(1 + n * 100).into_bytes();
    coded(store, data)
}

fn coded(store: &dyn WriteStore, data: Vec<u8>) -> CodedChunk {
    let chunk = Chunk::name(Digest::default(), data);
    Encoder::new(DEFAULT_LEVEL).encode(&chunk, store.coding())
}

fn absent_chunk_is_none(store: &dyn WriteStore) {
    let id = ChunkId::from_bytes([7; 32]);
    assert_eq!(store.get(&id).unwrap(), None);
    assert!(!store.has(&id).unwrap());
    assert!(matches!(store.fetch(&id), Err(Error::Missing { id: missing, .. }) if missing == id));
}

fn put_chunk_comes_back(store: &dyn WriteStore) {
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

fn putting_again_changes_nothing(store: &dyn WriteStore) {
    let chunk = sample(store, 1);
    store.put(&chunk).unwrap();
    store.put(&chunk).unwrap();
    assert_eq!(store.fetch(&chunk.id()).unwrap(), chunk);
}

fn has_many_answers_in_order(store: &dyn WriteStore) {
    let chunks: Vec<CodedChunk> = (0..8).map(|n| sample(store, n)).collect();
    for chunk in chunks.iter().step_by(3) {
        store.put(chunk).unwrap();
    }
    let ids: Vec<ChunkId> = chunks.iter().map(CodedChunk::id).collect();
    let expected: Vec<bool> = (0..8).map(|n| n % 3 == 0).collect();
    let answers: Vec<bool> = store.has_many(&ids).into_iter().map(|here| here.unwrap()).collect();
    assert_eq!(answers, expected);
    assert!(store.has_many(&[]).is_empty());
}

fn many_come_back_each_in_its_place(store: &dyn WriteStore) {
    let chunks: Vec<CodedChunk> = (0..40).map(|n| sample(store, n)).collect();
    let (kept, missing) = chunks.split_at(30);
    assert!(store.put_many(kept).into_iter().all(|outcome| outcome.is_ok()));
    assert!(store.put_many(&[]).is_empty());
    let ids: Vec<ChunkId> = chunks.iter().map(CodedChunk::id).collect();
    let mut answers = vec![None; ids.len()];
    store.get_many(&ids, &mut |place, answer| {
        assert_eq!(answers[place].replace(answer.unwrap()), None, "answered twice");
    });
    for (chunk, answer) in kept.iter().zip(&answers) {
        assert_eq!(answer.as_ref(), Some(&Some(chunk.clone())));
    }
    assert_eq!(missing.len(), 10);
    assert!(answers[kept.len()..].iter().all(|answer| *answer == Some(None)));
    // The same id twice is two questions.
    let mut count = 0;
    store.get_many(&[ids[0], ids[0], ids[35]], &mut |place, answer| {
        assert_eq!(answer.unwrap().is_some(), place < 2);
        count += 1;
    });
    assert_eq!(count, 3);
}

fn many_are_removed_at_once(store: &dyn PruneStore) {
    let chunks: Vec<CodedChunk> = (0..30).map(|n| sample(store, n)).collect();
    chunks[..20].iter().for_each(|chunk| store.put(chunk).unwrap());
    let gone: Vec<Stored> = chunks[5..].iter().map(|chunk| Stored::Chunk(chunk.id())).collect();
    let outcomes = store.remove_many(&gone);
    assert_eq!(outcomes.len(), gone.len());
    assert!(outcomes.into_iter().all(|outcome| outcome.is_ok()));
    let kept: BTreeSet<ChunkId> = chunks[..5].iter().map(CodedChunk::id).collect();
    assert_eq!(listed(store).into_iter().collect::<BTreeSet<_>>(), kept);
    assert!(store.remove_many(&[]).is_empty());
}

fn what_is_put_again_is_listed_once(store: &dyn PruneStore) {
    let chunk = Chunk::name(Digest::default(), b"in either coding".repeat(50));
    let mut encoder = Encoder::new(DEFAULT_LEVEL);
    for coding in [WriteCoding::Plain, WriteCoding::Zstd, store.coding()] {
        store.put(&encoder.encode(&chunk, coding)).unwrap();
        assert_eq!(listed(store), [chunk.id()]);
    }
}

fn once_each_is_listed(store: &dyn PruneStore) {
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
    let is_new = facts.modified.elapsed().is_ok_and(|age| age.as_secs() < 3600);
    assert!(is_new || !store.is_dated());
    assert_eq!(listed(store), [kept.id()]);
}

fn chunk_of_another_coding_is_a_chunk_too(store: &dyn WriteStore) {
    let chunk = Chunk::name(Digest::default(), b"as another store sent it".repeat(50));
    let mut encoder = Encoder::new(DEFAULT_LEVEL);
    for coding in [WriteCoding::Plain, WriteCoding::Zstd] {
        store.put(&encoder.encode(&chunk, coding)).unwrap();
        let back = store.fetch(&chunk.id()).unwrap();
        assert_eq!(back.open(Digest::default(), &mut Decoder::new(), 1 << 20).unwrap(), chunk);
    }
}

fn one_chunk_put_by_many_threads_is_whole<S: WriteStore>(store: &S) {
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
}

fn the_longest_chunk_fits(store: &dyn WriteStore) {
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
        .list(&mut |found, _| {
            if let Stored::Chunk(id) = found {
                ids.push(id);
            }
            Ok(())
        })
        .unwrap();
    ids
}
