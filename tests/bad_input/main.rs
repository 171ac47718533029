//! What is wrong is refused: with the right exit code, one line that names what and where, and
//! nothing changed or left behind.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod changing;
mod chunks;
mod full;
mod indexes;
mod places;
mod usage;
