//! Archives that are looked into without unpacking them, beside the real casync and desync.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod different;
mod peers;
mod troubled;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use common::system::is_root;
use common::{Sandbox, random};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

/// Names that are no plain words.
const ODD: [&[u8]; 6] = [b"sp ace", b"new\nline", b"h#sh", b"back\\slash", b"\xc3\xa9", b"bad\xff"];

/// A directory `tree` with something of every kind, made into `tree.catar`, `tree.caidx` and `store` by casync.
fn sample() -> Sandbox {
    let sandbox = Sandbox::new();
    let tree = sandbox.path("tree");
    sandbox.write("tree/a.txt", b"hello");
    sandbox.write("tree/empty.txt", b"");
    sandbox.write("tree/big", &random(1, 700_000));
    sandbox.write("tree/sub/deep/file", b"deep");
    sandbox.write("tree/sub/other", &random(2, 100_000));
    fs::create_dir(tree.join("empty")).unwrap();
    for name in ODD {
        fs::write(tree.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    symlink("a.txt", tree.join("link")).unwrap();
    symlink("some where/é#", tree.join("odd link")).unwrap();
    for (name, mode) in
        [("big", 0o4755), ("empty", 0o1777), ("a.txt", 0o2640), ("empty.txt", 0o6400)]
    {
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    node(&tree.join("fifo"), FileType::Fifo, 0);
    drop(UnixListener::bind(tree.join("socket")).unwrap());
    attribute(&tree.join("a.txt"), "user.comment", b"some text");
    attribute(&tree.join("a.txt"), "user.bytes", b"\0\x01\xff\"\\#");
    attribute(&tree.join("sub"), "user.empty", b"");
    if is_root("devices, owners and trusted attributes in archives") {
        node(&tree.join("block"), FileType::BlockDevice, makedev(8, 1));
        node(&tree.join("character"), FileType::CharacterDevice, makedev(1, 3));
        attribute(&tree.join("sub"), "trusted.it", b"is");
        chown(tree.join("sub/other"), Some(1234), Some(4321)).unwrap();
        chown(tree.join("empty"), Some(1), Some(1)).unwrap();
    }
    sandbox.casync("make tree.catar tree").succeeds();
    sandbox.casync("make --store=store tree.caidx tree").succeeds();
    sandbox
}

fn node(path: &Path, kind: FileType, device: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device).unwrap();
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::empty()).unwrap();
}
