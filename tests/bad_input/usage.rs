//! What is typed wrongly is refused before anything is done, with exit code 2.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::common::Sandbox;

#[track_caller]
fn is_misuse(words: &str, parts: &[&str]) {
    let sandbox = Sandbox::with_store(b"a short blob");
    sandbox.write("out", b"what was there before");
    let before = sandbox.snapshot();
    sandbox.cairn(words).misused(parts);
    sandbox.is_as(&before, words);
}

#[test]
fn no_workers_are_refused() {
    for words in [
        "make new.caibx blob -s store -n 0",
        "extract blob.caibx out -s store -n 0",
        "extract blob.caibx out -s store -n=-1",
        "chunk blob -n 0",
        "verify-index blob.caibx blob -n many",
    ] {
        is_misuse(words, &["--concurrency"]);
    }
}

#[test]
fn chunk_sizes_out_of_order_are_refused() {
    for sizes in ["64:16:256", "16:256:64", "256:64:16", "64:64:63", "0:64:256"] {
        for command in ["make new.caibx blob -s store", "chunk blob"] {
            is_misuse(&format!("{command} -m {sizes}"), &["--chunk-size"]);
        }
    }
}

#[test]
fn chunks_shorter_than_the_rolling_hash_are_refused() {
    is_misuse("make new.caibx blob -m 16B:32B:47B", &["48 bytes"]);
    is_misuse("make new.caibx blob -m 1B:1B:1B", &["48 bytes"]);
}

#[test]
fn nonsense_for_chunk_sizes_is_refused() {
    for sizes in ["16:64", "16:64:256:1024", "x", "16:x:256", "1T", "1:2:999999999999999999999"] {
        is_misuse(&format!("chunk blob -m {sizes}"), &["--chunk-size", sizes]);
    }
}

#[test]
fn a_lone_number_for_chunk_sizes_is_refused_with_its_unit() {
    for command in ["make new.caibx blob -s store", "chunk blob"] {
        is_misuse(&format!("{command} -m 64"), &["--chunk-size", "64K", "64B"]);
    }
}

#[test]
fn a_level_that_zstd_does_not_have_is_refused() {
    for level in ["0", "20", "-5", "fast"] {
        let words = format!("make new.caibx blob -s store --level={level}");
        is_misuse(&words, &["--level", level]);
    }
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    is_misuse("make new.caibx blob --digest md5", &["md5", "sha512-256", "sha256"]);
    is_misuse("list-chunks blob.caibx --digest SHA256", &["SHA256", "sha256"]);
    is_misuse("make new.caibx blob --chunker rabin", &["rabin", "buzhash", "fastcdc"]);
    is_misuse("chunk blob --chunker Buzhash", &["Buzhash", "buzhash"]);
    let words = "make new.caibx blob -s store --durability always";
    is_misuse(words, &["always", "none", "batch", "each"]);
}

#[test]
fn missing_and_superfluous_words_are_refused() {
    for words in [
        "make",
        "make new.caibx",
        "make new.caibx blob more",
        "extract blob.caibx -s store",
        "extract blob.caibx out",
        "verify-index blob.caibx",
        "list-chunks",
        "chunk",
        "unmake new.caibx blob",
        "make new.caibx blob --stor store",
        "extract blob.caibx out -s store -i",
        "make new.caibx blob -s store -s store",
    ] {
        is_misuse(words, &["error:"]);
    }
}

#[test]
fn an_empty_location_is_refused() {
    let sandbox = Sandbox::with_store(b"a short blob");
    let mut command = sandbox.command("make new.caibx blob -s");
    command.arg("");
    super::common::run(command, None).misused(&["--store", "empty"]);
}

#[test]
fn a_suffix_that_leads_elsewhere_is_refused() {
    let sandbox = Sandbox::with_store(b"a short blob");
    let before = sandbox.snapshot();
    for suffix in [&b""[..], b"xz", b"/xz", b"./xz", b".\xff"] {
        for words in ["make new.caibx blob -s store", "extract blob.caibx out -s store"] {
            let mut command = sandbox.command(words);
            command.env("CASYNC_COMPRESSED_CHUNK_SUFFIX", OsStr::from_bytes(suffix));
            super::common::run(command, None).fails(&["CASYNC_COMPRESSED_CHUNK_SUFFIX: "]);
            sandbox.is_as(&before, words);
        }
    }
}
