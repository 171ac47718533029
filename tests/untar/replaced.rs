//! Into a directory where something is already.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::common::system::{Mount, is_root};
use super::common::{Sandbox, random};
use super::written::Written;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut written = Written::new();
    written.enter("d", 0o750);
    written.file("inner", b"inner");
    written.leave();
    written.file("file", b"file");
    written.file("large", &random(1, 4_000_000));
    written.link("link", "d");
    sandbox.write("x.catar", &written.end());
    sandbox.cairn("untar x.catar out").succeeds_silently();
    sandbox
}

fn inode(sandbox: &Sandbox, name: &str) -> u64 {
    fs::symlink_metadata(sandbox.path(name)).unwrap().ino()
}

#[track_caller]
fn assert_restored(sandbox: &Sandbox) {
    assert_eq!(sandbox.read("out/d/inner"), b"inner");
    assert_eq!(sandbox.read("out/file"), b"file");
    assert!(sandbox.read("out/large") == random(1, 4_000_000));
    assert_eq!(fs::read_link(sandbox.path("out/link")).unwrap().to_str(), Some("d"));
    for name in sandbox.files("out") {
        assert!(!name.contains(".#"), "{name} was left");
    }
    for (name, mode) in [("d", 0o40750), ("file", 0o100_644), ("large", 0o100_644)] {
        let metadata = fs::metadata(sandbox.path("out").join(name)).unwrap();
        assert_eq!((metadata.mode(), metadata.mtime()), (mode, 1_000_000_000), "{name}");
    }
}

