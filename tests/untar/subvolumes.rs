//! Subvolumes of btrfs, on one made in a file and mounted.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use super::common::system::{FileSystem, is_root};
use super::common::{Sandbox, random};
use super::picture::set_time;

/// A mounted btrfs with a tree `fs/tree` that is a subvolume and has others in it, one in another and some read-only.
fn prepare(sandbox: &Sandbox) -> FileSystem {
    let mounted = FileSystem::new(sandbox, "btrfs");
    for name in ["tree", "tree/plain", "tree/closed", "tree/closed/inner", "tree/plain/open"] {
        if name == "tree/plain" {
            fs::create_dir(sandbox.path("fs/tree/plain")).unwrap();
        } else {
            btrfs(sandbox, &["subvolume", "create", &format!("fs/{name}")]);
        }
    }
    for name in ["closed/file", "closed/inner/file", "plain/open/file", "plain/file"] {
        sandbox.write(&format!("fs/tree/{name}"), name.as_bytes());
    }
    sandbox.write("fs/tree/closed/large", &random(1, 3_000_000));
    for name in ["tree/closed/inner", "tree/closed", "tree/plain/open", "tree/plain", "tree"] {
        set_time(&sandbox.path("fs").join(name), 1_000_000_000, 7);
    }
    for name in ["fs/tree/closed/inner", "fs/tree/closed"] {
        btrfs(sandbox, &["property", "set", name, "ro", "true"]);
    }
    mounted
}

