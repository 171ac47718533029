//! File systems that are full or read-only. As root, with small ones made for the test.

use super::common::system::{Mount, is_root};
use super::common::{Sandbox, random};

/// Longer than what the small file systems have room for.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_store(&random(1, 3 << 20));
    sandbox.write("short", &random(2, 100_000));
    sandbox
}

#[test]
fn a_full_store_is_named_and_keeps_no_parts_of_chunks() {
    if !is_root("a_full_store_is_named") {
        return;
    }
    let sandbox = sandbox();
    let mount = Mount::new(&sandbox, "small", 1024);
    for store in ["small", "small/store"] {
        for options in ["", "--uncompressed", "--durability each", "-n 1"] {
            sandbox.write("new.caibx", b"what was there before");
            sandbox
                .cairn(&format!("make new.caibx blob -s {store} {options}"))
                .fails(&["small/", "No space left"]);
            assert_eq!(sandbox.read("new.caibx"), b"what was there before");
            let files = sandbox.files("small");
            assert!(files.iter().all(|name| !name.contains(".tmp")), "{files:?}");
        }
    }
    drop(mount);
    assert!(sandbox.files(".").iter().all(|name| !name.contains("tmp")));
}

#[test]
fn what_a_full_store_kept_is_whole() {
    if !is_root("what_a_full_store_kept_is_whole") {
        return;
    }
    let sandbox = sandbox();
    let _mount = Mount::new(&sandbox, "small", 1024);
    sandbox.cairn("make new.caibx blob -s small").fails(&["No space"]);
    for name in sandbox.files("small") {
        assert!(
            sandbox.read(&format!("small/{name}")) == sandbox.read(&format!("store/{name}")),
            "{name}"
        );
    }
}

#[test]
fn a_full_disk_for_the_output_is_named_and_left_clean() {
    if !is_root("a_full_disk_for_the_output_is_named") {
        return;
    }
    let sandbox = sandbox();
    let _mount = Mount::new(&sandbox, "small", 1024);
    for output in ["small/new", "small/out"] {
        sandbox.write("small/out", b"what was there before");
        let failed = sandbox
            .cairn(&format!("extract blob.caibx {output} -s store"))
            .fails(&[output, "No space left"]);
        assert!(failed.stderr.contains("hint: "), "{}", failed.stderr);
        assert_eq!(sandbox.files("small"), ["out"]);
        assert_eq!(sandbox.read("small/out"), b"what was there before");
    }
}

#[test]
fn an_extraction_in_place_goes_on_when_there_is_room() {
    if !is_root("an_extraction_in_place_goes_on") {
        return;
    }
    let sandbox = sandbox();
    let _mount = Mount::new(&sandbox, "small", 4096);
    sandbox.write("small/filler", &vec![1; 3 << 20]);
    let words = "extract -k blob.caibx small/out -s store --print-stats";
    sandbox.cairn(words).fails(&["small/out", "No space left"]);
    std::fs::remove_file(sandbox.path("small/filler")).unwrap();
    let stats = sandbox.cairn(words).succeeds();
    assert!(!stats.text().contains("\"chunks-in-place\": 0,"), "{}", stats.text());
    assert!(sandbox.read("small/out") == sandbox.read("blob"));
}

#[test]
fn a_full_disk_for_the_index_is_named_and_left_clean() {
    if !is_root("a_full_disk_for_the_index_is_named") {
        return;
    }
    let sandbox = sandbox();
    let _mount = Mount::new(&sandbox, "small", 8);
    sandbox.write("small/blob.caibx", b"what was there before");
    sandbox
        .cairn("make small/blob.caibx blob -m 64B:256:1024")
        .fails(&["small/blob.caibx", "No space left"]);
    assert_eq!(sandbox.files("small"), ["blob.caibx"]);
    assert_eq!(sandbox.read("small/blob.caibx"), b"what was there before");
}

#[test]
fn a_read_only_store_is_named() {
    if !is_root("a_read_only_store_is_named") {
        return;
    }
    let sandbox = sandbox();
    let mount = Mount::new(&sandbox, "small", 8192);
    sandbox.cairn("make blob.caibx blob -s small").succeeds();
    mount.make_read_only();
    sandbox.refuses("make new.caibx short -s small", &["small", "Read-only"]);
    sandbox.refuses("make new.caibx short -s small/new", &["small/new", "Read-only"]);
    sandbox.refuses("make small/new.caibx short", &["small/new.caibx", "Read-only"]);
    sandbox.refuses("extract blob.caibx small/out -s store", &["small/out", "Read-only"]);
    sandbox.refuses("extract -k blob.caibx small/out -s store", &["small/out", "Read-only"]);
}

#[test]
fn a_read_only_store_serves_all_that_needs_no_writing() {
    if !is_root("a_read_only_store_serves") {
        return;
    }
    let sandbox = sandbox();
    let mount = Mount::new(&sandbox, "small", 8192);
    sandbox.cairn("make blob.caibx blob -s small").succeeds();
    mount.make_read_only();
    sandbox.cairn("extract blob.caibx out -s small").succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    // All chunks are there already.
    sandbox.cairn("make again.caibx blob -s small").succeeds_silently();
}
