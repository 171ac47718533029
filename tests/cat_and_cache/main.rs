//! Blobs as a stream, whole or in part, and what a cache between the program and a store does.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod cache;
mod calls;
mod limit;
mod outputs;
mod ranges;
mod troubled;

use common::{joined, random, text};

/// Bytes of all kinds: some that do not compress, some that do, zeros, and some that repeat.
fn content() -> Vec<u8> {
    let noise = random(1, 900_000);
    joined(&[&noise, &vec![0; 700_000], &text(900_000), &noise, &vec![0; 300_000]])
}
