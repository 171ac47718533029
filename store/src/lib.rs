//! The places where chunks and indexes live.
//!
//! ```text
//! store      the traits: get, has, put; what absence and errors mean
//! location   what a user types -> a typed address
//! options    how a store is to be used -> its form
//! open       an address -> a store
//! open_files how many may be open at once
//! remote     how stores on other machines are reached
//! fetch      chunks out of a store, decoded and verified
//! blob       an index and a store -> bytes from any place
//! index      an address <-> an index
//! memory     a store in memory
//! local      a directory of chunk files
//! oci        container registries
//! ssh        stores behind ssh, and the other side of them
//! sftp       stores by SFTP (feature `sftp`)
//! combine    stores made of stores
//! serve      chunks and indexes over HTTP (feature `serve`)
//! testing    conformance suite, call recorder, fault injector (feature `testing`)
//! ```
//! Everything above this crate speaks to [`Store`]; everything that caches, routes or retries *is*
//! a store. A store hands out [`CodedChunk`](cairn_formats::CodedChunk)s, whose ids are only
//! claimed: verifying is the caller's, and the types see to it that nobody forgets.

mod blob;
pub mod combine;
mod error;
mod fetch;
#[cfg(feature = "http")]
mod http;
mod index;
pub mod local;
mod location;
pub mod memory;
#[cfg(feature = "object")]
mod object;
#[cfg(feature = "oci")]
mod oci;
mod open;
mod open_files;
mod options;
mod pass_on;
mod percent;
mod remote;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "sftp")]
mod sftp;
pub mod ssh;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use blob::{Blob, Bytes, ChunkCache, DEFAULT_CACHE};
pub use error::{Again, Error, Result};
pub use fetch::Fetcher;
pub use index::{read_index, write_index};
pub use local::{Durability, LocalOptions, LocalStore};
pub use location::Location;
pub use memory::MemoryStore;
pub use open::{Place, copy_remote, open, open_cached, open_local, open_prunable, open_writable};
pub use open_files::allow_files;
pub use options::{CacheOptions, FormOptions, StoreOptions};
pub use remote::{Credentials, RemoteOptions, Retry, Secret, Stop};
pub use store::{Facts, PruneStore, Store, Stored, WriteStore};
