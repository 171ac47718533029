//! Tars of GNU tar and Python are read as what they were made of, and both read what is written.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod property;
mod read;
mod refused;
mod support;
mod write;
