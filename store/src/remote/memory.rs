//! A backend in memory, to hold what all of them share to what a store must do.
#![allow(clippy::unwrap_used, reason = "a poisoned lock is a failed test")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::objects::{Body, ListObjects, Objects, Page, WriteObjects};
use super::store::RemoteStore;
use crate::{Facts, PruneStore, Result, StoreOptions};

/// Objects by name, each of which takes a while to be had, and each part of which takes another.
#[derive(Default)]
pub(super) struct MemoryObjects {
    pub(super) objects: Mutex<BTreeMap<String, Bytes>>,
    pub(super) latency: Duration,
    pub(super) pause: Duration,
}

/// A store on a backend in memory, each of whose objects takes a while to be had.
pub fn far_memory(latency: Duration, options: &StoreOptions) -> impl PruneStore + use<> {
    let objects = MemoryObjects { latency, ..MemoryObjects::default() };
    RemoteStore::new(objects, "memory".to_owned(), options)
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
