//! Mounts of ordinary users, and machines on which something is not there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::mounted::{Mounted, is_fuse_here};
use crate::common::{Sandbox, run};
use crate::scene;

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// A command that becomes nobody.
const BECOME: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Nothing but what programs cannot do without is in /dev, for this process alone.
const BARE: &str = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3";

/// Lets anybody open the device, as it is with most systems.
const FUSE: &str = "mknod -m 666 /dev/fuse c 10 229";

/// Runs what cairn is told to on a machine with such devices.
fn with_devices(sandbox: &Sandbox, devices: &str, as_whom: &[&str], words: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private", "sh", "-c"])
        .args([&format!("{devices} && exec \"$@\""), "sh"])
        .args(as_whom)
        .arg(sandbox.path("cairn"))
        .args(words.split_whitespace())
        .current_dir(sandbox.path("."))
        .env("HOME", sandbox.path("."))
        .env_remove("XDG_CONFIG_HOME");
    command
}

/// Runs what cairn is told to as nobody.
fn as_nobody(sandbox: &Sandbox, words: &str) -> Command {
    with_devices(sandbox, &format!("{BARE} && {FUSE}"), &BECOME, words)
}

/// As [`scene`], with a program and a directory that nobody may use.
fn scene_of_nobody() -> (Sandbox, Vec<u8>) {
    let (sandbox, content) = scene();
    fs::set_permissions(sandbox.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    // Where the tests are built others may have no way to it.
    fs::copy(env!("CARGO_BIN_EXE_cairn"), sandbox.path("cairn")).unwrap();
    fs::create_dir(sandbox.path("mnt")).unwrap();
    chown(sandbox.path("mnt"), Some(NOBODY), Some(NOBODY)).unwrap();
    (sandbox, content)
}

#[test]
fn ordinary_users_mount_through_fusermount3() {
    if !is_fuse_here("ordinary_users_mount_through_fusermount3") {
        return;
    }
    let (sandbox, content) = scene_of_nobody();
    let words = "mount-index -s store image.raw.caibx mnt";
    let mounted = Mounted::of(as_nobody(&sandbox, words), &sandbox, "mnt");
    // It has its own view of what is mounted, into which there is a way.
    let process = Path::new("/proc").join(mounted.pid().to_string());
    let inside = |path: PathBuf| process.join("root").join(path.strip_prefix("/").unwrap());
    let point = mounted.path("").canonicalize().unwrap();
    let is_mounted = || {
        let table = fs::read_to_string(process.join("mounts")).unwrap();
        table.contains(&format!("image.raw.caibx {} fuse.cairn ro,nosuid,nodev,", point.display()))
    };
    assert!(is_mounted());
    // Root is let in no more than anybody else: only whoever mounted it is.
    let file = inside(point.join("image.raw"));
    assert_eq!(fs::read(&file).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    let by_nobody = |words: &[&str]| {
        let mut command = Command::new(BECOME[0]);
        command.args(&BECOME[1..]).args(words).arg(&file);
        run(command, None).succeeds()
    };
    assert!(by_nobody(&["cat"]).stdout == content);
    assert_eq!(by_nobody(&["stat", "-c", "%a %u %g"]).text(), "444 65534 65534\n");
    mounted.stop();
}

#[test]
fn users_without_fusermount3_are_told_which_package_has_it() {
    if !is_fuse_here("users_without_fusermount3_are_told_which_package_has_it") {
        return;
    }
    let (sandbox, _) = scene_of_nobody();
    let mut command = as_nobody(&sandbox, "mount-index -s store image.raw.caibx mnt");
    command.env("FUSERMOUNT_PATH", sandbox.path("nothing"));
    run(command, None)
        .fails(&["only root may mount without fusermount3", "install the package fuse3"]);
}

#[test]
fn what_fusermount3_refuses_is_said_in_its_words() {
    if !is_fuse_here("what_fusermount3_refuses_is_said_in_its_words") {
        return;
    }
    let (sandbox, _) = scene_of_nobody();
    fs::create_dir(sandbox.path("of-root")).unwrap();
    let words = "mount-index -s store image.raw.caibx of-root";
    run(as_nobody(&sandbox, words), None)
        .fails(&["of-root: fusermount3 refused: ", "no write access"]);
}

#[test]
fn machines_without_fuse_are_told_of_the_module() {
    if !is_fuse_here("machines_without_fuse_are_told_of_the_module") {
        return;
    }
    let (sandbox, _) = scene_of_nobody();
    let words = "mount-index -s store image.raw.caibx mnt";
    for as_whom in [&BECOME[..], &[]] {
        let done = run(with_devices(&sandbox, BARE, as_whom, words), None);
        done.fails(&["/dev/fuse is not there: ", "modprobe fuse"]);
    }
}

#[test]
fn others_are_let_in_only_if_that_is_asked_for() {
    if !is_fuse_here("others_are_let_in_only_if_that_is_asked_for") {
        return;
    }
    let (sandbox, content) = scene_of_nobody();
    for (flag, is_open) in [("", false), (" --allow-other", true), (" -o allow_other", true)] {
        let words = format!("mount-index -s store image.raw.caibx{flag}");
        let mounted = Mounted::start(&sandbox, &words);
        let mut command = Command::new(BECOME[0]);
        command.args(&BECOME[1..]).arg("cat").arg(mounted.path("image.raw"));
        let done = run(command, None);
        assert_eq!(done.code, Some(i32::from(!is_open)), "{flag}: {}", done.stderr);
        assert!(if is_open { done.stdout == content } else { done.stdout.is_empty() });
        mounted.stop();
    }
}
