//! Chunks and indexes as objects in a bucket.
//!
//! ```text
//! name 1234/1234….cacnk  ->  prefix/1234/1234….cacnk
//! chunk   one PUT                            application/zstd, whatever it is, as desync says it
//! index   one PUT, or parts and their sum    application/octet-stream
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, RetryConfig,
};

use super::address::{Address, Service};
use super::answer::{found, is_unknown, judged};
use super::transport::Transport;
use super::{azure, google, s3};
use crate::remote::objects::{Body, ListObjects, NamesPage, Objects, Page, WriteObjects};
use crate::{Again, Error, Facts, RemoteOptions, Result};

const OF_CHUNKS: &str = "application/zstd";
const OF_INDEXES: &str = "application/octet-stream";

/// So many objects are removed by one request: S3's number.
const REMOVED_AT_ONCE: usize = 1000;

/// Requests to remove that are under way.
const REMOVALS: usize = 4;

/// Objects in a bucket, below a prefix.
pub(crate) struct BucketObjects {
    bucket: Arc<dyn Bucket>,
    /// For servers that cannot remove many by one request.
    singly: Option<Arc<dyn Bucket>>,
    /// Whether that is so.
    is_simple: AtomicBool,
    /// Whether the bucket is known to be there.
    is_there: AtomicBool,
    prefix: Path,
    /// The place without secrets, with a slash at its end.
    shown: String,
    /// The bucket for messages: `bucket 'x'`.
    called: String,
}

/// What all services can do.
trait Bucket: ObjectStore + PaginatedListStore {}

impl<B: ObjectStore + PaginatedListStore> Bucket for B {}

impl BucketObjects {
    /// The place below a URL, which is shown in messages as `shown`.
    pub(crate) fn new(url: &str, shown: &str, options: &RemoteOptions) -> Result<Self> {
        let Address { service, bucket: name, prefix } = Address::parse(url, shown)?;
        let transport = Transport::new(options)?;
        let mut singly: Option<Arc<dyn Bucket>> = None;
        let bucket: Arc<dyn Bucket> = match &service {
            Service::S3 { endpoint, lookup } => {
                let at = (endpoint.as_deref(), *lookup);
                let bucket = s3::open(shown, &name, at, options, &transport)?;
                singly = Some(Arc::new(bucket.singly));
                Arc::new(bucket.usual)
            }
            Service::Google => Arc::new(google::open(shown, &name, &transport)?),
            Service::Azure { account, endpoint } => {
                let at = (account.as_str(), endpoint.as_deref());
                Arc::new(azure::open(shown, &name, at, &transport)?)
            }
        };
        Ok(Self {
            bucket,
            singly,
            is_simple: AtomicBool::new(false),
            is_there: AtomicBool::new(false),
            prefix,
            shown: format!("{}/", shown.trim_end_matches('/')),
            called: format!("{} '{name}'", service.word()),
        })
    }

    /// The whole name of an object that may be an index, whose name is part of a URL and escaped like one.
    fn path(&self, name: &str) -> Result<Path> {
        self.below(name, Path::from_url_path(name))
    }

    /// The whole name of an object by its name as a listing tells it.
    fn listed_path(&self, name: &str) -> Result<Path> {
        self.below(name, Path::parse(name))
    }

    fn below(
        &self,
        name: &str,
        path: std::result::Result<Path, object_store::path::Error>,
    ) -> Result<Path> {
        let path = path.ok().filter(|path| !path.is_root()).ok_or_else(|| {
            let why = "not possible as the name of an object".to_owned();
            Error::Unsupported { place: self.place(name), why }
        })?;
        Ok(self.prefix.parts().chain(path.parts()).collect())
    }

