//! From archives to trees, through the program: all that is recorded comes back, what is there already is kept or
//! replaced whole, and nothing outside of the target is touched.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod as_tar;
mod broken;
mod hostile;
mod kept;
mod linked;
mod picture;
mod replaced;
mod round_trips;
mod seeds;
mod shared;
mod subvolumes;
mod troubled;
mod update;
mod written;
