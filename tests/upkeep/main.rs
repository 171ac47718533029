//! The commands that look after stores, run as their users run them.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod cache;
mod chop;
mod info;
mod inspect_chunks;
mod interrupts;
mod prune;
mod sealed;
mod stores;
mod verify;
