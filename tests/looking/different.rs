//! Two archives beside each other.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::common::Sandbox;
use super::{attribute, sample};

fn made(sandbox: &Sandbox, name: &str) {
    sandbox.casync(&format!("make {name}.catar tree")).succeeds();
    sandbox.casync(&format!("make --store=store {name}.caidx tree")).succeeds();
}

/// Sets a time that stays as it is.
fn touch(sandbox: &Sandbox, path: &str) {
    let file = fs::File::open(sandbox.path(path)).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000))
        .unwrap();
}

#[test]
fn what_is_the_same_is_not_mentioned() {
    let sandbox = sample();
    for (a, b) in [
        ("tree.catar", "tree.catar"),
        ("tree.catar", "tree.caidx"),
        ("tree.caidx", "tree.caidx"),
        ("tree", "tree.catar"),
        ("tree.caidx", "tree"),
        ("tree", "tree"),
    ] {
        sandbox.cairn(&format!("diff -s store {a} {b}")).succeeds_silently();
    }
}

#[test]
fn every_difference_has_a_line() {
    let sandbox = Sandbox::new();
    for path in [
        "changed",
        "gone",
        "mode",
        "attribute",
        "kind",
        "same",
        "sub/below",
        "sub/deep/gone",
        "time",
    ] {
        sandbox.write(&format!("tree/{path}"), b"content");
    }
    symlink("here", sandbox.path("tree/link")).unwrap();
    for directory in ["tree", "tree/sub", "tree/sub/deep"] {
        touch(&sandbox, directory);
    }
    made(&sandbox, "before");
    sandbox.write("tree/changed", b"contents");
    touch(&sandbox, "tree/time");
    fs::remove_file(sandbox.path("tree/gone")).unwrap();
    fs::remove_dir_all(sandbox.path("tree/sub/deep")).unwrap();
    fs::set_permissions(sandbox.path("tree/mode"), fs::Permissions::from_mode(0o600)).unwrap();
    attribute(&sandbox.path("tree/attribute"), "user.it", b"is");
    fs::remove_file(sandbox.path("tree/kind")).unwrap();
    sandbox.write("tree/kind/inside", b"");
    sandbox.write("tree/sub/new", b"");
    touch(&sandbox, "tree/kind");
    for directory in ["tree", "tree/sub"] {
        touch(&sandbox, directory);
    }
    made(&sandbox, "after");
    let expected = [
        "M attribute: xattrs",
        "M changed: content, time",
        "D gone",
        "M kind: type, mode, time",
        "A kind/inside",
        "M mode: mode",
        "D sub/deep",
        "D sub/deep/gone",
        "A sub/new",
        "M time: time",
        "# 2 added, 3 removed, 5 changed",
    ];
    // The mode of what is something else now is not worth a word.
    let expected: Vec<String> =
        expected.iter().map(|line| line.replace("type, mode,", "type,")).collect();
    // The tree still is what the second archive is of.
    symlink("tree", sandbox.path("after.tree")).unwrap();
    for (a, b) in [("catar", "catar"), ("caidx", "catar"), ("caidx", "caidx"), ("caidx", "tree")] {
        let outcome = sandbox.cairn(&format!("diff -s store before.{a} after.{b}"));
        assert_eq!((outcome.code, &outcome.stderr[..]), (Some(1), ""), "{a} {b}");
        let lines = outcome.text().lines().filter(|line| !line.starts_with("# an update"));
        assert_eq!(lines.collect::<Vec<_>>(), expected, "{a} {b}");
        assert_eq!(outcome.text().contains("# an update fetches"), (a, b) == ("caidx", "caidx"));
        let quiet = sandbox.cairn(&format!("diff --quiet -s store before.{a} after.{b}"));
        assert_eq!((quiet.code, quiet.text()), (Some(1), ""));
        sandbox.cairn(&format!("diff -s store before.{a} after.{b} same")).succeeds_silently();
        let part = sandbox.cairn(&format!("diff -s store before.{a} after.{b} sub"));
        assert_eq!(part.text().lines().next(), Some("D sub/deep"));
    }
}

#[test]
fn trouble_is_no_difference() {
    let sandbox = sample();
    sandbox.write("noise", b"noise");
    for words in [
        "diff tree.catar absent",
        "diff tree.catar noise",
        "diff tree.catar tree.catar absent",
        "diff tree.catar tree.caidx",
        "diff -s absent tree.catar tree.caidx",
        "diff --config absent tree.catar tree.catar",
    ] {
        let outcome = sandbox.cairn(words);
        assert_eq!((outcome.code, outcome.text()), (Some(2), ""), "{words}");
        assert!(outcome.stderr.starts_with("error: "), "{words}: {}", outcome.stderr);
    }
}
