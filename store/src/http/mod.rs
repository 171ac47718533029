//! Stores on web servers.
//!
//! ```text
//! client     certificates, proxies, timeouts: how servers are talked to at all
//! answer     what a server's answer, or its silence, means
//! batch      many chunks with one request
//! objects    chunks and indexes as files below a URL
//! ```

mod answer;
mod authorities;
mod batch;
mod client;
mod objects;

#[cfg(feature = "object")]
pub(crate) use answer::retry_after;
pub(crate) use answer::{body, failure, refusal};
pub(crate) use client::client;
#[cfg(feature = "oci")]
pub(crate) use client::direct_client;
pub(crate) use objects::HttpObjects;
