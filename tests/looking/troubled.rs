//! Archives that are not what they should be, and chunks that are not there.

use std::fs;

use super::common::Sandbox;
use super::sample;

#[test]
fn what_cannot_be_looked_into_is_told() {
    let sandbox = sample();
    sandbox
        .write("noise", b"noise that is no archive, however long it may be, and it is not short");
    for (words, parts) in [
        ("list absent", &["absent", "No such file"][..]),
        ("list noise", &["noise", "not an archive"]),
        ("stat tree absent", &["tree", "has no `absent`"]),
        ("stat tree/a.txt", &["tree/a.txt", "not an archive"]),
        ("list tree.caidx", &["tree.caidx", "-s"]),
        ("list -i tree.catar -s store", &["tree.catar", "not an index"]),
        ("list tree.catar absent", &["tree.catar", "has no `absent`"]),
        ("list tree.catar a.txt/b", &["tree.catar", "has no `a.txt/b`"]),
        ("list tree.catar ../tree", &["has no `../tree`"]),
        ("stat tree.catar absent", &["has no `absent`"]),
        ("digest tree.catar link", &["link", "neither a file nor a directory"]),
        ("digest tree.catar absent", &["has no `absent`"]),
    ] {
        sandbox.cairn(words).fails(parts);
    }
    sandbox.cairn_with_input("stat -", sandbox.read("tree.catar")).fails(&["through a pipe"]);
    sandbox
        .cairn_with_input("list - absent", sandbox.read("tree.catar"))
        .fails(&["has no `absent`"]);
}

#[test]
fn a_line_of_mtree_stands_only_for_what_was_read_whole() {
    let sandbox = sample();
    let whole = sandbox.cairn("mtree tree.catar").succeeds();
    let bytes = sandbox.read("tree.catar");
    for len in (1000..bytes.len()).step_by(bytes.len() / 20) {
        let outcome = sandbox.cairn_with_input("mtree -", &bytes[..len]);
        assert_eq!(outcome.code, Some(1));
        assert!(whole.text().starts_with(outcome.text()), "cut at {len}: {}", outcome.text());
        assert_ne!(whole.text(), outcome.text());
    }
}

#[test]
fn chunks_that_are_missing_or_damaged_are_told() {
    let sandbox = sample();
    let whole = sandbox.cairn("mtree tree.catar").succeeds();
    let id = sandbox.ids("tree.caidx").swap_remove(3);
    let chunk = format!("store/{}/{id}.cacnk", &id[..4]);
    let good = sandbox.read(&chunk);
    for damage in [None, Some(&b"(\xb5/\xfd no zstd"[..])] {
        match damage {
            None => fs::remove_file(sandbox.path(&chunk)).unwrap(),
            Some(bytes) => sandbox.write(&chunk, bytes),
        }
        let outcome = sandbox.cairn("mtree -s store tree.caidx");
        assert_eq!(outcome.code, Some(1));
        assert!(outcome.error().contains(&id), "{}", outcome.stderr);
        assert!(whole.text().starts_with(outcome.text()), "{}", outcome.text());
        for words in ["digest -s store tree.caidx", "stat -s store tree.caidx big"] {
            sandbox.cairn(words).fails(&[&id]);
        }
        // The bytes of a file are of no interest here.
        sandbox.cairn("list -s store tree.caidx sub").succeeds();
        sandbox.write(&chunk, &good);
    }
}

#[test]
fn a_cut_archive_is_told_by_all() {
    let sandbox = sample();
    let bytes = sandbox.read("tree.catar");
    for len in [0, 10, 63, 64, 100, 1000, bytes.len() - 1] {
        sandbox.write("cut.catar", &bytes[..len]);
        for words in [
            "list cut.catar",
            "stat cut.catar a.txt",
            "digest cut.catar a.txt",
            "list cut.catar sub",
        ] {
            sandbox.cairn(words).fails(&["cut.catar"]);
        }
    }
}

#[test]
fn a_cache_keeps_what_was_looked_at() {
    let sandbox = sample();
    let first = sandbox.cairn("list -s store -c cache tree.caidx").succeeds();
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    fs::create_dir(sandbox.path("store")).unwrap();
    let second = sandbox.cairn("list -s store -c cache tree.caidx").succeeds();
    assert_eq!(first.text(), second.text());
}

/// Whoever reads the list may have seen enough.
#[test]
fn a_closed_output_is_no_error() {
    let sandbox = Sandbox::new();
    for n in 0..3000 {
        sandbox.write(&format!("tree/{n:0100}"), b"");
    }
    sandbox.casync("make tree.catar tree").succeeds();
    let mut command = sandbox.command("list tree.catar");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(1), Vec::new()));
}
