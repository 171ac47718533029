//! Which bytes `cat` writes.

use proptest::prelude::*;

use super::common::{Outcome, Sandbox, random};
use super::content;

/// Checks that these bytes came, then one error line with the parts.
#[track_caller]
fn breaks_off(mut outcome: Outcome, expected: &[u8], parts: &[&str]) {
    let written = std::mem::take(&mut outcome.stdout);
    assert!(written == expected, "{} bytes came", written.len());
    outcome.fails(parts);
}

#[test]
fn a_blob_comes_whole() {
    let sandbox = Sandbox::with_store(&content());
    for options in ["", "-n 1", "-n 2", "-o 0 -l 0"] {
        let whole = sandbox.cairn(&format!("cat blob.caibx -s store {options}")).succeeds();
        assert!(whole.stdout == content() && whole.stderr.is_empty(), "{options}");
    }
}

#[test]
fn blobs_of_every_digest_and_coding_come_whole() {
    for (make, digest) in [("--uncompressed", ""), ("-m 4K", "--digest sha256")] {
        let sandbox = Sandbox::with_blob(&content());
        sandbox.cairn(&format!("make blob.caibx blob -s store {make} {digest}")).succeeds();
        let whole = sandbox.cairn(&format!("cat blob.caibx -s store {digest}")).succeeds();
        assert!(whole.stdout == content());
    }
}

#[test]
fn empty_and_tiny_blobs_come_whole() {
    for blob in [vec![], vec![0], random(2, 47), vec![0; 262_144]] {
        let sandbox = Sandbox::with_store(&blob);
        let whole = sandbox.cairn("cat blob.caibx -s store").succeeds();
        assert!(whole.stdout == blob && whole.stderr.is_empty());
    }
}

#[test]
fn an_index_may_come_through_a_pipe() {
    let sandbox = Sandbox::with_store(&content());
    let index = sandbox.read("blob.caibx");
    let whole = sandbox.cairn_with_input("cat - -s store", index).succeeds();
    assert!(whole.stdout == content());
}

#[test]
fn ranges_are_slices_of_the_blob() {
    let blob = content();
    let sandbox = Sandbox::with_blob(&blob);
    sandbox.cairn("make blob.caibx blob -s store -m 8:16:64").succeeds();
    let size = blob.len();
    let near = |at: usize| at.saturating_sub(3)..(at + 3).min(size + 1);
    // Anywhere, and where the kinds of bytes meet.
    let place = prop_oneof![0..=size, near(0), near(900_000), near(1_600_000), near(size)];
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
    let cases = (place.clone(), place);
    proptest::test_runner::TestRunner::new(config)
        .run(&cases, |(one, other)| {
            let (start, end) = (one.min(other), one.max(other));
            let words = format!("cat blob.caibx -s store -o {start} -l {}", end - start);
            let expected = if start == end { &blob[start..] } else { &blob[start..end] };
            let written = sandbox.cairn(&words).succeeds();
            prop_assert!(written.stdout == expected, "{words}: {}", written.stdout.len());
            prop_assert_eq!(written.stderr, "");
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_range_behind_the_end_breaks_off_there() {
    let blob = random(3, 200_000);
    let sandbox = Sandbox::with_store(&blob);
    let cat = |range: &str| sandbox.cairn(&format!("cat blob.caibx -s store {range}"));
    breaks_off(cat("-l 200001"), &blob, &["blob.caibx", "200000", " 1 bytes"]);
    breaks_off(cat("-o 199990 -l 11"), &blob[199_990..], &["blob.caibx", "200000"]);
    breaks_off(cat("-o 200000 -l 1"), b"", &["blob.caibx", "200000"]);
    breaks_off(cat("-o 5 -l 18446744073709551615"), &blob[5..], &["blob.caibx", "200000"]);
    sandbox.cairn("cat blob.caibx -s store -o 200000").succeeds_silently();
    cat("-o 200001").fails(&["blob.caibx", "200000", "200001"]);
    cat("-o 18446744073709551615 -l 18446744073709551615").fails(&["blob.caibx", "200000"]);
}

#[test]
fn a_short_range_into_a_file_leaves_what_there_is() {
    let blob = random(4, 100_000);
    let sandbox = Sandbox::with_store(&blob);
    sandbox.cairn("cat blob.caibx out -s store -o 10 -l 100000").fails(&["100000", " 10 bytes"]);
    assert!(sandbox.read("out") == blob[10..]);
}

#[test]
fn an_empty_blob_has_no_first_byte() {
    let sandbox = Sandbox::with_store(b"");
    sandbox.cairn("cat blob.caibx -s store -l 1").fails(&["blob.caibx", " 0"]);
    sandbox.refuses("cat blob.caibx out -s store -o 1", &["blob.caibx", " 0"]);
}

#[test]
fn negative_numbers_are_misuse() {
    let sandbox = Sandbox::with_store(b"short");
    for range in ["-o=-1", "-l=-1", "--offset=-5", "-o 1K", "-n 0"] {
        sandbox.cairn(&format!("cat blob.caibx -s store {range}")).misused(&[]);
    }
    sandbox.cairn("cat blob.caibx").misused(&["--store"]);
}

#[test]
fn everything_before_a_damaged_chunk_is_written() {
    let blob = random(5, 40 * 65_536);
    let sandbox = Sandbox::with_blob(&blob);
    sandbox.cairn("make blob.caibx blob -s store -m 65536B:65536:65536").succeeds();
    for position in [0, 20, 39] {
        let id = sandbox.ids("blob.caibx").swap_remove(position);
        let file = format!("store/{}/{id}.cacnk", &id[..4]);
        let good = sandbox.read(&file);
        sandbox.write(&file, &good[..good.len() - 1]);
        for workers in ["", "-n 1"] {
            let outcome = sandbox.cairn(&format!("cat blob.caibx -s store {workers}"));
            let written = outcome.stdout.len();
            // A batch may be lost with its chunk, but no more.
            assert!(written <= position * 65_536 && written + (1 << 20) >= position * 65_536);
            breaks_off(outcome, &blob[..written], &["store", &id]);
        }
        sandbox.write(&file, &good);
    }
}
