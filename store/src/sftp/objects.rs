//! Chunks and indexes as files below a directory.
//!
//! ```text
//! sftp://host/dir  +  1234/1234….cacnk   ->  /dir/1234/1234….cacnk
//! written as /dir/1234/.tmp-cacnk.<random>, and renamed
//! ```
//! A directory of chunks is made when the first of them is written. The directory of the store itself is
//! made only for writing, and only if the one above it is there: a missing mount point is not filled. A
//! store without its directory is no empty store: whoever reads from it is told.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::address::Address;
use super::failure::Failure;
use super::file::{self, NewFile};
use super::pool::{Lease, Pool};
use super::wire::{Attributes, Request};
use crate::local::TEMPORARY_PREFIX;
use crate::remote::objects::{Body, Objects, WriteObjects};
use crate::ssh::destination::decoded;
use crate::{Again, Error, RemoteOptions, Result};

/// How often a new file is begun: whoever prunes may remove an empty directory right after it was made.
const BEGINNINGS: usize = 5;

/// A directory on a server.
pub(crate) struct SftpObjects {
    pool: Pool,
    directory: Vec<u8>,
    /// The place without secrets, with a slash at its end.
    shown: String,
    /// Whether the directory has been seen to be there.
    is_seen: AtomicBool,
}

impl SftpObjects {
    /// The place of a URL, which is shown in messages as `shown`. Nothing is connected yet.
    pub(crate) fn new(url: &str, shown: &str, options: &RemoteOptions) -> Result<Self> {
        let refused = |why| Error::Unsupported { place: shown.to_owned(), why };
        let address = Address::parse(url, shown).map_err(refused)?;
        Ok(Self::at(address, shown, options))
    }

    pub(crate) fn at(address: Address, shown: &str, options: &RemoteOptions) -> Self {
        let directory = address.directory.clone();
        let pool = Pool::new(address, options);
        let shown = format!("{}/", shown.trim_end_matches('/'));
        Self { pool, directory, shown, is_seen: AtomicBool::new(false) }
    }

    pub(super) async fn lease(&self) -> std::result::Result<Lease, Failure> {
        self.pool.session().await
    }

    pub(super) async fn session(&self, place: &str) -> Result<Lease> {
        self.lease().await.map_err(|failure| failure.at(place))
    }

    /// The directory of the place.
    pub(super) fn root(&self) -> &[u8] {
        if self.directory.is_empty() { b"/" } else { &self.directory }
    }

    /// Where an object is on the server.
    pub(super) fn path(&self, name: &str) -> std::result::Result<Vec<u8>, Failure> {
        let name = decoded(name).map_err(|why| Failure::Unsupported(why.to_owned()))?;
        Ok([&self.directory, &b"/"[..], &name].concat())
    }

