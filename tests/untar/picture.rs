//! All that can be seen of a tree, to be compared, and a tree that has a bit of everything.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, IFlags, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags,
    ioctl_getflags, ioctl_setflags, lgetxattr, llistxattr, lsetxattr, makedev, mknodat, utimensat,
};

use super::common::random;

/// What is seen of each path below a directory, of the directory itself by the name of nothing.
pub fn picture(root: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    look(root, root, &mut seen);
    seen
}

fn look(root: &Path, path: &Path, seen: &mut BTreeMap<String, String>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mut line = format!(
        "{:o} {}:{} {}.{:09} device {}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.rdev(),
    );
    let kind = metadata.file_type();
    if kind.is_symlink() {
        line += &format!(" -> {:?}", fs::read_link(path).unwrap());
    } else if kind.is_file() {
        // A sum that tells the order of bytes, too.
        let bytes = fs::read(path).unwrap();
        let sum = bytes.iter().fold(0_u64, |sum, &byte| sum.wrapping_mul(31) + u64::from(byte));
        line += &format!(" {} bytes {sum:x}", bytes.len());
    }
    if kind.is_file() || kind.is_dir() {
        let flags = File::open(path).map(ioctl_getflags).unwrap();
        // Of the rest the file system makes what it likes.
        line += &format!(" flags {:x}", flags.map_or(0, |flags| flags.bits() & 0x2081_04fc));
    }
    for (name, value) in xattrs(path) {
        line += &format!(" {name}={value:x?}");
    }
    seen.insert(format!("{:?}", path.strip_prefix(root).unwrap()), line);
    if kind.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            look(root, &entry.unwrap().path(), seen);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 65536];
    let len = llistxattr(path, &mut names[..]).unwrap();
    let names = names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65536];
            let len = lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(len);
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect()
}

/// The bytes of an access control list: tag, permissions and number of each entry.
pub fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A tree with a bit of everything that root can make.
pub fn rich_tree(root: &Path) {
    const NOBODY: u32 = u32::MAX;
    let at = |name: &str| root.join(name);
    let xattr = |name: &str, key: &str, value: &[u8]| {
        lsetxattr(at(name), key, value, XattrFlags::empty()).unwrap();
    };
    for directory in ["", "deep/er/still", "empty", "locked", "sticky", "listed"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    for number in 0..200 {
        fs::write(at(&format!("deep/er/{number}")), random(number, number as usize * 37)).unwrap();
    }
    fs::write(at("empty file"), b"").unwrap();
    fs::write(at("large"), random(300, 5_000_000)).unwrap();
    let hollow = [random(301, 1_500_000), vec![0; 3 << 20], random(302, 99), vec![0; 9999]];
    fs::write(at("hollow"), hollow.concat()).unwrap();
    fs::write(at("zeros"), vec![0; 10_000]).unwrap();
    fs::write(at("setuid"), b"#!").unwrap();
    lchown(at("setuid"), Some(1000), Some(1001)).unwrap();
    mode(&at("setuid"), 0o6755);
    fs::write(at("locked/within"), b"x").unwrap();
    mode(&at("locked/within"), 0);
    mode(&at("locked"), 0o500);
    mode(&at("sticky"), 0o1777);
    for name in [&b"\xff\xfe"[..], b"new\nline", b"back\\slash", b" ", &[b'n'; 255]] {
        fs::write(root.join("deep").join(OsStr::from_bytes(name)), name).unwrap();
    }
    symlink("nowhere/at all", at("link")).unwrap();
    symlink("l".repeat(4000), at("long link")).unwrap();
    lchown(at("link"), Some(7), Some(8)).unwrap();
    set_time(&at("link"), 978_307_200, 5);
    UnixListener::bind(at("socket")).unwrap();
    let node = |name: &str, kind, device| {
        mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
        mode(&at(name), 0o604);
    };
    node("pipe", FileType::Fifo, 0);
    node("null", FileType::CharacterDevice, makedev(1, 3));
    node("loop", FileType::BlockDevice, makedev(7, 300));
    lchown(at("null"), Some(3), Some(4)).unwrap();
    xattr("large", "user.one", b"1");
    xattr("large", "user.two", b"");
    xattr("zeros", "trusted.three", &[0, 1, 0]);
    xattr("listed", "user.long", &random(1, 2000));
    xattr("setuid", "security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let list = access_list(&[
        (1, 7, NOBODY),
        (2, 5, 1000),
        (4, 5, NOBODY),
        (8, 1, 1234),
        (16, 5, NOBODY),
        (32, 0, NOBODY),
    ]);
    xattr("listed", "system.posix_acl_access", &list);
    xattr("listed", "system.posix_acl_default", &list);
    fs::write(at("listed/within"), b"inherits").unwrap();
    for (name, bits) in [("zeros", 0x40), ("large", 0x80), ("empty", 0x8)] {
        // Not every file system has them.
        let _ = ioctl_setflags(File::open(at(name)).unwrap(), IFlags::from_bits_retain(bits));
    }
    set_time(&at("zeros"), 0, 0);
    set_time(&at("hollow"), -5, 7);
    for name in ["deep/er", "deep", "empty", "locked", ""] {
        set_time(&at(name), 1_000_000_000, 123_456_789);
    }
}
