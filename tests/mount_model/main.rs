//! What a mount answers, held against a plain tree with the same in it.
//!
//! ```text
//! things -> tree on disk ----------------------------------> asked -> said --+
//!             +-> archive -> chunks in a store, fickle or not               equal, or EIO while the store is fickle
//!                              +-> FileSystem -------------> asked -> said --+
//!                                    +-> mounted ----------> asked -> said --+
//! ```
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod asked;
mod fickle;
mod inner;
mod kernel;
mod outer;
mod scene;
