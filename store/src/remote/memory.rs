//! A backend in memory, to hold what all of them share to what a store must do.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cairn_formats::{ChunkId, ChunkSizes, CodedChunk, Coding, Digest, Form, Index};
use futures_util::{StreamExt, stream};

use super::objects::{Body, ListObjects, Objects, PART, Page, WriteObjects};
use super::store::RemoteStore;
use super::{Retry, Stop, index};
use crate::combine::{Rate, RateLimited, Retrying};
use crate::testing::conformance;
use crate::{Again, Error, Facts, RemoteOptions, Result, Store, StoreOptions, WriteStore};

/// Objects by name, each of which takes a while to be had, and each part of which takes another.
#[derive(Default)]
struct MemoryObjects {
    objects: Mutex<BTreeMap<String, Bytes>>,
    latency: Duration,
    pause: Duration,
}

impl MemoryObjects {
    async fn find(&self, name: &str) -> Option<Bytes> {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        self.objects.lock().unwrap().get(name).cloned()
    }
}

impl Objects for MemoryObjects {
    async fn open(&self, name: &str) -> Result<Option<Body>> {
        let Some(bytes) = self.find(name).await else { return Ok(None) };
        let parts: Vec<Result<Bytes>> =
            bytes.chunks(100_000).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        let pause = self.pause;
        if pause.is_zero() {
            return Ok(Some(Box::pin(stream::iter(parts))));
        }
        let paused = move |part| async move {
            tokio::time::sleep(pause).await;
            part
        };
        Ok(Some(Box::pin(stream::iter(parts).then(paused))))
    }

    async fn has(&self, name: &str) -> Result<bool> {
        Ok(self.find(name).await.is_some())
    }

    fn place(&self, name: &str) -> String {
        format!("memory/{name}")
    }
}

impl WriteObjects for MemoryObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.objects.lock().unwrap().insert(name.to_owned(), bytes);
        Ok(())
    }
}

impl ListObjects for MemoryObjects {
    type Cursor = Option<String>;

    async fn list(&self, cursor: &mut Option<String>) -> Result<Option<Page>> {
        let after = cursor.clone().unwrap_or_default();
        let objects = self.objects.lock().unwrap();
        let names: Vec<String> =
            objects.keys().filter(|name| **name > after).take(7).cloned().collect();
        let Some(last) = names.last() else { return Ok(None) };
        *cursor = Some(last.clone());
        Ok(Some(names.into_iter().map(|name| (name, None)).collect()))
    }

    async fn facts(&self, name: &str) -> Result<Option<Facts>> {
        let facts = |bytes: Bytes| Facts { modified: SystemTime::now(), len: bytes.len() as u64 };
        Ok(self.find(name).await.map(facts))
    }

    async fn remove(&self, names: &[String]) -> Vec<Result<()>> {
        let mut objects = self.objects.lock().unwrap();
        names.iter().map(|name| Ok(objects.remove(name)).map(|_| ())).collect()
    }
}

fn store(latency: Duration, options: &StoreOptions) -> RemoteStore<MemoryObjects> {
    let objects = MemoryObjects { latency, ..MemoryObjects::default() };
    RemoteStore::new(objects, "memory".to_owned(), options)
}

#[test]
fn what_all_backends_share_conforms() {
    for compressed in [true, false] {
        let form = Form::default().with_compression(compressed);
        let options = StoreOptions { form, ..StoreOptions::default() };
        conformance::all(|| {
            Retrying::new(store(Duration::ZERO, &options), Retry::default(), Stop::default())
        });
    }
}

#[test]
fn requests_are_made_beside_each_other() {
    let mut options = StoreOptions::default();
    options.remote.connections = 64;
    let store = store(Duration::from_millis(20), &options);
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
    let store = store(Duration::from_secs(600), &options);
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
