//! A backend as a store.
//!
//! ```text
//! ids -(form: names)-> requests, so many at once -(as they are answered; unseal)-> coded chunks
//! ```
//! Only the store's own form is asked for: each further name would cost every missing chunk another
//! round trip.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cairn_formats::{ChunkId, CodedChunk, Form, WriteCoding};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::limit::Limit;
use super::objects::{ListObjects, Many, Objects, WriteObjects, collect, in_time};
use super::runtime::wait;
use super::stop::Stop;
use crate::local::{LARGEST_FILE, TEMPORARY_PREFIX};
use crate::{Error, Facts, PruneStore, Result, Store, StoreOptions, Stored, WriteStore};

/// Chunks in a place far away.
pub(crate) struct RemoteStore<O> {
    objects: O,
    /// Without secrets.
    name: String,
    form: Form,
    skip_verify: bool,
    timeout: Option<Duration>,
    stop: Stop,
    limit: Limit,
}

impl<O: Objects> RemoteStore<O> {
    /// The chunks in a place, by its name for messages.
    pub(crate) fn new(objects: O, name: String, options: &StoreOptions) -> Self {
        Self {
            objects,
            name,
            form: options.form.clone(),
            skip_verify: options.skip_verify,
            timeout: options.remote.timeout,
            stop: options.remote.stop.clone(),
            limit: Limit::new(options.remote.connections),
        }
    }

    /// Waits for its turn, then makes a request.
    async fn request<T>(&self, name: &str, request: impl Future<Output = Result<T>>) -> Result<T> {
        let answered = async {
            let turn = self.limit.turn().await;
            let outcome = in_time(self.timeout, || self.objects.place(name), request).await;
            turn.end(&outcome);
            outcome
        };
        self.stop.or(answered).await
    }

    async fn get_one(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        let name = self.form.path(id);
        let bytes = self.request(&name, async {
            let Some(body) = self.objects.open(&name).await? else { return Ok(None) };
            let place = self.objects.place(&name);
            Ok(Some(collect(body, LARGEST_FILE as usize, &place).await?))
        });
        let Some(bytes) = bytes.await? else { return Ok(None) };
        self.chunk(id, &name, bytes).map(Some)
    }

    /// The chunk in what was found under its name.
    fn chunk(&self, id: &ChunkId, name: &str, bytes: Vec<u8>) -> Result<CodedChunk> {
        let chunk = self.form.unseal(id, self.form.is_compressed(), bytes);
        let chunk = chunk.map_err(|e| Error::invalid(self.objects.place(name))(e))?;
        Ok(if self.skip_verify { chunk.trusted() } else { chunk })
    }

    /// Begins to get many chunks with one request, if the place can do that.
    async fn open_many(&self, names: &[String]) -> Result<Option<Many>> {
        // The turn ends when the answer begins: that it takes long then says nothing.
        let _turn = self.limit.turn().await;
        in_time(
            self.timeout,
            || self.name.clone(),
            self.objects.open_many(names, LARGEST_FILE as usize),
        )
        .await
    }

    /// Hands on what an answer to many questions brings. Returns how many of them it answered.
    fn take_many(
        &self,
        ids: &[ChunkId],
        names: &[String],
        mut many: Many,
        each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>),
    ) -> usize {
        for (place, (id, name)) in ids.iter().zip(names).enumerate() {
            let next = async { many.next().await.transpose() };
            let in_time = in_time(self.timeout, || self.objects.place(name), next);
            let (answer, is_end) = match wait(self.stop.or(in_time)) {
                Ok(None) => return place,
                Ok(Some(None)) => (Ok(None), false),
                Ok(Some(Some(bytes))) => (self.chunk(id, name, bytes).map(Some), false),
                Err(e) => (Err(e), true),
            };
            each(place, answer);
            if is_end {
                return place + 1;
            }
        }
        ids.len()
    }

    async fn has_one(&self, id: &ChunkId) -> Result<bool> {
        let name = self.form.path(id);
        self.request(&name, self.objects.has(&name)).await
    }
}

impl<O: WriteObjects> RemoteStore<O> {
    async fn put_one(&self, chunk: &CodedChunk) -> Result<()> {
        let name = self.form.path(&chunk.id());
        let bytes = self.form.seal(chunk).map_err(Error::invalid(self.name.as_str()))?;
        let bytes = Bytes::from(bytes.into_owned());
        self.request(&name, self.objects.put(&name, bytes)).await
    }
}

