//! What `make` leaves in a store, and `verify-index`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::common::{Sandbox, joined, random, text};

fn content() -> Vec<u8> {
    joined(&[&random(1, 2_000_000), &text(2_000_000), &vec![0; 600_000]])
}

/// Makes with these options, extracts, compares; by `make` alone and into what is there already.
#[track_caller]
fn comes_back(options: &str, digest: &str) {
    let sandbox = Sandbox::with_blob(&content());
    for _ in 0..2 {
        sandbox
            .cairn(&format!("make blob.caibx blob -s store {options} {digest}"))
            .succeeds_silently();
        sandbox.cairn(&format!("extract blob.caibx out -s store {digest}")).succeeds_silently();
        assert!(sandbox.read("out") == content(), "{options}");
        sandbox.cairn(&format!("verify-index blob.caibx out {digest}")).succeeds_silently();
    }
}

#[test]
fn blobs_come_back() {
    comes_back("", "");
    comes_back("", "--digest sha256");
    comes_back("--uncompressed -m 4K", "--digest sha256");
    comes_back("--level 1 -m 256K", "");
    comes_back("--level 12 -n 1", "");
}

#[test]
fn blobs_cut_by_fastcdc_come_back() {
    comes_back("--chunker fastcdc", "");
    comes_back("--chunker fastcdc -m 4:16:64 -n 3", "--digest sha256");
}

#[test]
fn blobs_made_durable_come_back() {
    comes_back("--durability batch", "");
    comes_back("--durability each -m 64:256:1024", "");
}

#[test]
fn empty_and_tiny_blobs_come_back() {
    for content in [vec![], vec![0], random(2, 47), random(3, 48), vec![0; 262_144]] {
        let sandbox = Sandbox::with_store(&content);
        sandbox.cairn("extract blob.caibx out -s store --fsync").succeeds_silently();
        assert!(sandbox.read("out") == content);
        sandbox.cairn("verify-index blob.caibx out").succeeds_silently();
    }
}

#[test]
fn a_second_make_writes_nothing() {
    let sandbox = Sandbox::with_store(&content());
    let times = || -> Vec<(String, i64, i64, u64)> {
        let files = sandbox.files("store").into_iter();
        files
            .map(|name| {
                let metadata = fs::metadata(sandbox.path("store").join(&name)).unwrap();
                (name, metadata.ctime(), metadata.ctime_nsec(), metadata.ino())
            })
            .collect()
    };
    let before = times();
    for options in ["", "--level 9 -n 1", "--durability each"] {
        sandbox.cairn(&format!("make again.caibx blob -s store {options}")).succeeds_silently();
        assert_eq!(times(), before, "make {options}");
        assert!(sandbox.read("again.caibx") == sandbox.read("blob.caibx"));
    }
}

#[test]
fn each_distinct_chunk_is_stored_once() {
    let part = random(4, 400_000);
    let sandbox = Sandbox::with_store(&part.repeat(8));
    let mut ids = sandbox.ids("blob.caibx");
    ids.sort();
    ids.dedup();
    let names: Vec<String> = ids.iter().map(|id| format!("{}/{id}.cacnk", &id[..4])).collect();
    assert_eq!(sandbox.files("store"), names);
}

#[test]
fn make_without_a_store_writes_only_the_index() {
    let sandbox = Sandbox::with_blob(&content());
    sandbox.cairn("make blob.caibx blob").succeeds_silently();
    assert_eq!(sandbox.files("."), ["blob", "blob.caibx"]);
}

#[test]
fn make_prints_the_statistics_of_desync() {
    let sandbox = Sandbox::with_blob(&content());
    let made = sandbox.cairn("make blob.caibx blob -s store --print-stats").succeeds();
    assert_eq!(made.text(), "");
    let accepted = sandbox.ids("blob.caibx").len();
    let lines: Vec<&str> = made.stderr.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[3]), (4, "{", "}"));
    assert_eq!(lines[1], format!("  \"ChunksAccepted\": {accepted},"));
    let produced = lines[2].strip_prefix("  \"ChunksProduced\": ").unwrap();
    assert!(produced.parse::<usize>().unwrap() >= accepted);
}

#[test]
fn an_index_replaces_one_and_keeps_its_mode() {
    let sandbox = Sandbox::with_store(&content());
    let path = sandbox.path("blob.caibx");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    sandbox.write("blob", b"another blob");
    sandbox.cairn("make blob.caibx blob -s store").succeeds();
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o604);
    sandbox.cairn("verify-index blob.caibx blob").succeeds_silently();
}

#[test]
fn verify_index_names_the_place_of_a_difference() {
    let sandbox = Sandbox::with_store(&content());
    sandbox.cairn("verify-index blob.caibx blob").succeeds_silently();
    for at in [0, 1_234_567, content().len() - 1] {
        let mut damaged = content();
        damaged[at] ^= 1;
        sandbox.write("damaged", &damaged);
        let failed = sandbox
            .cairn("verify-index blob.caibx damaged")
            .fails(&["damaged", "does not match its index at bytes "]);
        let range = failed.stderr.split("at bytes ").nth(1).unwrap();
        let (start, rest) = range.split_once("..").unwrap();
        let end = rest.split(':').next().unwrap();
        let range = start.parse::<usize>().unwrap()..end.parse().unwrap();
        assert!(range.contains(&at), "{at}: {}", failed.stderr);
    }
}

#[test]
fn verify_index_names_both_sizes() {
    let sandbox = Sandbox::with_store(&content());
    for len in [0, 4_599_999, 4_600_001] {
        let mut other = content();
        other.resize(len, 0);
        sandbox.write("other", &other);
        let len = format!("({len})");
        sandbox.refuses("verify-index blob.caibx other", &["other", "(4600000)", &len]);
    }
}

#[test]
fn several_makes_and_extracts_may_run_at_once() {
    let sandbox = Sandbox::with_blob(&content());
    let at_once = |words: [&str; 4]| {
        let children = words.map(|words| sandbox.command(words).spawn().unwrap());
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
    };
    // All meet on every chunk, and on the index and the output as well.
    at_once(["make blob.caibx blob -s store"; 4]);
    at_once(["extract blob.caibx out -s store"; 4]);
    assert!(sandbox.read("out") == content());
    sandbox.cairn("make once.caibx blob -s once").succeeds();
    assert_eq!(sandbox.files("store"), sandbox.files("once"));
    let mut files = sandbox.files(".");
    files.retain(|name| !name.contains('/'));
    assert_eq!(files, ["blob", "blob.caibx", "once.caibx", "out"]);
}
