//! A blob read here and there: what is given out, and what is asked of the store for it.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::sync::Arc;
use std::thread;

use cairn_formats::coding::{Encoder, WriteCoding};
use cairn_formats::{Chunk, ChunkId, ChunkSizes, CodedChunk, Coding, Digest, Index};
use cairn_store::testing::{Call, Recorder};
use cairn_store::{Blob, ChunkCache, Error, MemoryStore, Store, WriteStore};

const MAX: usize = 1000;

type Memory = Arc<Recorder<MemoryStore>>;

/// A blob of chunks of different lengths: some that repeat, and zeros.
fn content() -> Vec<Vec<u8>> {
    let piece = |n: usize| (0..300 + n * 37 % 600).map(|i| (i * n % 251) as u8).collect();
    let mut pieces: Vec<Vec<u8>> = (1..20).map(piece).collect();
    pieces.insert(5, vec![0; MAX]);
    pieces.insert(6, vec![0; MAX]);
    pieces.push(piece(3));
    pieces.push(vec![0; 10]);
    pieces
}

fn made(pieces: &[Vec<u8>]) -> (Arc<Index>, Memory) {
    let store = MemoryStore::default();
    let digest = Digest::default();
    let mut index = Index::of_blob(digest, ChunkSizes::new(100, 500, MAX).unwrap());
    let zeros = digest.hash(&[0; MAX]);
    for piece in pieces {
        let chunk = Chunk::name(digest, &piece[..]);
        index.push(chunk.id(), piece.len());
        if chunk.id() != zeros {
            store.put(&Encoder::new(3).encode(&chunk, WriteCoding::default())).unwrap();
        }
    }
    (Arc::new(index), Arc::new(Recorder::new(store)))
}

fn blob(cache: usize) -> (Blob, Vec<u8>, Memory) {
    let pieces = content();
    let (index, store) = made(&pieces);
    let cache = Arc::new(ChunkCache::new(cache));
    (Blob::new(index, Arc::clone(&store) as Arc<dyn Store>, cache), pieces.concat(), store)
}

fn cache() -> Arc<ChunkCache> {
    Arc::new(ChunkCache::new(1 << 20))
}

fn ids(calls: &[Call]) -> Vec<ChunkId> {
    let id = |call: &Call| match call {
        Call::Get(id) => *id,
        other => panic!("{other:?}"),
    };
    calls.iter().map(id).collect()
}

#[test]
fn every_range_is_as_in_the_blob() {
    for cache in [0, 2000, 1 << 20] {
        let (blob, content, _) = blob(cache);
        for start in (0..content.len() + 20).step_by(97) {
            for len in [0, 1, 100, 1500, content.len(), usize::from(u16::MAX)] {
                let mut buffer = vec![0xff; len];
                let read = blob.read_at(start as u64, &mut buffer).unwrap();
                let from = start.min(content.len());
                let expected = &content[from..(start + len).min(content.len()).max(from)];
                assert_eq!(&buffer[..read], expected, "{start} {len}");
            }
        }
        assert_eq!(blob.read_at(u64::MAX, &mut [0; 9]).unwrap(), 0);
    }
}

#[test]
fn each_chunk_is_fetched_once_and_zeros_never() {
    let (blob, content, store) = blob(1 << 20);
    for start in (0..content.len()).step_by(50) {
        blob.read_at(start as u64, &mut [0; 60]).unwrap();
    }
    let mut fetched = ids(&store.take());
    assert_eq!(fetched.len(), 20);
    fetched.sort_unstable();
    fetched.dedup();
    assert_eq!(fetched.len(), 20);
    assert!(!fetched.contains(&Digest::default().hash(&[0; MAX])));
}

#[test]
fn only_what_a_read_touches_is_fetched() {
    let (blob, _, store) = blob(1 << 20);
    let (index, second) = (blob.index(), blob.index().chunk(1));
    blob.read_at(second.start, &mut vec![0; second.len]).unwrap();
    assert_eq!(ids(&store.take()), [second.id]);
    blob.read_at(second.end() - 1, &mut [0; 2]).unwrap();
    assert_eq!(ids(&store.take()), [index.chunk(2).id]);
}

