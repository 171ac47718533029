//! What is known of a tree from the last time changes how fast its archive is made, and never what is in it.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::Value;

use common::system::is_known_here;
use common::{Sandbox, random};

/// So long after its last change a file is trusted in.
const SETTLED: Duration = Duration::from_millis(1050);

fn tree() -> Sandbox {
    let sandbox = Sandbox::new();
    for n in 0..120 {
        sandbox.write(&format!("tree/{}/{}/file{n}", n % 7, n % 3), &random(n, n as usize * 97));
    }
    sandbox.write("tree/large", &random(1, 1_500_000));
    sandbox.sparse("tree/sparse", 5_000_000, &[(2_000_000, &random(2, 100_000))]);
    fs::hard_link(sandbox.path("tree/large"), sandbox.path("tree/same")).unwrap();
    symlink("large", sandbox.path("tree/link")).unwrap();
    sandbox
}

/// Waits until another change would show in the times of every file.
fn settle(path: &Path) {
    let changed = |path: &Path| {
        let metadata = path.symlink_metadata().unwrap();
        Duration::new(metadata.ctime() as u64, metadata.ctime_nsec() as u32)
    };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    if let Some(left) = (changed(path) + SETTLED).checked_sub(since) {
        thread::sleep(left);
    }
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| settle(&entry.unwrap().path()));
    }
}

/// Makes the index with the cache and anew, which must be the same. Returns how many chunks there are, and how many
/// of them were known.
fn archive(sandbox: &Sandbox, flags: &str) -> (u64, u64) {
    let cached =
        format!("tar -i {flags} --print-stats -s store --cache-dir cache cached.caidx tree");
    let stats = sandbox.cairn(&cached).succeeds();
    let stats: Value = serde_json::from_str(&stats.stderr).unwrap();
    sandbox.cairn(&format!("tar -i {flags} -s new new.caidx tree")).succeeds_silently();
    assert!(sandbox.read("cached.caidx") == sandbox.read("new.caidx"), "{flags}");
    (stats["chunks"].as_u64().unwrap(), stats["known"].as_u64().unwrap())
}

#[test]
fn what_has_not_changed_is_not_read() {
    if !is_known_here("what_has_not_changed_is_not_read") {
        return;
    }
    let sandbox = tree();
    settle(&sandbox.path("tree"));
    let (chunks, known) = archive(&sandbox, "");
    assert_eq!(known, 0);
    let cache = sandbox.snapshot();
    for workers in [1, 2, 5] {
        assert_eq!(archive(&sandbox, &format!("-n {workers}")), (chunks, chunks));
    }
    let is_cache = |name: &str| name.starts_with("cache/");
    let of_cache = |files: std::collections::BTreeMap<String, Vec<u8>>| {
        files.into_iter().filter(|(name, _)| is_cache(name)).collect::<Vec<_>>()
    };
    assert!(of_cache(cache) == of_cache(sandbox.snapshot()), "nothing new was to be kept");
}

#[test]
fn a_change_costs_what_is_around_it() {
    if !is_known_here("a_change_costs_what_is_around_it") {
        return;
    }
    let sandbox = tree();
    settle(&sandbox.path("tree"));
    let (chunks, _) = archive(&sandbox, "");
    sandbox.patch("tree/3/1/file31", 10, b"changed");
    settle(&sandbox.path("tree"));
    let (_, known) = archive(&sandbox, "");
    assert!(known + 6 > chunks && known < chunks, "{known} of {chunks}");
    assert_eq!(archive(&sandbox, ""), (chunks, chunks));
}

#[test]
fn what_is_read_again_is_as_if_unread() {
    if !is_known_here("what_is_read_again_is_as_if_unread") {
        return;
    }
    let sandbox = tree();
    archive(&sandbox, "");
    sandbox.patch("tree/large", 700_000, b"changed");
    // Long ago: a file system that notes the first reading after a change would note this one.
    let then = Timespec { tv_sec: 1000, tv_nsec: 0 };
    for name in ["large", "sparse", "1/1/file1"] {
        let path = sandbox.path("tree").join(name);
        let times = Timestamps { last_access: then, last_modification: then };
        utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
    }
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    settle(&sandbox.path("tree"));
    archive(&sandbox, "");
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    let (_, known) = archive(&sandbox, "");
    assert_eq!(known, 0, "all is read again");
    for name in ["large", "sparse", "1/1/file1"] {
        let path = sandbox.path("tree").join(name);
        assert_eq!(path.metadata().unwrap().atime(), 1000, "{name}");
    }
}