    /// The name below the prefix.
    fn name<'a>(&self, path: &'a Path) -> Option<&'a str> {
        if self.prefix.is_root() {
            return Some(path.as_ref());
        }
        path.as_ref().strip_prefix(self.prefix.as_ref())?.strip_prefix('/')
    }

    fn judge(&self, name: &str, error: &object_store::Error) -> Error {
        judged(self.place(name), &self.called, error)
    }

    /// What is known of an object, if it is there.
    async fn head(&self, name: &str) -> Result<Option<ObjectMeta>> {
        let path = self.listed_path(name)?;
        let asked = self.bucket.get_opts(&path, GetOptions::default().with_head(true)).await;
        let answer = found(asked, |e| self.judge(name, e))?;
        self.check_bucket(answer.is_some()).await?;
        Ok(answer.map(|answer| answer.meta))
    }

    /// To a question about an object, a bucket that is not there answers as if the object were not.
    async fn check_bucket(&self, is_found: bool) -> Result<()> {
        if is_found {
            self.is_there.store(true, Ordering::Relaxed);
        }
        if self.is_there.load(Ordering::Relaxed) {
            return Ok(());
        }
        let one = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        match self.bucket.list_paginated(Some(&self.start_of("")), one).await {
            Ok(_) => {}
            Err(e) => match self.judge("", &e) {
                // Who may not list has at least been told so by the bucket.
                Error::Denied { .. } => {}
                error => return Err(error),
            },
        }
        self.is_there.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// How the whole names begin of objects whose names begin like this.
    fn start_of(&self, beginning: &str) -> String {
        match self.prefix.as_ref() {
            "" => beginning.to_owned(),
            prefix => format!("{prefix}/{beginning}"),
        }
    }

    /// Puts the parts of a large object, and takes them back if one fails.
    async fn put_large(&self, name: &str, path: &Path, parts: Body) -> Result<()> {
        let options = PutMultipartOptions {
            attributes: of_type(OF_INDEXES),
            ..PutMultipartOptions::default()
        };
        let begun = self.bucket.put_multipart_opts(path, options).await;
        let mut upload = begun.map_err(|e| self.judge(name, &e))?;
        let outcome = self.put_all(name, upload.as_mut(), parts).await;
        if outcome.is_err()
            && let Err(error) = upload.abort().await
        {
            let error = self.judge(name, &error).to_string();
            tracing::warn!(error, "the parts of an object that was not finished stay in the store");
        }
        outcome
    }

    /// One part after the other, so that only one is in memory and one on its way.
    async fn put_all(
        &self,
        name: &str,
        upload: &mut dyn MultipartUpload,
        mut parts: Body,
    ) -> Result<()> {
        while let Some(part) = parts.next().await {
            let done = upload.put_part(PutPayload::from_bytes(part?)).await;
            done.map_err(|e| self.judge(name, &e))?;
        }
        upload.complete().await.map_err(|e| self.judge(name, &e))?;
        Ok(())
    }

    /// Removes some objects, as many as one request can.
    async fn remove_some(&self, names: &[String]) -> Vec<Result<()>> {
        let paths: Result<Vec<Path>> = names.iter().map(|name| self.listed_path(name)).collect();
        let paths = match paths {
            Ok(paths) => paths,
            Err(e) => return same_for_all(names.len(), e),
        };
        if !self.is_simple.load(Ordering::Relaxed) {
            match removed(&*self.bucket, &paths).await {
                Ok(outcomes) => return self.outcomes(names, outcomes),
                Err(e) if self.singly.is_some() && e.as_ref().is_none_or(is_unknown) => {
                    tracing::info!(store = self.shown, "removing objects one by one");
                    self.is_simple.store(true, Ordering::Relaxed);
                }
                Err(e) => return same_for_all(names.len(), self.failed_removal(e)),
            }
        }
        match removed(self.singly.as_deref().unwrap_or(&*self.bucket), &paths).await {
            Ok(outcomes) => self.outcomes(names, outcomes),
            Err(e) => same_for_all(names.len(), self.failed_removal(e)),
        }
    }

    fn outcomes(
        &self,
        names: &[String],
        outcomes: Vec<object_store::Result<Path>>,
    ) -> Vec<Result<()>> {
        let outcomes = names.iter().zip(outcomes);
        outcomes
            .map(|(name, outcome)| found(outcome, |e| self.judge(name, e)).map(|_| ()))
            .collect()
    }

    fn failed_removal(&self, error: Option<object_store::Error>) -> Error {
        match error {
            Some(error) => self.judge("", &error),
            None => {
                let why = "the answer to removing many objects makes no sense".to_owned();
                Error::Unreachable { place: self.shown.clone(), why, again: Again::No }
            }
        }
    }
}

/// The outcome for each, in order. A failure of the whole is an error, `None` for an answer that does not
/// fit the question.
async fn removed(
    bucket: &dyn Bucket,
    paths: &[Path],
) -> std::result::Result<Vec<object_store::Result<Path>>, Option<object_store::Error>> {
    let wanted: Vec<object_store::Result<Path>> = paths.iter().cloned().map(Ok).collect();
    let outcomes: BoxStream<'static, object_store::Result<Path>> =
        bucket.delete_stream(stream::iter(wanted).boxed());
    // `object_store` takes for granted that only what was asked about is answered.
    let outcomes = AssertUnwindSafe(outcomes.collect::<Vec<_>>()).catch_unwind().await;
    let outcomes = outcomes.map_err(|_| None)?;
    if outcomes.len() == paths.len() {
        return Ok(outcomes);
    }
    Err(outcomes.into_iter().find_map(|outcome| outcome.err()))
}

