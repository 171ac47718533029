//! From an address to a store.

use crate::combine::{Cache, Retrying, Router};
use crate::local::{LocalOptions, LocalStore, LruStore};
use crate::ssh::SshStore;
use crate::{CacheOptions, Error, Location, PruneStore, Result, Store, StoreOptions, WriteStore};

/// Opens one or more stores for reading, each with its options. Several are asked in their order.
pub fn open(stores: &[(Location, StoreOptions)]) -> Result<Box<dyn Store>> {
    match stores {
        [] => Err(Error::Unsupported { place: "store".into(), why: "none given".into() }),
        [(location, options)] => open_one(location, options),
        many => {
            let stores = many.iter().map(|(location, options)| open_one(location, options));
            Ok(Box::new(Router::new(stores.collect::<Result<_>>()?)))
        }
    }
}

/// Opens a store for writing. A missing directory is created.
pub fn open_writable(location: &Location, options: &StoreOptions) -> Result<Box<dyn WriteStore>> {
    let store: Box<dyn WriteStore> = match location {
        Location::Local(path) => Box::new(LocalStore::create(path, local(options))?),
        Location::Remote { scheme, .. } if scheme == "ssh" => Box::new(Retrying::new(
            SshStore::open_writable(location, options)?,
            options.remote.retry,
        )),
        Location::Remote { .. } | Location::Stdio => return Err(no_store(location)),
    };
    log_opened(location, options, "for writing");
    Ok(store)
}

/// Opens a store to remove chunks from it. An error if anybody is writing to it.
pub fn open_prunable(location: &Location, options: &StoreOptions) -> Result<Box<dyn PruneStore>> {
    let store: Box<dyn PruneStore> = match location {
        Location::Local(path) => Box::new(LocalStore::alone(path, local(options))?),
        Location::Remote { scheme, .. } if scheme == "ssh" => {
            let why = "the store does not support pruning".to_owned();
            return Err(Error::Unsupported { place: location.without_secrets(), why });
        }
        Location::Remote { .. } | Location::Stdio => return Err(no_store(location)),
    };
    log_opened(location, options, "for pruning");
    Ok(store)
}

/// Puts a cache in front of a store. A missing directory is created.
pub fn open_cached(
    source: Box<dyn Store>,
    location: &Location,
    options: &StoreOptions,
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
        (_, None) => open_writable(location, options)?,
        (_, Some(_)) => {
            let why = "only a cache on this machine can be given a size".to_owned();
            return Err(Error::Unsupported { place: location.to_string(), why });
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

fn open_one(location: &Location, options: &StoreOptions) -> Result<Box<dyn Store>> {
    let store: Box<dyn Store> = match location {
        Location::Local(path) => Box::new(LocalStore::open(path, local(options))?),
        Location::Remote { scheme, .. } if scheme == "ssh" => {
            Box::new(Retrying::new(SshStore::open(location, options)?, options.remote.retry))
        }
        Location::Remote { .. } | Location::Stdio => return Err(no_store(location)),
    };
    log_opened(location, options, "for reading");
    Ok(store)
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