#[test]
fn whatever_changes_is_noticed() {
    if !is_known_here("whatever_changes_is_noticed") {
        return;
    }
    type Change = fn(&Sandbox);
    let changes: [(&str, Change); 11] = [
        ("longer", |s| s.write("tree/1/1/file1", b"longer than it was before")),
        ("as long and as old", |s| {
            let path = s.path("tree/large");
            let old = path.metadata().unwrap();
            s.patch("tree/large", 700_000, b"something else");
            let time = Timespec { tv_sec: old.mtime(), tv_nsec: old.mtime_nsec() };
            let times = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
        }),
        ("replaced by one as long and as old", |s| {
            let path = s.path("tree/2/2/file44");
            let old = path.metadata().unwrap();
            s.write("other", &vec![7; old.len() as usize]);
            let time = Timespec { tv_sec: old.mtime(), tv_nsec: old.mtime_nsec() };
            let times = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, s.path("other"), &times, AtFlags::empty()).unwrap();
            fs::rename(s.path("other"), path).unwrap();
        }),
        ("mode", |s| {
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(s.path("tree/5/2/file5"), mode).unwrap();
        }),
        ("renamed", |s| fs::rename(s.path("tree/6/0/file6"), s.path("tree/6/0/a")).unwrap()),
        ("moved", |s| fs::rename(s.path("tree/4/1"), s.path("tree/0/z")).unwrap()),
        ("gone", |s| fs::remove_file(s.path("tree/0/0/file0")).unwrap()),
        ("new", |s| s.write("tree/0/0/new", &random(77, 300_000))),
        ("empty", |s| s.write("tree/3/0/file3", b"")),
        ("a link in the place of a file", |s| {
            fs::remove_file(s.path("tree/5/1/file19")).unwrap();
            symlink("elsewhere", s.path("tree/5/1/file19")).unwrap();
        }),
        ("all but one gone", |s| {
            for n in 0..7 {
                fs::remove_dir_all(s.path(&format!("tree/{n}"))).unwrap();
            }
        }),
    ];
    let sandbox = tree();
    settle(&sandbox.path("tree"));
    archive(&sandbox, "");
    for (what, change) in changes {
        change(&sandbox);
        settle(&sandbox.path("tree"));
        let (chunks, known) = archive(&sandbox, "");
        assert!(known < chunks, "{what}: {known} of {chunks}");
        assert_eq!(archive(&sandbox, ""), (chunks, chunks), "{what}");
    }
}

/// Whoever changes a file as soon as it has been archived leaves the times it had.
#[test]
fn changes_within_a_tick_of_the_clock_are_not_missed() {
    let sandbox = Sandbox::new();
    for n in 0..20_u8 {
        sandbox.write("tree/file", &[n; 5000]);
        archive(&sandbox, "");
    }
}

#[test]
fn chunks_that_are_gone_from_the_store_are_put_again() {
    if !is_known_here("chunks_that_are_gone_from_the_store_are_put_again") {
        return;
    }
    let sandbox = tree();
    settle(&sandbox.path("tree"));
    let (chunks, _) = archive(&sandbox, "");
    let stored = sandbox.files("store");
    for name in stored.iter().step_by(3) {
        fs::remove_file(sandbox.path("store").join(name)).unwrap();
    }
    let (_, known) = archive(&sandbox, "");
    assert!(known > 0 && known < chunks, "{known} of {chunks}");
    assert_eq!(sandbox.files("store"), stored);
    sandbox.cairn("verify -s store").succeeds();
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    assert_eq!(archive(&sandbox, ""), (chunks, 0));
    assert_eq!(sandbox.files("store"), stored);
}

#[test]
fn what_is_known_is_so_of_one_way_to_archive() {
    if !is_known_here("what_is_known_is_so_of_one_way_to_archive") {
        return;
    }
    let sandbox = tree();
    settle(&sandbox.path("tree"));
    let ways = ["", "-m 4:16:64", "--without=user-names", "--no-time", "--digest sha256"];
    for way in ways {
        assert_eq!(archive(&sandbox, way).1, 0, "{way}");
    }
    for way in ways {
        let (chunks, known) = archive(&sandbox, way);
        assert_eq!(chunks, known, "{way}");
    }
}

#[test]
fn a_damaged_cache_is_made_again() {
    if !is_known_here("a_damaged_cache_is_made_again") {
        return;
    }
    let sandbox = tree();
    settle(&sandbox.path("tree"));
    let (chunks, _) = archive(&sandbox, "");
    let name = sandbox.files("cache").remove(0);
    let path = format!("cache/{name}");
    for content in [&b""[..], &sandbox.read(&path)[..1000], &[7; 5000]] {
        sandbox.write(&path, content);
        assert_eq!(archive(&sandbox, ""), (chunks, 0));
        assert_eq!(archive(&sandbox, ""), (chunks, chunks));
    }
}

