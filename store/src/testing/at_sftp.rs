//! Stores by SFTP whose way there a test has laid.

use std::ffi::OsString;

use crate::combine::Retrying;
use crate::remote::store::RemoteStore;
use crate::sftp::{Address, SftpObjects};
use crate::{Error, Location, PruneStore, Result, StoreOptions};

/// A store at a location to which a program leads that is called as ssh is.
pub fn by_program(
    program: OsString,
    location: &Location,
    options: &StoreOptions,
) -> Result<impl PruneStore + use<>> {
    let (url, shown) = (location.to_string(), location.without_secrets());
    let refused = |why| Error::Unsupported { place: shown.clone(), why };
    let mut address = Address::parse(&url, &shown).map_err(refused)?;
    address.program = program;
    let objects = SftpObjects::at(address, &shown, &options.remote);
    Ok(Retrying::new(
        RemoteStore::new(objects, shown, options),
        options.remote.retry,
        options.remote.stop.clone(),
    ))
}