    /// The outcome of asking for something, `None` if it is missing and its place is not.
    pub(super) async fn found<T>(
        &self,
        lease: &Lease,
        outcome: std::result::Result<T, Failure>,
        place: &str,
    ) -> Result<Option<T>> {
        match outcome {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Missing) => {
                if !self.is_seen.load(Ordering::Relaxed) {
                    let stat = lease.ask(&Request::Stat { path: self.root() });
                    let seen = stat.attributes().await;
                    seen.map_err(|failure| self.no_root(failure))?;
                    self.is_seen.store(true, Ordering::Relaxed);
                }
                Ok(None)
            }
            Err(failure) => Err(failure.at(place)),
        }
    }

    /// Why the directory of the place is not there.
    pub(super) fn no_root(&self, failure: Failure) -> Error {
        match failure {
            Failure::Missing => {
                let why = "the directory does not exist".to_owned();
                Error::Unreachable { place: self.shown.clone(), why, again: Again::No }
            }
            failure => failure.at(self.shown.as_str()),
        }
    }

    /// What is known of an object; `None` if it is not there or is a directory.
    pub(super) async fn look(&self, name: &str, follow: bool) -> Result<Option<Attributes>> {
        let place = self.place(name);
        let path = &self.path(name).map_err(|failure| failure.at(place.as_str()))?[..];
        let lease = self.session(&place).await?;
        let request = if follow { Request::Stat { path } } else { Request::LinkStat { path } };
        let outcome = lease.ask(&request).attributes().await;
        let found = self.found(&lease, outcome, &place).await?;
        Ok(found.filter(|attributes| !attributes.is_directory()))
    }

    /// A new file beside another, in a directory that is made if need be.
    async fn begin(&self, path: &[u8]) -> std::result::Result<NewFile, Failure> {
        let parent = &path[..path.iter().rposition(|&byte| byte == b'/').unwrap_or(0)];
        let mut missing = Failure::Missing;
        for _ in 0..BEGINNINGS {
            let lease = self.lease().await?;
            let number = getrandom::u64().map_err(|e| Failure::Refused(e.to_string()))?;
            let temporary = format!("/{TEMPORARY_PREFIX}{number:016x}");
            let temporary = [parent, temporary.as_bytes()].concat();
            match NewFile::create(lease, temporary).await {
                Err(Failure::Missing) => {}
                outcome => return outcome,
            }
            let lease = self.lease().await?;
            match lease.ask(&Request::MakeDirectory { path: parent }).done().await {
                // It may be there by now, which servers have no word for.
                Ok(()) | Err(Failure::Refused(_)) => {}
                Err(failure) => {
                    missing = failure;
                    break;
                }
            }
        }
        Err(missing)
    }
}

impl Objects for SftpObjects {
    async fn open(&self, name: &str) -> Result<Option<Body>> {
        let place = self.place(name);
        let path = self.path(name).map_err(|failure| failure.at(place.as_str()))?;
        let lease = self.session(&place).await?;
        match file::read(lease, &path, place.clone()).await {
            Err(Failure::Missing) => {
                let lease = self.session(&place).await?;
                self.found(&lease, Err(Failure::Missing), &place).await
            }
            outcome => outcome.map(Some).map_err(|failure| failure.at(place)),
        }
    }

    async fn has(&self, name: &str) -> Result<bool> {
        let found = self.look(name, true).await?;
        Ok(found.is_some_and(|attributes| attributes.size != Some(0)))
    }

    fn place(&self, name: &str) -> String {
        format!("{}{name}", self.shown)
    }
}

impl WriteObjects for SftpObjects {
    async fn prepare(&self) -> Result<()> {
        let lease = self.session(&self.shown).await?;
        let path = self.root();
        let stat = || lease.ask(&Request::Stat { path }).attributes();
        let mut found = stat().await;
        if found == Err(Failure::Missing) {
            match lease.ask(&Request::MakeDirectory { path }).done().await {
                Err(Failure::Missing) => {
                    let why = "neither the directory nor the one above it exists".to_owned();
                    return Err(Error::Unsupported { place: self.shown.clone(), why });
                }
                // Somebody else may have made it.
                Ok(()) | Err(Failure::Refused(_)) => found = stat().await,
                Err(failure) => return Err(failure.at(self.shown.as_str())),
            }
        }
        let attributes = found.map_err(|failure| self.no_root(failure))?;
        if attributes.mode.is_some() && !attributes.is_directory() {
            let why = "the store is not a directory".to_owned();
            return Err(Error::Unsupported { place: self.shown.clone(), why });
        }
        self.is_seen.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.put_parts(name, Box::pin(stream::iter([Ok(bytes)]))).await
    }

    async fn put_parts(&self, name: &str, mut parts: Body) -> Result<()> {
        let failed = |failure: Failure| failure.at(self.place(name));
        let path = self.path(name).map_err(failed)?;
        let mut new = self.begin(&path).await.map_err(failed)?;
        let written = async {
            while let Some(part) = parts.next().await {
                new.write(part?).await.map_err(failed)?;
            }
            new.commit(&path).await.map_err(failed)
        };
        let outcome = written.await;
        if outcome.is_err() {
            new.abandon().await;
        }
        outcome
    }
}
