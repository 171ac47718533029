//! What casync and desync have archived comes back as it was.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::common::system::is_root;
use super::common::{Sandbox, desync_is_here};
use super::picture::{picture, rich_tree};

/// A rich tree, archived by casync with all it knows.
fn archived() -> Sandbox {
    let sandbox = Sandbox::new();
    rich_tree(&sandbox.path("tree"));
    sandbox.casync("make --with=best --exclude-nodump=no tree.catar tree").succeeds();
    sandbox
}

#[track_caller]
fn assert_same(sandbox: &Sandbox, one: &str, other: &str) {
    let (one, mut other) = (picture(&sandbox.path(one)), picture(&sandbox.path(other)));
    for (name, seen) in one {
        assert_eq!(other.remove(&name).as_ref(), Some(&seen), "{name}");
    }
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn all_that_casync_archives_comes_back() {
    if !is_root("all_that_casync_archives_comes_back") {
        return;
    }
    let sandbox = archived();
    for workers in [1, 2, 5] {
        let target = format!("out/of/{workers}");
        sandbox.cairn(&format!("untar tree.catar {target} -n {workers}")).succeeds_silently();
        assert_same(&sandbox, "tree", &target);
        let blocks = fs::metadata(sandbox.path(&target).join("zeros")).unwrap().blocks();
        assert_eq!(blocks, 0, "zeros are holes");
        // Where all is as it should be, nothing is written.
        let inode = |name: &str| fs::metadata(sandbox.path(&target).join(name)).unwrap().ino();
        let before = (inode("large"), inode("deep/er/77"));
        sandbox.cairn(&format!("untar tree.catar {target} -n {workers}")).succeeds_silently();
        assert_same(&sandbox, "tree", &target);
        assert_eq!((inode("large"), inode("deep/er/77")), before);
    }
}

#[test]
fn a_pipe_will_do() {
    if !is_root("a_pipe_will_do") {
        return;
    }
    let sandbox = archived();
    let archive = sandbox.read("tree.catar");
    sandbox.cairn_with_input("untar - out", archive).succeeds_silently();
    assert_same(&sandbox, "tree", "out");
}

#[test]
fn an_index_and_its_store_will_do() {
    if !is_root("an_index_and_its_store_will_do") {
        return;
    }
    let sandbox = archived();
    sandbox.casync("make --with=best --exclude-nodump=no --store=store tree.caidx tree").succeeds();
    for flags in ["tree.caidx", "-i tree.caidx -n 1", "-i tree.caidx -c cache"] {
        let _ = fs::remove_dir_all(sandbox.path("out"));
        sandbox.cairn(&format!("untar {flags} out -s store")).succeeds_silently();
        assert_same(&sandbox, "tree", "out");
    }
    sandbox.cairn("untar tree.caidx out").fails(&["-s"]);
}

#[test]
fn what_desync_archives_comes_back() {
    if !is_root("what_desync_archives_comes_back") || !desync_is_here("what_desync_archives") {
        return;
    }
    let sandbox = archived();
    // What desync leaves out, or cannot read again.
    for name in ["pipe", "socket", "deep/back\\slash"] {
        fs::remove_file(sandbox.path("tree").join(name)).unwrap();
    }
    sandbox.desync("tar desync.catar tree").succeeds();
    sandbox.cairn("untar desync.catar out").succeeds_silently();
    let without_flags = |name: &str| {
        let seen = picture(&sandbox.path(name)).into_iter();
        let cut = |line: String| {
            let (front, rest) = line.split_once(" flags ").unwrap_or((&line, ""));
            format!("{front}{}", rest.split_once(' ').map_or("", |(_, rest)| rest))
        };
        seen.map(|(name, line)| (name, cut(line))).collect::<Vec<_>>()
    };
    assert_eq!(without_flags("out"), without_flags("tree"));
}

#[test]
fn a_part_comes_alone() {
    if !is_root("a_part_comes_alone") {
        return;
    }
    let sandbox = archived();
    sandbox.cairn("untar tree.catar part deep/er").succeeds_silently();
    assert_same(&sandbox, "tree/deep/er", "part");
    sandbox.cairn("untar tree.catar file ./hollow/").succeeds_silently();
    assert_eq!(sandbox.files("file"), ["hollow"]);
    assert!(sandbox.read("file/hollow") == sandbox.read("tree/hollow"));
    for path in ["deep/e", "dee", "deep/er/nothing", "hollow/x"] {
        sandbox.cairn(&format!("untar tree.catar none {path}")).fails(&["tree.catar", path]);
        assert!(!sandbox.path("none").exists());
    }
}

#[test]
fn only_what_is_wished_for_comes_back() {
    if !is_root("only_what_is_wished_for_comes_back") {
        return;
    }
    let sandbox = archived();
    let of = |flags: &str, name: &str| {
        let _ = fs::remove_dir_all(sandbox.path("out"));
        sandbox.cairn(&format!("untar tree.catar out {flags}")).succeeds();
        picture(&sandbox.path("out")).remove(&format!("{name:?}"))
    };
    let has =
        |flags: &str, name: &str, part: &str| of(flags, name).unwrap_or_default().contains(part);
    assert!(has("", "setuid", "106755 1000:1001"));
    // Nobody else's program runs as us.
    assert!(has("--no-same-owner", "setuid", "100755 0:0"));
    assert!(has("--no-same-permissions", "setuid", " 1000:1001"));
    assert!(!has("--no-same-permissions", "setuid", "106755"));
    assert!(!has("--no-same-permissions", "listed", "posix_acl"));
    assert!(has("--no-same-owner", "large", "user.one"));
    assert!(!has("--no-same-xattrs", "large", "user.one"));
    assert!(!has("--no-same-xattrs", "setuid", "security.capability"));
    assert!(has("--without=symlinks", "null", "device 259"));
    assert_eq!(of("--without=symlinks", "link"), None);
    assert_eq!(of("--with=permissions --with=fifos", "null"), None);
    assert!(has("--with=permissions --with=fifos", "pipe", "10604 0:0"));
    // The finer one stands for the coarser ones, too.
    let times = "--without=2sec-time --without=sec-time --without=usec-time";
    assert!(has(times, "zeros", " 0.000000000 "));
    assert!(!has(&format!("{times} --without=nsec-time"), "zeros", " 0.000000000 "));
    assert_eq!(sandbox.cairn("untar tree.catar out --with=everything").code, Some(2));
}
