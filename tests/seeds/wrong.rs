//! Seeds that do not hold what their index says. The output is right all the same.

use super::common::joined;
use super::{CHUNK, chunks, gives, versions};

const EXTRACT: &str = "extract new.caibx out -s store --seed old.caibx --print-stats";

/// The seeds that miss chunks are warned about, by default.
fn warning(chunks: usize) -> String {
    format!("warning: seeds do not hold {chunks} of the chunks that their indexes list\n")
}

#[test]
fn a_changed_chunk_is_fetched_instead() {
    let sandbox = versions();
    sandbox.patch("old", 3 * CHUNK as u64 + 17, b"changed");
    let done = sandbox.cairn(EXTRACT).succeeds();
    assert_eq!(done.stderr, warning(1));
    assert!(done.text().contains("chunks-from-seeds\": 15,"), "{}", done.text());
    assert!(sandbox.read("out") == sandbox.read("new"));
}

#[test]
fn skipping_is_silent() {
    let sandbox = versions();
    sandbox.patch("old", 3 * CHUNK as u64 + 17, b"changed");
    gives(&sandbox, "--seed old.caibx --skip-invalid-seeds", 15, 1);
}

#[test]
fn a_seed_shorter_than_its_index_gives_what_it_has() {
    for len in [0, 1, CHUNK, 5 * CHUNK + 1000, 15 * CHUNK] {
        let sandbox = versions();
        let old = sandbox.read("old");
        sandbox.write("old", &old[..len]);
        let done = sandbox.cairn(EXTRACT).succeeds();
        // Three chunks in its middle are not wanted.
        let given = len / CHUNK - (len / CHUNK).saturating_sub(8).min(3);
        assert_eq!(done.stderr, warning(16 - given), "{len}");
        assert!(done.text().contains(&format!("chunks-from-seeds\": {given},")), "{}", done.text());
        assert!(sandbox.read("out") == sandbox.read("new"));
    }
}

#[test]
fn a_seed_of_other_bytes_gives_nothing() {
    let sandbox = versions();
    sandbox.write("old", &chunks(77, 19));
    let done = sandbox.cairn(EXTRACT).succeeds();
    assert_eq!(done.stderr, warning(16));
    assert!(sandbox.read("out") == sandbox.read("new"));
}

#[test]
fn a_regenerated_seed_gives_what_has_moved() {
    // A chunk was put in front, so nothing is where the index says, but all is there.
    let sandbox = versions();
    let old = sandbox.read("old");
    sandbox.write("old", &joined(&[&chunks(9, 1), &old]));
    let done = sandbox.cairn(&format!("{EXTRACT} --regenerate-invalid-seeds")).succeeds();
    assert!(done.text().contains("chunks-from-seeds\": 16,"), "{}", done.text());
    assert!(sandbox.read("out") == sandbox.read("new"));
    let done = sandbox.cairn(EXTRACT).succeeds();
    assert!(done.text().contains("chunks-from-seeds\": 0,"), "{}", done.text());
    assert!(sandbox.read("out") == sandbox.read("new"));
}

#[test]
fn another_seed_stands_in() {
    let sandbox = versions();
    sandbox.write("copy", &sandbox.read("old"));
    sandbox.patch("old", 0, &chunks(77, 19));
    gives(&sandbox, "--seed old.caibx,old.caibx:copy --skip-invalid-seeds", 16, 2);
}

#[test]
fn a_store_without_the_chunk_is_what_the_error_is_about() {
    let sandbox = versions();
    sandbox.patch("old", 0, b"changed");
    let id = &sandbox.ids("new.caibx")[0];
    std::fs::remove_file(sandbox.path(&format!("store/{}/{id}.cacnk", &id[..4]))).unwrap();
    sandbox.refuses("extract new.caibx out -s store --seed old.caibx", &["missing", id]);
}
