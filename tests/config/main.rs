//! What holds for every command: the configuration file, flags beside it, the log, and how the
//! program behaves when it is called desync.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod encryption;
mod file;
mod global;
mod log;
mod origin;
mod pages;
mod stores;
