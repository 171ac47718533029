//! What was saved may have been damaged since: that is an error at most.

use proptest::collection::vec;
use proptest::prelude::*;

use super::property::any_tree;
use super::*;

const KEY: [u8; 32] = [5; 32];

fn saved(sample: &Sample) -> Vec<u8> {
    let mut saved = Vec::new();
    block(&sample.archive()).write(&mut saved, &KEY).unwrap();
    saved
}

/// Asks everything there is to ask. Who goes down from the root comes by no node twice.
fn ask_all(block: Block) {
    let nodes = block.nodes();
    let shift = Some(Shift { shift: 1, range: 0 });
    let options = TreeOptions { shift, ..TreeOptions::default() };
    let tree = Tree::new(block, Arc::new(Nothing), options);
    for node in (0..nodes + 4).map(Ino) {
        let _ = (tree.attributes(node), tree.parent(node), tree.read_link(node));
        let _ = (tree.lookup(node, b"m"), tree.xattr(node, b"user.b"));
        let _ = tree.xattr(node, posix_acl::ACCESS.as_bytes());
        let _ = tree.xattr_names(node);
        if let Ok(extent) = tree.extent(node) {
            assert!(extent.range.end <= tree.space().bytes);
        }
    }
    let (mut open, mut met) = (vec![Ino::ROOT], 0);
    while let Some(directory) = open.pop() {
        let _ = tree.list(directory, 0, &mut |listed| {
            met += 1;
            open.extend(
                (listed.attributes.kind == Kind::Directory).then_some(listed.attributes.ino),
            );
            true
        });
    }
    assert!(met < nodes, "{met} of {nodes}");
}

proptest! {
    #[test]
    fn damage_is_an_error_at_most(
        sample in any_tree(),
        damage in vec((any::<prop::sample::Index>(), 1_u8..), 1..8),
    ) {
        let mut bytes = saved(&sample);
        let header = 112;
        let len = bytes.len() - header;
        for (at, flip) in damage {
            bytes[header + at.index(len)] ^= flip;
        }
        if let Some(block) = Block::open(bytes, &KEY) {
            ask_all(block);
        }
    }

    #[test]
    fn no_rows_lead_astray(
        sample in any_tree(),
        words in vec((any::<prop::sample::Index>(), prop_oneof![0..40_u32, any::<u32>()]), 1..20),
    ) {
        let mut bytes = saved(&sample);
        let nodes = block(&sample.archive()).nodes() as usize;
        for (at, word) in words {
            // Where what is in a directory is, its parent, its attributes.
            let at = 112 + 24 + at.index(nodes * rows::LEN / 4 - 6) * 4;
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        if let Some(block) = Block::open(bytes, &KEY) {
            ask_all(block);
        }
    }
}

#[test]
fn a_header_that_was_damaged_or_cut_off_is_none() {
    let bytes = saved(&directory(vec![(b"a", file(b"b"))]));
    for at in 0..112 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(Block::open(damaged, &KEY).is_none(), "byte {at}");
    }
    for len in 0..bytes.len() {
        assert!(Block::open(bytes[..len].to_vec(), &KEY).is_none(), "{len} bytes");
    }
    assert!(Block::open([&bytes[..], b"more"].concat(), &KEY).is_none());
}

#[test]
fn a_directory_in_itself_is_an_error() {
    let mut bytes = saved(&directory(vec![(b"a", directory(vec![]))]));
    // The only row but the root's is made to have itself, and the root.
    for (first, count) in [(0_u32, 1_u32), (0, 2), (1, 1), (1, u32::MAX)] {
        bytes[112 + 32..][..4].copy_from_slice(&first.to_le_bytes());
        bytes[112 + 36..][..4].copy_from_slice(&count.to_le_bytes());
        let block = Block::open(bytes.clone(), &KEY).unwrap();
        let tree = Tree::new(block, Arc::new(Nothing), TreeOptions::default());
        let a = at(&tree, &[b"a"]).ino;
        assert_eq!(tree.lookup(a, b"a"), Err(Errno::IO));
        assert_eq!(tree.list(a, 0, &mut |_| true), Err(Errno::IO));
    }
}