#[test]
fn a_cache_in_the_tree_is_left_out() {
    if !is_known_here("a_cache_in_the_tree_is_left_out") {
        return;
    }
    let sandbox = tree();
    fs::create_dir(sandbox.path("tree/cache")).unwrap();
    settle(&sandbox.path("tree"));
    let words = "tar -i -s store --cache-dir tree/cache --print-stats cached.caidx tree";
    for _ in 0..3 {
        let done = sandbox.cairn(words).succeeds();
        assert!(done.stderr.contains("left out: it is the cache"), "{}", done.stderr);
    }
    let stats = sandbox.cairn(words).succeeds().stderr;
    let stats: Value = serde_json::from_str(&stats[stats.find('{').unwrap()..]).unwrap();
    assert_eq!(stats["known"], stats["chunks"]);
    sandbox.cairn("tar -i -s store new.caidx tree").succeeds_silently();
    assert!(sandbox.cairn("list -s store new.caidx").succeeds().text().contains("cache"));
    assert!(!sandbox.cairn("list -s store cached.caidx").succeeds().text().contains("cache"));
}

#[test]
fn nobody_else_may_have_written_it() {
    let sandbox = tree();
    let words = "tar -i -s store --cache-dir cache out.caidx tree";
    fs::create_dir(sandbox.path("cache")).unwrap();
    fs::set_permissions(sandbox.path("cache"), fs::Permissions::from_mode(0o777)).unwrap();
    sandbox.cairn(words).fails(&["cache", "others may write", "chmod"]);
    fs::set_permissions(sandbox.path("cache"), fs::Permissions::from_mode(0o700)).unwrap();
    sandbox.cairn(words).succeeds_silently();
    // What lies in the place of the file is neither followed nor written to.
    let name = sandbox.path(&format!("cache/{}", sandbox.files("cache")[0]));
    for target in ["victim", "/dev/zero"] {
        fs::remove_file(&name).unwrap();
        sandbox.write("victim", b"as it was");
        symlink(Path::new("..").join(target), &name).unwrap();
        sandbox.cairn(words).succeeds_silently();
        assert_eq!(sandbox.read("victim"), b"as it was");
        assert!(!name.is_symlink());
    }
    fs::remove_file(&name).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&name).status().unwrap().success());
    sandbox.cairn(words).succeeds_silently();
    sandbox.cairn("tar -i -s store --cache-dir tree out.caidx tree").fails(&["tree itself"]);
}

#[test]
fn it_is_for_chunks_of_directories() {
    let sandbox = tree();
    sandbox.refuses("tar --cache-dir cache out.catar tree", &["--cache-dir", "-i"]);
    sandbox.write("a.tar", b"");
    sandbox.refuses(
        "tar -i -s store --cache-dir cache --input-format=tar out.caidx a.tar",
        &["--cache-dir", "directories"],
    );
    sandbox
        .cairn("tar -i -s store --chunker fastcdc --cache-dir cache out.caidx tree")
        .fails(&["FastCDC"]);
    sandbox.write("file", b"");
    sandbox.cairn("tar -i -s store --cache-dir file/cache out.caidx tree").fails(&["file/cache"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, ..ProptestConfig::default() })]

    #[test]
    fn any_changes_are_noticed(
        rounds in vec(vec((0_u8..6, 0_u64..40, 0_usize..200_000), 0..4), 1..5),
    ) {
        let sandbox = Sandbox::new();
        for n in 0..40_u64 {
            sandbox.write(&format!("tree/{}/file{n}", n % 5), &random(n, n as usize * 1700));
        }
        settle(&sandbox.path("tree"));
        archive(&sandbox, "");
        for (round, changes) in rounds.iter().enumerate() {
            for &(kind, n, len) in changes {
                let name = format!("tree/{}/file{n}", n % 5);
                let path = sandbox.path(&name);
                match kind {
                    0 => sandbox.write(&name, &random(round as u64 * 1000 + n, len)),
                    1 => drop(fs::remove_file(path)),
                    2 => sandbox.write(&format!("tree/{}/new{n}", n % 4), &random(n, len)),
                    3 => drop(fs::rename(path, sandbox.path(&format!("tree/{n}")))),
                    4 => drop(fs::set_permissions(path, fs::Permissions::from_mode(0o604))),
                    _ => drop(fs::rename(path, sandbox.path(&format!("tree/file{n}")))),
                }
            }
            // Some of the time what has just been changed is not settled.
            if round % 2 == 0 {
                settle(&sandbox.path("tree"));
            }
            archive(&sandbox, "");
        }
    }
}
