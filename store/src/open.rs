//! From an address to a store: the only place where schemes are told apart.
//!
//! ```text
//! path                a directory on this machine
//! scheme -> backend   with_backend!: a line each, for stores and indexes alike
//! ```
//! What is far away is asked again when it fails, and may be limited to a rate.

use std::fs::File;
use std::io;

use cairn_formats::Index;

use crate::combine::{Cache, RateLimited, Retrying, Router};
#[cfg(feature = "http")]
use crate::http::HttpObjects;
use crate::local::{LocalOptions, LocalStore, LruStore};
#[cfg(feature = "object")]
use crate::object::BucketObjects;
#[cfg(feature = "oci")]
use crate::oci::OciObjects;
use crate::remote::store::RemoteStore;
use crate::remote::{RemoteOptions, index};
#[cfg(feature = "sftp")]
use crate::sftp::SftpObjects;
use crate::ssh::{self, SshStore};
use crate::{CacheOptions, Error, Location, PruneStore, Result, Store, StoreOptions, WriteStore};

/// A store and how it is to be used.
pub type Place = (Location, StoreOptions);

/// Evaluates `$then` with the backend of a remote location, whatever type that is, as `$objects`.
macro_rules! with_backend {
    ($location:expr, $remote:expr, $objects:ident => $then:expr) => {
        match $location {
            #[cfg(feature = "http")]
            Location::Remote { scheme, url } if matches!(scheme.as_str(), "http" | "https") => {
                let $objects = HttpObjects::new(url, &$location.without_secrets(), $remote)?;
                $then
            }
            location => with_listed_backend!(location, $remote, $objects => $then, no_store(location)),
        }
    };
}

/// The same for those that can tell what they hold; for all others it is the error `$otherwise`.
macro_rules! with_listed_backend {
    ($location:expr, $remote:expr, $objects:ident => $then:expr, $otherwise:expr) => {
        match $location {
            #[cfg(feature = "object")]
            Location::Remote { scheme, url } if is_bucket(scheme) => {
                let $objects = BucketObjects::new(url, &$location.without_secrets(), $remote)?;
                $then
            }
            #[cfg(feature = "oci")]
            Location::Remote { scheme, url } if scheme.starts_with("oci+http") => {
                let $objects = OciObjects::new(url, &$location.without_secrets(), $remote)?;
                $then
            }
            #[cfg(feature = "sftp")]
            Location::Remote { scheme, url } if scheme == "sftp" => {
                let $objects = SftpObjects::new(url, &$location.without_secrets(), $remote)?;
                $then
            }
            _ => Err($otherwise),
        }
    };
}

/// A store far away as it is used: limited to a rate if one was given, and asked again when it fails.
macro_rules! far {
    ($store:expr, $options:expr) => {{
        let RemoteOptions { retry, rate, stop, .. } = $options.remote.clone();
        match rate {
            Some(rate) => {
                let store = RateLimited::new($store, rate, stop.clone());
                Box::new(Retrying::new(store, retry, stop))
            }
            None => Box::new(Retrying::new($store, retry, stop)),
        }
    }};
}

/// Opens one or more stores for reading. Each is one place or several that mirror each other; they
/// are asked in their order.
pub fn open(stores: &[Vec<Place>]) -> Result<Box<dyn Store>> {
    let mirrored = |mirrors: &Vec<Place>| -> Result<Box<dyn Store>> {
        several(mirrors, open_one, |stores| Box::new(Router::new(stores)))
    };
    several(stores, mirrored, |stores| Box::new(Router::new(stores)))
}

/// Opens a store for writing, or several that mirror each other, of which one gets each chunk. A
/// missing directory is created.
pub fn open_writable(mirrors: &[Place]) -> Result<Box<dyn WriteStore>> {
    several(mirrors, open_one_writable, |stores| Box::new(Router::of_mirrors(stores)))
}

