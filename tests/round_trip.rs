//! Whatever a tree is made of, it comes back out of its archive, and makes the same archive again.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{lgetxattr, llistxattr};

use common::Sandbox;
use common::things::{make, thing};

/// Everything there is to say of everything in a tree.
fn described(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let mut names = vec![0; 1 << 16];
        let len = llistxattr(&path, &mut names[..]).unwrap();
        let mut xattrs: Vec<String> = names[..len]
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| {
                let mut value = vec![0; 1 << 16];
                let len = lgetxattr(&path, name, &mut value[..]).unwrap();
                format!("{}={:?}", String::from_utf8_lossy(name), &value[..len])
            })
            .collect();
        xattrs.sort();
        let content = match metadata.file_type() {
            kind if kind.is_file() => format!("{:?}", fs::read(&path).unwrap()),
            kind if kind.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
            _ => format!("{}", metadata.rdev()),
        };
        let (uid, gid, mode) = (metadata.uid(), metadata.gid(), metadata.mode());
        let time = (metadata.mtime(), metadata.mtime_nsec());
        let told = format!("{mode:o} {uid}:{gid} {time:?} {xattrs:?} {content}");
        found.insert(path.strip_prefix(root).unwrap().to_owned(), told);
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_tree_comes_back_and_makes_the_same_archive(things in vec(thing(), 0..25)) {
        let sandbox = Sandbox::new();
        make(&sandbox.path("tree"), &things);
        sandbox.cairn("tar one.catar tree").succeeds_silently();
        sandbox.cairn("untar one.catar copy").succeeds_silently();
        prop_assert_eq!(described(&sandbox.path("copy")), described(&sandbox.path("tree")));
        sandbox.cairn("tar two.catar copy").succeeds_silently();
        prop_assert!(sandbox.read("one.catar") == sandbox.read("two.catar"));
        sandbox.cairn("tar -s store tree.caidx tree").succeeds_silently();
        sandbox.cairn("untar -s store tree.caidx other").succeeds_silently();
        prop_assert_eq!(described(&sandbox.path("other")), described(&sandbox.path("tree")));
    }
}
