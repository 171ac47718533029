//! Archives that are damaged or mean harm: they are refused, or mounted and do none.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use cairn::Silent;
use cairn::archive::input::Input;
use cairn::make::{Input as Source, MakeOptions, make};
use cairn::mount::kept_tree::KeptTree;
use cairn_formats::ChunkSizes;
use cairn_fuse::tree::{Tree, TreeOptions};
use cairn_fuse::{BlobFile, Content, FileSystem, Ino, Kind};
use cairn_store::{MemoryStore, Store};
use rustix::fs::{Mode, OFlags, openat};

use crate::common::mounted::{Mounted, is_fuse_here};
use crate::common::{Sandbox, random};
use crate::written::Written;

/// An archive with a few of each.
fn small() -> Vec<u8> {
    let mut written = Written::new();
    written.file("a", b"bytes of a");
    written.enter("b", 0o755);
    written.file("c", &random(1, 2000));
    written.link("link", "../a");
    written.enter("d", 0o700);
    written.leave();
    written.leave();
    written.file("e", b"");
    written.end()
}

/// Bytes that nobody asks for.
struct Nothing;

impl Content for Nothing {
    fn size(&self) -> u64 {
        u64::MAX
    }

    fn at_hand(&self, _: std::ops::Range<u64>) -> Option<cairn_fuse::Bytes> {
        None
    }

    fn read(&self, _: std::ops::Range<u64>) -> cairn_store::Result<cairn_fuse::Bytes> {
        Ok(cairn_fuse::Bytes::Own(Vec::new()))
    }
}

/// Walks through all of a tree, which must have an end.
fn walk(tree: &Tree, most: usize) {
    let mut open = vec![Ino::ROOT];
    let mut count = 0;
    while let Some(directory) = open.pop() {
        tree.list(directory, 0, &mut |listed| {
            count += 1;
            let found = listed.attributes;
            assert!(!listed.name.is_empty() && !listed.name.contains(&b'/'));
            assert!(listed.name != b"." && listed.name != b"..");
            assert_eq!(tree.lookup(directory, listed.name), Ok(Some(found)));
            if found.kind == Kind::Directory {
                open.push(found.ino);
            } else if found.kind == Kind::File {
                let range = tree.extent(found.ino).unwrap().range;
                assert!(range.end <= tree.space().bytes);
            }
            true
        })
        .unwrap();
        assert!(count <= most, "there is no end to it");
    }
}

/// Opens an archive in a file and as an index, and walks through what is not refused. Returns how often it was not.
fn tried(sandbox: &Sandbox, archive: &[u8]) -> usize {
    sandbox.write("tried.catar", archive);
    let path = sandbox.path("tried.catar");
    let store = MemoryStore::default();
    let sizes = ChunkSizes::new(64, 128, 256).unwrap();
    let options = MakeOptions { sizes, workers: 1, ..MakeOptions::default() };
    let (index, _) = make(Source::open(&path).unwrap(), Some(&store), &options, &Silent).unwrap();
    let file = Input::of_file(File::open(&path).unwrap(), &path).unwrap();
    let index = Input::of_index(index, Arc::new(store) as Arc<dyn Store>, "index".to_owned());
    let opened = [file, index].map(|input| {
        let kept = KeptTree::open(&input, &[0; 32], None, 2, &Silent).ok()?;
        let tree = Tree::new(kept.block, Arc::new(Nothing), TreeOptions::default());
        walk(&tree, archive.len() / 32 + 1);
        Some(tree.space().nodes)
    });
    assert_eq!(opened[0], opened[1], "a file and an index of one archive differ");
    usize::from(opened[0].is_some())
}

#[test]
fn any_byte_may_be_wrong() {
    let sandbox = Sandbox::new();
    let good = small();
    assert_eq!(tried(&sandbox, &good), 1);
    let mut mounted = 0;
    // Not those of the one long file, but those of every header and table.
    let is_content = |at: usize| {
        good[at..]
            .windows(64)
            .next()
            .is_some_and(|bytes| random(1, 2000).windows(64).any(|content| content == bytes))
    };
    for at in (0..good.len()).filter(|&at| at % 7 == 0 || !is_content(at)) {
        for mask in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= mask;
            mounted += tried(&sandbox, &bytes);
        }
    }
    // Permissions and times may be any, for example.
    assert!(mounted > 0);
}

#[test]
fn it_may_end_anywhere() {
    let sandbox = Sandbox::new();
    let good = small();
    for len in 0..good.len() {
        if len < 200 || len % 11 == 0 || len + 600 > good.len() {
            assert_eq!(tried(&sandbox, &good[..len]), 0, "{len}");
        }
    }
}

#[test]
fn names_that_lead_elsewhere_are_not_mounted() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("mnt")).unwrap();
    for name in ["..", ".", "a/b", "/etc", "../x", ""] {
        let mut written = Written::new();
        written.file("first", b"x");
        written.file(name, b"x");
        sandbox.write("hostile.catar", &written.end());
        sandbox.cairn("mount hostile.catar --cache-dir= mnt").fails(&["hostile.catar"]);
    }
    let mut twice = Written::new();
    twice.file("same", b"x");
    twice.file("same", b"y");
    sandbox.write("hostile.catar", &twice.end());
    sandbox.cairn("mount hostile.catar --cache-dir= mnt").fails(&["hostile.catar"]);
    sandbox.write("hostile.catar", &small()[..300]);
    sandbox.cairn("mount hostile.catar --cache-dir= mnt").fails(&["hostile.catar"]);
}

#[test]
fn a_hundred_thousand_names_are_mounted() {
    if !is_fuse_here("a_hundred_thousand_names_are_mounted") {
        return;
    }
    let sandbox = Sandbox::new();
    let mut written = Written::new();
    written.enter("wide", 0o755);
    for n in 0..100_000 {
        written.file(&format!("{n:06}"), b"");
    }
    written.leave();
    sandbox.write("wide.catar", &written.end());
    let mounted = Mounted::start(&sandbox, "mount wide.catar");
    let names = fs::read_dir(mounted.path("wide")).unwrap();
    let count = names
        .map(|entry| entry.unwrap().file_name())
        .collect::<std::collections::HashSet<_>>()
        .len();
    assert_eq!(count, 100_000);
    assert!(mounted.path("wide/099999").exists() && !mounted.path("wide/100000").exists());
    mounted.stop();
}

#[test]
fn deep_directories_are_no_trouble() {
    if !is_fuse_here("deep_directories_are_no_trouble") {
        return;
    }
    const DEPTH: usize = 5000;
    let sandbox = Sandbox::new();
    let mut written = Written::new();
    for _ in 0..DEPTH {
        written.enter("d", 0o755);
    }
    written.file("at the bottom", b"x");
    sandbox.write("deep.catar", &written.end());
    let mounted = Mounted::start(&sandbox, "mount deep.catar");
    let mut there = File::open(mounted.path("")).unwrap();
    for _ in 0..DEPTH {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        there = openat(&there, "d", flags, Mode::empty()).unwrap().into();
    }
    assert!(openat(&there, "at the bottom", OFlags::RDONLY, Mode::empty()).is_ok());
    assert_eq!(there.metadata().unwrap().nlink(), 2);
    drop(there);
    mounted.stop();
}

/// Where a number was made up, there is nothing.
#[test]
fn numbers_nobody_gave_out_are_refused() {
    let file = BlobFile::new(b"file".to_vec(), Arc::new(Nothing), (0, 0), 0);
    for number in [0, 3, u64::MAX] {
        assert!(file.attributes(Ino(number)).is_err());
        assert!(file.extent(Ino(number)).is_err());
    }
}
