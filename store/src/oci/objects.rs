//! Chunks and indexes in a container registry, as a backend.
//!
//! ```text
//! name     1234/1234…cdef.cacnk of a chunk, without a directory of an index: its end is the tag
//! get      manifest by tag, then blob: two round trips
//! has      manifest: a HEAD would take as long, and not say what it is of
//! put      blob (three, one if it is there), then manifest: what is there is whole
//! remove   manifest, then it by its digest
//! ```
//! What is under the tag of a chunk but is something else, be it an image, is not there for us. It is
//! never removed, and neither is a manifest that was made for another tag: registries remove manifests
//! with all of their tags. An index is never removed, nor taken for a chunk.

use std::time::SystemTime;

use bytes::Bytes;
use cairn_formats::Index;
use futures_util::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use tokio::sync::OnceCell;

use super::checked::checked;
use super::manifest::{self, Blob, CONFIG, Kind, LONGEST_MANIFEST, MANIFEST, Read};
use super::registry::{Need, Registry};
use super::repository::Repository;
use super::tags::{self, Cursor};
use super::turns::Turns;
use super::upload::upload;
use crate::http::{body, refusal};
use crate::remote::objects::{Body, ListObjects, Objects, Page, WriteObjects, collect, in_time};
use crate::{Again, Error, Facts, RemoteOptions, Result};

/// Chunks and indexes in a repository of a registry.
pub(crate) struct OciObjects {
    registry: Registry,
    options: RemoteOptions,
    /// Whether the blob is there that all manifests name.
    config: OnceCell<()>,
    turns: Turns,
}

/// A manifest of what was looked for.
struct Found {
    /// Its own.
    digest: String,
    blob: std::result::Result<Blob, String>,
    is_of_another_tag: bool,
}

impl OciObjects {
    /// What is in the repository that a URL names, which is shown in messages as `shown`.
    pub(crate) fn new(url: &str, shown: &str, options: &RemoteOptions) -> Result<Self> {
        let registry = Registry::new(Repository::new(url, shown)?, options)?;
        Ok(Self {
            registry,
            options: options.clone(),
            config: OnceCell::new(),
            turns: Turns::default(),
        })
    }

    fn tag_place(&self, tag: &str) -> String {
        self.registry.repository().place(tag)
    }

    fn bad(&self, tag: &str, why: String) -> Error {
        Error::Unreachable { place: self.tag_place(tag), why, again: Again::No }
    }

    /// What an object of this name is, and its tag.
    fn part<'a>(&self, name: &'a str) -> Result<(Kind, &'a str)> {
        let tag = tag_of(name);
        if tag.len() < name.len() {
            return Ok((Kind::Chunk, tag));
        }
        if !is_tag(tag) {
            let why = "the name of an index in a registry is made of letters, digits and `_.-`, does \
                       not begin with `.` or `-`, and is no longer than 128";
            return Err(Error::Unsupported { place: self.tag_place(tag), why: why.to_owned() });
        }
        Ok((Kind::Index, tag))
    }

    /// The manifest under a tag, if it is of this kind.
    async fn find(&self, kind: Kind, tag: &str, need: Need) -> Result<Option<Found>> {
        let place = self.tag_place(tag);
        let url = self.registry.repository().url(&format!("manifests/{tag}"));
        let request = self.registry.request(Method::GET, url).header(ACCEPT, MANIFEST);
        let response = self.registry.send(need, &place, request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(refusal(&place, response).await),
        }
        let bytes = collect(body(place.clone(), response), LONGEST_MANIFEST, &place).await?;
        match manifest::read(&bytes, kind, tag).map_err(|why| self.bad(tag, why))? {
            Read::Found { blob, is_of_another_tag } => {
                let digest = manifest::digest(&bytes);
                Ok(Some(Found { digest, blob, is_of_another_tag }))
            }
            Read::Other => {
                tracing::debug!(place, ?kind, "what is there is something else");
                Ok(None)
            }
        }
    }

    /// Sees to it that the configuration is there.
    async fn ensure_config(&self) -> Result<()> {
        let place = self.registry.repository().shown();
        let digest = manifest::digest(CONFIG);
        upload(&self.registry, place, &digest, Bytes::from_static(CONFIG)).await.map(|_| ())
    }

    async fn put_manifest(&self, tag: &str, manifest: Vec<u8>) -> Result<()> {
        let place = self.tag_place(tag);
        let url = self.registry.repository().url(&format!("manifests/{tag}"));
        let request = self.registry.request(Method::PUT, url);
        let request = request.header(CONTENT_TYPE, MANIFEST).body(manifest);
        let response = self.registry.send(Need::Push, &place, request).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED => Ok(()),
            _ => Err(match refusal(&place, response).await {
                // Somebody else is putting the same blob, or the registry is slow to see it.
                Error::Unreachable { place, why, .. } if why.contains("BLOB_UNKNOWN") => {
                    Error::Unreachable { place, why, again: Again::Yes }
                }
                error => error,
            }),
        }
    }

    async fn remove_one(&self, tag: &str) -> Result<()> {
        let place = self.tag_place(tag);
        let Some(found) = self.find(Kind::Chunk, tag, Need::Delete).await? else { return Ok(()) };
        if found.is_of_another_tag {
            let why = "its manifest belongs to another tag, which would be removed with it";
            return Err(Error::Unsupported { place, why: why.to_owned() });
        }
        let url = self.registry.repository().url(&format!("manifests/{}", found.digest));
        let request = self.registry.request(Method::DELETE, url);
        let response = self.registry.send(Need::Delete, &place, request).await?;
        match response.status() {
            StatusCode::ACCEPTED
            | StatusCode::OK
            | StatusCode::NO_CONTENT
            | StatusCode::NOT_FOUND => Ok(()),
            StatusCode::METHOD_NOT_ALLOWED => {
                let why = "the registry does not allow anything to be removed".to_owned();
                Err(Error::Unsupported {
                    place: self.registry.repository().shown().to_owned(),
                    why,
                })
            }
            _ => Err(refusal(&place, response).await),
        }
    }
}

