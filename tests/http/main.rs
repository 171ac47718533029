//! Stores and indexes on web servers: real servers, and what can go wrong on the way to them.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod certificates;
mod faults;
mod indexes;
mod requests;
mod serving;
mod speed;
mod tls;
mod writing;
