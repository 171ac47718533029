//! Trees of whatever there is, made of a list of things.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, chmod, lsetxattr, makedev,
    mknodat, utimensat,
};

use super::random;

/// Something in a tree, made in this order; what cannot be made where it is to be is not.
#[derive(Clone, Debug)]
pub struct Thing {
    /// Names, each one of a few, so that directories are met again.
    path: Vec<Vec<u8>>,
    kind: Kind,
    permissions: u32,
    owner: (u32, u32),
    modified: (i64, u32),
    xattrs: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Kind {
    Directory,
    File(u64, usize),
    Holes(u64),
    Symlink(Vec<u8>),
    Device(FileType, u32, u32),
    Fifo,
    Socket,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let odd = vec(1_u8.., 1..9).prop_filter("a name", |name| {
        !name.contains(&b'/') && name != b"." && name != b".." && name != b".caexclude"
    });
    prop_oneof![4 => "[a-d]".prop_map(String::into_bytes), 1 => odd]
}

fn kind() -> impl Strategy<Value = Kind> {
    let device =
        (any::<bool>(), 0..1_u32 << 12, 0..1_u32 << 20).prop_map(|(is_block, major, minor)| {
            let kind = if is_block { FileType::BlockDevice } else { FileType::CharacterDevice };
            Kind::Device(kind, major, minor)
        });
    prop_oneof![
        3 => Just(Kind::Directory),
        4 => (any::<u64>(), 0..3000_usize).prop_map(|(seed, len)| Kind::File(seed, len)),
        1 => (any::<u64>(), 60_000..300_000_usize).prop_map(|(seed, len)| Kind::File(seed, len)),
        1 => (0..3_000_000_u64).prop_map(Kind::Holes),
        1 => vec(1_u8.., 1..40).prop_map(Kind::Symlink),
        1 => device,
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Socket),
    ]
}

/// Any one of them.
pub fn thing() -> impl Strategy<Value = Thing> {
    let xattrs =
        prop::collection::btree_map("(user|trusted)\\.[a-z]{1,9}", vec(any::<u8>(), 0..30), 0..3);
    let modified = (0..4_000_000_000_i64, 0..1_000_000_000_u32);
    (vec(name(), 1..4), kind(), 0..0o10000_u32, (0..70_000_u32, 0..70_000_u32), modified, xattrs)
        .prop_map(|(path, kind, permissions, owner, modified, xattrs)| {
            // No archive has these numbers.
            let owner = (owner.0.min(65_534), owner.1.min(65_534));
            Thing { path, kind, permissions, owner, modified, xattrs }
        })
}

/// Makes a tree of them.
pub fn make(root: &Path, things: &[Thing]) {
    fs::create_dir(root).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let mut made: Vec<(PathBuf, &Thing)> = Vec::new();
    for thing in things {
        let mut path = root.to_owned();
        path.extend(thing.path.iter().map(|name| Path::new(OsStr::from_bytes(name))));
        if path.symlink_metadata().is_ok() || !parents_are_directories(root, &path) {
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match &thing.kind {
            Kind::Directory => fs::create_dir(&path).unwrap(),
            Kind::File(seed, len) => fs::write(&path, random(*seed, *len)).unwrap(),
            Kind::Holes(len) => fs::File::create(&path).unwrap().set_len(*len).unwrap(),
            Kind::Symlink(target) => symlink(OsStr::from_bytes(target), &path).unwrap(),
            Kind::Device(..) if !is_root => continue,
            Kind::Device(kind, major, minor) => node(&path, *kind, makedev(*major, *minor)),
            Kind::Fifo => node(&path, FileType::Fifo, 0),
            Kind::Socket => node(&path, FileType::Socket, 0),
        }
        made.push((path, thing));
    }
    for (path, thing) in made.iter().rev() {
        let is_link = matches!(thing.kind, Kind::Symlink(_));
        let is_plain = matches!(thing.kind, Kind::Directory | Kind::File(..) | Kind::Holes(_));
        let (uid, gid) = thing.owner;
        if is_root && is_link {
            lchown(path, Some(uid), Some(gid)).unwrap();
        } else if is_root {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
        for (name, value) in
            thing.xattrs.iter().filter(|(name, _)| is_root || name.starts_with("user."))
        {
            if is_plain {
                lsetxattr(path, name.as_str(), value, XattrFlags::empty()).unwrap();
            }
        }
        if !is_link {
            // Ordinary users must be able to read what they archive.
            let more = if is_root { 0 } else { 0o700 };
            chmod(path, Mode::from_raw_mode(thing.permissions | more)).unwrap();
        }
    }
    for (path, thing) in made.iter().rev() {
        let time = Timespec { tv_sec: thing.modified.0, tv_nsec: thing.modified.1.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn node(path: &Path, kind: FileType, device: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device).unwrap();
}

fn parents_are_directories(root: &Path, path: &Path) -> bool {
    let parents = path.ancestors().skip(1).take_while(|parent| *parent != root);
    parents.into_iter().all(|parent| match parent.symlink_metadata() {
        Ok(metadata) => metadata.is_dir(),
        Err(_) => true,
    })
}