/// The tag in the name of an object, which is that of a file in a store of files.
fn tag_of(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, tag)| tag)
}

/// Whether the specification allows it as a tag.
fn is_tag(text: &str) -> bool {
    let is_of_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_of_word)
        && text.bytes().all(|b| is_of_word(b) || b == b'.' || b == b'-')
}

/// The name of the chunk with this tag.
fn name_of(tag: &str) -> String {
    format!("{}/{tag}", &tag[..4])
}

impl Objects for OciObjects {
    async fn open(&self, name: &str) -> Result<Option<Body>> {
        let (kind, tag) = self.part(name)?;
        let Some(found) = self.find(kind, tag, Need::Pull).await? else { return Ok(None) };
        let blob = found.blob.map_err(|why| self.bad(tag, why))?;
        let place = self.tag_place(tag);
        let url = self.registry.repository().url(&format!("blobs/{}", blob.digest));
        let request = self.registry.request(Method::GET, url);
        let response = self.registry.send(Need::Pull, &place, request).await?;
        match response.status() {
            StatusCode::OK => {
                let body = body(place.clone(), response);
                Ok(Some(match kind {
                    // Its id tells later.
                    Kind::Chunk => body,
                    Kind::Index => checked(body, blob, place)?,
                }))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refusal(&place, response).await),
        }
    }

    /// What plainly cannot be got does not count, so that it is put again.
    async fn has(&self, name: &str) -> Result<bool> {
        let (kind, tag) = self.part(name)?;
        let found = self.find(kind, tag, Need::Pull).await?;
        Ok(found.is_some_and(|found| found.blob.is_ok_and(|blob| blob.len > 0)))
    }

    fn place(&self, name: &str) -> String {
        self.tag_place(tag_of(name))
    }
}

impl WriteObjects for OciObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let (kind, tag) = self.part(name)?;
        let place = self.tag_place(tag);
        if kind == Kind::Index
            && tags::is_of_chunk(tag)
            && self.find(Kind::Chunk, tag, Need::Push).await?.is_some()
        {
            let why = "a chunk is there, which an index would replace".to_owned();
            return Err(Error::Unsupported { place, why });
        }
        let blob = Blob::of(&bytes);
        let digest = blob.digest.clone();
        let manifest = match kind {
            Kind::Chunk => manifest::of_chunk(tag, blob),
            Kind::Index => {
                let index = Index::read(&bytes[..]).map_err(Error::invalid(&place))?;
                manifest::of_index(tag, blob, &index)
            }
        };
        self.config.get_or_try_init(|| self.ensure_config()).await?;
        let _turn = self.turns.turn(tag).await;
        let is_new = upload(&self.registry, &place, &digest, bytes).await?;
        // As with the blob: what is there is not written again.
        if !is_new
            && let Ok(Some(found)) = self.find(kind, tag, Need::Push).await
            && found.digest == manifest::digest(&manifest)
        {
            return Ok(());
        }
        self.put_manifest(tag, manifest).await
    }
}

impl ListObjects for OciObjects {
    type Cursor = Cursor;

    const IS_DATED: bool = false;

    async fn list(&self, cursor: &mut Cursor) -> Result<Option<Page>> {
        let tags = tags::next(&self.registry, cursor).await?;
        Ok(tags.map(|tags| tags.iter().map(|tag| (name_of(tag), None)).collect()))
    }

    /// Nothing of what must not be removed.
    async fn facts(&self, name: &str) -> Result<Option<Facts>> {
        let found = self.find(Kind::Chunk, tag_of(name), Need::Pull).await?;
        let found = found.filter(|found| !found.is_of_another_tag);
        Ok(found.map(|found| {
            let len = found.blob.map_or(0, |blob| blob.len);
            Facts { modified: SystemTime::UNIX_EPOCH, len }
        }))
    }

    async fn remove(&self, names: &[String]) -> Vec<Result<()>> {
        let mut removals = Vec::with_capacity(names.len());
        for name in names {
            let tag = tag_of(name);
            let place = move || self.tag_place(tag);
            removals.push(in_time(self.options.timeout, place, self.remove_one(tag)));
        }
        futures_util::stream::iter(removals)
            .buffered(self.options.connections.max(1))
            .collect()
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_the_specification() {
        for good in ["a", "_a.b-c", "file.iso.caibx", &"a".repeat(128)] {
            assert!(is_tag(good), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a%20", "a:b", "ä", "a/b", &"a".repeat(129)] {
            assert!(!is_tag(bad), "{bad}");
        }
    }
}
