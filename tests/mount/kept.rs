//! What is known of an archive is kept from mount to mount.

use std::fs;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::common::Sandbox;
use crate::common::mounted::{Mounted, is_fuse_here};
use crate::{errno, pack, scene};

/// Where it is kept.
const KEPT: &str = "mount -s store tree.caidx --cache-dir kept";

fn files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let found = fs::read_dir(sandbox.path("kept")).unwrap();
    found.map(|entry| entry.unwrap().path()).collect()
}

fn empty_store(sandbox: &Sandbox) {
    fs::rename(sandbox.path("store"), sandbox.path("elsewhere")).unwrap();
    fs::create_dir(sandbox.path("store")).unwrap();
}

#[test]
fn the_second_mount_reads_nothing_of_the_archive() {
    if !is_fuse_here("the_second_mount_reads_nothing_of_the_archive") {
        return;
    }
    let sandbox = scene();
    pack(&sandbox);
    Mounted::start(&sandbox, &format!("{KEPT} --as tree")).stop();
    assert_eq!(files(&sandbox).len(), 1);
    empty_store(&sandbox);
    let mounted = Mounted::start(&sandbox, &format!("{KEPT} --as tree"));
    assert_eq!(fs::read_dir(mounted.path("a")).unwrap().count(), 2);
    assert_eq!(fs::metadata(mounted.path("a/large")).unwrap().len(), 3_000_000);
    assert_eq!(errno(fs::read(mounted.path("a/large"))), Errno::IO);
    mounted.stop();
    // Without it there is nothing to be seen.
    fs::remove_file(&files(&sandbox)[0]).unwrap();
    sandbox.cairn(&format!("{KEPT} --as tree mnt")).fails(&["is missing"]);
}

#[test]
fn what_is_kept_is_made_anew_if_it_is_damaged() {
    if !is_fuse_here("what_is_kept_is_made_anew_if_it_is_damaged") {
        return;
    }
    let sandbox = scene();
    pack(&sandbox);
    Mounted::start(&sandbox, KEPT).stop();
    let file = files(&sandbox).remove(0);
    let good = fs::read(&file).unwrap();
    let mut turned = good.clone();
    turned[20] ^= 1;
    for damaged in [&good[..good.len() - 1], &turned, b"", b"something else"] {
        fs::write(&file, damaged).unwrap();
        let mounted = Mounted::start(&sandbox, KEPT);
        assert_eq!(fs::read(mounted.path("text")).unwrap(), b"hello");
        mounted.stop();
        assert!(fs::read(&file).unwrap() == good);
    }
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be() {
    if !is_fuse_here("nothing_is_kept_where_nothing_is_to_be") {
        return;
    }
    let sandbox = scene();
    pack(&sandbox);
    let mount = |kept: Option<&str>| {
        let mut command = sandbox.command("mount -s store tree.caidx mnt");
        command.args(kept.map(|kept| format!("--cache-dir={kept}"))).env_remove("XDG_CACHE_HOME");
        Mounted::of(command, &sandbox, "mnt").stop();
    };
    mount(Some(""));
    assert!(!sandbox.path(".cache").exists());
    mount(None);
    let kept = fs::read_dir(sandbox.path(".cache/cairn/trees")).unwrap();
    assert_eq!(kept.count(), 1);
}

#[test]
fn a_changed_archive_is_read_again() {
    if !is_fuse_here("a_changed_archive_is_read_again") {
        return;
    }
    let sandbox = scene();
    for text in ["first", "third", "other"] {
        sandbox.write("tree/text", text.as_bytes());
        let _ = fs::remove_file(sandbox.path("tree.catar"));
        sandbox.cairn("tar tree.catar tree").succeeds_silently();
        let mounted = Mounted::start(&sandbox, "mount tree.catar --cache-dir kept");
        assert_eq!(fs::read(mounted.path("text")).unwrap(), text.as_bytes());
        mounted.stop();
    }
    assert_eq!(files(&sandbox).len(), 3);
}
