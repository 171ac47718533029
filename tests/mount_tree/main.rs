//! What is known of an archive is the same however it is read, and is kept for the next time.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod keeping;
mod reading;

/// So many fetch chunks ahead.
const WORKERS: usize = 3;