/// Opens a store to remove chunks from it. An error if anybody is known to be writing to it.
pub fn open_prunable(location: &Location, options: &StoreOptions) -> Result<Box<dyn PruneStore>> {
    let store: Box<dyn PruneStore> = match location {
        Location::Local(path) => Box::new(LocalStore::alone(path, local(options))?),
        Location::Stdio => return Err(no_store(location)),
        _ => with_listed_backend!(location, &options.remote, objects => {
            let store = RemoteStore::new(objects, location.without_secrets(), options);
            let store: Box<dyn PruneStore> = far!(store, options);
            Ok(store)
        }, not_prunable(location))?,
    };
    log_opened(location, options, "for pruning");
    Ok(store)
}

/// Puts a cache in front of a store. A missing directory is created.
pub fn open_cached(
    source: Box<dyn Store>,
    (location, options): &Place,
    cached: &CacheOptions,
) -> Result<Box<dyn Store>> {
    let cache: Box<dyn WriteStore> = match (location, cached.limit) {
        (Location::Local(path), limit) => {
            let store = LocalStore::cache(path, local(options))?;
            match limit {
                Some(limit) => Box::new(LruStore::new(store, limit)),
                None => Box::new(store),
            }
        }
        (_, None) => open_one_writable(&(location.clone(), options.clone()))?,
        (_, Some(_)) => {
            let why = "only a cache on this machine can be given a size".to_owned();
            return Err(Error::Unsupported { place: location.without_secrets(), why });
        }
    };
    log_opened(location, options, "as a cache");
    Ok(Box::new(Cache::new(cache, source, cached.repair)))
}

/// Opens a store on this machine to look at its files. Whoever removes any needs [`open_prunable`].
pub fn open_local(location: &Location, options: &StoreOptions) -> Result<LocalStore> {
    let store = match location {
        Location::Local(path) => LocalStore::open(path, local(options))?,
        Location::Remote { .. } | Location::Stdio => {
            let why = "not a store on this machine".to_owned();
            return Err(Error::Unsupported { place: location.without_secrets(), why });
        }
    };
    log_opened(location, options, "for looking at its files");
    Ok(store)
}

/// Reads an index from a place far away.
pub(crate) fn read_remote_index(location: &Location, remote: &RemoteOptions) -> Result<Index> {
    if is_behind_ssh(location) {
        return remote.retry.run(&remote.stop, || ssh::index::read(location, remote));
    }
    let (place, name) = index_place(location)?;
    with_backend!(&place, remote, objects => {
        let found = remote.retry.run(&remote.stop, || index::read(&objects, &name, remote))?;
        found.ok_or_else(|| {
            let missing = io::Error::new(io::ErrorKind::NotFound, "there is no such index");
            Error::io("read index", location.without_secrets())(missing)
        })
    })
}

/// Copies what is at a place far away, such as an archive, into a file, over what is in it, and returns how many bytes
/// that was. Nobody can verify them.
pub fn copy_remote(location: &Location, output: &File, remote: &RemoteOptions) -> Result<u64> {
    if is_behind_ssh(location) {
        let place = location.without_secrets();
        let why = "only indexes and chunks come by ssh; use the index of the archive".to_owned();
        return Err(Error::Unsupported { place, why });
    }
    let (place, name) = index_place(location)?;
    with_backend!(&place, remote, objects => {
        let copy = || index::copy(&objects, &name, output, remote);
        remote.retry.run(&remote.stop, copy)?.ok_or_else(|| {
            let missing = io::Error::new(io::ErrorKind::NotFound, "there is nothing of this name");
            Error::io("read", location.without_secrets())(missing)
        })
    })
}

/// Writes an index to a place far away.
pub(crate) fn write_remote_index(
    location: &Location,
    index: &Index,
    remote: &RemoteOptions,
) -> Result<()> {
    if is_behind_ssh(location) {
        return remote.retry.run(&remote.stop, || ssh::index::write(location, index, remote));
    }
    let (place, name) = index_place(location)?;
    with_backend!(&place, remote, objects => {
        remote.retry.run(&remote.stop, || index::write(&objects, &name, index, remote))
    })
}

