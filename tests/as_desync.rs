//! cairn under the name `desync`, beside the real one: the same words give the same output, the same
//! exit code and the same files.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::os::unix::fs::symlink;
use std::process::Command;

use common::{Outcome, Sandbox, desync_is_here, joined, random, run, text};

/// Two sandboxes with the same files: `old`, `new`, an index of each, and a store with both.
fn pair() -> [Sandbox; 2] {
    let (one, two) = (random(1, 700_000), text(900_000));
    let old = joined(&[&one, &vec![0; 1 << 20], &two]);
    let new = joined(&[&one, &random(2, 300_000), &vec![0; 1 << 20], &two, &random(3, 100_000)]);
    [(); 2].map(|()| {
        let sandbox = Sandbox::new();
        sandbox.write("old", &old);
        sandbox.write("new", &new);
        for name in ["old", "new"] {
            sandbox.cairn(&format!("make {name}.caibx {name} -s store")).succeeds();
        }
        symlink(env!("CARGO_BIN_EXE_cairn"), sandbox.path("desync")).unwrap();
        sandbox
    })
}

fn as_desync(sandbox: &Sandbox, words: &str) -> Outcome {
    let mut command = Command::new("./desync");
    command
        .args(words.split_whitespace())
        .current_dir(sandbox.path("."))
        .env("HOME", sandbox.path("home"))
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("DESYNC_ENABLE_PARSABLE_PROGRESS");
    run(command, None)
}

/// Runs the same words with both programs, each in its sandbox.
fn both(sandboxes: &[Sandbox; 2], words: &str) -> [Outcome; 2] {
    [as_desync(&sandboxes[0], words), sandboxes[1].desync(words)]
}

#[track_caller]
fn same(sandboxes: &[Sandbox; 2], words: &str) {
    let [ours, theirs] = both(sandboxes, words);
    assert_eq!(ours.code, theirs.code, "{words}\n{}\n{}", ours.stderr, theirs.stderr);
    let [ours, theirs] = [ours, theirs].map(|done| done.stdout);
    assert!(ours == theirs, "{words}\n{}", String::from_utf8_lossy(&ours[..ours.len().min(2000)]));
}

#[test]
fn what_is_printed_is_the_same() {
    if !desync_is_here("what_is_printed_is_the_same") {
        return;
    }
    let sandboxes = pair();
    for words in [
        "list-chunks new.caibx",
        "list-chunks new.caibx -n 4 -t -e 5 -b 1s",
        "chunk new",
        "chunk -S 1000 new",
        "chunk -m 32:64:128 new",
        "info new.caibx",
        "info new.caibx -s store",
        "info new.caibx -s store --seed old.caibx",
        "info new.caibx -s store -f plain",
        "info --seed old.caibx new.caibx --format=json",
        "verify-index new.caibx new",
        "verify-index -n 3 old.caibx old",
        "verify -s store",
        "verify -s store -n 2 -r",
        "extract -s store new.caibx out --print-stats",
        "extract -s store new.caibx out",
        "extract -s store -k new.caibx out",
        "extract --store=store --seed old.caibx new.caibx out",
        "cat -s store new.caibx",
        "cat -s store -o 1000 -l 70000 new.caibx",
        "cat -s store new.caibx piece",
        "chop -s store new.caibx new",
        "cache -s store -c target new.caibx old.caibx",
        "cache -s store -c target new.caibx --ignore old.caibx",
        "prune -y -s target old.caibx",
        "list-chunks",
        "list-chunks nowhere.caibx",
        "verify-index new.caibx old",
        "verify -s nowhere",
        "extract -s nowhere new.caibx out",
        "extract new.caibx out",
        "nonsense",
        "make",
        "--nonsense",
    ] {
        for sandbox in &sandboxes {
            std::fs::create_dir_all(sandbox.path("target")).unwrap();
        }
        same(&sandboxes, words);
    }
    let [ours, theirs] = sandboxes.each_ref().map(|sandbox| sandbox.files("target"));
    assert_eq!(ours, theirs);
    for name in ["out", "piece"] {
        assert!(sandboxes[0].read(name) == sandboxes[1].read(name), "{name}");
    }
}

#[test]
fn inspected_sizes_are_the_same() {
    if !desync_is_here("inspected_sizes_are_the_same") {
        return;
    }
    let sandboxes = pair();
    same(&sandboxes, "inspect-chunks new.caibx");
    same(&sandboxes, "inspect-chunks -s store new.caibx");
    same(&sandboxes, "inspect-chunks -s store new.caibx sizes.json");
    assert_eq!(sandboxes[0].read("sizes.json"), sandboxes[1].read("sizes.json"));
    same(&sandboxes, "info -s store --chunks-info sizes.json new.caibx");
}

#[test]
fn seeds_count_as_desync_counts_them() {
    if !desync_is_here("seeds_count_as_desync_counts_them") {
        return;
    }
    let sandboxes = pair();
    let number = |done: &Outcome, key: &str| -> u64 {
        let line = done.text().lines().find(|line| line.contains(key)).unwrap();
        line.trim_end_matches(',').rsplit(' ').next().unwrap().parse().unwrap()
    };
    let done = both(&sandboxes, "extract -s store --seed old.caibx new.caibx out --print-stats");
    for key in ["chunks-from-seeds", "chunks-from-store", "bytes-total", "chunks-total", "\"seeds"]
    {
        let [ours, theirs] = done.each_ref().map(|done| number(done, key));
        assert_eq!(ours, theirs, "{key}\n{}{}", done[0].text(), done[1].text());
    }
    let keys = |done: &Outcome| -> Vec<String> {
        done.text().lines().map(|line| line.split(':').next().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&done[0]), keys(&done[1]));
}

#[test]
fn configurations_are_printed_the_same() {
    if !desync_is_here("configurations_are_printed_the_same") {
        return;
    }
    let sandboxes = pair();
    for content in [
        r#"{}"#,
        r#"{"store-options": {"/a/*": {"uncompressed": true, "error-retry": 7}}}"#,
        r#"{"s3-credentials": {"http://h": {"access-key": "a", "secret-key": "b"}}}"#,
    ] {
        for sandbox in &sandboxes {
            sandbox.write("config.json", content.as_bytes());
        }
        let [ours, theirs] = both(&sandboxes, "--config config.json config");
        // A newer desync than the one compared with prints a section for OCI registries as well.
        let ours = ours.text().replace("  \"oci-credentials\": null,\n", "");
        assert_eq!(ours, theirs.text().replace("  \"oci-credentials\": null,\n", ""));
    }
}
