//! Indexes that are none, are damaged, or lie.

use super::common::{Sandbox, random};

/// Where the items begin.
const ITEMS: usize = 64;
const ITEM: usize = 40;

/// A sandbox with a store, a good `blob.caibx` of chunks of 64 KiB, and an output that was there.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_blob(&random(1, 5 * 65_536 + 100));
    sandbox.cairn("make blob.caibx blob -s store -m 65536B:65536:65536").succeeds();
    sandbox.write("out", b"what was there before");
    sandbox
}

/// Writes `bad.caibx` and checks that every command which reads an index refuses it.
#[track_caller]
fn is_refused(sandbox: &Sandbox, index: &[u8], why: &str) {
    sandbox.write("bad.caibx", index);
    for words in [
        "extract bad.caibx out -s store",
        "extract -k bad.caibx out -s store",
        "list-chunks bad.caibx",
        "verify-index bad.caibx blob",
    ] {
        sandbox.refuses(words, &["bad.caibx", why]);
    }
}

/// A good index with one word replaced.
fn with_word(sandbox: &Sandbox, at: usize, word: u64) -> Vec<u8> {
    let mut index = sandbox.read("blob.caibx");
    index[at..at + 8].copy_from_slice(&word.to_le_bytes());
    index
}

#[test]
fn what_is_no_index_is_refused() {
    let sandbox = sandbox();
    for bytes in [
        &b"#!/bin/sh\necho this is a script and no index, though it is longer than a header\n"[..],
        &[0; 104],
        &[0xff; 4096],
        &random(2, 100_000),
        b"x",
    ] {
        is_refused(&sandbox, bytes, "not an index");
    }
}

#[test]
fn an_empty_index_is_refused() {
    is_refused(&sandbox(), b"", "not an index: it is empty");
}

#[test]
fn a_truncated_index_is_refused() {
    let sandbox = sandbox();
    let good = sandbox.read("blob.caibx");
    for len in [1, 15, 16, 47, 48, 63, 64, 65, 103, 104, 105, 144, good.len() - 40, good.len() - 1]
    {
        is_refused(&sandbox, &good[..len], "index");
    }
    is_refused(&sandbox, &good[..good.len() - 40], "cut off");
}

#[test]
fn bytes_after_the_index_are_refused() {
    let sandbox = sandbox();
    for more in [1, 40, 100_000] {
        let mut index = sandbox.read("blob.caibx");
        index.extend(random(3, more));
        is_refused(&sandbox, &index, "bytes follow");
    }
}

#[test]
fn unordered_offsets_are_refused_with_their_place() {
    let sandbox = sandbox();
    for (item, end) in [(1, 65_536), (1, 1), (3, 65_536), (2, 0)] {
        let at = ITEMS + ITEM * item;
        is_refused(&sandbox, &with_word(&sandbox, at, end), &format!("at byte {at}"));
    }
}

#[test]
fn a_chunk_longer_than_the_largest_is_refused() {
    let sandbox = sandbox();
    for end in [65_537, u64::MAX, 1 << 63] {
        let index = with_word(&sandbox, ITEMS, end);
        is_refused(&sandbox, &index, "damaged index at byte 64");
    }
}

#[test]
fn absurd_sizes_in_a_header_are_refused_without_memory_for_them() {
    let sandbox = sandbox();
    for (min, avg, max) in [
        (1, 1, 1 << 40),
        (1 << 40, 1 << 40, 1 << 40),
        (u64::MAX, u64::MAX, u64::MAX),
        (1, 1, (128 << 20) + 1),
        (0, 0, 0),
        (4, 2, 8),
        (4, 16, 8),
    ] {
        let mut index = sandbox.read("blob.caibx");
        for (place, size) in [(24, min), (32, avg), (40, max)] {
            index[place..place + 8].copy_from_slice(&u64::to_le_bytes(size));
        }
        sandbox.write("bad.caibx", &index);
        for words in ["extract bad.caibx out -s store", "verify-index bad.caibx blob"] {
            sandbox.cairn_with_memory(512 << 10, words).fails(&["bad.caibx", "sizes"]);
        }
        is_refused(&sandbox, &index, "damaged index at byte 24");
    }
}

