//! Where not everything can be done: as an ordinary user, on a full disk, interrupted.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::common::system::{Mount, is_root};
use super::common::{Outcome, Sandbox, random, run};
use super::picture::rich_tree;
use super::written::Written;

const SIGINT: &str = "-INT";

/// Runs cairn as a user who owns nothing but the directory `home`.
pub fn as_nobody(sandbox: &Sandbox, words: &str) -> Outcome {
    let program = sandbox.path("cairn");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_cairn"), &program).unwrap();
        fs::set_permissions(sandbox.path("."), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(sandbox.path("home")).unwrap();
        std::os::unix::fs::chown(sandbox.path("home"), Some(65534), Some(65534)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(words.split_whitespace())
        .current_dir(sandbox.path("home"))
        .env("HOME", sandbox.path("home"));
    run(command, None)
}

#[test]
fn what_an_ordinary_user_cannot_give_is_counted() {
    if !is_root("what_an_ordinary_user_cannot_give") {
        return;
    }
    let sandbox = Sandbox::new();
    rich_tree(&sandbox.path("tree"));
    sandbox.casync("make --with=best --exclude-nodump=no tree.catar tree").succeeds();
    let done = as_nobody(&sandbox, "untar ../tree.catar out");
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let lines: Vec<&str> = done.stderr.lines().collect();
    let has =
        |parts: &[&str]| lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(has(&["warning: 2 files are devices that could not be made", "out/", "not permitted"]));
    assert!(has(&["warning: ", "could not be given their owner", "not permitted"]));
    assert!(has(&["warning: 1 file could not be given their capabilities", "setuid"]));
    assert!(has(&["warning: 1 file could not be given their extended attributes", "zeros"]));
    assert!(has(&["error: not everything could be restored as it was"]));
    assert_eq!(lines.len(), 5, "each is told once: {}", done.stderr);
    // All else is there.
    let here = |name: &str| sandbox.path("home/out").join(name);
    assert!(fs::read(here("large")).unwrap() == sandbox.read("tree/large"));
    assert_eq!(fs::read(here("deep/er/150")).unwrap(), sandbox.read("tree/deep/er/150"));
    assert_eq!(fs::metadata(here("locked")).unwrap().mode() & 0o7777, 0o500);
    assert_eq!(fs::metadata(here("setuid")).unwrap().mode() & 0o7777, 0o755, "not as another");
    assert_eq!(fs::metadata(here("deep")).unwrap().mtime(), 1_000_000_000);
    // Once more, into directories that forbid it.
    fs::write(here("locked/within"), "other").unwrap();
    let again = as_nobody(&sandbox, "untar ../tree.catar out");
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert_eq!(fs::read(here("locked/within")).unwrap(), b"x");
    assert_eq!(fs::metadata(here("locked")).unwrap().mode() & 0o7777, 0o500);
    let wished = "--no-same-owner --no-same-xattrs --without=device-nodes --without=flag-noatime";
    as_nobody(&sandbox, &format!("untar ../tree.catar mine {wished}")).succeeds_silently();
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that was left out must be seen")]
fn what_may_not_be_changed_is_changed_only_when_asked_for() {
    if !is_root("what_may_not_be_changed") {
        return;
    }
    let sandbox = Sandbox::new();
    let mut written = Written::new();
    written.enter("d", 0o755);
    written.file("f", b"new");
    written.file("g", b"new");
    sandbox.write("x.catar", &written.end());
    for name in ["f", "g", "other"] {
        sandbox.write(&format!("out/d/{name}"), b"old, and longer");
    }
    let _unlocked = Unlocked(&sandbox);
    let locked = ["out/d/f", "out/d/g", "out/d/other", "out/d"];
    for name in locked {
        if !chattr(&sandbox, "+i", name) {
            eprintln!("NOT RUN: what_may_not_be_changed needs TMPDIR on ext4 or the like");
            return;
        }
    }
    sandbox.cairn("untar x.catar out").fails(&["out/d/", "not permitted"]);
    sandbox.cairn("untar x.catar out --delete").fails(&["out/d/", "not permitted"]);
    assert_eq!(sandbox.read("out/d/f"), b"old, and longer");
    sandbox.cairn("untar x.catar out --delete --undo-immutable").succeeds_silently();
    assert_eq!(sandbox.files("out/d"), ["f", "g"]);
    assert_eq!((sandbox.read("out/d/f"), sandbox.read("out/d/g")), (b"new".into(), b"new".into()));
}

pub fn chattr(sandbox: &Sandbox, change: &str, name: &str) -> bool {
    let done = Command::new("chattr").arg(change).arg(sandbox.path(name)).output();
    done.unwrap_or_else(|e| panic!("chattr does not start ({e}): run scripts/test"))
        .status
        .success()
}

/// Lets the sandbox be removed.
pub struct Unlocked<'a>(pub &'a Sandbox);

impl Drop for Unlocked<'_> {
    fn drop(&mut self) {
        let _ = Command::new("chattr").args(["-R", "-i"]).arg(self.0.path("out")).output();
    }
}

#[test]
fn unknown_names_fall_back_to_numbers() {
    if !is_root("unknown_names_fall_back_to_numbers") {
        return;
    }
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("tree")).unwrap();
    sandbox.write("tree/file", b"x");
    std::os::unix::fs::chown(sandbox.path("tree/file"), Some(1), Some(1)).unwrap();
    sandbox.casync("make tree.catar tree").succeeds();
    // "daemon" becomes a name that nobody has.
    let archive = sandbox.read("tree.catar");
    let at: Vec<usize> =
        (0..archive.len() - 6).filter(|&at| archive[at..].starts_with(b"daemon")).collect();
    assert_eq!(at.len(), 2);
    for at in at {
        sandbox.patch("tree.catar", at as u64, b"qqqqqq");
    }
    let done = sandbox.cairn("untar tree.catar out").succeeds();
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(done.stderr.contains("`qqqqqq`"), "{}", done.stderr);
    assert_eq!(fs::metadata(sandbox.path("out/file")).unwrap().uid(), 1);
    let _ = fs::remove_dir_all(sandbox.path("out"));
    sandbox.cairn("untar tree.catar out --numeric-owner").succeeds_silently();
    assert_eq!(fs::metadata(sandbox.path("out/file")).unwrap().gid(), 1);
}

