//! Blocks shared with a seed, on file systems that can, each made in a file and mounted. As root.

use std::fs;
use std::process::Command;

use super::common::system::{FileSystem, is_root};
use super::common::{Outcome, Sandbox, joined, random};
use super::{CHUNK, SIZES, chunks};

/// A mounted file system with `store`, `old` and `new` and their indexes. They have 512 chunks in common
/// in front and 64 behind, which in `new` lie `shift` bytes further.
fn prepare(sandbox: &Sandbox, kind: &str, shift: usize) -> FileSystem {
    let mounted = FileSystem::new(sandbox, kind);
    let (one, two) = (chunks(1, 512), chunks(2, 64));
    sandbox.write("fs/old", &joined(&[&one, &two]));
    sandbox.write("fs/new", &joined(&[&one, &random(3, shift), &two]));
    sandbox.cairn(&format!("make fs/old.caibx fs/old {SIZES}")).succeeds();
    sandbox.cairn(&format!("make fs/new.caibx fs/new -s fs/store {SIZES}")).succeeds();
    mounted
}

/// A number out of printed statistics.
fn number(done: &Outcome, key: &str) -> u64 {
    let line = done.text().lines().find(|line| line.contains(key)).unwrap();
    line.trim_end_matches(',').rsplit(' ').next().unwrap().parse().unwrap()
}

/// Bytes in use on a file system, when all that was written has reached it.
fn used(sandbox: &Sandbox) -> u64 {
    let place = sandbox.path("fs");
    Command::new("sync").arg("-f").arg(&place).status().unwrap();
    let run = Command::new("df").args(["--output=used", "-B1"]).arg(&place).output().unwrap();
    String::from_utf8(run.stdout).unwrap().lines().last().unwrap().trim().parse().unwrap()
}

#[test]
fn an_unchanged_file_takes_no_space() {
    if !is_root("an_unchanged_file_takes_no_space") {
        return;
    }
    for kind in ["btrfs", "xfs"] {
        let sandbox = Sandbox::new();
        let _mounted = prepare(&sandbox, kind, CHUNK);
        let before = used(&sandbox);
        let words = "extract fs/old.caibx fs/out -s fs/store --seed fs/old.caibx --print-stats";
        let done = sandbox.cairn(words).succeeds();
        assert_eq!(number(&done, "bytes-cloned"), (576 * CHUNK) as u64, "{kind}");
        assert_eq!(number(&done, "bytes-copied"), 0, "{kind}");
        assert_eq!(number(&done, "from-store"), 0, "{kind}");
        let grown = used(&sandbox) - before;
        assert!(grown < 1 << 20, "{kind}: {grown} bytes for a shared file");
        assert!(sandbox.read("fs/out") == sandbox.read("fs/old"), "{kind}");
    }
}

#[test]
fn disk_use_grows_by_the_difference() {
    if !is_root("disk_use_grows_by_the_difference") {
        return;
    }
    for kind in ["btrfs", "xfs"] {
        let sandbox = Sandbox::new();
        let _mounted = prepare(&sandbox, kind, 16 * CHUNK);
        let before = used(&sandbox);
        let words = "extract fs/new.caibx fs/out -s fs/store --seed fs/old.caibx --print-stats";
        let done = sandbox.cairn(words).succeeds();
        assert_eq!(number(&done, "bytes-cloned"), (576 * CHUNK) as u64, "{kind}");
        assert_eq!(number(&done, "from-store"), 16, "{kind}");
        let grown = used(&sandbox) - before;
        assert!(grown < (17 * CHUNK + (1 << 20)) as u64, "{kind}: grown by {grown}");
        assert!(sandbox.read("fs/out") == sandbox.read("fs/new"), "{kind}");
    }
}

#[test]
fn what_lies_askew_is_copied() {
    if !is_root("what_lies_askew_is_copied") {
        return;
    }
    for kind in ["btrfs", "xfs"] {
        // With chunks of 65000 bytes, few of which begin at a block, and the second run shifted by 1.
        let sandbox = Sandbox::new();
        let _mounted = FileSystem::new(&sandbox, kind);
        let (one, two) = (random(1, 50 * 65_000), random(2, 50 * 65_000));
        sandbox.write("fs/old", &joined(&[&one, &two]));
        sandbox.write("fs/new", &joined(&[&one, b"x", &two]));
        let sizes = "-m 65000B:65000:65000";
        sandbox.cairn(&format!("make fs/old.caibx fs/old {sizes}")).succeeds();
        sandbox.write("two", &two);
        // The index of `new`, with a chunk of a single byte in the middle, is that of the buzhash.
        sandbox.cairn("make fs/new.caibx fs/new -s fs/store").succeeds();
        let words = "extract fs/new.caibx fs/out -s fs/store --seed fs/old --print-stats";
        let done = sandbox.cairn(words).succeeds();
        let (cloned, copied) = (number(&done, "bytes-cloned"), number(&done, "bytes-copied"));
        assert!(cloned > 2_500_000 && copied > 2_500_000, "{kind}: {}", done.text());
        assert!(number(&done, "from-store") < 12, "{kind}: {}", done.text());
        assert!(sandbox.read("fs/out") == sandbox.read("fs/new"), "{kind}");
    }
}

