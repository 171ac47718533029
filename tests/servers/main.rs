//! `cairn chunk-server` and `cairn index-server`: what they answer, to whom, and that nothing a client
//! does brings them down.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod chunks;
mod clients;
mod forms;
mod hostile;
mod indexes;
mod life;
mod pages;
mod slow;

use std::os::unix::fs::symlink;

use common::Sandbox;
use common::server::Server;

/// A store with several chunks, and the ids of those.
fn store() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::with_store(&common::random(1, 1_000_000));
    let ids = sandbox.ids("blob.caibx");
    assert!(ids.len() > 5);
    (sandbox, ids)
}

/// The path of a chunk, compressed, in a store and on a server.
fn path(id: &str) -> String {
    format!("/{}/{id}.cacnk", &id[..4])
}

/// A server of cairn that was called by desync's name.
fn as_desync(sandbox: &Sandbox, words: &str) -> Server {
    let link = sandbox.path("desync");
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_cairn"), &link).unwrap();
    }
    let mut command = std::process::Command::new(link);
    command
        .args(words.split_whitespace())
        .args(["-l", "127.0.0.1:0"])
        .current_dir(sandbox.path("."))
        .env("HOME", sandbox.path("."))
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("DESYNC_HTTP_AUTH");
    Server::of(command)
}