fn btrfs(sandbox: &Sandbox, words: &[&str]) -> String {
    let run = Command::new("btrfs").args(words).current_dir(sandbox.path(".")).output();
    let run = run.unwrap_or_else(|e| panic!("btrfs does not start ({e}): run scripts/test"));
    assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// Which of these directories are subvolumes, with what they say of being read-only.
fn subvolumes(sandbox: &Sandbox, root: &str) -> Vec<(&'static str, bool)> {
    let mut found = Vec::new();
    for name in ["", "closed", "closed/inner", "plain", "plain/open"] {
        let path = format!("{root}/{name}");
        if fs::metadata(sandbox.path(&path)).unwrap().ino() == 256 {
            let said = btrfs(sandbox, &["property", "get", &path, "ro"]);
            found.push((name, said.contains("ro=true")));
        }
    }
    found
}

const ALL: [(&str, bool); 4] =
    [("", false), ("closed", true), ("closed/inner", true), ("plain/open", false)];

#[track_caller]
fn is_the_same(sandbox: &Sandbox, directory: &str) {
    sandbox.cairn(&format!("tar again.catar {directory}")).succeeds_silently();
    assert!(sandbox.read("again.catar") == sandbox.read("tree.catar"));
}

#[test]
fn subvolumes_are_subvolumes_again() {
    if !is_root("subvolumes_are_subvolumes_again") {
        return;
    }
    let sandbox = Sandbox::new();
    let _mounted = prepare(&sandbox);
    sandbox.cairn("tar tree.catar fs/tree").succeeds_silently();
    for out in ["fs/out", "fs/not/there/yet"] {
        sandbox.cairn(&format!("untar tree.catar {out}")).succeeds_silently();
        assert_eq!(subvolumes(&sandbox, out), ALL);
        is_the_same(&sandbox, out);
    }
    // Over what is there, of which some has changed, and some is too much.
    btrfs(&sandbox, &["property", "set", "fs/out/closed", "ro", "false"]);
    sandbox.patch("fs/out/closed/large", 1_000_000, b"changed");
    sandbox.write("fs/out/closed/more", b"x");
    btrfs(&sandbox, &["property", "set", "fs/out/closed", "ro", "true"]);
    btrfs(&sandbox, &["subvolume", "create", "fs/out/plain/another"]);
    sandbox.write("fs/out/plain/another/in/it", b"x");
    sandbox.cairn("untar tree.catar fs/out --delete").succeeds_silently();
    assert_eq!(subvolumes(&sandbox, "fs/out"), ALL);
    is_the_same(&sandbox, "fs/out");
    // One that is to be open, and one that is to go, are closed.
    btrfs(&sandbox, &["subvolume", "create", "fs/out/plain/another"]);
    sandbox.write("fs/out/plain/another/in/it", b"x");
    sandbox.write("fs/out/plain/open/more", b"x");
    for name in ["fs/out/plain/another", "fs/out/plain/open"] {
        btrfs(&sandbox, &["property", "set", name, "ro", "true"]);
    }
    sandbox.cairn("untar tree.catar fs/out --delete").fails(&["plain/another", "Read-only"]);
    sandbox.cairn("untar tree.catar fs/out --delete --undo-immutable").succeeds_silently();
    assert_eq!(subvolumes(&sandbox, "fs/out"), ALL);
    is_the_same(&sandbox, "fs/out");
    // Without permissions, they keep the mode they have.
    let set_mode = |mode| {
        let path = sandbox.path("fs/out/closed");
        btrfs(&sandbox, &["property", "set", "fs/out/closed", "ro", "false"]);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        btrfs(&sandbox, &["property", "set", "fs/out/closed", "ro", "true"]);
    };
    set_mode(0o500);
    sandbox.cairn("untar tree.catar fs/out --no-same-permissions").succeeds_silently();
    assert_eq!(fs::metadata(sandbox.path("fs/out/closed")).unwrap().mode() & 0o7777, 0o500);
    assert_eq!(subvolumes(&sandbox, "fs/out"), ALL);
}

#[test]
fn as_casync_does_it() {
    if !is_root("as_casync_makes_subvolumes") {
        return;
    }
    let sandbox = Sandbox::new();
    let _mounted = prepare(&sandbox);
    // casync itself makes no subvolume of the target, and fails where the archive says that it is one.
    fs::create_dir(sandbox.path("fs/in")).unwrap();
    fs::rename(sandbox.path("fs/tree"), sandbox.path("fs/in/tree")).unwrap();
    sandbox.casync("make --with=best tree.catar fs/in").succeeds();
    sandbox.casync("extract --with=best tree.catar fs/casync").succeeds();
    sandbox.cairn("untar tree.catar fs/cairn").succeeds_silently();
    for out in ["fs/casync", "fs/cairn"] {
        assert_eq!(subvolumes(&sandbox, &format!("{out}/tree")), ALL, "{out}");
        sandbox.casync(&format!("make --with=best out.catar {out}")).succeeds();
        assert!(sandbox.read("out.catar") == sandbox.read("tree.catar"), "{out}");
    }
}

#[test]
fn elsewhere_they_are_directories() {
    if !is_root("elsewhere_they_are_directories") {
        return;
    }
    let sandbox = Sandbox::new();
    let _mounted = prepare(&sandbox);
    sandbox.cairn("tar tree.catar fs/tree").succeeds_silently();
    let done = sandbox.cairn("untar tree.catar out").succeeds();
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{}", done.stderr);
    assert!(lines[0].contains("4 files were subvolumes of btrfs"), "{}", done.stderr);
    assert_eq!(sandbox.read("out/closed/inner/file"), b"closed/inner/file");
    sandbox
        .cairn("untar tree.catar fs/none --without=subvolume --without=subvolume-ro")
        .succeeds_silently();
    assert!(subvolumes(&sandbox, "fs/none").is_empty());
    // Without the one that says so, none is read-only.
    sandbox.cairn("untar tree.catar fs/open --without=subvolume-ro").succeeds_silently();
    assert_eq!(subvolumes(&sandbox, "fs/open"), ALL.map(|(name, _)| (name, false)));
    // What is a plain directory already stays one.
    for name in ["fs/plain/closed/inner", "fs/plain/plain/open"] {
        fs::create_dir_all(sandbox.path(name)).unwrap();
    }
    let done = sandbox.cairn("untar tree.catar fs/plain").succeeds();
    assert!(done.stderr.contains("4 files were subvolumes"), "{}", done.stderr);
    assert!(subvolumes(&sandbox, "fs/plain").is_empty());
}
