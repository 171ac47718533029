//! What all backends share.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_formats::{ChunkId, ChunkSizes, CodedChunk, Coding, Digest, Form, Index};

use super::Stop;
use super::index;
use super::memory::{MemoryObjects, far_memory};
use super::objects::PART;
use super::store::RemoteStore;
use crate::combine::{Rate, RateLimited};
use crate::{Again, Error, RemoteOptions, Store, StoreOptions, WriteStore};

#[test]
fn requests_are_made_beside_each_other() {
    let mut options = StoreOptions::default();
    options.remote.connections = 64;
    let store = far_memory(Duration::from_millis(20), &options);
    let ids: Vec<ChunkId> =
        (0..640_u32).map(|n| Digest::default().hash(&n.to_le_bytes())).collect();
    let began = Instant::now();
    let mut answers = 0;
    store.get_many(&ids, &mut |_, answer| answers += usize::from(answer.unwrap().is_none()));
    assert_eq!(answers, 640);
    // One after the other would take 12.8 s, ten rounds 0.2 s.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn what_takes_too_long_is_given_up() {
    let mut options = StoreOptions::default();
    options.remote.timeout = Some(Duration::from_millis(30));
    let store = far_memory(Duration::from_secs(600), &options);
    let error = store.has(&ChunkId::from_bytes([1; 32])).unwrap_err();
    assert_eq!(error.again(), Again::Yes);
    assert!(error.to_string().starts_with("memory/0101/0101"), "{error}");
    assert!(error.to_string().ends_with("no answer within 30ms"), "{error}");
}

#[test]
fn a_rate_is_not_taken_for_a_network_that_stands_still() {
    let form = Form::default().with_compression(false);
    let mut options = StoreOptions { form, ..StoreOptions::default() };
    options.remote.timeout = Some(Duration::from_millis(500));
    let pause = Duration::from_millis(5);
    let objects = MemoryObjects { pause, ..MemoryObjects::default() };
    let store = RemoteStore::new(objects, "memory".to_owned(), &options);
    let chunk = |byte| {
        // Their ends do not come at once.
        let bytes = vec![byte; 200_000 * usize::from(byte)];
        CodedChunk::new(ChunkId::from_bytes([byte; 32]), Coding::Plain, bytes)
    };
    let chunks = [1, 2, 3, 4].map(chunk);
    assert!(store.put_many(&chunks).into_iter().all(|outcome| outcome.is_ok()));
    // Most chunks take longer than the whole of a request may.
    let store = RateLimited::new(store, Rate::new(600_000), Stop::default());
    let ids = chunks.each_ref().map(CodedChunk::id);
    let mut answers = 0;
    store.get_many(&ids, &mut |_, answer| answers += usize::from(answer.unwrap().is_some()));
    assert_eq!(answers, 4);
}

#[test]
fn indexes_come_back_in_parts_or_whole() {
    let objects = MemoryObjects::default();
    let options = RemoteOptions { timeout: None, ..RemoteOptions::default() };
    let sizes = ChunkSizes::default();
    let mut blob = Index::of_blob(Digest::default(), sizes);
    for count in [0, 1, 600_000_u64] {
        while (blob.len() as u64) < count {
            let id = Digest::default().hash(&blob.len().to_le_bytes());
            blob.push(id, sizes.max());
        }
        index::write(&objects, "blob.caibx", &blob, &options).unwrap();
        assert!(count < 2 || blob.file_size() > PART as u64);
        let back = index::read(&objects, "blob.caibx", &options).unwrap().unwrap();
        assert_eq!((back.len(), back.blob_size()), (blob.len(), blob.blob_size()));
    }
    assert!(index::read(&objects, "other.caibx", &options).unwrap().is_none());
    objects.objects.lock().unwrap().insert("junk".to_owned(), Bytes::from_static(b"<html>"));
    let error = index::read(&objects, "junk", &options).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}