#[test]
fn a_wrong_chunk_in_a_shared_run_is_not_shared() {
    if !is_root("a_wrong_chunk_in_a_shared_run") {
        return;
    }
    for kind in ["btrfs", "xfs"] {
        let sandbox = Sandbox::new();
        let _mounted = prepare(&sandbox, kind, CHUNK);
        let before = sandbox.read("fs/new");
        for at in [0, 100 * CHUNK + 5, 511 * CHUNK] {
            sandbox.patch("fs/old", at as u64, b"changed");
        }
        let words = "extract fs/new.caibx fs/out -s fs/store --seed fs/old.caibx --print-stats";
        let done = sandbox.cairn(words).succeeds();
        assert_eq!(number(&done, "from-store"), 4, "{kind}");
        assert_eq!(number(&done, "bytes-cloned"), (573 * CHUNK) as u64, "{kind}");
        assert!(sandbox.read("fs/out") == before, "{kind}");
    }
}

#[test]
fn in_place_blocks_are_shared_too() {
    if !is_root("in_place_blocks_are_shared_too") {
        return;
    }
    for kind in ["btrfs", "xfs"] {
        let sandbox = Sandbox::new();
        let _mounted = prepare(&sandbox, kind, CHUNK);
        sandbox.write("fs/out", &joined(&[&chunks(1, 300), &chunks(8, 277)]));
        let words = "extract -k fs/new.caibx fs/out -s fs/store --seed fs/old.caibx --print-stats";
        let done = sandbox.cairn(words).succeeds();
        assert_eq!(number(&done, "in-place"), 300, "{kind}");
        assert_eq!(number(&done, "bytes-cloned"), (276 * CHUNK) as u64, "{kind}");
        assert!(sandbox.read("fs/out") == sandbox.read("fs/new"), "{kind}");
    }
}

#[test]
fn trusted_seeds_are_shared_unread() {
    if !is_root("trusted_seeds_are_shared_unread") {
        return;
    }
    let sandbox = Sandbox::new();
    let _mounted = prepare(&sandbox, "btrfs", CHUNK);
    let words = "extract fs/new.caibx fs/out -s fs/store --seed fs/old.caibx --trust-seeds";
    sandbox.cairn(words).succeeds_silently();
    assert!(sandbox.read("fs/out") == sandbox.read("fs/new"));
    // What the seed holds is taken as it is, and that is what was asked for.
    sandbox.patch("fs/old", 100 * CHUNK as u64, b"changed");
    sandbox.cairn(words).succeeds_silently();
    assert!(sandbox.read("fs/out")[100 * CHUNK..].starts_with(b"changed"));
    // Where blocks cannot be shared all is read, and so verified.
    sandbox.cairn(&words.replace("fs/out", "out")).succeeds();
    assert!(sandbox.read("out") == sandbox.read("fs/new"));
}

#[test]
fn a_wrong_chunk_at_both_edges_of_a_trusted_run_counts_once() {
    if !is_root("a_wrong_chunk_at_both_edges_of_a_trusted_run_counts_once") {
        return;
    }
    let sandbox = Sandbox::new();
    let _mounted = FileSystem::new(&sandbox, "xfs");
    // One chunk in common, which neither begins nor ends at a block.
    let part = |seed| random(seed, 65_000);
    let sizes = "-m 65000B:65000:65000";
    sandbox.write("fs/old", &joined(&[&part(1), &part(2), &part(3)]));
    sandbox.write("fs/new", &joined(&[&part(4), &part(2), &part(5)]));
    sandbox.cairn(&format!("make fs/old.caibx fs/old {sizes}")).succeeds();
    sandbox.cairn(&format!("make fs/new.caibx fs/new -s fs/store {sizes}")).succeeds();
    sandbox.patch("fs/old", 100_000, b"changed");
    let words = "extract fs/new.caibx fs/out -s fs/store --seed fs/old.caibx --trust-seeds";
    let done = sandbox.cairn(&format!("{words} --print-stats")).succeeds();
    assert_eq!(number(&done, "from-store"), 3);
    assert_eq!(number(&done, "chunks-from-seeds"), 0);
    assert!(sandbox.read("fs/out") == sandbox.read("fs/new"));
}

#[test]
fn the_output_as_its_own_seed_is_never_trusted() {
    if !is_root("the_output_as_its_own_seed_is_never_trusted") {
        return;
    }
    let sandbox = Sandbox::new();
    let _mounted = FileSystem::new(&sandbox, "xfs");
    // Every chunk moves to where another one is still to be taken from.
    let (old, new) = (chunks(1, 64), joined(&[&chunks(2, 1), &chunks(1, 64)]));
    sandbox.write("fs/old", &old);
    sandbox.write("fs/new", &new);
    sandbox.cairn(&format!("make fs/old.caibx fs/old {SIZES}")).succeeds();
    sandbox.cairn(&format!("make fs/new.caibx fs/new -s fs/store {SIZES}")).succeeds();
    for trust in ["", "--trust-seeds"] {
        sandbox.write("fs/out", &old);
        let words = "extract -k fs/new.caibx fs/out -s fs/store --seed fs/old.caibx:fs/out";
        sandbox.cairn(&format!("{words} {trust}")).succeeds();
        assert!(sandbox.read("fs/out") == new, "{trust}");
    }
}

#[test]
fn elsewhere_seeds_are_copied() {
    if !is_root("elsewhere_seeds_are_copied") {
        return;
    }
    let sandbox = Sandbox::new();
    let _mounted = prepare(&sandbox, "ext4", CHUNK);
    let extract = "extract fs/new.caibx";
    // ext4 shares nothing, and no two file systems do.
    for out in ["fs/out", "out"] {
        let words = format!("{extract} {out} -s fs/store --seed fs/old.caibx --print-stats");
        let done = sandbox.cairn(&words).succeeds();
        assert_eq!(number(&done, "bytes-cloned"), 0);
        assert_eq!(number(&done, "bytes-copied"), (576 * CHUNK) as u64);
        assert!(sandbox.read(out) == sandbox.read("fs/new"));
    }
    fs::remove_file(sandbox.path("out")).unwrap();
}
