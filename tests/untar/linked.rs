//! Files of seeds that get another name instead of being written again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread::sleep;
use std::time::Duration;

use cairn::Silent;
use cairn::archive::unpack::{Source, UnpackOptions, unpack};
use rustix::fs::{XattrFlags, lsetxattr};

use super::common::Sandbox;
use super::common::random;
use super::common::system::{Mount, is_root};
use super::picture::{picture, set_time};
use super::seeds::seed;

const NAMES: [&str; 5] = ["large", "d/middle", "d/small", "d/same", "other"];

/// A tree `old`, and its index with a store that has all.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("old/large", &random(1, 5_000_000));
    sandbox.write("old/d/middle", &random(2, 70_000));
    sandbox.write("old/d/small", b"small");
    sandbox.write("old/d/same", b"small");
    sandbox.write("old/other", &random(3, 70_000));
    sandbox.write("old/empty", b"");
    for name in ["d/small", "d/same"] {
        set_time(&sandbox.path("old").join(name), 1_000_000_000, 5);
    }
    sandbox.cairn("tar -s store old.caidx old").succeeds_silently();
    // What was changed a moment ago is not linked.
    sleep(Duration::from_millis(100));
    sandbox
}

fn inode(sandbox: &Sandbox, name: &str) -> u64 {
    fs::symlink_metadata(sandbox.path(name)).unwrap().ino()
}

fn is_linked(sandbox: &Sandbox, one: &str, other: &str) -> bool {
    inode(sandbox, one) == inode(sandbox, other)
}

/// Which of the files in `out` are those of `old`.
fn linked(sandbox: &Sandbox) -> Vec<&'static str> {
    linked_of(sandbox, &NAMES)
}

