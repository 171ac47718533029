//! Whatever an archive says: the tree that is made of it has what one reads from front to end, and what was saved of it
//! and damaged since is an error at most.
//!
//! ```text
//! bytes -> nodes, in order \
//!       -> block -> tree    = the same
//!          block -> saved -(damaged)-> tree -> whatever it answers, it answers
//! ```

#![no_main]

#[path = "shared/records.rs"]
mod records;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use cairn_formats::catar::{Decoder, Item, Node, Span};
use cairn_fuse::tree::{Block, Tree, TreeOptions};
use cairn_fuse::{Bytes, Content, FileSystem, Ino, Kind};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

const KEY: [u8; 32] = [7; 32];

/// Bytes of the header of what was saved, which has a digest of its own.
const HEADER: usize = 112;

fuzz_target!(|bytes: &[u8]| {
    let nodes = read(bytes);
    let block = Block::build(Span::new(bytes, 0..bytes.len() as u64, 4096));
    let Ok(block) = block else {
        let is_file = nodes.as_ref().and_then(|all| all.get(&b""[..]));
        assert!(is_file.is_none_or(|(root, _)| !root.is_directory()), "it can be read");
        return;
    };
    let mut saved = Vec::new();
    block.write(&mut saved, &KEY).expect("memory takes it");
    let again = Block::open(saved.clone(), &KEY).expect("it was saved just now");
    let nodes = nodes.expect("what became a tree can be read");
    for block in [block, again] {
        assert_eq!(block.nodes(), nodes.len() as u64);
        let tree = Tree::new(block, Arc::new(Nothing), TreeOptions::default());
        assert_eq!(compare(&tree, Ino::ROOT, &mut Vec::new(), &nodes), nodes.len());
    }
    let len = saved.len() - HEADER;
    for (at, byte) in bytes.iter().enumerate().take(64) {
        saved[HEADER + at * 31 % len] ^= byte;
    }
    if let Some(block) = Block::open(saved, &KEY) {
        ask_all(block);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    if seed % 8 == 0 { size } else { records::mend(data, size, max_size) }
});

/// A node, and where its bytes begin.
type Nodes = HashMap<Vec<u8>, (Node, u64)>;

/// The nodes by their paths; `None` if it is no archive.
fn read(bytes: &[u8]) -> Option<Nodes> {
    let mut decoder = Decoder::new(bytes);
    let mut all = Nodes::new();
    while let Some(item) = decoder.next().ok()? {
        if let Item::Node(node) = item {
            all.insert(decoder.path().to_vec(), (*node, decoder.body_start()));
        }
    }
    Some(all)
}

/// Compares a node and all below it, and returns how many these are.
fn compare(tree: &Tree, ino: Ino, path: &mut Vec<u8>, nodes: &Nodes) -> usize {
    let (node, start) = &nodes[path];
    let found = tree.attributes(ino).expect("it was listed");
    assert_eq!((u32::from(found.permissions), found.mtime), (node.permissions, node.mtime));
    assert_eq!((found.uid, found.gid), (node.uid, node.gid));
    if found.kind == Kind::File {
        let extent = tree.extent(ino).expect("it is a file");
        assert_eq!(extent.range, *start..start + node.size());
    }
    if found.kind != Kind::Directory {
        return 1;
    }
    let mut inside = Vec::new();
    let listed = tree.list(ino, 0, &mut |listed| {
        inside.push((listed.name.to_vec(), listed.attributes));
        true
    });
    listed.expect("it is a directory");
    let len = path.len();
    let mut count = 1;
    for (name, attributes) in inside {
        assert_eq!(tree.lookup(ino, &name), Ok(Some(attributes)));
        if len > 0 {
            path.push(b'/');
        }
        path.extend(name);
        count += compare(tree, attributes.ino, path, nodes);
        path.truncate(len);
    }
    count
}

/// Asks everything there is to ask. Who goes down from the root comes by no node twice.
fn ask_all(block: Block) {
    let nodes = block.nodes();
    let tree = Tree::new(block, Arc::new(Nothing), TreeOptions::default());
    for node in (0..nodes + 4).map(Ino) {
        let _ = (tree.attributes(node), tree.parent(node), tree.read_link(node));
        let _ = (tree.lookup(node, b"m"), tree.xattr(node, b"user.b"), tree.xattr_names(node));
        if let Ok(extent) = tree.extent(node) {
            assert!(extent.range.end <= tree.space().bytes);
        }
    }
    let (mut open, mut met) = (vec![Ino::ROOT], 0);
    while let Some(directory) = open.pop() {
        let _ = tree.list(directory, 0, &mut |listed| {
            met += 1;
            let is_directory = listed.attributes.kind == Kind::Directory;
            open.extend(is_directory.then_some(listed.attributes.ino));
            true
        });
    }
    assert!(met < nodes, "{met} of {nodes}");
}

/// Bytes that nobody reads.
struct Nothing;

impl Content for Nothing {
    fn size(&self) -> u64 {
        0
    }

    fn at_hand(&self, _range: Range<u64>) -> Option<Bytes> {
        None
    }

    fn read(&self, _range: Range<u64>) -> cairn_store::Result<Bytes> {
        unreachable!("nobody reads it")
    }
}
