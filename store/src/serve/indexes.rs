//! Indexes over HTTP, as desync's index server has them.
//!
//! The last part of the path is the name of the index; what stands before it does not matter. An index
//! is read and written anew on its way, so only indexes get in or out.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cairn_formats::{Digest, Error as FormatError, Index};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::chunks::blocking;
use super::reply::{self, Object, Reply};
use super::request::Asked;
use super::site::Peer;
use super::upload::{self, Upload};
use crate::{Error, Location, RemoteOptions, Result, read_index, write_index};

/// The longest index a client may send, in bytes: that of a blob of some 500 GB.
const LONGEST_BODY: usize = 256 << 20;

/// How new index files may be used, before the umask.
const MODE: u32 = 0o666;

/// Where the indexes are.
pub struct IndexStore {
    /// A directory, or a URL without the name of an index.
    pub location: Location,
    /// How it is reached, if it is on another machine.
    pub remote: RemoteOptions,
    /// Whether clients may write.
    pub is_writable: bool,
    /// What the ids in them are made with.
    pub digest: Digest,
}

/// What answers requests for indexes.
pub struct IndexService {
    store: IndexStore,
}

impl IndexService {
    /// Serves the indexes of a store. A directory must exist.
    pub fn new(store: IndexStore) -> Result<Self> {
        if let Location::Local(path) = &store.location {
            let found = path.metadata().map_err(Error::io("open store", path))?;
            if !found.is_dir() {
                let (place, why) = (path.display().to_string(), "it is not a directory".to_owned());
                return Err(Error::Unsupported { place, why });
            }
        }
        Ok(Self { store })
    }

    pub(super) fn name(&self) -> String {
        self.store.location.without_secrets()
    }

    pub(super) fn is_writable(&self) -> bool {
        self.store.is_writable
    }

    /// Whether the indexes can be got at, as far as that can be told.
    pub(super) fn is_well(&self) -> bool {
        match &self.store.location {
            Location::Local(path) => path.is_dir(),
            _ => true,
        }
    }

    /// Answers a request for a decoded path.
    pub(super) async fn answer(
        self: &Arc<Self>,
        peer: &Peer,
        path: &str,
        request: &Parts,
        body: &mut Option<Incoming>,
    ) -> Reply {
        let Some(place) = self.place(path) else {
            return reply::error(StatusCode::BAD_REQUEST, "invalid index name");
        };
        match request.method {
            Method::GET | Method::HEAD => self.get(peer, place, request).await,
            Method::PUT => self.put(peer, place, body).await,
            _ => {
                reply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET, PUT and HEAD are supported")
            }
        }
    }

    /// Where the index is that a path names.
    fn place(&self, path: &str) -> Option<Location> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let name = path.rsplit('/').next()?;
        let is_path = matches!(name, "" | "." | "..");
        if is_path || name.contains('\\') || name.chars().any(char::is_control) {
            return None;
        }
        match &self.store.location {
            Location::Local(directory) => Some(Location::Local(directory.join(name))),
            // What means something in a URL cannot be part of a name there.
            Location::Remote { .. } if name.contains(['?', '#', '%', '|']) => None,
            Location::Remote { scheme, url } => {
                let (base, query) = url.split_at(url.find('?').unwrap_or(url.len()));
                let url = format!("{}/{name}{query}", base.trim_end_matches('/'));
                Some(Location::Remote { scheme: scheme.clone(), url })
            }
            Location::Stdio => None,
        }
    }

    async fn get(self: &Arc<Self>, peer: &Peer, place: Location, request: &Parts) -> Reply {
        let is_head = request.method == Method::HEAD;
        let (service, from) = (self.clone(), place.clone());
        let read = blocking(move || {
            if is_head && let Location::Local(path) = &from {
                return len_of_file(path).map(Read::Len);
            }
            service.read(&from).map(Read::Bytes)
        });
        match read.await {
            Ok(Read::Len(len)) => {
                let mut reply = reply::empty(StatusCode::OK);
                reply.headers_mut().insert(hyper::header::CONTENT_LENGTH, len.into());
                reply
            }
            Ok(Read::Bytes(bytes)) => {
                if !is_head {
                    peer.counters().sent();
                }
                let asked = Asked { method: &request.method, headers: &request.headers };
                Object { bytes, is_constant: true, is_for_ever: false }.reply(&asked, peer)
            }
            Err(e) if is_absence(&e) && is_head => reply::empty(StatusCode::NOT_FOUND),
            Err(e) if is_absence(&e) => reply::error(StatusCode::NOT_FOUND, "index not found"),
            Err(e) => {
                let name = place.without_secrets();
                peer.failed(&format!("failed to retrieve index {name}"), &e);
                reply::error(StatusCode::BAD_REQUEST, "failed to retrieve index")
            }
        }
    }

    async fn put(
        self: &Arc<Self>,
        peer: &Peer,
        place: Location,
        body: &mut Option<Incoming>,
    ) -> Reply {
        if !self.store.is_writable {
            let why = "writing to upstream index store is not enabled";
            return reply::error(StatusCode::BAD_REQUEST, why);
        }
        let Some(body) = body.take() else { return reply::internal_error() };
        let upload = match upload::read(body, LONGEST_BODY, peer.memory(), peer.progress()).await {
            Ok(upload) => upload,
            Err(reply) => return *reply,
        };
        peer.counters().received(upload.bytes.len() as u64);
        let (digest, to, remote) = (self.store.digest, place.clone(), self.store.remote.clone());
        let stored = blocking(move || {
            let Upload { bytes, share: _share } = upload;
            let index = match Index::read_sized(&bytes[..], bytes.len() as u64) {
                Ok(index) => index,
                Err(e) => return Ok(Some(e.to_string())),
            };
            if index.digest() != digest {
                return Ok(Some(format!("its ids are made with {}", index.digest())));
            }
            write_index(&to, &index, (MODE, false), &remote)?;
            Ok(None)
        });
        match stored.await {
            Ok(None) => {
                peer.counters().stored();
                reply::empty(StatusCode::OK)
            }
            Ok(Some(why)) => {
                reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &format!("invalid index: {why}"))
            }
            Err(e) => {
                peer.failed(&format!("failed to store index {}", place.without_secrets()), &e)
            }
        }
    }

    /// The bytes of an index.
    fn read(&self, place: &Location) -> Result<Vec<u8>> {
        let index = read_index(place, &self.store.remote)?;
        if index.digest() != self.store.digest {
            let why = format!("its ids are made with {}", index.digest());
            let source = FormatError::Unsupported { why };
            return Err(Error::Invalid { place: place.without_secrets(), source });
        }
        let mut bytes = Vec::with_capacity(index.file_size() as usize);
        index.write(&mut bytes).map_err(Error::io("serialise", place.without_secrets()))?;
        Ok(bytes)
    }
}

/// What is known of an index.
enum Read {
    Len(u64),
    Bytes(Vec<u8>),
}

/// The length of what should be an index; what is no file cannot be one.
fn len_of_file(path: &Path) -> Result<u64> {
    let found = path.metadata().map_err(Error::io("look for", path))?;
    match found.is_file() {
        true => Ok(found.len()),
        false => Err(Error::io("read", path)(io::ErrorKind::IsADirectory.into())),
    }
}

/// Whether the index is not there.
fn is_absence(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        Error::Invalid { source: FormatError::Io(source), .. } => {
            source.kind() == io::ErrorKind::NotFound
        }
        Error::Missing { .. } => true,
        Error::Joined(error) => is_absence(error),
        _ => false,
    }
}
