//! From a blob to chunks and back, through the program: whatever the input, the output, the
//! options and the number of workers, the same bytes and the same index.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod devices;
mod in_place;
mod output;
mod progress;
mod same_index;
mod store;
mod streams;
