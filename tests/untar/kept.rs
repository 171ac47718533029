//! What is right already stays what it is, and what is in the way goes only as far as it may.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::common::system::is_root;
use super::common::{Sandbox, random};
use super::picture::{picture, rich_tree};
use super::troubled::{Unlocked, as_nobody, chattr};
use super::written::Written;

#[test]
fn links_and_devices_that_are_right_are_kept() {
    if !is_root("links_and_devices_that_are_right_are_kept") {
        return;
    }
    let sandbox = Sandbox::new();
    rich_tree(&sandbox.path("tree"));
    sandbox.casync("make --with=best --exclude-nodump=no tree.catar tree").succeeds();
    sandbox.cairn("untar tree.catar out").succeeds_silently();
    let others = || -> Vec<(String, u64)> {
        let walked = picture(&sandbox.path("out")).into_keys().map(|name| {
            let name = name.trim_matches('"').to_owned();
            let inode = fs::symlink_metadata(sandbox.path("out").join(&name)).map(|it| it.ino());
            (name, inode.unwrap_or(0))
        });
        walked.collect()
    };
    let before = others();
    sandbox.cairn("untar tree.catar out").succeeds_silently();
    assert_eq!(others(), before);
    // Of right kind, and of another owner.
    for name in ["link", "socket", "long link"] {
        std::os::unix::fs::lchown(sandbox.path("out").join(name), Some(77), None).unwrap();
    }
    sandbox.cairn("untar tree.catar out").succeeds_silently();
    assert_eq!(others(), before);
    assert!(picture(&sandbox.path("out")) == picture(&sandbox.path("tree")));
    // One that leads elsewhere, and one with another name.
    fs::remove_file(sandbox.path("out/link")).unwrap();
    std::os::unix::fs::symlink("elsewhere", sandbox.path("out/link")).unwrap();
    fs::hard_link(sandbox.path("out/socket"), sandbox.path("other")).unwrap();
    sandbox.cairn("untar tree.catar out").succeeds_silently();
    assert!(picture(&sandbox.path("out")) == picture(&sandbox.path("tree")));
    assert_eq!(fs::symlink_metadata(sandbox.path("other")).unwrap().nlink(), 1);
}

#[test]
fn what_may_not_be_changed_goes_from_deep_below() {
    if !is_root("what_may_not_be_changed_goes_from_deep_below") {
        return;
    }
    let sandbox = Sandbox::new();
    let mut written = Written::new();
    written.file("file", b"file");
    sandbox.write("x.catar", &written.end());
    let _unlocked = Unlocked(&sandbox);
    for top in ["file", "other"] {
        sandbox.write(&format!("out/{top}/a/b/file"), b"x");
        sandbox.write(&format!("out/{top}/a/c"), b"x");
        for name in ["a/b/file", "a/b", "a/c", "a", ""] {
            if !chattr(&sandbox, "+i", &format!("out/{top}/{name}")) {
                eprintln!("NOT RUN: what_may_not_be_changed needs TMPDIR on ext4 or the like");
                return;
            }
        }
    }
    sandbox.cairn("untar x.catar out --delete").fails(&["out/", "not permitted"]);
    assert!(sandbox.path("out/file/a/b/file").exists());
    sandbox.cairn("untar x.catar out --delete --undo-immutable").succeeds_silently();
    assert_eq!(sandbox.files("out"), ["file"]);
    assert!(!sandbox.path("out/other").exists());
}

#[test]
fn a_directory_that_cannot_be_read_keeps_its_mode() {
    if !is_root("a_directory_that_cannot_be_read_keeps_its_mode") {
        return;
    }
    let sandbox = Sandbox::new();
    let mut written = Written::new();
    written.enter("d", 0o750);
    written.file("inner", b"inner");
    written.leave();
    sandbox.write("x.catar", &written.end());
    as_nobody(&sandbox, "version").succeeds();
    let path = sandbox.path("home/out/d");
    fs::create_dir_all(&path).unwrap();
    for name in ["home/out", "home/out/d"] {
        std::os::unix::fs::chown(sandbox.path(name), Some(65534), Some(65534)).unwrap();
    }
    for mode in [0o300, 0o100, 0o500, 0o711] {
        let _ = fs::remove_file(path.join("inner"));
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        as_nobody(&sandbox, "untar ../x.catar out --no-same-permissions").succeeds_silently();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
        assert_eq!(fs::read(path.join("inner")).unwrap(), b"inner");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o300)).unwrap();
    as_nobody(&sandbox, "untar ../x.catar out").succeeds_silently();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn a_part_is_complete_before_the_pipe_is() {
    let sandbox = Sandbox::new();
    let mut written = Written::new();
    written.enter("d", 0o755);
    written.file("inner", b"inner");
    written.leave();
    written.file("large", &random(1, 20_000_000));
    let archive = written.end();
    let mut child = sandbox
        .command("untar - out d")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // More than is read ahead may not be taken any more.
    let _ = pipe.write_all(&archive[..600_000]);
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            panic!("it waits for bytes that it does not want");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success());
    drop(pipe);
    assert_eq!(sandbox.read("out/inner"), b"inner");
}
