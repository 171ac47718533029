//! Stores and indexes by SFTP, through a real sshd, as users have them.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/sftp_server.rs"]
mod sftp_server;

mod errors;
mod troubled;
mod use_of;
