//! From an address to a store.

use crate::combine::Router;
use crate::local::{LocalOptions, LocalStore};
use crate::{Error, Location, PruneStore, Result, Store, WriteStore};

/// How stores are opened.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// For stores on this machine.
    pub local: LocalOptions,
}

/// Opens one or more stores for reading. Several are asked in their order.
pub fn open(locations: &[Location], options: &StoreOptions) -> Result<Box<dyn Store>> {
    match locations {
        [] => Err(Error::Unsupported { place: "store".into(), why: "none given".into() }),
        [only] => open_one(only, options),
        many => {
            let stores = many.iter().map(|location| open_one(location, options));
            Ok(Box::new(Router::new(stores.collect::<Result<_>>()?)))
        }
    }
}

/// Opens a store for writing. A missing directory is created.
pub fn open_writable(location: &Location, options: &StoreOptions) -> Result<Box<dyn WriteStore>> {
    match location {
        Location::Local(path) => Ok(Box::new(LocalStore::create(path, options.local.clone())?)),
        Location::Remote { .. } | Location::Stdio => Err(no_store(location)),
    }
}

/// Opens a store to remove chunks from it. An error if anybody is writing to it.
pub fn open_prunable(location: &Location, options: &StoreOptions) -> Result<Box<dyn PruneStore>> {
    match location {
        Location::Local(path) => Ok(Box::new(LocalStore::alone(path, options.local.clone())?)),
        Location::Remote { .. } | Location::Stdio => Err(no_store(location)),
    }
}

/// Opens a store on this machine to look at its files. Whoever removes any needs [`open_prunable`].
pub fn open_local(location: &Location, options: &StoreOptions) -> Result<LocalStore> {
    match location {
        Location::Local(path) => LocalStore::open(path, options.local.clone()),
        Location::Remote { .. } | Location::Stdio => {
            let why = "not a store on this machine".to_owned();
            Err(Error::Unsupported { place: location.to_string(), why })
        }
    }
}

fn open_one(location: &Location, options: &StoreOptions) -> Result<Box<dyn Store>> {
    match location {
        Location::Local(path) => Ok(Box::new(LocalStore::open(path, options.local.clone())?)),
        Location::Remote { .. } | Location::Stdio => Err(no_store(location)),
    }
}

fn no_store(location: &Location) -> Error {
    let why = match location {
        Location::Remote { scheme, .. } => format!("{scheme} stores are not supported"),
        Location::Stdio | Location::Local(_) => "not the location of a store".to_owned(),
    };
    Error::Unsupported { place: location.to_string(), why }
}