fn linked_of(sandbox: &Sandbox, names: &[&'static str]) -> Vec<&'static str> {
    let is_linked =
        |name: &&str| is_linked(sandbox, &format!("old/{name}"), &format!("out/{name}"));
    names.iter().copied().filter(is_linked).collect()
}

#[track_caller]
fn is_restored(sandbox: &Sandbox) {
    for name in sandbox.files("out") {
        assert!(!name.contains(".#"), "{name} was left");
    }
    sandbox.cairn("tar out.catar out").succeeds_silently();
    sandbox.cairn("untar -s store old.caidx expected").succeeds_silently();
    sandbox.cairn("tar expected.catar expected").succeeds_silently();
    assert!(sandbox.read("out.catar") == sandbox.read("expected.catar"));
}

#[test]
fn what_is_the_same_in_everything_is_linked() {
    let sandbox = sandbox();
    sandbox.cairn("untar -s store old.caidx out --seed old --hardlink").succeeds_silently();
    assert_eq!(linked(&sandbox), NAMES);
    is_restored(&sandbox);
    // Once more, with all names there already.
    sandbox.cairn("untar -s store old.caidx out --seed old --hardlink=yes").succeeds_silently();
    assert_eq!(linked(&sandbox), NAMES);
    is_restored(&sandbox);
    // Nothing is linked that is not to be.
    for words in ["", "--hardlink=no"] {
        sandbox.cairn(&format!("untar -s store old.caidx out --seed old {words}")).succeeds();
        assert!(linked(&sandbox).is_empty());
        is_restored(&sandbox);
    }
}

#[test]
fn as_casync_does_it() {
    let sandbox = sandbox();
    sandbox.casync("extract --store=store --seed=old --hardlink=yes old.caidx out").succeeds();
    // Of files that are the same it takes any.
    assert_eq!(linked(&sandbox), ["large", "d/middle", "d/same", "other"]);
    assert!(is_linked(&sandbox, "out/d/small", "old/d/same"));
    is_restored(&sandbox);
    // The bytes of these are others.
    for name in ["large", "d/middle"] {
        sandbox.patch(&format!("old/{name}"), 2, b"X");
    }
    fs::set_permissions(sandbox.path("old/other"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_dir_all(sandbox.path("out")).unwrap();
    sandbox.casync("extract --store=store --seed=old --hardlink=yes old.caidx out").succeeds();
    assert_eq!(linked(&sandbox), ["d/same"]);
    is_restored(&sandbox);
}

#[test]
fn what_is_right_in_its_place_stays() {
    let sandbox = sandbox();
    sandbox.cairn("untar -s store old.caidx out").succeeds_silently();
    let before = NAMES.map(|name| inode(&sandbox, &format!("out/{name}")));
    // It is right, but for one of them.
    sandbox.patch("out/large", 4_000_000, b"changed");
    sandbox.cairn("untar -s store old.caidx out --seed old --hardlink").succeeds_silently();
    let after = NAMES.map(|name| inode(&sandbox, &format!("out/{name}")));
    assert_eq!(linked(&sandbox), ["large"]);
    assert_eq!(before[1..], after[1..]);
    is_restored(&sandbox);
}

#[test]
fn a_file_of_other_content_is_not_linked() {
    let sandbox = sandbox();
    for name in ["large", "d/middle", "d/small"] {
        let path = sandbox.path("old").join(name);
        let time = fs::metadata(&path).unwrap();
        sandbox.patch(&format!("old/{name}"), 2, b"X");
        set_time(&path, time.mtime(), time.mtime_nsec());
    }
    sandbox.cairn("untar -s store old.caidx out --seed old --hardlink").succeeds_silently();
    // What has the same bytes as one that is right could be linked to that, but for the link that it was just given.
    assert_eq!(linked(&sandbox), ["d/same", "other"]);
    assert!(!is_linked(&sandbox, "out/d/small", "old/d/small"));
    is_restored(&sandbox);
}

#[test]
fn a_file_of_other_metadata_is_not_linked() {
    let sandbox = sandbox();
    let at = |name: &str| sandbox.path("old").join(name);
    fs::set_permissions(at("large"), fs::Permissions::from_mode(0o600)).unwrap();
    set_time(&at("d/middle"), 1_000_000_000, 0);
    lsetxattr(at("d/same"), "user.key", b"value", XattrFlags::empty()).unwrap();
    let mut rest = vec!["other"];
    if is_root("a_file_of_another_owner_is_not_linked") {
        std::os::unix::fs::chown(at("other"), Some(7), None).unwrap();
        rest.pop();
    }
    sandbox.cairn("untar -s store old.caidx out --seed old --hardlink").succeeds_silently();
    assert_eq!(linked(&sandbox), rest);
    // It comes before the other one, which gets no second link at once.
    assert!(is_linked(&sandbox, "out/d/same", "old/d/small"));
    is_restored(&sandbox);
}

#[test]
fn what_is_not_recorded_is_not_got_by_a_link() {
    let sandbox = sandbox();
    for without in ["acl,permissions", "acl,user-names,32bit-uids,16bit-uids"] {
        let without = without.split(',').map(|word| format!("--without={word}"));
        let words: Vec<String> = without.collect();
        let words = words.join(" ");
        sandbox.cairn(&format!("tar -s store some.caidx old {words}")).succeeds();
        let _ = fs::remove_dir_all(sandbox.path("out"));
        if words.contains("uids") {
            if !is_root("what_is_not_recorded_is_not_got_by_a_link") {
                continue;
            }
            // One of another owner, and one that would run as its owner.
            std::os::unix::fs::chown(sandbox.path("old/large"), Some(7), Some(7)).unwrap();
            let mode = fs::Permissions::from_mode(0o4755);
            fs::set_permissions(sandbox.path("old/other"), mode).unwrap();
            sandbox.cairn(&format!("tar -s store some.caidx old {words}")).succeeds();
        }
        sandbox.cairn("untar -s store some.caidx out --seed old --hardlink").succeeds();
        let is_unsafe = |name: &&str| ["large", "other"].contains(name);
        assert!(!linked(&sandbox).iter().any(is_unsafe), "{words}");
        assert_eq!(linked(&sandbox).is_empty(), words.contains("permissions"), "{words}");
    }
}

#[test]
fn where_holes_are_to_be_filled_nothing_is_linked() {
    let sandbox = sandbox();
    let (seed, index) = seed(&sandbox, "old", "old.caidx");
    let seeds = [seed];
    let name = "old.caidx".as_ref();
    let source = Source::index(&index, &seeds[0], name).seeded(&seeds);
    for (is_full, names) in [(true, &[][..]), (false, &NAMES[..])] {
        let options = UnpackOptions { hardlink: true, is_full, ..Default::default() };
        let out = sandbox.path("out");
        let _ = fs::remove_dir_all(&out);
        unpack(&source, &out, &options, &Silent).unwrap();
        assert_eq!(linked(&sandbox), names, "{is_full}");
    }
}

#[test]
fn what_is_not_restored_is_no_reason_to_link() {
    let sandbox = sandbox();
    for words in ["--no-same-permissions", "--without=user-names", "--with=unix"] {
        let _ = fs::remove_dir_all(sandbox.path("out"));
        let words = format!("untar -s store old.caidx out --seed old --hardlink {words}");
        sandbox.cairn(&words).succeeds_silently();
        assert!(linked(&sandbox).is_empty(), "{words}");
    }
    sandbox.cairn("untar -s store old.caidx o --seed old --hardlink --without=fifos").succeeds();
    assert!(is_linked(&sandbox, "o/large", "old/large"));
}

#[test]
fn the_target_gives_no_links_to_itself() {
    let sandbox = sandbox();
    sandbox.cairn("untar -s store old.caidx out").succeeds_silently();
    fs::remove_file(sandbox.path("out/d/small")).unwrap();
    sandbox.cairn("untar -s store old.caidx out --seed out --hardlink").succeeds_silently();
    assert!(!is_linked(&sandbox, "out/d/small", "out/d/same"));
    is_restored(&sandbox);
    sandbox.cairn("untar -s store old.caidx out --hardlink").fails(&["--hardlink", "--seed"]);
    // Nor as a part of a seed, which gives others.
    fs::remove_dir_all(sandbox.path("expected")).unwrap();
    for name in ["large", "d/small"] {
        fs::remove_file(sandbox.path("out").join(name)).unwrap();
    }
    fs::remove_file(sandbox.path("old/d/small")).unwrap();
    fs::remove_file(sandbox.path("old/d/same")).unwrap();
    sandbox.cairn("untar -s store old.caidx out --seed . --hardlink").succeeds();
    assert_eq!(linked_of(&sandbox, &["large"]), ["large"]);
    assert!(!is_linked(&sandbox, "out/d/small", "out/d/same"));
    is_restored(&sandbox);
}

#[test]
fn on_another_file_system_files_are_written() {
    if !is_root("on_another_file_system_files_are_written") {
        return;
    }
    let sandbox = sandbox();
    let _mount = Mount::new(&sandbox, "out", 20_000);
    sandbox.cairn("untar -s store old.caidx out --seed old --hardlink").succeeds_silently();
    assert!(linked(&sandbox).is_empty());
    let (out, old) = (picture(&sandbox.path("out")), picture(&sandbox.path("old")));
    assert_eq!(out["\"large\""], old["\"large\""]);
}

#[test]
fn what_may_not_be_linked_is_written() {
    if !is_root("what_may_not_be_linked_is_written") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("old/large", &random(1, 5_000_000));
    sandbox.write("old/small", b"small");
    sandbox.cairn("tar -s store old.caidx old --without=chattr").succeeds_silently();
    let chattr = |how: &str| {
        let mut command = std::process::Command::new("chattr");
        command.args([how, "old/large", "old/small"]).current_dir(sandbox.path("."));
        assert!(command.status().unwrap().success());
    };
    chattr("+i");
    let done = sandbox.cairn("untar -s store old.caidx out --seed old --hardlink");
    chattr("-i");
    done.succeeds_silently();
    for name in ["large", "small"] {
        assert!(!is_linked(&sandbox, &format!("out/{name}"), &format!("old/{name}")));
        assert!(sandbox.read(&format!("out/{name}")) == sandbox.read(&format!("old/{name}")));
    }
}
