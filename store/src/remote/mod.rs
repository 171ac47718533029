//! Stores on other machines: what all of them share.
//!
//! ```text
//! options    how they are reached: certificates, timeouts, retries, secrets
//! objects    what a backend is: bytes by name, asynchronously
//! store      a backend as a store: names and forms of chunks, many requests at once
//! index      a backend as a place of indexes
//! survey     which chunks are there, for those who ask about many
//! limit      how many requests at once: more where answers take long
//! stop       nobody waits any more, because the user said so
//! runtime    the threads that wait for the network
//! ```
//! A new backend implements [`objects`] and gets the rest from here; asynchronous code ends at
//! [`store`].

pub(crate) mod index;
mod limit;
pub(crate) mod objects;
mod options;
pub(crate) mod runtime;
mod stop;
pub(crate) mod store;
mod survey;

#[cfg(feature = "testing")]
pub(crate) mod memory;
#[cfg(test)]
mod tests;

pub use options::{Credentials, RemoteOptions, Retry, Secret};
pub(crate) use stop::NOTICED;
pub use stop::Stop;
