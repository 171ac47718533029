//! Chunks in a container registry, as a backend.
//!
//! ```text
//! get      manifest by tag, then blob: two round trips
//! has      manifest: a HEAD would take as long, and not say whether it is that of a chunk
//! put      blob (three, one if it is there), then manifest: what is there is whole
//! remove   manifest, then it by its digest
//! ```
//! What is under the tag of a chunk but is something else, be it an image, is not there for us. It is
//! never removed, and neither is a manifest that was made for another tag: registries remove manifests
//! with all of their tags.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use tokio::sync::OnceCell;

use super::manifest::{self, Blob, CONFIG, LONGEST_MANIFEST, MANIFEST, Read};
use super::registry::{Need, Registry};
use super::repository::Repository;
use super::tags::{self, Cursor};
use super::turns::Turns;
use super::upload::upload;
use crate::http::{body, refusal};
use crate::remote::objects::{Body, ListObjects, Objects, Page, WriteObjects, collect, in_time};
use crate::{Again, Error, Facts, RemoteOptions, Result};

/// Chunks in a repository of a registry.
pub(crate) struct OciObjects {
    registry: Registry,
    options: RemoteOptions,
    /// Whether the blob is there that all manifests name.
    config: OnceCell<()>,
    turns: Turns,
}

/// A manifest of a chunk.
struct Found {
    /// Its own.
    digest: String,
    blob: std::result::Result<Blob, String>,
    is_of_another_tag: bool,
}

impl OciObjects {
    /// The chunks in the repository that a URL names, which is shown in messages as `shown`.
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

    /// The manifest of a chunk.
    async fn find(&self, tag: &str, need: Need) -> Result<Option<Found>> {
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
        match manifest::read(&bytes, tag).map_err(|why| self.bad(tag, why))? {
            Read::Chunk { blob, is_of_another_tag } => {
                let digest = manifest::digest(&bytes);
                Ok(Some(Found { digest, blob, is_of_another_tag }))
            }
            Read::Other => {
                tracing::debug!(place, "what is there is not a chunk");
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
        let Some(found) = self.find(tag, Need::Delete).await? else { return Ok(()) };
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

/// The name of the object with this tag.
fn name_of(tag: &str) -> String {
    format!("{}/{tag}", &tag[..4])
}

impl Objects for OciObjects {
    async fn open(&self, name: &str) -> Result<Option<Body>> {
        let tag = tag_of(name);
        let Some(found) = self.find(tag, Need::Pull).await? else { return Ok(None) };
        let blob = found.blob.map_err(|why| self.bad(tag, why))?;
        let place = self.tag_place(tag);
        let url = self.registry.repository().url(&format!("blobs/{}", blob.digest));
        let request = self.registry.request(Method::GET, url);
        let response = self.registry.send(Need::Pull, &place, request).await?;
        match response.status() {
            StatusCode::OK => Ok(Some(body(place, response))),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refusal(&place, response).await),
        }
    }

    /// What plainly cannot be got does not count, so that it is put again.
    async fn has(&self, name: &str) -> Result<bool> {
        let found = self.find(tag_of(name), Need::Pull).await?;
        Ok(found.is_some_and(|found| found.blob.is_ok_and(|blob| blob.len > 0)))
    }

    fn place(&self, name: &str) -> String {
        self.tag_place(tag_of(name))
    }
}

impl WriteObjects for OciObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let tag = tag_of(name);
        let place = self.tag_place(tag);
        self.config.get_or_try_init(|| self.ensure_config()).await?;
        let (digest, len) = (manifest::digest(&bytes), bytes.len());
        let _turn = self.turns.turn(tag).await;
        let is_new = upload(&self.registry, &place, &digest, bytes).await?;
        let manifest = manifest::write(tag, digest, len);
        // As with the blob: what is there is not written again.
        if !is_new
            && let Ok(Some(found)) = self.find(tag, Need::Push).await
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
        let found = self.find(tag_of(name), Need::Pull).await?;
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