#[test]
fn who_reads_everything_once_does_not_drive_out_what_others_come_back_for() {
    // Room for about half of all.
    let (blob, content, store) = blob(8000);
    let start = |n: usize| blob.index().chunk(n).start;
    let read = |n: usize| blob.read_at(start(n), &mut [0]).unwrap();
    for n in [0, 1, 0, 1, 0, 1] {
        read(n);
    }
    for at in (0..content.len()).step_by(100) {
        let range = at as u64..at as u64 + 100;
        if blob.at_hand(range.clone(), false).is_none() {
            blob.fetch_ahead(range).unwrap();
        }
    }
    store.take();
    read(0);
    read(1);
    assert!(store.take().is_empty());
    for n in 0..20 {
        read(n);
    }
    assert!(store.take().len() > 5, "it does not hold everything");
}

#[test]
fn several_blobs_share_a_cache() {
    let (index, store) = made(&content());
    let cache = cache();
    let blobs = [(); 2].map(|()| {
        let store = Arc::clone(&store) as Arc<dyn Store>;
        Blob::new(Arc::clone(&index), store, Arc::clone(&cache))
    });
    for blob in blobs {
        blob.read_at(0, &mut [0; 100]).unwrap();
    }
    assert_eq!(store.take().len(), 1);
}

#[test]
fn what_is_at_hand_is_what_a_read_returns() {
    let (blob, content, store) = blob(1 << 20);
    let len = content.len() as u64;
    for (start, end) in [(0, 1), (0, 5000), (290, 310), (1700, 3900), (len - 5, len + 5)] {
        let range = start..end;
        assert!(store.take().is_empty());
        let before = blob.at_hand(range.clone(), true);
        assert!(store.take().is_empty(), "nothing is fetched");
        let read = blob.read(range.clone()).unwrap();
        assert_eq!(*read, content[start as usize..end.min(len) as usize]);
        assert!(before.is_none_or(|before| *before == *read));
        assert_eq!(*blob.at_hand(range, true).unwrap(), *read);
        store.take();
    }
    assert!(blob.at_hand(len..len + 9, true).unwrap().is_empty());
}

#[test]
fn what_is_fetched_ahead_is_not_fetched_again() {
    let (blob, content, store) = blob(1 << 20);
    blob.fetch_ahead(100..5000).unwrap();
    assert!(store.take().len() > 3);
    blob.read_at(100, &mut vec![0; 4900]).unwrap();
    assert!(store.take().is_empty());
    blob.fetch_ahead(content.len() as u64 + 5..u64::MAX).unwrap();
}

#[test]
fn what_many_want_at_once_is_fetched_once() {
    let (blob, content, store) = blob(1 << 20);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for start in (0..content.len()).step_by(333) {
                    let mut buffer = [0; 700];
                    let read = blob.read_at(start as u64, &mut buffer).unwrap();
                    assert_eq!(buffer[..read], content[start..start + read]);
                }
            });
        }
    });
    assert_eq!(store.take().len(), 20);
}

#[test]
fn damage_and_absence_are_told_and_tried_again() {
    let (blob, content, store) = blob(1 << 20);
    let chunk = blob.index().chunk(2);
    let good = store.store().get(&chunk.id).unwrap().unwrap();
    let bad = CodedChunk::new(chunk.id, Coding::Plain, vec![1; chunk.len]);
    store.store().put(&bad).unwrap();
    let mut buffer = vec![0; chunk.len];
    let error = blob.read_at(chunk.start, &mut buffer).unwrap_err();
    assert!(matches!(error, Error::Chunk { .. }), "{error}");
    store.store().put(&good).unwrap();
    assert_eq!(blob.read_at(chunk.start, &mut buffer).unwrap(), chunk.len);
    assert_eq!(buffer, content[chunk.start as usize..][..chunk.len]);

    let empty = Arc::new(MemoryStore::default());
    let blob = Blob::new(Arc::new(blob.index().clone()), empty, cache());
    let error = blob.read_at(0, &mut buffer).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
}

/// An id that an index has with two lengths, of which one is a lie.
#[test]
fn a_length_that_is_not_that_of_the_chunk_is_told() {
    let pieces = content();
    let (index, store) = made(&pieces);
    let mut forged = (*index).clone();
    let first = index.chunk(0);
    forged.push(first.id, first.len + 100);
    let blob = Blob::new(Arc::new(forged), store, cache());
    blob.read_at(0, &mut [0; 10]).unwrap();
    blob.read_at(index.blob_size(), &mut [0; 400]).unwrap_err();
}