/// The same error as many times.
fn same_for_all(count: usize, error: Error) -> Vec<Result<()>> {
    let error = Arc::new(error);
    (0..count).map(|_| Err(Error::Joined(error.clone()))).collect()
}

fn of_type(content_type: &'static str) -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, content_type)])
}

fn facts(meta: &ObjectMeta) -> Facts {
    Facts { modified: SystemTime::from(meta.last_modified), len: meta.size }
}

/// Nothing is tried again here.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// For a bucket that cannot even be asked. The outermost text says what is missing.
pub(super) fn unusable(shown: &str, error: &object_store::Error) -> Error {
    Error::Unsupported { place: shown.to_owned(), why: error.to_string() }
}

impl Objects for BucketObjects {
    async fn open(&self, name: &str) -> Result<Option<Body>> {
        let path = self.path(name)?;
        let answer = self.bucket.get_opts(&path, GetOptions::default()).await;
        let Some(answer) = found(answer, |e| self.judge(name, e))? else { return Ok(None) };
        self.is_there.store(true, Ordering::Relaxed);
        let (place, called) = (self.place(name), self.called.clone());
        let body = answer.into_stream();
        Ok(Some(Box::pin(body.map_err(move |e| judged(place.clone(), &called, &e)))))
    }

    async fn has(&self, name: &str) -> Result<bool> {
        Ok(self.head(name).await?.is_some_and(|meta| meta.size > 0))
    }

    fn place(&self, name: &str) -> String {
        format!("{}{name}", self.shown)
    }

    async fn names(&self, beginning: &str, next: Option<String>) -> Result<Option<NamesPage>> {
        let options = PaginatedListOptions { page_token: next, ..PaginatedListOptions::default() };
        let start = self.start_of(beginning);
        let start = Some(start.as_str()).filter(|start| !start.is_empty());
        let listed = self.bucket.list_paginated(start, options).await;
        let listed = listed.map_err(|e| self.judge("", &e))?;
        self.is_there.store(true, Ordering::Relaxed);
        let page: Page = listed
            .result
            .objects
            .iter()
            .filter_map(|meta| Some((self.name(&meta.location)?.to_owned(), Some(facts(meta)))))
            .collect();
        Ok(Some((page, listed.page_token)))
    }
}

impl WriteObjects for BucketObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let path = self.path(name)?;
        let options = PutOptions { attributes: of_type(OF_CHUNKS), ..PutOptions::default() };
        let done = self.bucket.put_opts(&path, PutPayload::from_bytes(bytes), options).await;
        done.map(|_| ()).map_err(|e| self.judge(name, &e))
    }

    async fn put_parts(&self, name: &str, mut parts: Body) -> Result<()> {
        let path = self.path(name)?;
        let first = parts.next().await.transpose()?.unwrap_or_default();
        let Some(second) = parts.next().await.transpose()? else {
            let options = PutOptions { attributes: of_type(OF_INDEXES), ..PutOptions::default() };
            let done = self.bucket.put_opts(&path, PutPayload::from_bytes(first), options).await;
            return done.map(|_| ()).map_err(|e| self.judge(name, &e));
        };
        let all = stream::iter([Ok(first), Ok(second)]).chain(parts);
        self.put_large(name, &path, Box::pin(all)).await
    }
}

/// How far a listing has come.
#[derive(Default)]
pub(crate) enum Cursor {
    #[default]
    Start,
    At(String),
    End,
}

impl ListObjects for BucketObjects {
    type Cursor = Cursor;

    async fn list(&self, cursor: &mut Cursor) -> Result<Option<Page>> {
        let next = match cursor {
            Cursor::Start => None,
            Cursor::At(token) => Some(token.clone()),
            Cursor::End => return Ok(None),
        };
        let Some((page, next)) = self.names("", next).await? else { return Ok(None) };
        *cursor = next.map_or(Cursor::End, Cursor::At);
        Ok(Some(page))
    }

    async fn facts(&self, name: &str) -> Result<Option<Facts>> {
        Ok(self.head(name).await?.map(|meta| facts(&meta)))
    }

    async fn remove(&self, names: &[String]) -> Vec<Result<()>> {
        let mut outcomes = Vec::with_capacity(names.len());
        for batches in names.chunks(REMOVED_AT_ONCE * REMOVALS) {
            let batches = batches.chunks(REMOVED_AT_ONCE).map(|some| self.remove_some(some));
            outcomes.extend(join_all(batches).await.into_iter().flatten());
        }
        outcomes
    }
}
