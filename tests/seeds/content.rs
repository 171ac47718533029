//! What a seed gives.

use std::fs;

use super::common::system::{Device, is_root};
use super::common::{Sandbox, joined};
use super::{CHUNK, SIZES, chunks, gives, versions};

#[test]
fn what_seeds_have_the_store_need_not() {
    let sandbox = versions();
    let old = sandbox.ids("old.caibx");
    let new = sandbox.ids("new.caibx");
    for id in new.iter().filter(|id| old.contains(id)) {
        fs::remove_file(sandbox.path(&format!("store/{}/{id}.cacnk", &id[..4]))).unwrap();
    }
    gives(&sandbox, "--seed old.caibx", 16, 1);
    gives(&sandbox, "--seed old -n 1", 16, 1);
}

#[test]
fn a_complete_seed_needs_no_chunk_of_the_store() {
    let sandbox = versions();
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    fs::create_dir(sandbox.path("store")).unwrap();
    gives(&sandbox, "--seed new.caibx", 24, 1);
    gives(&sandbox, "--seed new", 24, 1);
}

#[test]
fn the_file_that_is_replaced_can_be_a_seed() {
    let sandbox = versions();
    fs::rename(sandbox.path("old"), sandbox.path("out")).unwrap();
    gives(&sandbox, "--seed old.caibx:out", 16, 1);
}

#[test]
fn the_file_that_is_written_in_place_can_be_a_seed() {
    // Moved chunks may be overwritten before they are read; whatever happens, the output is right.
    for workers in [1, 2, 7] {
        let sandbox = versions();
        fs::rename(sandbox.path("old"), sandbox.path("out")).unwrap();
        let words = "extract -k new.caibx out -s store --skip-invalid-seeds --seed old.caibx:out";
        sandbox.cairn(&format!("{words} -n {workers}")).succeeds_silently();
        assert!(sandbox.read("out") == sandbox.read("new"));
    }
}

#[test]
fn in_place_what_is_right_stays_and_the_rest_is_taken_from_seeds() {
    let sandbox = versions();
    sandbox.write("out", &joined(&[&chunks(1, 8), &chunks(9, 16)]));
    let words = "extract -k new.caibx out -s store --print-stats --seed old.caibx";
    let done = sandbox.cairn(words).succeeds();
    for line in ["chunks-from-seeds\": 8,", "chunks-from-store\": 8,", "chunks-in-place\": 8,"] {
        assert!(done.text().contains(line), "{}", done.text());
    }
    assert!(sandbox.read("out") == sandbox.read("new"));
}

#[test]
fn zeros_are_holes_and_not_copied() {
    let sandbox = Sandbox::new();
    let content = joined(&[&chunks(1, 2), &vec![0; 64 * CHUNK], &chunks(2, 2)]);
    sandbox.write("new", &content);
    sandbox.cairn(&format!("make new.caibx new -s store {SIZES}")).succeeds();
    let words = "extract new.caibx out -s store --seed new.caibx --print-stats";
    let done = sandbox.cairn(words).succeeds();
    assert!(done.text().contains(&format!("copied-from-seeds\": {},", 4 * CHUNK)));
    assert!(done.text().contains("chunks-from-seeds\": 68,"));
    assert!(sandbox.read("out") == content);
    use std::os::unix::fs::MetadataExt;
    assert!(fs::metadata(sandbox.path("out")).unwrap().blocks() * 512 < 6 * CHUNK as u64);
}

#[test]
fn chunks_that_occur_often_in_a_seed_are_found() {
    let sandbox = Sandbox::new();
    let (a, b) = (chunks(1, 1), chunks(2, 1));
    sandbox.write("old", &a.repeat(40));
    sandbox.write("new", &joined(&[&b, &a.repeat(30), &b, &a]));
    sandbox.cairn(&format!("make new.caibx new -s store {SIZES}")).succeeds();
    let words = "extract new.caibx out -s store --seed old --print-stats";
    let done = sandbox.cairn(words).succeeds();
    assert!(done.text().contains("chunks-from-seeds\": 30,"), "{}", done.text());
    assert!(sandbox.read("out") == sandbox.read("new"));
}

#[test]
fn a_block_device_is_a_seed_with_an_index_or_without() {
    if !is_root("a_block_device_is_a_seed") {
        return;
    }
    let sandbox = versions();
    let device = Device::new(&sandbox.path("old"));
    gives(&sandbox, &format!("--seed old.caibx:{}", device.path()), 16, 1);
    gives(&sandbox, &format!("--seed {}", device.path()), 16, 1);
}

#[test]
fn cutting_a_seed_is_shown() {
    let sandbox = versions();
    let words = "extract new.caibx out -s store --seed old";
    let done = sandbox.cairn_with_env(words, "DESYNC_ENABLE_PARSABLE_PROGRESS", "1").succeeds();
    let phases: Vec<&str> =
        done.stderr.lines().map(|line| line.split("  ").next().unwrap()).collect();
    let expected = [
        "Attempt 1: Chunking Seed 1",
        "Attempt 1: Chunking Seed 1",
        "Attempt 1: Validating ",
        "Attempt 1: Validating",
        "Attempt 1: Assembling",
        "Attempt 1: Assembling",
    ];
    assert_eq!(phases, expected, "{}", done.stderr);
}
