//! What casync and desync say of an archive, and what cairn says.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use super::common::{Outcome, Sandbox, desync_is_here, run};
use super::sample;

/// Runs a command whose last word is a path, which may hold blanks.
fn of_path(sandbox: &Sandbox, program: &str, words: &str, path: &str) -> Outcome {
    let mut command = match program {
        "cairn" => sandbox.command(words),
        _ => {
            let mut command = std::process::Command::new(program);
            command.args(words.split_whitespace()).current_dir(sandbox.path("."));
            command
        }
    };
    command.args(Some(path).filter(|&path| path != ".")).env("TZ", "Europe/Berlin");
    run(command, None).succeeds()
}

/// The ways to the same archive.
const WAYS: [&str; 2] = ["tree.catar", "-s store tree.caidx"];

#[test]
fn lists_are_casyncs() {
    let sandbox = sample();
    for part in ["", "sub", "sub/deep/file", "sub//deep", "fifo"] {
        let expected = sandbox.casync(&format!("list tree.catar {part}")).succeeds();
        assert!(!expected.text().is_empty());
        for way in WAYS {
            let listed = sandbox.cairn(&format!("list {way} {part}")).succeeds();
            assert_eq!(listed.text(), expected.text(), "{way} {part}");
        }
        let piped = format!("list - {part}");
        let piped = sandbox.cairn_with_input(&piped, sandbox.read("tree.catar")).succeeds();
        assert_eq!(piped.text(), expected.text(), "piped {part}");
    }
    for part in ["", "sub"] {
        let expected = sandbox.casync(&format!("list --recursive=no tree.catar {part}")).succeeds();
        for flag in ["--no-recursive", "--recursive=no"] {
            for way in WAYS {
                let listed = sandbox.cairn(&format!("list {flag} {way} {part}")).succeeds();
                assert_eq!(listed.text(), expected.text(), "{flag} {way} {part}");
            }
        }
    }
}

#[test]
fn lines_of_mtree_are_casyncs_where_it_is_right() {
    let sandbox = sample();
    for options in
        ["", "--with=unix", "--with=fat", "--without=all", "--digest=sha256", "--with=chattr"]
    {
        sandbox.casync(&format!("make {options} other.catar tree")).succeeds();
        let theirs = sandbox.casync(&format!("mtree {options} other.catar")).succeeds();
        let fix = |line: &str| {
            // casync claims all flags of what can have none.
            let words = line.split(' ').filter(|word| {
                let is_plain = line.contains(" type=file ") || line.contains(" type=dir ");
                is_plain || !word.starts_with("flags=")
            });
            words.collect::<Vec<_>>().join(" ") + "\n"
        };
        let theirs: String = theirs.text().lines().map(fix).collect();
        let ours = sandbox.cairn("mtree --format casync other.catar").succeeds();
        assert_eq!(ours.text(), theirs, "{options}");
    }
}

#[test]
fn lines_of_mtree_are_the_same_on_every_way() {
    let sandbox = sample();
    for part in ["", "sub", "big"] {
        let from_file = sandbox.cairn(&format!("mtree tree.catar {part}")).succeeds();
        assert!(from_file.text().starts_with("#mtree v1.0\n"));
        let from_index = sandbox.cairn(&format!("mtree -i -s store tree.caidx {part}")).succeeds();
        assert_eq!(from_index.text(), from_file.text(), "{part}");
        let piped = sandbox
            .cairn_with_input(&format!("mtree - {part}"), sandbox.read("tree.catar"))
            .succeeds();
        assert_eq!(piped.text(), from_file.text(), "{part}");
    }
}

#[test]
fn lines_of_mtree_are_desyncs_where_it_is_right() {
    if !desync_is_here("lines_of_mtree_are_desyncs_where_it_is_right") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("tree/a b", b"hello");
    sandbox.write("tree/sub/b", &[7; 300_000]);
    sandbox.write("tree/sub/c", b"");
    std::os::unix::fs::symlink("a b", sandbox.path("tree/link")).unwrap();
    let time = UNIX_EPOCH + Duration::new(1_700_000_000, 42);
    fs::File::open(sandbox.path("tree/sub")).unwrap().set_modified(time).unwrap();
    sandbox.desync("tar tree.catar tree").succeeds();
    let theirs = sandbox.desync("mtree tree.catar").succeeds();
    // Fractions of seconds are padded with blanks where the line is not that of a file.
    let pad = |line: &str| {
        let Some((front, time)) = line.split_once("time=") else { return format!("{line}\n") };
        let (seconds, fraction) = time.split_once('.').unwrap();
        let digits = fraction.trim_start_matches(' ');
        let zeros = "0".repeat(fraction.len() - digits.len());
        format!("{front}time={seconds}.{zeros}{digits}\n")
    };
    let padded: String = theirs.text().lines().map(pad).collect();
    assert_eq!(sandbox.cairn("mtree tree.catar").succeeds().text(), padded);
}