fn is_behind_ssh(location: &Location) -> bool {
    matches!(location, Location::Remote { scheme, .. } if scheme == "ssh")
}

/// The place that a remote index is in, and its name there. A query belongs to the place.
fn index_place(location: &Location) -> Result<(Location, String)> {
    let unsupported =
        |why: &str| Error::Unsupported { place: location.without_secrets(), why: why.to_owned() };
    let Location::Remote { scheme, url } = location else {
        return Err(unsupported("not a place far away"));
    };
    let path_end = url.find(['?', '#']).unwrap_or(url.len());
    let (path, query) = url.split_at(path_end);
    let rest = scheme.len() + "://".len();
    match path[rest..].rsplit_once('/') {
        Some((parent, name)) if !name.is_empty() => {
            let url = format!("{}{parent}/{query}", &path[..rest]);
            Ok((Location::Remote { scheme: scheme.clone(), url }, name.to_owned()))
        }
        _ => Err(unsupported("the URL does not end in the name of an index")),
    }
}

/// The only one of some, or all of them combined.
fn several<T, S>(
    places: &[T],
    open: impl Fn(&T) -> Result<S>,
    combine: impl FnOnce(Vec<S>) -> S,
) -> Result<S> {
    match places {
        [] => Err(Error::Unsupported { place: "store".into(), why: "none given".into() }),
        [place] => open(place),
        many => Ok(combine(many.iter().map(open).collect::<Result<_>>()?)),
    }
}

fn open_one((location, options): &Place) -> Result<Box<dyn Store>> {
    let store: Box<dyn Store> = match location {
        Location::Local(path) => Box::new(LocalStore::open(path, local(options))?),
        Location::Remote { scheme, .. } if scheme == "ssh" => {
            far!(SshStore::open(location, options)?, options)
        }
        _ => with_backend!(location, &options.remote, objects => {
            let store = RemoteStore::new(objects, location.without_secrets(), options);
            let store: Box<dyn Store> = far!(store, options);
            Ok(store)
        })?,
    };
    log_opened(location, options, "for reading");
    Ok(store)
}

fn open_one_writable((location, options): &Place) -> Result<Box<dyn WriteStore>> {
    let store: Box<dyn WriteStore> = match location {
        Location::Local(path) => Box::new(LocalStore::create(path, local(options))?),
        Location::Remote { scheme, .. } if scheme == "ssh" => {
            far!(SshStore::open_writable(location, options)?, options)
        }
        _ => with_backend!(location, &options.remote, objects => {
            let store = RemoteStore::new(objects, location.without_secrets(), options);
            options.remote.retry.run(&options.remote.stop, || store.prepare())?;
            let store: Box<dyn WriteStore> = far!(store, options);
            Ok(store)
        })?,
    };
    log_opened(location, options, "for writing");
    Ok(store)
}

#[cfg(feature = "object")]
fn is_bucket(scheme: &str) -> bool {
    matches!(scheme, "s3" | "s3+http" | "s3+https" | "gs" | "az" | "az+http" | "az+https")
}

fn log_opened(location: &Location, options: &StoreOptions, purpose: &str) {
    let store = location.without_secrets();
    tracing::debug!(store, purpose, form = %options.form, "store opened");
}

fn local(options: &StoreOptions) -> LocalOptions {
    let &StoreOptions { ref form, durability, skip_verify, .. } = options;
    LocalOptions { form: form.clone(), durability, skip_verify }
}

fn no_store(location: &Location) -> Error {
    let why = match location {
        Location::Remote { scheme, .. } => format!("{scheme} stores are not supported"),
        Location::Stdio | Location::Local(_) => "not the location of a store".to_owned(),
    };
    Error::Unsupported { place: location.without_secrets(), why }
}

fn not_prunable(location: &Location) -> Error {
    let why = "this kind of store does not support pruning".to_owned();
    Error::Unsupported { place: location.without_secrets(), why }
}
