//! A directory that has one version of a tree becomes another one, whatever of it was there already.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use cairn::archive::unpack::{Source, UnpackOptions, unpack};
use cairn_store::testing::{Call, Recorder};
use cairn_store::{LocalOptions, LocalStore, Store};

use crate::common::system::is_known_here;
use crate::common::{Sandbox, random};
use crate::seeds::seed;

/// Ways to take what the target has: read anew, or known from the last time.
const WAYS: [&str; 2] = ["--seed-output", "--cache-dir cache"];

fn tree(sandbox: &Sandbox) {
    for n in 0..60_u64 {
        sandbox.write(&format!("tree/{}/{}/f{n}", n % 5, n % 2), &random(n, n as usize * 1500));
    }
    sandbox.write("tree/large", &random(99, 3_000_000));
    sandbox.write("tree/empty", b"");
    sandbox.sparse("tree/sparse", 4_000_000, &[(1_000_000, &random(3, 50_000))]);
    symlink("large", sandbox.path("tree/link")).unwrap();
}

/// Archives the tree and brings the target up to it, which must then be the same in everything.
fn update(sandbox: &Sandbox, way: &str) {
    sandbox.cairn("tar -i -s store tree.caidx tree").succeeds_silently();
    let words = format!("untar -i -s store --delete {way} tree.caidx out");
    sandbox.cairn(&words).succeeds_silently();
    let digest = |of: &str| sandbox.cairn(&format!("digest {of}")).succeeds().text().to_owned();
    assert_eq!(digest("out"), digest("tree"), "{way}");
}

/// The numbers of all files.
fn numbers(root: &Path) -> BTreeMap<String, u64> {
    let mut numbers = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            numbers.extend(self::numbers(&path));
        } else {
            numbers.insert(path.display().to_string(), metadata.ino());
        }
    }
    numbers
}