#[test]
fn a_full_disk_is_named_and_files_are_whole() {
    if !is_root("a_full_disk_is_named") {
        return;
    }
    let sandbox = Sandbox::new();
    let mut written = Written::new();
    for number in 100..140 {
        written.file(&number.to_string(), &random(number, 50_000));
    }
    written.file("large", &random(1, 4_000_000));
    sandbox.write("x.catar", &written.end());
    let _mount = Mount::new(&sandbox, "small", 1024);
    for _ in 0..2 {
        let failed =
            sandbox.cairn("untar x.catar small/out").fails(&["small/out/", "No space left"]);
        assert!(failed.stderr.contains("hint: "), "{}", failed.stderr);
        let names = sandbox.files("small/out");
        assert!(names.len() > 5);
        for name in names {
            let number = name.parse().unwrap();
            assert!(sandbox.read(&format!("small/out/{name}")) == random(number, 50_000), "{name}");
        }
    }
    // Onto one that may not be written to.
    _mount.make_read_only();
    sandbox.cairn("untar x.catar small/new").fails(&["small/new", "Read-only"]);
}

#[test]
fn an_interrupt_leaves_nothing_half() {
    let sandbox = Sandbox::new();
    let mut written = Written::new();
    written.file("large", &random(1, 8_000_000));
    let archive = written.end();
    sandbox.write("out/large", b"before");
    let mut command = sandbox.command("untar - out");
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&archive[..5_000_000]).unwrap();
    let started = Instant::now();
    while sandbox.files("out").len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(30), "it does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = Command::new("kill").args([SIGINT, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let done = child.wait_with_output().unwrap();
    drop(input);
    assert_eq!(done.status.code(), Some(130), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(sandbox.files("out"), ["large"]);
    assert_eq!(sandbox.read("out/large"), b"before");
}
