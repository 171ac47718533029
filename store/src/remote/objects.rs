//! What a backend is: a place where bytes have names.
//!
//! ```text
//! name     1234/1234…cdef.cacnk      a chunk, as its form says
//!          image.caibx               an index
//! ```
//! Names are relative to the place and made of `/`, ASCII letters, digits and `.-_` when they are of
//! chunks; those of indexes can be anything the user has typed. A backend escapes what it must.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::{Again, Error, Facts, Result};

/// The bytes of an object, as they arrive.
pub(crate) type Body = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Objects in the order in which they were asked for, as they arrive; `None` for one that is not there.
pub(crate) type Many = Pin<Box<dyn Stream<Item = Result<Option<Vec<u8>>>> + Send>>;

/// Some objects of a listing; with the facts if the place tells them.
pub(crate) type Page = Vec<(String, Option<Facts>)>;

/// Some objects of a listing, and what to ask for to have it go on, if it does.
pub(crate) type NamesPage = (Page, Option<String>);

/// A place to read from.
pub(crate) trait Objects: Send + Sync + 'static {
    /// Begins to read an object; `None` if it is not there.
    fn open(&self, name: &str) -> impl Future<Output = Result<Option<Body>>> + Send;

    /// Whether an object is there.
    fn has(&self, name: &str) -> impl Future<Output = Result<bool>> + Send;

    /// Reads many objects with one request, each of at most `most` bytes. Those that do not arrive are
    /// missing from the end of the stream, behind the reason. `None` if the place cannot do that now.
    fn open_many(
        &self,
        _names: &[String],
        _most: usize,
    ) -> impl Future<Output = Result<Option<Many>>> + Send {
        async { Ok(None) }
    }

    /// What an object is called in messages, with the place and without secrets.
    fn place(&self, name: &str) -> String;

    /// Some of the objects whose names begin like this: the first, or those that the page before said
    /// come next. `None` from a place that cannot list, or where to list costs more than to ask.
    fn names(
        &self,
        _beginning: &str,
        _next: Option<String>,
    ) -> impl Future<Output = Result<Option<NamesPage>>> + Send {
        async { Ok(None) }
    }
}

/// A place to write to.
pub(crate) trait WriteObjects: Objects {
    /// Makes sure that the place can be written to, as far as it can be told beforehand.
    fn prepare(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Writes an object, which appears whole or not at all, in place of one by the same name.
    fn put(&self, name: &str, bytes: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Writes an object that arrives in parts, each but the last of [`PART`] bytes. It appears whole or
    /// not at all; a part that is an error ends it.
    fn put_parts(&self, name: &str, mut parts: Body) -> impl Future<Output = Result<()>> + Send {
        async move {
            let mut all = Vec::new();
            while let Some(part) = parts.next().await {
                all.extend_from_slice(&part?);
            }
            self.put(name, all.into()).await
        }
    }
}

/// The size of the parts in which a large object is written, in bytes: S3 wants 5 MiB at least, and
/// takes 10 000 of them.
pub(crate) const PART: usize = 16 << 20;

/// A place that can be listed and cleared.
pub(crate) trait ListObjects: WriteObjects {
    /// How far a listing has come.
    type Cursor: Default + Send;

    /// Whether the facts say when an object was written.
    const IS_DATED: bool = true;

    /// The next objects in the place, at any depth, or `None` at the end.
    fn list(&self, cursor: &mut Self::Cursor) -> impl Future<Output = Result<Option<Page>>> + Send;

    /// What is known of an object without reading it; `None` if it is not there.
    fn facts(&self, name: &str) -> impl Future<Output = Result<Option<Facts>>> + Send;

    /// Removes objects, and tells of each whether it is gone now, in the order given.
    fn remove(&self, names: &[String]) -> impl Future<Output = Vec<Result<()>>> + Send;
}

/// All bytes of a body. An error if there are more than `most`, before they are taken in.
pub(crate) async fn collect(mut body: Body, most: usize, place: &str) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(some) = body.next().await {
        let some = some?;
        if all.len() + some.len() > most {
            let why = format!("more than {most} bytes, which is too long");
            return Err(Error::Unreachable { place: place.to_owned(), why, again: Again::No });
        }
        all.extend_from_slice(&some);
    }
    Ok(all)
}

/// The outcome of something, or an error if it is not there in time.
pub(crate) async fn in_time<T>(
    timeout: Option<Duration>,
    place: impl Fn() -> String,
    outcome: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(timeout) = timeout else { return outcome.await };
    match tokio::time::timeout(timeout, outcome).await {
        Ok(outcome) => outcome,
        Err(_) => Err(too_late(place(), timeout)),
    }
}

/// What has not been answered in this time.
pub(crate) fn too_late(place: String, timeout: Duration) -> Error {
    let why = format!("no answer within {timeout:?}");
    Error::Unreachable { place, why, again: Again::Yes }
}
