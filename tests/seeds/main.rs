//! `extract` with seeds: what they have is not fetched, and whatever is wrong with them, the output
//! is right.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod content;
mod mapped;
mod reflinks;
mod wrong;

use common::{Sandbox, joined, random};

/// Bytes in each chunk.
const CHUNK: usize = 65_536;

/// The sizes that make it so.
const SIZES: &str = "-m 65536B:65536:65536";

/// So many chunks of noise.
fn chunks(seed: u64, count: usize) -> Vec<u8> {
    random(seed, count * CHUNK)
}

/// A sandbox with `old` and `new` and their indexes. The store has all of `new`; the two have 16 of its
/// 24 chunks in common, in two runs, of which the second has moved by a chunk.
fn versions() -> Sandbox {
    let (one, two) = (chunks(1, 8), chunks(2, 8));
    let sandbox = Sandbox::new();
    sandbox.write("old", &joined(&[&one, &chunks(3, 3), &two]));
    sandbox.write("new", &joined(&[&one, &chunks(4, 4), &two, &chunks(5, 4)]));
    sandbox.cairn(&format!("make old.caibx old {SIZES}")).succeeds();
    sandbox.cairn(&format!("make new.caibx new -s store {SIZES}")).succeeds();
    sandbox
}

/// What `--print-stats` prints for an output of `new`, where these are numbers of chunks.
fn stats(from_seeds: u64, from_store: u64, seeds: u64) -> String {
    format!(
        "{{\n  \"chunks-from-seeds\": {from_seeds},\n  \"chunks-from-store\": {from_store},\n  \
         \"chunks-in-place\": 0,\n  \"bytes-copied-from-seeds\": {},\n  \
         \"bytes-cloned-from-seeds\": 0,\n  \"blocksize\": 4096,\n  \"bytes-total\": {},\n  \
         \"chunks-total\": 24,\n  \"seeds\": {seeds}\n}}\n",
        from_seeds * CHUNK as u64,
        24 * CHUNK
    )
}

/// Extracts `new` with these seeds, silently, and checks the output and how many chunks the seeds gave.
#[track_caller]
fn gives(sandbox: &Sandbox, seeds: &str, from_seeds: u64, count: u64) {
    let words = format!("extract new.caibx out -s store --print-stats {seeds}");
    let done = sandbox.cairn(&words).succeeds();
    assert_eq!(done.text(), stats(from_seeds, 24 - from_seeds, 1 + count), "{seeds}");
    assert_eq!(done.stderr, "", "{seeds}");
    assert!(sandbox.read("out") == sandbox.read("new"), "{seeds}");
}
