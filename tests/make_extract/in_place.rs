//! `extract --in-place`: what is right already stays, whatever the rest is.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::common::{Sandbox, joined, random};

const CHUNK: usize = 65_536;

/// Two chunks, three of zeros, two more, the first again, and a short one.
fn content() -> Vec<u8> {
    let data = random(1, 4 * CHUNK);
    let (a, b) = data.split_at(2 * CHUNK);
    joined(&[a, &vec![0; 3 * CHUNK], b, &a[..CHUNK], &random(2, 1000)])
}

/// A sandbox with that content in a store, in chunks of 64 KiB.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_blob(&content());
    sandbox.cairn("make blob.caibx blob -s store -m 65536B:65536:65536").succeeds();
    sandbox
}

/// Statistics as desync prints them: from the store, in place, in a blob of nine chunks.
fn stats(zero: u64, store: u64, in_place: u64, block_size: u64) -> String {
    format!(
        "{{\n  \"chunks-from-seeds\": {zero},\n  \"chunks-from-store\": {store},\n  \
         \"chunks-in-place\": {in_place},\n  \"bytes-copied-from-seeds\": 0,\n  \
         \"bytes-cloned-from-seeds\": 0,\n  \"blocksize\": {block_size},\n  \
         \"bytes-total\": {},\n  \"chunks-total\": 9,\n  \"seeds\": 1\n}}\n",
        content().len()
    )
}

/// Extracts over a file of these bytes and checks how many chunks came from where.
#[track_caller]
fn completes(before: &[u8], store: u64, in_place: u64) {
    let sandbox = sandbox();
    sandbox.write("out", before);
    let inode = fs::metadata(sandbox.path("out")).unwrap().ino();
    let done = sandbox.cairn("extract -k blob.caibx out -s store --print-stats").succeeds();
    let metadata = fs::metadata(sandbox.path("out")).unwrap();
    assert_eq!(metadata.ino(), inode);
    assert_eq!(done.text(), stats(3, store, in_place, metadata.blksize()));
    assert!(sandbox.read("out") == content());
}

#[test]
fn a_complete_file_stays_as_it_is() {
    completes(&content(), 0, 6);
}

#[test]
fn an_empty_file_is_filled() {
    completes(b"", 6, 0);
}

#[test]
fn a_file_of_other_bytes_is_overwritten() {
    completes(&random(3, content().len()), 6, 0);
}

#[test]
fn right_chunks_are_kept_and_wrong_ones_replaced() {
    let mut before = content();
    before[CHUNK] ^= 1;
    before[6 * CHUNK - 1] ^= 1;
    completes(&before, 2, 4);
}

#[test]
fn a_shorter_file_grows() {
    completes(&content()[..6 * CHUNK + 5], 3, 3);
    completes(&content()[..1], 6, 0);
}

#[test]
fn a_longer_file_is_cut() {
    completes(&joined(&[&content(), &random(4, 3 * CHUNK)]), 0, 6);
    let mut before = joined(&[&content(), b"tail"]);
    before[8 * CHUNK] ^= 1;
    completes(&before, 1, 5);
}

#[test]
fn zeros_replace_what_is_not_zero() {
    let mut before = content();
    before[2 * CHUNK..5 * CHUNK].copy_from_slice(&random(5, 3 * CHUNK));
    completes(&before, 0, 6);
}

#[test]
fn a_chunk_that_lies_elsewhere_is_not_fetched() {
    let sandbox = sandbox();
    let mut before = content();
    before[0] ^= 1;
    sandbox.write("out", &before);
    // It is also the eighth chunk, which is right.
    let id = sandbox.ids("blob.caibx").swap_remove(0);
    fs::remove_file(sandbox.path(&format!("store/{}/{id}.cacnk", &id[..4]))).unwrap();
    sandbox.cairn("extract -k blob.caibx out -s store").succeeds_silently();
    assert!(sandbox.read("out") == content());
}

#[test]
fn zeros_become_holes_in_a_file_in_place() {
    let content = joined(&[&random(6, 300_000), &vec![0; 8 << 20], &random(7, 300_000)]);
    let sandbox = Sandbox::with_store(&content);
    sandbox.write("out", &random(8, content.len()));
    sandbox.cairn("extract -k blob.caibx out -s store").succeeds();
    assert!(sandbox.read("out") == content);
    let used = fs::metadata(sandbox.path("out")).unwrap().blocks() * 512;
    assert!(used < 3 << 20, "{used} bytes on the disk");
}

#[test]
fn a_missing_file_is_made() {
    let sandbox = sandbox();
    sandbox.cairn("extract -k blob.caibx out -s store --fsync").succeeds_silently();
    assert!(sandbox.read("out") == content());
}

#[test]
fn a_run_that_failed_goes_on_with_what_it_had() {
    let sandbox = sandbox();
    let id = sandbox.ids("blob.caibx").swap_remove(6);
    let chunk = sandbox.path(&format!("store/{}/{id}.cacnk", &id[..4]));
    fs::rename(&chunk, sandbox.path("kept")).unwrap();
    let words = "extract -k blob.caibx out -s store --print-stats -n 1";
    sandbox.cairn(words).fails(&[&id, "missing"]);
    fs::rename(sandbox.path("kept"), &chunk).unwrap();
    let done = sandbox.cairn(words).succeeds();
    assert!(!done.text().contains("\"chunks-in-place\": 0,"), "{}", done.text());
    assert!(sandbox.read("out") == content());
}

#[test]
fn in_place_writes_through_a_link() {
    let sandbox = sandbox();
    sandbox.write("target", &content()[..100_000]);
    symlink("target", sandbox.path("link")).unwrap();
    sandbox.cairn("extract -k blob.caibx link -s store").succeeds_silently();
    assert!(sandbox.path("link").is_symlink());
    assert!(sandbox.read("target") == content());
}

#[test]
fn a_new_file_has_statistics_too() {
    let sandbox = sandbox();
    let done = sandbox.cairn("extract blob.caibx out -s store --print-stats").succeeds();
    let block_size = fs::metadata(sandbox.path("out")).unwrap().blksize();
    assert_eq!(done.text(), stats(3, 6, 0, block_size));
}

#[test]
fn all_statistics_of_an_empty_blob_are_zero() {
    let sandbox = Sandbox::with_store(b"");
    let done = sandbox.cairn("extract blob.caibx out -s store --print-stats").succeeds();
    let values = done.text().lines().filter_map(|line| line.split_once(": "));
    let values: Vec<&str> = values.map(|(_, value)| value.trim_end_matches(',')).collect();
    assert_eq!(values, ["0"; 9]);
}