#[test]
fn the_largest_sizes_of_a_header_need_bounded_memory() {
    let sandbox = sandbox();
    for place in [32, 40] {
        let index = with_word(&sandbox, place, 128 << 20);
        sandbox.write("large.caibx", &index);
        sandbox.patch("blob.caibx", place as u64, &index[place..place + 8]);
        if place == 40 {
            sandbox
                .cairn_with_memory(1 << 20, "extract large.caibx out -s store")
                .succeeds_silently();
            assert!(sandbox.read("out") == sandbox.read("blob"));
        }
    }
}

#[test]
fn an_index_of_the_other_digest_is_refused() {
    let sandbox = sandbox();
    for words in ["extract blob.caibx out -s store", "list-chunks blob.caibx"] {
        let words = format!("{words} --digest sha256");
        sandbox.refuses(&words, &["blob.caibx", "sha512-256"]);
    }
    let mut flags = sandbox.read("blob.caibx");
    flags[23] &= !0x20;
    is_refused(&sandbox, &flags, "sha256");
    // With the digest that it claims it is read, but its ids are not those of the chunks.
    sandbox.refuses(
        "extract bad.caibx out -s store --digest sha256",
        &["store", "chunk", "another id", "offset"],
    );
    sandbox.refuses(
        "verify-index bad.caibx blob --digest sha256",
        &["blob", "does not match", "bytes"],
    );
}

#[test]
fn unknown_features_are_refused() {
    let sandbox = sandbox();
    let index = with_word(&sandbox, 16, 0xb200_0000_0000_0000);
    is_refused(&sandbox, &index, "unknown feature flags 0x200000000000000");
}

#[test]
fn a_bad_index_on_standard_input_is_refused() {
    let sandbox = sandbox();
    let before = sandbox.snapshot();
    for (words, input) in [
        ("extract - out -s store", &b""[..]),
        ("list-chunks -", b"no index"),
        ("verify-index - blob", &[48, 0, 0, 0]),
    ] {
        sandbox.cairn_with_input(words, input).fails(&["not an index"]);
    }
    sandbox.is_as(&before, "indexes from standard input");
}

#[test]
fn an_index_that_cannot_be_opened_is_named() {
    let sandbox = sandbox();
    for words in [
        "extract absent.caibx out -s store",
        "list-chunks absent.caibx",
        "verify-index absent.caibx blob",
    ] {
        sandbox.refuses(words, &["absent.caibx", "No such file"]);
        let directory = words.replace("absent.caibx", "store");
        sandbox.refuses(&directory, &["store", "directory"]);
    }
}

#[test]
fn a_blob_too_large_for_any_disk_is_refused_and_leaves_nothing() {
    let sandbox = sandbox();
    let good = sandbox.read("blob.caibx");
    let (len, count) = (128_u64 << 20, 140_000_u64);
    let mut index = good[..ITEMS].to_vec();
    for place in [24, 32, 40] {
        index[place..place + 8].copy_from_slice(&len.to_le_bytes());
    }
    for number in 1..=count {
        index.extend((number * len).to_le_bytes());
        index.extend([7; 32]);
    }
    for word in [0, 0, 48, 16 + 40 * (count + 1)] {
        index.extend(u64::to_le_bytes(word));
    }
    index.extend(&good[good.len() - 8..]);
    sandbox.write("bad.caibx", &index);
    // Too long for the file system, or else the first chunk is missing.
    let before = sandbox.snapshot();
    sandbox.cairn_with_memory(1 << 20, "extract bad.caibx out -s store").fails(&[]);
    sandbox.is_as(&before, "extract of 17 TiB");
}
