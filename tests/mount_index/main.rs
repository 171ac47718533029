//! `cairn mount-index`: what programs see of a blob that is mounted, what it costs the stores, and how it ends.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod copies;
mod crowds;
mod ends;
mod equal;
mod network;
mod reloads;
mod seen;
mod states;
mod stores;
mod used;
mod users;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

use common::Sandbox;

/// Bytes of all kinds: random ones, zeros, text, and an end in the middle of a page.
fn content() -> Vec<u8> {
    let parts = [&common::random(7, 2_000_000)[..], &[0; 1_500_000], &common::text(1_234_567)];
    common::joined(&parts)
}

/// A file `image.raw`, its index `image.raw.caibx` and its `store`.
fn scene() -> (Sandbox, Vec<u8>) {
    let (sandbox, content) = (Sandbox::new(), content());
    sandbox.write("image.raw", &content);
    sandbox.cairn("make image.raw.caibx image.raw -s store").succeeds();
    (sandbox, content)
}

/// A chunk as `cairn inspect-chunks` has it.
#[derive(Clone, Debug)]
struct Placed {
    id: String,
    start: usize,
    len: usize,
}

/// The chunks of the index `image.raw.caibx`, in their order.
fn chunks(sandbox: &Sandbox) -> Vec<Placed> {
    let index = cairn_formats::Index::read(&mut &sandbox.read("image.raw.caibx")[..]).unwrap();
    (0..index.len())
        .map(|position| index.chunk(position))
        .map(|chunk| Placed {
            id: chunk.id.to_string(),
            start: chunk.start as usize,
            len: chunk.len,
        })
        .collect()
}

/// A chunk that is in the image once, and none of the first or last.
fn some_chunk(sandbox: &Sandbox, number: usize) -> Placed {
    let chunks = chunks(sandbox);
    let is_once = |chunk: &&Placed| chunks.iter().filter(|other| other.id == chunk.id).count() == 1;
    chunks.iter().skip(3).filter(is_once).nth(number).unwrap().clone()
}

/// The file of a chunk in a store.
fn chunk_file(store: &str, id: &str) -> String {
    format!("{store}/{}/{id}.cacnk", &id[..4])
}

/// These bytes of a file.
fn read_at(path: &Path, at: usize, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    File::open(path)?.read_exact_at(&mut buffer, at as u64)?;
    Ok(buffer)
}

/// Lets the kernel forget what it has of a file.
fn forget(path: &Path) {
    let file = File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// Runs a program that scripts/test installs, which has to succeed.
#[track_caller]
fn system(program: &str, arguments: &[&str]) -> Output {
    let done = Command::new(program).args(arguments).output();
    let done = done.unwrap_or_else(|e| panic!("{program} does not start ({e}): run scripts/test"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
    done
}
