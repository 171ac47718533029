//! Archives that are damaged or mean harm, and others who mean harm while one is restored.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::common::random;
use super::written::{Written, restore};

/// The content of a file that has this name in the archives below.
fn content(name: &str) -> Vec<u8> {
    let len = name.len() * 97;
    random(name.len() as u64, len)
}

fn small_archive() -> Vec<u8> {
    let mut written = Written::new();
    written.file("a", &content("a"));
    written.enter("b", 0o700);
    written.file("bb", &content("bb"));
    written.link("link", "../a");
    written.leave();
    written.file("ccc", &content("ccc"));
    written.end()
}

/// Every file below is whole.
fn assert_whole(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_symlink() {
            continue;
        } else if path.is_dir() {
            assert_whole(&path);
        } else {
            assert!(fs::read(&path).unwrap() == content(name), "{name}");
        }
    }
}

#[test]
fn what_a_cut_archive_leaves_is_whole() {
    let sandbox = tempfile::tempdir().unwrap();
    let archive = small_archive();
    let target = sandbox.path().join("out");
    for len in 0..archive.len() {
        let failed = restore(&archive[..len], sandbox.path(), &target).unwrap_err().to_string();
        assert!(failed.contains("too early") || failed.contains("not an archive"), "{failed}");
        if target.exists() {
            assert_whole(&target);
            fs::remove_dir_all(&target).unwrap();
        }
    }
    restore(&archive, sandbox.path(), &target).unwrap();
    assert_whole(&target);
    let longer = [&archive[..], b"x"].concat();
    assert!(restore(&longer, sandbox.path(), &target).is_err());
}

#[test]
fn a_large_file_that_is_cut_is_not_there() {
    let sandbox = tempfile::tempdir().unwrap();
    let mut written = Written::new();
    written.file("large", &random(1, 5_000_000));
    let archive = written.end();
    for (number, len) in [1_048_576, 1_048_577, 3_333_333, 4_999_999].into_iter().enumerate() {
        let target = sandbox.path().join(number.to_string());
        assert!(restore(&archive[..len], sandbox.path(), &target).is_err());
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "cut at {len}");
        // Nor does it take the place of another.
        fs::write(target.join("large"), "before").unwrap();
        assert!(restore(&archive[..len], sandbox.path(), &target).is_err());
        assert_eq!(fs::read(target.join("large")).unwrap(), b"before");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1, "cut at {len}");
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let sandbox = tempfile::tempdir().unwrap();
    for name in ["..", ".", "a/b", "/etc", "../x"] {
        let mut file = Written::new();
        file.file(name, b"x");
        let mut directory = Written::new();
        directory.enter(name, 0o755);
        directory.file("x", b"x");
        for archive in [file.end(), directory.end()] {
            let target = sandbox.path().join("out");
            let failed = restore(&archive, sandbox.path(), &target).unwrap_err().to_string();
            assert!(failed.contains("not the name of a file"), "{name}: {failed}");
        }
    }
    let mut names: Vec<_> =
        fs::read_dir(&sandbox).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["archive.catar", "out"]);
}

#[test]
fn links_are_not_followed() {
    let sandbox = tempfile::tempdir().unwrap();
    let (target, outside) = (sandbox.path().join("out"), sandbox.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(outside.join("file"), "outside").unwrap();
    symlink(&outside, target.join("b")).unwrap();
    let mut directory = Written::new();
    directory.enter("b", 0o700);
    directory.file("file", b"harm");
    let failed = restore(&directory.end(), sandbox.path(), &target).unwrap_err().to_string();
    assert!(failed.contains("is not a directory"), "{failed}");
    // A file takes the place of the link, not of what it leads to.
    symlink(outside.join("file"), target.join("c")).unwrap();
    let mut file = Written::new();
    file.file("c", b"new");
    restore(&file.end(), sandbox.path(), &target).unwrap();
    assert!(target.join("c").symlink_metadata().unwrap().is_file());
    // A name that is a link and a directory at once.
    let mut twice = Written::new();
    twice.link("d", outside.to_str().unwrap());
    twice.enter("d", 0o755);
    twice.file("file", b"harm");
    assert!(restore(&twice.end(), sandbox.path(), &target).is_err());
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"outside");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let sandbox = tempfile::tempdir().unwrap();
    let (target, outside) = (sandbox.path().join("out"), sandbox.path().join("outside"));
    for directory in [&target.join("d/e"), &outside.join("e")] {
        fs::create_dir_all(directory).unwrap();
    }
    symlink(&outside, target.join("link")).unwrap();
    let mut written = Written::new();
    written.enter("d", 0o755);
    for number in 100..400 {
        written.file(&number.to_string(), b"harm");
    }
    written.enter("e", 0o755);
    for number in 100..400 {
        written.file(&number.to_string(), b"harm");
    }
    let archive = written.end();
    let is_over = AtomicBool::new(false);
    let (mut succeeded, mut failed) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (one, other) = (target.join("d"), target.join("link"));
            while !is_over.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
            }
        });
        for _ in 0..200 {
            match restore(&archive, sandbox.path(), &target) {
                Ok(()) => succeeded += 1,
                Err(_) => failed += 1,
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(succeeded + failed, 200);
    assert!(failed > 0, "the link was never in the way");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_dir(outside.join("e")).unwrap().count(), 0);
}

#[test]
fn a_very_deep_tree_comes_back() {
    const DEPTH: usize = 10_000;
    // In memory, where there is such a place: a disk takes ten times as long.
    let memory = Path::new("/dev/shm");
    let sandbox = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let sandbox = sandbox.unwrap();
    let mut written = Written::new();
    for _ in 0..DEPTH {
        written.enter("d", 0o755);
    }
    for _ in 0..DEPTH {
        written.file("f", b"deep");
        written.leave();
    }
    let target = sandbox.path().join("out");
    restore(&written.end(), sandbox.path(), &target).unwrap();
    let mut files = 0;
    let mut here = fs::File::open(&target).unwrap();
    loop {
        let next = rustix::fs::openat(
            &here,
            "d",
            rustix::fs::OFlags::DIRECTORY,
            rustix::fs::Mode::empty(),
        );
        let Ok(next) = next else { break };
        here = fs::File::from(next);
        assert_eq!(here.metadata().unwrap().modified().unwrap(), since_epoch(1_000_000_000));
        files += usize::from(rustix::fs::statat(&here, "f", rustix::fs::AtFlags::empty()).is_ok());
    }
    assert_eq!(files, DEPTH);
    // Too deep for most that remove trees: by ours, a file takes its place.
    let mut file = Written::new();
    file.file("d", b"shallow");
    restore(&file.end(), sandbox.path(), &target).unwrap();
    assert_eq!(fs::read(target.join("d")).unwrap(), b"shallow");
}

fn since_epoch(seconds: u64) -> std::time::SystemTime {
    std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}
