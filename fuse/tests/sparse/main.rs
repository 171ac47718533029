//! Blobs kept in files as they are read.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod desync;
mod reading;
mod scene;
mod states;
mod trouble;
