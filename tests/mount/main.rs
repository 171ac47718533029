//! `cairn mount`: what programs see of archives that are mounted, and what becomes of them meanwhile.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "archives are only written here")]
#[path = "../untar/written.rs"]
mod written;

mod directories;
mod hostile;
mod inputs;
mod kept;
mod page;
mod programs;
mod refused;
mod rights;
mod seen;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use common::mounted::Mounted;
use common::{Sandbox, random};

/// What mounts the archive of a scene.
const MOUNT: &str = "mount -s store tree.caidx";

/// Whoever has no rights but those of others.
const SOMEBODY: u32 = 1234;

/// A directory `tree` with a few things in it, into which anybody may go.
fn scene() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::set_permissions(sandbox.path("."), Permissions::from_mode(0o755)).unwrap();
    sandbox.write("tree/a/b/file", b"some bytes");
    sandbox.write("tree/a/large", &random(3, 3_000_000));
    sandbox.write("tree/empty", b"");
    sandbox.write("tree/text", b"hello");
    sandbox
}

/// Packs `tree` into `tree.caidx` and `store`.
fn pack(sandbox: &Sandbox) {
    sandbox.cairn("tar -s store tree.caidx tree").succeeds_silently();
}

/// A scene that is mounted.
fn mounted(sandbox: &Sandbox) -> Mounted {
    pack(sandbox);
    Mounted::start(sandbox, MOUNT)
}

/// Lets the kernel forget what it has of a file.
fn forget(path: &Path) {
    let file = File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// The number of an error.
#[track_caller]
fn errno<T>(done: std::io::Result<T>) -> rustix::io::Errno {
    let e = done.err().expect("it is refused");
    rustix::io::Errno::from_io_error(&e).unwrap()
}

/// Runs a program to its end, which must not be far.
#[track_caller]
fn ran(command: &Command) -> Output {
    let mut bounded = Command::new("timeout");
    bounded.arg("60").arg(command.get_program()).args(command.get_args());
    bounded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = bounded.output().unwrap();
    // As `timeout` says it.
    assert!(done.status.code() != Some(127), "{command:?} does not start: run scripts/test");
    assert!(done.status.code() != Some(124), "{command:?} does not end");
    done
}

/// Runs a program that has to succeed, and returns what it prints.
#[track_caller]
fn system(command: &Command) -> Vec<u8> {
    let done = ran(command);
    let said = String::from_utf8_lossy(&done.stderr);
    let printed = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{command:?}: {said}{printed}");
    done.stdout
}

/// A program that is run by a user who is in no group but one of the same number.
fn as_user(id: u32, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    let (user, group) = (format!("--reuid={id}"), format!("--regid={id}"));
    command.args([&user, &group, "--clear-groups", "--", program]);
    command
}