impl<O: ListObjects> RemoteStore<O> {
    /// What an object is to a store, if it is anything.
    fn found(&self, name: String) -> Option<Stored> {
        let path = Path::new(&name);
        let file_name = path.file_name()?.to_str()?;
        match self.form.parse(file_name) {
            // Neither a chunk of the other form nor one in a strange place.
            Some((id, _)) => (self.form.path(&id) == name).then_some(Stored::Chunk(id)),
            None if file_name.starts_with(TEMPORARY_PREFIX) => Some(Stored::Leftover(name.into())),
            None => None,
        }
    }

    fn object(&self, found: &Stored) -> String {
        match found {
            Stored::Chunk(id) => self.form.path(id),
            Stored::Leftover(path) => path.display().to_string(),
        }
    }
}

/// Waits for all answers, and hands each on as it comes.
fn all<F: Future>(requests: impl Iterator<Item = F>, mut each: impl FnMut(usize, F::Output)) {
    wait(async {
        let numbered =
            requests.enumerate().map(|(place, request)| async move { (place, request.await) });
        let mut pending: FuturesUnordered<_> = numbered.collect();
        while let Some((place, answer)) = pending.next().await {
            each(place, answer);
        }
    });
}

/// Waits for all answers, and returns them in the order of the requests.
fn all_in_order<T>(requests: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut answers = Vec::new();
    all(requests, |place, answer| answers.push((place, answer)));
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

impl<O: Objects> Store for RemoteStore<O> {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        wait(self.get_one(id))
    }

    fn get_many(&self, ids: &[ChunkId], each: &mut dyn FnMut(usize, Result<Option<CodedChunk>>)) {
        let mut answered = 0;
        if ids.len() > 1 {
            let names: Vec<String> = ids.iter().map(|id| self.form.path(id)).collect();
            if let Ok(Some(many)) = wait(self.stop.or(self.open_many(&names))) {
                answered = self.take_many(ids, &names, many, each);
            }
        }
        // What a broken answer did not bring is asked for one by one, and fails for its own reasons.
        let rest = ids[answered..].iter().map(|id| self.get_one(id));
        all(rest, |place, answer| each(answered + place, answer));
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        wait(self.has_one(id))
    }

    fn has_many(&self, ids: &[ChunkId]) -> Vec<Result<bool>> {
        all_in_order(ids.iter().map(|id| self.has_one(id)))
    }

    fn in_flight(&self) -> usize {
        self.limit.ceiling()
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl<O: WriteObjects> WriteStore for RemoteStore<O> {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        wait(self.put_one(chunk))
    }

    fn put_many(&self, chunks: &[CodedChunk]) -> Vec<Result<()>> {
        all_in_order(chunks.iter().map(|chunk| self.put_one(chunk)))
    }

    fn coding(&self) -> WriteCoding {
        self.form.coding()
    }

    /// What a store far away has confirmed is for it to keep.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

impl<O: ListObjects> PruneStore for RemoteStore<O> {
    fn list(&self, each: &mut dyn FnMut(Stored, Option<Facts>) -> Result<()>) -> Result<()> {
        let mut cursor = O::Cursor::default();
        let place = || self.name.clone();
        loop {
            let page = in_time(self.timeout, place, self.objects.list(&mut cursor));
            let Some(page) = wait(self.stop.or(page))? else { return Ok(()) };
            for (name, facts) in page {
                if let Some(found) = self.found(name) {
                    each(found, facts)?;
                }
            }
        }
    }

    fn facts(&self, found: &Stored) -> Result<Option<Facts>> {
        let name = self.object(found);
        wait(self.request(&name, self.objects.facts(&name)))
    }

    fn remove(&self, found: &Stored) -> Result<()> {
        self.remove_many(std::slice::from_ref(found)).pop().unwrap_or(Ok(()))
    }

    fn remove_many(&self, found: &[Stored]) -> Vec<Result<()>> {
        let names: Vec<String> = found.iter().map(|found| self.object(found)).collect();
        let removed = async { Ok(self.objects.remove(&names).await) };
        let stopped = |_| names.iter().map(|_| Err(Error::Stopped)).collect();
        wait(self.stop.or(removed)).unwrap_or_else(stopped)
    }
}
