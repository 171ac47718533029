//! Blocks that restored files share with files of seeds, on file systems that can, each made in a file and mounted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use cairn::Silent;
use cairn::archive::unpack::{Source, UnpackOptions, UnpackStats, unpack};
use cairn_store::combine::Router;
use cairn_store::{LocalOptions, LocalStore, Store};

use super::common::system::{FileSystem, is_root};
use super::common::{Sandbox, random};
use super::picture::{picture, set_time};
use super::seeds::seed;

/// Large files, some of a size between, and small ones, on a mounted file system, in `fs/old`; packed as `old.caidx`,
/// whose chunks are all in `store`.
fn prepare(sandbox: &Sandbox, kind: &str) -> FileSystem {
    let mounted = FileSystem::new(sandbox, kind);
    sandbox.write("fs/old/a/large", &random(1, 20_000_000));
    sandbox.write("fs/old/b/large too", &random(2, 6_000_123));
    for n in 0..20 {
        sandbox.write(&format!("fs/old/c/{n}"), &random(10 + n, 100_000 + n as usize));
        sandbox.write(&format!("fs/old/d/{n}"), &random(100 + n, 100));
    }
    sandbox.sparse("fs/old/hollow", 3_000_000, &[(1_000_000, &random(7, 500_000))]);
    sandbox.cairn("tar -s store old.caidx fs/old").succeeds_silently();
    mounted
}

/// What the files of `prepare` are long together, but for those that are too small to share anything.
const SHARED: u64 = 20_000_000 + 6_000_123 + 20 * 100_000 + 190;

/// Bytes in use on a file system, when all that was written has reached it.
fn used(sandbox: &Sandbox) -> u64 {
    let place = sandbox.path("fs");
    Command::new("sync").arg("-f").arg(&place).status().unwrap();
    let run = Command::new("df").args(["--output=used", "-B1"]).arg(&place).output().unwrap();
    String::from_utf8(run.stdout).unwrap().lines().last().unwrap().trim().parse().unwrap()
}

/// Restores an index with a directory as a seed that was mapped before `meanwhile`.
fn restore(
    sandbox: &Sandbox,
    name: &str,
    directory: &str,
    out: &str,
    meanwhile: impl FnOnce(),
) -> UnpackStats {
    let (seed, index) = seed(sandbox, directory, name);
    let seeds = [seed];
    meanwhile();
    let store = LocalStore::open(&sandbox.path("store"), LocalOptions::default()).unwrap();
    let stores: Vec<Box<dyn Store + '_>> = vec![Box::new(&seeds[0]), Box::new(store)];
    let store = Router::new(stores);
    let name = Path::new(name);
    let source = Source::index(&index, &store, name).seeded(&seeds);
    let options = UnpackOptions { workers: 2, ..UnpackOptions::default() };
    unpack(&source, &sandbox.path(out), &options, &Silent).unwrap()
}

#[test]
fn what_a_seed_has_takes_no_space() {
    if !is_root("what_a_seed_has_takes_no_space") {
        return;
    }
    for kind in ["btrfs", "xfs"] {
        let sandbox = Sandbox::new();
        let _mounted = prepare(&sandbox, kind);
        let before = used(&sandbox);
        let stats = restore(&sandbox, "old.caidx", "fs/old", "fs/out", || {});
        let hollow = 500_000 / 4096 * 4096;
        let enough = SHARED + hollow - 4096..=SHARED + 3_000_000;
        assert!(enough.contains(&stats.shared_bytes), "{kind}: {}", stats.shared_bytes);
        let grown = used(&sandbox) - before;
        assert!(grown < 2 << 20, "{kind}: {grown} bytes for shared files");
        assert!(picture(&sandbox.path("fs/out")) == picture(&sandbox.path("fs/old")), "{kind}");
        let blocks = |name: &str| fs::metadata(sandbox.path(name)).unwrap().blocks();
        assert!(blocks("fs/out/hollow") <= blocks("fs/old/hollow"), "{kind}");
    }
}

#[test]
fn only_what_is_new_takes_space() {
    if !is_root("only_what_is_new_takes_space") {
        return;
    }
    for kind in ["btrfs", "xfs"] {
        let sandbox = Sandbox::new();
        let _mounted = prepare(&sandbox, kind);
        let copied = Command::new("cp")
            .args(["-a", "--reflink=never", "fs/old", "new"])
            .current_dir(sandbox.path("."))
            .status();
        assert!(copied.unwrap().success());
        sandbox.patch("new/a/large", 10_000_000, b"changed");
        sandbox.write("new/b/another", &random(5, 300_000));
        sandbox.cairn("tar -s store new.caidx new").succeeds_silently();
        let before = used(&sandbox);
        // The seed is what is replaced.
        let words = "untar -s store new.caidx fs/old --seed-output --delete --verbose";
        let done = sandbox.cairn(words).succeeds();
        assert!(done.stderr.contains("shared_bytes="), "{}", done.stderr);
        let grown = used(&sandbox) - before;
        assert!(grown < 3 << 20, "{kind}: grown by {grown}");
        assert!(picture(&sandbox.path("fs/old")) == picture(&sandbox.path("new")), "{kind}");
        sandbox.cairn("untar -s store new.caidx fs/apart --seed fs/old --reflink=no").succeeds();
        let grown = used(&sandbox) - before;
        assert!(grown > 25 << 20, "{kind}: grown by {grown}");
        assert!(picture(&sandbox.path("fs/apart")) == picture(&sandbox.path("new")), "{kind}");
    }
}

#[test]
fn what_was_written_to_since_is_not_taken() {
    if !is_root("what_was_written_to_since_is_not_taken") {
        return;
    }
    for kind in ["btrfs", "xfs"] {
        let sandbox = Sandbox::new();
        let _mounted = prepare(&sandbox, kind);
        let expected = picture(&sandbox.path("fs/old"));
        let whole = restore(&sandbox, "old.caidx", "fs/old", "fs/whole", || {});
        let stats = restore(&sandbox, "old.caidx", "fs/old", "fs/out", || {
            for (name, at) in [("a/large", 9_000_000), ("c/3", 50_000), ("b/large too", 6_000_120)]
            {
                let name = format!("fs/old/{name}");
                let time = fs::metadata(sandbox.path(&name)).unwrap();
                sandbox.patch(&name, at, b"xyz");
                // As a mapping of it can be written to without leaving a trace.
                set_time(&sandbox.path(&name), time.mtime(), time.mtime_nsec());
            }
            sandbox.patch("fs/old/c/4", 0, b"with another time");
        });
        assert!(picture(&sandbox.path("fs/out")) == expected, "{kind}");
        let lost = whole.shared_bytes - stats.shared_bytes;
        assert!((100_000..1_000_000).contains(&lost), "{kind}: {lost}");
    }
}

#[test]
fn elsewhere_files_are_written() {
    if !is_root("elsewhere_files_are_written") {
        return;
    }
    let sandbox = Sandbox::new();
    let _mounted = prepare(&sandbox, "ext4");
    for out in ["fs/out", "out"] {
        let stats = restore(&sandbox, "old.caidx", "fs/old", out, || {});
        assert_eq!(stats.shared_bytes, 0);
        let (out, old) = (picture(&sandbox.path(out)), picture(&sandbox.path("fs/old")));
        assert_eq!(out.len(), old.len());
        assert!(sandbox.read("fs/old/a/large") == random(1, 20_000_000));
    }
}