#[test]
fn an_update_changes_what_is_different_and_nothing_else() {
    for way in WAYS {
        let sandbox = Sandbox::new();
        tree(&sandbox);
        update(&sandbox, way);
        let before = numbers(&sandbox.path("out"));
        update(&sandbox, way);
        assert_eq!(numbers(&sandbox.path("out")), before, "{way}");
        sandbox.patch("tree/3/1/f33", 7, b"changed");
        sandbox.patch("tree/large", 2_000_000, b"changed");
        update(&sandbox, way);
        let after = numbers(&sandbox.path("out"));
        let changed = before.iter().filter(|(path, number)| after[*path] != **number);
        let changed: Vec<&str> =
            changed.map(|(path, _)| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(changed, ["f33", "large"], "{way}");
    }
}

/// Wherever a part of it is different, it is written anew and whole; where none is, it stays, though its mode is another.
/// That what is known is not read is shown below.
#[test]
fn a_large_file_is_the_same_in_part() {
    for way in WAYS {
        let sandbox = Sandbox::new();
        tree(&sandbox);
        update(&sandbox, way);
        let number = || sandbox.path("out/large").metadata().unwrap().ino();
        for at in [0, 1_500_000, 2_999_990] {
            let before = number();
            sandbox.patch("tree/large", at, b"changed");
            update(&sandbox, way);
            assert_ne!(number(), before, "{way}, {at}");
        }
        let before = number();
        // The records of the file are in another chunk now, and its mode is different.
        sandbox.write("tree/just before", &random(4, 10));
        update(&sandbox, way);
        fs::set_permissions(sandbox.path("tree/large"), fs::Permissions::from_mode(0o600)).unwrap();
        update(&sandbox, way);
        assert_eq!(number(), before, "{way}");
        sandbox.write("tree/large", &random(99, 3_000_007));
        update(&sandbox, way);
    }
}

/// The store has all, and is not asked for what the target is known to have.
#[test]
fn what_is_known_is_not_read() {
    if !is_known_here("what_is_known_is_not_read") {
        return;
    }
    let sandbox = Sandbox::new();
    tree(&sandbox);
    update(&sandbox, WAYS[0]);
    // Just before the large file: its records are in a new chunk then, and most of it is in others.
    let change = |n: u64, meddle: &dyn Fn()| {
        sandbox.write("tree/just before", &random(n, 1000));
        sandbox.cairn("tar -i -s store tree.caidx tree").succeeds_silently();
        // What was written a moment ago could be written to again unseen, and would be compared.
        sleep(Duration::from_millis(1100));
        let (seed, index) = seed(&sandbox, "out", "tree.caidx");
        let seeds = [seed];
        meddle();
        let store = LocalStore::open(&sandbox.path("store"), LocalOptions::default()).unwrap();
        let store = Recorder::new(store);
        let source = Source::index(&index, &store, "tree.caidx".as_ref()).seeded(&seeds);
        let options = UnpackOptions::default();
        unpack(&source, &sandbox.path("out"), &options, &cairn::Silent).unwrap();
        for name in ["large", "just before"] {
            let [out, tree] = ["out", "tree"].map(|of| sandbox.read(&format!("{of}/{name}")));
            assert!(out == tree, "{name}");
        }
        let calls = store.take();
        let is_known = |call: &&Call| matches!(call, Call::Get(id) if seeds[0].has(id).unwrap());
        (calls.len(), calls.iter().filter(is_known).count())
    };
    let (asked, known) = change(1, &|| {});
    assert!(asked > 0 && known <= 2, "{known} of {asked}");
    // Written to since it was looked at: it is compared, and mended.
    let (_, known) = change(2, &|| sandbox.patch("out/large", 1_500_000, b"changed"));
    assert!(known > 10, "{known}");
}

#[test]
fn only_new_chunks_are_fetched() {
    for way in WAYS {
        let sandbox = Sandbox::new();
        tree(&sandbox);
        update(&sandbox, way);
        sandbox.cairn("tar -i -s store old.caidx tree").succeeds_silently();
        sandbox.patch("tree/4/0/f44", 100, b"changed");
        sandbox.cairn("tar -i -s store tree.caidx tree").succeeds_silently();
        for id in sandbox.ids("old.caidx") {
            let _ = fs::remove_file(sandbox.path(&format!("store/{}/{id}.cacnk", &id[..4])));
        }
        let words = format!("untar -i -s store {way} tree.caidx out");
        sandbox.cairn(&words).succeeds_silently();
        assert_eq!(sandbox.read("out/4/0/f44"), sandbox.read("tree/4/0/f44"));
    }
}

/// What is moved has the same chunks, but not in their place.
#[test]
fn what_was_moved_is_written_where_it_is_now() {
    for way in WAYS {
        let sandbox = Sandbox::new();
        tree(&sandbox);
        update(&sandbox, way);
        fs::rename(sandbox.path("tree/2"), sandbox.path("tree/moved")).unwrap();
        fs::rename(sandbox.path("tree/large"), sandbox.path("tree/0/large")).unwrap();
        update(&sandbox, way);
        fs::rename(sandbox.path("tree/moved"), sandbox.path("tree/4/2")).unwrap();
        fs::rename(sandbox.path("tree/0"), sandbox.path("tree/9")).unwrap();
        update(&sandbox, way);
    }
}

#[test]
fn what_was_done_to_the_target_is_undone() {
    for way in WAYS {
        let sandbox = Sandbox::new();
        tree(&sandbox);
        update(&sandbox, way);
        sandbox.patch("out/3/1/f33", 7, b"changed");
        fs::set_permissions(sandbox.path("out/4/0/f44"), fs::Permissions::from_mode(0o600))
            .unwrap();
        fs::remove_file(sandbox.path("out/sparse")).unwrap();
        fs::remove_dir_all(sandbox.path("out/1")).unwrap();
        fs::remove_file(sandbox.path("out/0/0/f20")).unwrap();
        fs::create_dir(sandbox.path("out/0/0/f20")).unwrap();
        fs::rename(sandbox.path("out/2"), sandbox.path("elsewhere")).unwrap();
        update(&sandbox, way);
    }
}

#[test]
fn a_cache_is_for_indexes() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    sandbox.cairn("tar tree.catar tree").succeeds_silently();
    sandbox.cairn("untar --cache-dir cache tree.catar out").fails(&["--cache-dir", "index"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn any_version_becomes_any_other(
        way in 0..WAYS.len(),
        rounds in vec(vec((0_u8..7, 0_u64..60, 0_usize..250_000), 0..6), 1..4),
    ) {
        let sandbox = Sandbox::new();
        tree(&sandbox);
        update(&sandbox, WAYS[way]);
        for (round, changes) in rounds.iter().enumerate() {
            for &(kind, n, len) in changes {
                let name = format!("{}/{}/f{n}", n % 5, n % 2);
                let path = sandbox.path(&format!("tree/{name}"));
                match kind {
                    0 if path.exists() => {
                        sandbox.write(&format!("tree/{name}"), &random(round as u64 * 100 + n, len));
                    }
                    1 => drop(fs::remove_file(path)),
                    2 => sandbox.write(&format!("tree/new{n}"), &random(n, len)),
                    3 => drop(fs::rename(path, sandbox.path(&format!("tree/f{n}")))),
                    4 => drop(fs::rename(
                        sandbox.path(&format!("tree/{}", n % 5)),
                        sandbox.path(&format!("tree/d{n}")),
                    )),
                    // In the target, behind everybody's back.
                    5 => drop(fs::remove_file(sandbox.path(&format!("out/{name}")))),
                    _ => drop(fs::write(sandbox.path(&format!("out/{name}")), random(n, len))),
                }
            }
            update(&sandbox, WAYS[way]);
        }
    }
}
