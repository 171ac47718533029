//! Programs that know nothing of mounts.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};

use crate::common::Sandbox;
use crate::common::mounted::is_fuse_here;
use crate::{mounted, scene, system};

#[test]
fn diff_finds_nothing() {
    if !is_fuse_here("diff_finds_nothing") {
        return;
    }
    let sandbox = scene();
    symlink("nowhere/at all", sandbox.path("tree/a/link")).unwrap();
    let mounted = mounted(&sandbox);
    let diff = |tree: &Path| {
        Command::new("diff")
            .args(["-r", "--no-dereference"])
            .args([tree, &mounted.path("")])
            .output()
            .unwrap()
    };
    let same = diff(&sandbox.path("tree"));
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
    // It would.
    sandbox.patch("tree/a/large", 2_999_999, b"?");
    assert_eq!(diff(&sandbox.path("tree")).status.code(), Some(1));
    mounted.stop();
}

/// An archive by tar, of all that it knows but times that no archive of ours has.
fn tar(tree: &Path) -> Vec<u8> {
    let words = ["--format=posix", "--sort=name", "--numeric-owner", "--acls", "--xattrs"];
    system(
        Command::new("tar")
            .args(words)
            .args([
                "--xattrs-include=*",
                "--pax-option=delete=atime,delete=ctime",
                "-cf",
                "-",
                "-C",
            ])
            .arg(tree)
            .arg("."),
    )
}

/// All that tar can tell of a tree.
fn everything(sandbox: &Sandbox) {
    let at = |name: &str| sandbox.path(&format!("tree/{name}"));
    symlink("a/large", at("link")).unwrap();
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("block", FileType::BlockDevice, makedev(8, 300)),
        ("character", FileType::CharacterDevice, makedev(1, 3)),
        ("socket", FileType::Socket, 0),
    ] {
        mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    }
    for (name, uid, gid, mode) in
        [("a", 0, 70_000, 0o1777), ("empty", 1000, 1001, 0o4711), ("fifo", 5, 6, 0o600)]
    {
        chown(at(name), Some(uid), Some(gid)).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // Not two of one node, as file systems list them in any order.
    lsetxattr(at("text"), "user.color", b"blue", XattrFlags::empty()).unwrap();
    lsetxattr(at("a/b"), "trusted.bytes", b"\0\x01\xff", XattrFlags::empty()).unwrap();
    for (name, seconds) in [("a/b/file", -1_000_000), ("empty", 4_000_000_000), ("text", 7)] {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, at(name), &times, rustix::fs::AtFlags::empty()).unwrap();
    }
}

#[test]
fn tar_makes_the_same_archive_of_a_mount() {
    if !is_fuse_here("tar_makes_the_same_archive_of_a_mount") {
        return;
    }
    let sandbox = scene();
    everything(&sandbox);
    let mounted = mounted(&sandbox);
    let (plain, seen) = (tar(&sandbox.path("tree")), tar(&mounted.path("")));
    let at = plain.iter().zip(&seen).position(|(a, b)| a != b);
    assert!(plain == seen, "{} and {} bytes, differ at {at:?}", plain.len(), seen.len());
    for part in [&b"trusted.bytes"[..], b"user.color", b"0210560\0"] {
        assert!(plain.windows(part.len()).any(|bytes| bytes == part), "{part:?} is not in it");
    }
    mounted.stop();
}

#[test]
fn git_finds_nothing_changed_in_a_mounted_checkout() {
    if !is_fuse_here("git_finds_nothing_changed_in_a_mounted_checkout") {
        return;
    }
    let sandbox = scene();
    let git = |directory: &Path, words: &[&str]| {
        let mut command = Command::new("git");
        command
            .args(["-c", "safe.directory=*", "-c", "user.name=n", "-c", "user.email=e", "-C"])
            .arg(directory)
            .args(words)
            .env("HOME", sandbox.path("."))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_OPTIONAL_LOCKS", "0");
        String::from_utf8(system(&command)).unwrap()
    };
    let tree = sandbox.path("tree");
    symlink("text", tree.join("link")).unwrap();
    git(&tree, &["init", "-q"]);
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-q", "-m", "all of it"]);
    sandbox.write("tree/new", b"nobody knows of it");
    let mounted = mounted(&sandbox);
    let mount = mounted.path("");
    // It looks at everything, and finds what is new and nothing else.
    assert_eq!(git(&mount, &["status", "--porcelain"]), "?? new\n");
    assert_eq!(git(&mount, &["log", "--format=%s"]), "all of it\n");
    git(&mount, &["fsck", "--strict"]);
    mounted.stop();
}

#[test]
fn a_compiler_finds_its_sources_in_a_mount() {
    if !is_fuse_here("a_compiler_finds_its_sources_in_a_mount") {
        return;
    }
    let sandbox = scene();
    sandbox.write("tree/include/deep/add.h", b"#pragma once\nint add(int, int);\n");
    sandbox
        .write("tree/add.c", b"#include <deep/add.h>\nint add(int a, int b) { return a + b; }\n");
    let main = b"#include <deep/add.h>\n#include <stdio.h>\n\
        int main(void) { printf(\"%d\\n\", add(40, 2)); return 0; }\n";
    sandbox.write("tree/main.c", main);
    let mounted = mounted(&sandbox);
    let program = sandbox.path("program");
    system(
        Command::new("cc")
            .arg("-I")
            .arg(mounted.path("include"))
            .args([mounted.path("add.c"), mounted.path("main.c")])
            .arg("-o")
            .arg(&program),
    );
    assert_eq!(system(&Command::new(program)), b"42\n");
    mounted.stop();
}

#[test]
fn programs_run_from_a_mount() {
    if !is_fuse_here("programs_run_from_a_mount") {
        return;
    }
    let sandbox = scene();
    fs::create_dir(sandbox.path("tree/bin")).unwrap();
    fs::copy("/bin/echo", sandbox.path("tree/bin/echo")).unwrap();
    sandbox.write("tree/bin/script", b"#!/bin/sh\nexec \"${0%/*}/echo\" \"$1!\"\n");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(sandbox.path("tree/bin/script"), executable).unwrap();
    let mounted = mounted(&sandbox);
    let printed = system(Command::new(mounted.path("bin/script")).arg("from a mount"));
    assert_eq!(printed, b"from a mount!\n");
    assert_eq!(crate::errno(Command::new(mounted.path("text")).spawn()), rustix::io::Errno::ACCESS);
    mounted.stop();
}
