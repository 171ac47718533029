//! Stores in container registries: a real one, and stand-ins that do what a real one would not.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../../../tests/common/registry.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod registry;
#[path = "../../../tests/common/web.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod web;

mod hostile;
mod layout;
mod logins;
mod real;

use std::time::Duration;

use cairn_formats::coding::{DEFAULT_LEVEL, Encoder};
use cairn_formats::{Chunk, ChunkId, CodedChunk, Digest, WriteCoding};
use cairn_store::{Credentials, PruneStore, Secret, StoreOptions, open_prunable};

/// A store at a location.
fn store(location: &str, options: &StoreOptions) -> Box<dyn PruneStore> {
    open_prunable(&location.parse().unwrap(), options).unwrap()
}

/// Options under which nothing is waited for for long.
fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.remote.retry.base_interval = Duration::from_millis(5);
    options
}

/// The same with a name and a password.
fn options_of(username: &str, secret: &str) -> StoreOptions {
    let mut options = options();
    let (username, secret) = (username.to_owned(), Secret::new(secret));
    options.remote.credentials = Some(Credentials::Oci { username, secret });
    options
}

fn chunk(n: usize) -> CodedChunk {
    let chunk = Chunk::name(Digest::default(), format!("chunk {n} ").repeat(100).into_bytes());
    Encoder::new(DEFAULT_LEVEL).encode(&chunk, WriteCoding::Zstd)
}

/// The name of a compressed chunk in a registry.
fn tag(id: &ChunkId) -> String {
    format!("{id}.cacnk")
}