#[test]
fn what_is_said_of_one_node_is_what_casync_says() {
    let sandbox = sample();
    let mut seen = 0;
    for path in [
        ".",
        "a.txt",
        "big",
        "empty",
        "empty.txt",
        "fifo",
        "link",
        "odd link",
        "socket",
        "sp ace",
        "new\nline",
        "h#sh",
        "back\\slash",
        "é",
        "sub",
        "sub/deep/file",
        "sub/other",
        "block",
        "character",
    ] {
        if sandbox.path("tree").join(path).symlink_metadata().is_err() {
            continue;
        }
        seen += 1;
        let theirs = of_path(&sandbox, "casync", "stat tree.catar", path);
        // casync digests the empty content of a block device.
        let is_wrong = |line: &&str| path == "block" && line.starts_with("  Digest:");
        let theirs: Vec<&str> = theirs.text().lines().filter(|line| !is_wrong(line)).collect();
        for way in WAYS {
            let ours = of_path(&sandbox, "cairn", &format!("stat {way}"), path);
            assert_eq!(ours.text().lines().collect::<Vec<_>>(), theirs, "{way} {path}");
        }
    }
    assert!(seen >= 17);
}

#[test]
fn digests_are_casyncs() {
    let sandbox = sample();
    for options in ["", "--digest=sha256"] {
        sandbox.casync(&format!("make {options} tree.catar tree")).succeeds();
        sandbox.casync(&format!("make {options} --store=store tree.caidx tree")).succeeds();
        let flag = options.replace('=', " ");
        for part in ["", "a.txt", "big", "sub", "sub/deep", "empty"] {
            let expected =
                sandbox.casync(&format!("digest {options} tree.catar {part}")).succeeds();
            for way in WAYS {
                let digest = sandbox.cairn(&format!("digest {flag} {way} {part}")).succeeds();
                assert_eq!(digest.text(), expected.text(), "{way} {part}");
            }
        }
        let expected = sandbox.casync(&format!("digest {options} tree/big")).succeeds();
        let digest = sandbox.cairn(&format!("digest {flag} tree/big")).succeeds();
        assert_eq!(digest.text(), expected.text());
    }
    let piped = sandbox.cairn_with_input("digest -", sandbox.read("tree/big")).succeeds();
    assert_eq!(piped.text(), sandbox.cairn("digest tree/big").succeeds().text());
}

#[test]
fn json_says_what_is_recorded() {
    let sandbox = sample();
    let listed = sandbox.cairn("list --format json tree.catar").succeeds();
    let entries: serde_json::Value = serde_json::from_str(listed.text()).unwrap();
    let entries = entries.as_array().unwrap();
    let plain = sandbox.cairn("list tree.catar").succeeds();
    assert_eq!(entries.len(), plain.text().lines().count());
    let entry = |path: &str| entries.iter().find(|entry| entry["path"] == path).unwrap();
    assert_eq!((&entry("big")["size"], &entry("big")["mode"]), (&700_000.into(), &"4755".into()));
    assert_eq!(entry("link")["target"], "a.txt");
    assert_eq!(entry(".")["type"], "dir");
    assert_eq!(entry("bad\u{fffd}")["path-bytes"], "626164ff");
    let one = sandbox.cairn("list --format json tree.catar a.txt").succeeds();
    let one: serde_json::Value = serde_json::from_str(one.text()).unwrap();
    assert_eq!(one.as_array().unwrap().len(), 1);
}

#[test]
fn a_directory_is_the_archive_it_would_be() {
    let sandbox = sample();
    for part in ["", "sub"] {
        let expected = sandbox.casync(&format!("list tree.catar {part}")).succeeds();
        let listed = sandbox.cairn(&format!("list tree {part}")).succeeds();
        assert_eq!(listed.text(), expected.text());
        let expected = sandbox.cairn(&format!("mtree tree.catar {part}")).succeeds();
        let listed = sandbox.cairn(&format!("mtree tree {part}")).succeeds();
        assert_eq!(listed.text(), expected.text());
    }
    let expected = sandbox.casync("digest tree").succeeds();
    assert_eq!(sandbox.cairn("digest tree").succeeds().text(), expected.text());
    // casync prints a project of number 0 of directories alone, and looks at their roots alone.
    let expected = sandbox.casync("stat tree").succeeds();
    let expected = expected.text().replace("  ProjID: 0\n", "");
    assert_eq!(sandbox.cairn("stat tree").succeeds().text(), expected);
    for path in ["a.txt", "big", "empty", "fifo", "link", "sub", "sub/deep/file", "é"] {
        let [ours, theirs] = ["tree", "tree.catar"]
            .map(|way| of_path(&sandbox, "cairn", &format!("stat {way}"), path));
        assert_eq!((ours.code, ours.text()), (theirs.code, theirs.text()), "{path}");
    }
    for part in ["big", "sub", "empty"] {
        let [ours, theirs] = ["tree", "tree.catar"].map(|way| format!("digest {way} {part}"));
        assert_eq!(
            sandbox.cairn(&ours).succeeds().text(),
            sandbox.cairn(&theirs).succeeds().text()
        );
    }
    let [ours, theirs] = ["tree", "tree.catar"].map(|way| format!("list --no-recursive {way} sub"));
    assert_eq!(sandbox.cairn(&ours).succeeds().text(), sandbox.cairn(&theirs).succeeds().text());
}

/// Reading it would take an hour.
#[test]
fn the_files_of_a_listed_directory_are_not_read() {
    let sandbox = Sandbox::new();
    sandbox.write("tree/sub/file", b"x");
    sandbox.sparse("tree/huge", 1 << 43, &[]);
    let listed = sandbox.cairn("list tree").succeeds();
    assert_eq!(listed.text().lines().count(), 4);
    let stat = sandbox.cairn("stat tree sub").succeeds();
    assert!(stat.text().contains("Offset: 8796093022"), "{}", stat.text());
    sandbox.cairn("diff tree tree sub").succeeds_silently();
}
