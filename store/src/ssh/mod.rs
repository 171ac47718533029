//! Stores behind ssh, by casync's protocol: both sides of it.
//!
//! ```text
//! here                                            there
//! client -> pool -> pull, push -> session == ssh == server::pull, server::push -> store
//!                                                or casync pull, casync push
//! index -------------------> session == ssh == server::pull, server::push -> index
//! ```
//! Reading and writing work with any casync or cairn on the other side, reading with desync too.

mod address;
mod client;
pub(crate) mod destination;
pub(crate) mod index;
mod patient;
mod pool;
mod pull;
mod push;
pub mod server;
mod session;

pub use address::Programs;
pub use client::SshStore;
pub use patient::Patient;