#[test]
fn what_is_right_is_kept() {
    let sandbox = sandbox();
    assert_restored(&sandbox);
    let names = ["out/d", "out/d/inner", "out/file", "out/large", "out/link"];
    let before = names.map(|name| inode(&sandbox, name));
    // Of right content, with other attributes.
    fs::set_permissions(sandbox.path("out/file"), fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.cairn("untar x.catar out").succeeds_silently();
    assert_restored(&sandbox);
    assert_eq!(names.map(|name| inode(&sandbox, name)), before);
}

#[test]
fn what_is_wrong_is_replaced() {
    let sandbox = sandbox();
    for at in [0, 1_048_575, 1_048_576, 2_500_000, 3_999_999] {
        sandbox.patch("out/large", at, b"\x17\x2a");
        sandbox.write("out/file", b"fire");
        let before = inode(&sandbox, "out/large");
        sandbox.cairn("untar x.catar out").succeeds_silently();
        assert_restored(&sandbox);
        assert_ne!(inode(&sandbox, "out/large"), before);
    }
    sandbox.write("out/large", b"shorter");
    sandbox.write("out/d/inner", b"");
    fs::remove_file(sandbox.path("out/link")).unwrap();
    sandbox.write("out/link", b"a file");
    sandbox.cairn("untar x.catar out").succeeds_silently();
    assert_restored(&sandbox);
}

#[test]
fn a_file_with_several_names_is_replaced_under_one() {
    let sandbox = sandbox();
    fs::hard_link(sandbox.path("out/file"), sandbox.path("other")).unwrap();
    fs::set_permissions(sandbox.path("other"), fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.cairn("untar x.catar out").succeeds_silently();
    assert_restored(&sandbox);
    assert_eq!(fs::metadata(sandbox.path("other")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_file_takes_the_place_of_a_directory() {
    let sandbox = sandbox();
    for name in ["file", "large"] {
        fs::remove_file(sandbox.path("out").join(name)).unwrap();
        sandbox.write(&format!("out/{name}/with/much/in/it"), b"x");
        sandbox.write(&format!("out/{name}/with/more"), b"x");
    }
    sandbox.cairn("untar x.catar out").succeeds_silently();
    assert_restored(&sandbox);
    // Of a link that is not to be expected: only with leave.
    fs::remove_file(sandbox.path("out/link")).unwrap();
    sandbox.write("out/link/within", b"x");
    sandbox.cairn("untar x.catar out").fails(&["out/link", "not empty"]);
    assert_eq!(sandbox.read("out/link/within"), b"x");
    sandbox.cairn("untar x.catar out --delete").succeeds_silently();
    assert_restored(&sandbox);
}

#[test]
fn a_directory_takes_no_ones_place() {
    let sandbox = sandbox();
    fs::remove_dir_all(sandbox.path("out/d")).unwrap();
    sandbox.write("out/d", b"a file");
    sandbox.cairn("untar x.catar out").fails(&["out/d", "exists and is not a directory"]);
    assert_eq!(sandbox.read("out/d"), b"a file");
    sandbox.cairn("untar x.catar x.catar").fails(&["x.catar", "exists and is not a directory"]);
    symlink("nowhere", sandbox.path("dangling")).unwrap();
    sandbox.cairn("untar x.catar dangling").fails(&["dangling", "is not a directory"]);
}

#[test]
fn what_else_is_there_stays_unless_it_is_to_go() {
    let sandbox = sandbox();
    let others = ["out/d/other", "out/other/deep/file", "out/unrelated"];
    for name in others {
        sandbox.write(name, b"other");
    }
    sandbox.cairn("untar x.catar out").succeeds_silently();
    assert!(others.iter().all(|name| sandbox.path(name).exists()));
    sandbox.cairn("untar x.catar out --delete").succeeds_silently();
    assert!(others.iter().all(|name| !sandbox.path(name).exists()));
    assert!(!sandbox.path("out/other").exists());
    assert_restored(&sandbox);
}

#[test]
fn of_a_part_only_the_part_is_cleaned() {
    let sandbox = sandbox();
    for name in ["part/other", "single/other"] {
        sandbox.write(name, b"other");
    }
    sandbox.cairn("untar x.catar part d --delete").succeeds_silently();
    assert_eq!(sandbox.files("part"), ["inner"]);
    sandbox.cairn("untar x.catar single d/inner --delete").succeeds_silently();
    assert_eq!(sandbox.files("single"), ["inner", "other"]);
}

#[test]
fn what_is_mounted_in_what_is_to_go_is_not_touched() {
    if !is_root("what_is_mounted_in_what_is_to_go_is_not_touched") {
        return;
    }
    let sandbox = sandbox();
    fs::create_dir_all(sandbox.path("out/other/deep")).unwrap();
    let _mount = Mount::new(&sandbox, "out/other/deep/disk", 1000);
    sandbox.write("out/other/deep/disk/kept/file", b"kept");
    for words in ["--delete", "--delete --undo-immutable"] {
        let done = sandbox.cairn(&format!("untar x.catar out {words}"));
        done.fails(&["out/other", "`disk` in it is a mount"]);
        assert_eq!(sandbox.read("out/other/deep/disk/kept/file"), b"kept");
    }
    // Nor where a file takes the place of the directory.
    fs::remove_file(sandbox.path("out/file")).unwrap();
    fs::rename(sandbox.path("out/other"), sandbox.path("out/file")).unwrap();
    sandbox.cairn("untar x.catar out").fails(&["out/file", "`disk` in it is a mount"]);
    assert_eq!(sandbox.read("out/file/deep/disk/kept/file"), b"kept");
    assert_eq!(sandbox.files("out").iter().filter(|name| name.contains(".#")).count(), 0);
    // It is unmounted where it was mounted.
    fs::rename(sandbox.path("out/file"), sandbox.path("out/other")).unwrap();
}

#[test]
fn a_file_of_another_owner_is_replaced() {
    if !is_root("a_file_of_another_owner_is_replaced") {
        return;
    }
    let sandbox = sandbox();
    let names = ["out/file", "out/large"];
    let before = names.map(|name| inode(&sandbox, name));
    for name in names {
        std::os::unix::fs::chown(sandbox.path(name), Some(7), Some(7)).unwrap();
    }
    sandbox.cairn("untar x.catar out").succeeds_silently();
    assert_restored(&sandbox);
    let after = names.map(|name| inode(&sandbox, name));
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
}
