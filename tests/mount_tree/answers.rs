//! A tree answers what its archive says.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use cairn::Silent;
use cairn::archive::input::Input;
use cairn::mount::kept_tree::KeptTree;
use cairn_formats::Index;
use cairn_formats::catar::{Body, Decoder, Item};
use cairn_fuse::tree::{Block, Tree, TreeOptions};
use cairn_fuse::{Bytes, Content, FileSystem, Ino, Kind};
use cairn_store::{LocalOptions, LocalStore};
use proptest::collection::vec;
use proptest::prelude::*;

use super::WORKERS;
use super::common::system::is_root;
use super::common::things::{make, thing};
use super::common::{Sandbox, vector_tree};

/// Bytes that nobody asks for.
struct Nothing;

impl Content for Nothing {
    fn size(&self) -> u64 {
        0
    }

    fn at_hand(&self, _: Range<u64>) -> Option<Bytes> {
        None
    }

    fn read(&self, _: Range<u64>) -> cairn_store::Result<Bytes> {
        Ok(Bytes::Own(Vec::new()))
    }
}

/// What is said of each path.
type Said = BTreeMap<Vec<u8>, String>;

/// What an archive says.
fn recorded(archive: &[u8]) -> Said {
    let mut said = Said::new();
    let mut decoder = Decoder::new(archive);
    while let Some(item) = decoder.next().unwrap() {
        let Item::Node(node) = item else { continue };
        let content = match &node.body {
            Body::File(size) => {
                let start = decoder.body_start();
                format!("{:?}", start..start + size)
            }
            Body::Symlink(target) => format!("{target:?}"),
            Body::Block { major, minor } | Body::Character { major, minor } => {
                format!("{major}:{minor}")
            }
            _ => String::new(),
        };
        let xattrs: Vec<_> =
            node.xattrs.iter().map(|xattr| (&xattr.name[..], &xattr.value[..])).collect();
        let (mode, owner, mtime) = (node.mode(), (node.uid, node.gid), node.mtime);
        let line = format!("{mode:o} {owner:?} {mtime} {xattrs:?} {:?} {content}", node.fcaps);
        said.insert(decoder.path().to_vec(), line);
    }
    said
}

/// What a tree says.
pub fn answered(block: Block) -> Said {
    let tree = Tree::new(block, Arc::new(Nothing), TreeOptions::default());
    let mut said = Said::new();
    let mut open = vec![(Vec::new(), tree.attributes(Ino::ROOT).unwrap())];
    while let Some((path, seen)) = open.pop() {
        let (content, mode) = match seen.kind {
            Kind::File => (format!("{:?}", tree.extent(seen.ino).unwrap().range), 0o100_000),
            Kind::Symlink => (format!("{:?}", tree.read_link(seen.ino).unwrap()), 0o120_000),
            Kind::Block => (format!("{}:{}", seen.device.0, seen.device.1), 0o060_000),
            Kind::Character => (format!("{}:{}", seen.device.0, seen.device.1), 0o020_000),
            Kind::Fifo => (String::new(), 0o010_000),
            Kind::Socket => (String::new(), 0o140_000),
            Kind::Directory => (String::new(), 0o040_000),
        };
        let names = tree.xattr_names(seen.ino).unwrap();
        let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        let all = names.map(|name| (name, tree.xattr(seen.ino, name).unwrap().unwrap()));
        let (xattrs, others): (Vec<_>, Vec<_>) =
            all.partition(|(name, _)| name.starts_with(b"user.") || name.starts_with(b"trusted."));
        let xattrs: Vec<_> = xattrs.iter().map(|(name, value)| (*name, &value[..])).collect();
        let fcaps = others.into_iter().find(|(name, _)| *name == b"security.capability");
        let fcaps = fcaps.map_or_else(Vec::new, |(_, value)| value);
        let (mode, owner) = (mode | u32::from(seen.permissions), (seen.uid, seen.gid));
        let line = format!("{mode:o} {owner:?} {} {xattrs:?} {fcaps:?} {content}", seen.mtime);
        said.insert(path.clone(), line);
        if seen.kind == Kind::Directory {
            tree.list(seen.ino, 0, &mut |listed| {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                open.push(([&path, slash, listed.name].concat(), listed.attributes));
                true
            })
            .unwrap();
        }
    }
    said
}

/// The archive `name`.catar and the index `name`.caidx with the store `store`, in all the ways they can be read.
fn inputs(sandbox: &Sandbox, name: &str) -> [Input; 3] {
    let path = sandbox.path(&format!("{name}.catar"));
    let open = || File::open(&path).unwrap();
    let index = Index::read(&sandbox.read(&format!("{name}.caidx"))[..]).unwrap();
    let store = LocalStore::open(&sandbox.path("store"), LocalOptions::default()).unwrap();
    [
        Input::of_file(open(), &path).unwrap(),
        Input::of_stream(open(), "a stream".to_owned()),
        Input::of_index(index, Arc::new(store), "an index".to_owned()),
    ]
}

/// Checks what is read, and what is kept of it, in each way.
fn check(sandbox: &Sandbox, name: &str) {
    let said = recorded(&sandbox.read(&format!("{name}.catar")));
    for (number, input) in (0..).zip(inputs(sandbox, name)) {
        for is_new in [true, false] {
            let kept = sandbox.path("kept");
            let opened =
                KeptTree::open(&input, &[number; 32], Some(&kept), WORKERS, &Silent).unwrap();
            assert_eq!((opened.is_new, opened.warning.map(|e| e.to_string())), (is_new, None));
            assert_eq!(answered(opened.block), said);
        }
    }
}

#[test]
fn the_trees_that_casync_archived() {
    let vectors = vector_tree::vectors();
    for for_root in [false, true] {
        if for_root && !is_root("the_trees_that_casync_archived") {
            continue;
        }
        let sandbox = Sandbox::new();
        vector_tree::build(&vectors, &sandbox.path("tree"), for_root);
        sandbox.cairn("tar tree.catar tree").succeeds();
        sandbox.cairn("tar -s store tree.caidx tree").succeeds();
        check(&sandbox, "tree");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_tree(things in vec(thing(), 0..25)) {
        let sandbox = Sandbox::new();
        make(&sandbox.path("tree"), &things);
        sandbox.cairn("tar tree.catar tree").succeeds_silently();
        sandbox.cairn("tar -s store tree.caidx tree").succeeds_silently();
        check(&sandbox, "tree");
    }
}
