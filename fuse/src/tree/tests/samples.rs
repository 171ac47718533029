//! Trees in memory, the archives of them, and what a walk through an archive says.

use std::collections::BTreeMap;

use cairn_formats::catar::{
    Child, Decoder, Item, encode_goodbye, encode_name, encode_node, hash_name,
};

use super::*;

const FEATURES: u64 = 0xb000_0001_ffef_fe26;

/// A tree in memory.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) node: Node,
    pub(super) bytes: Vec<u8>,
    pub(super) children: Vec<(Vec<u8>, Sample)>,
}

impl Sample {
    pub(super) fn of(body: Body) -> Self {
        Self { node: Node::new(body), bytes: Vec::new(), children: Vec::new() }
    }

    pub(super) fn archive(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let entry = out.len() as u64;
        encode_node(out, &self.node, FEATURES);
        out.extend_from_slice(&self.bytes);
        if self.node.is_directory() {
            let mut children = Vec::new();
            for (name, child) in &self.children {
                let start = out.len() as u64;
                encode_name(out, name);
                child.write(out);
                children.push(Child { hash: hash_name(name), start, end: out.len() as u64 });
            }
            let at = out.len() as u64;
            encode_goodbye(out, &mut children, entry, at);
        }
    }
}

pub(super) fn file(bytes: &[u8]) -> Sample {
    Sample { bytes: bytes.to_vec(), ..Sample::of(Body::File(bytes.len() as u64)) }
}

pub(super) fn block(archive: &[u8]) -> Block {
    Block::build(Span::new(archive, 0..archive.len() as u64, 100)).unwrap()
}

/// The tree of a sample, which answers as the sample's archive does.
pub(super) fn tree(sample: &Sample) -> Tree {
    let archive = sample.archive();
    let tree = Tree::new(block(&archive), Arc::new(Nothing), TreeOptions::default());
    mutual(&tree, &archive);
    tree
}

/// Checks that a tree has what its archive has, and nothing else.
#[track_caller]
pub(super) fn mutual(tree: &Tree, archive: &[u8]) {
    let mut recorded = BTreeMap::new();
    let mut decoder = Decoder::new(archive);
    while let Some(item) = decoder.next().unwrap() {
        if let Item::Node(node) = item {
            recorded.insert(decoder.path().to_vec(), (*node, decoder.body_start()));
        }
    }
    assert_eq!(tree.space(), Space { bytes: archive.len() as u64, nodes: recorded.len() as u64 });
    let mut open = vec![(Vec::new(), tree.attributes(Ino::ROOT).unwrap())];
    while let Some((path, seen)) = open.pop() {
        let (node, start) = recorded.remove(&path).unwrap();
        assert_eq!(tree.attributes(seen.ino), Ok(seen));
        compare(tree, &seen, &node, start);
        if seen.kind != Kind::Directory {
            continue;
        }
        let mut last = None;
        tree.list(seen.ino, 0, &mut |listed| {
            assert!(last.as_deref() < Some(listed.name), "{:?}", listed.name);
            last = Some(listed.name.to_vec());
            assert_eq!(tree.lookup(seen.ino, listed.name), Ok(Some(listed.attributes)));
            if listed.attributes.kind == Kind::Directory {
                assert_eq!(tree.parent(listed.attributes.ino), Ok(seen.ino));
            }
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            open.push(([&path, slash, listed.name].concat(), listed.attributes));
            true
        })
        .unwrap();
    }
    assert!(recorded.is_empty(), "{recorded:?}");
}

fn compare(tree: &Tree, seen: &Attributes, node: &Node, start: u64) {
    assert_eq!(u32::from(seen.permissions), node.permissions);
    assert_eq!((seen.uid, seen.gid, seen.mtime), (node.uid, node.gid, node.mtime));
    let value = |name: &[u8]| tree.xattr(seen.ino, name).unwrap();
    for xattr in &node.xattrs {
        assert_eq!(value(&xattr.name).as_ref(), Some(&xattr.value));
    }
    let others = [
        !node.fcaps.is_empty(),
        !node.selinux.is_empty(),
        value(posix_acl::ACCESS.as_bytes()).is_some(),
        value(posix_acl::DEFAULT.as_bytes()).is_some(),
    ];
    assert_eq!(others[2], node.acl.group_obj.is_some() && seen.kind != Kind::Symlink);
    assert_eq!(others[3], node.acl.default.is_some());
    let count = node.xattrs.len() + others.iter().filter(|&&has| has).count();
    let names = tree.xattr_names(seen.ino).unwrap();
    assert_eq!(names.iter().filter(|&&byte| byte == 0).count(), count);
    match &node.body {
        Body::Directory => assert_eq!((seen.kind, seen.size), (Kind::Directory, 0)),
        Body::File(size) => {
            assert_eq!((seen.kind, seen.size), (Kind::File, *size));
            assert_eq!(tree.extent(seen.ino).unwrap().range, start..start + size);
        }
        Body::Symlink(target) => {
            assert_eq!((seen.kind, seen.size), (Kind::Symlink, target.len() as u64));
            assert_eq!(tree.read_link(seen.ino).as_ref(), Ok(target));
        }
        Body::Block { major, minor } => {
            assert_eq!((seen.kind, seen.device), (Kind::Block, (*major, *minor)));
        }
        Body::Character { major, minor } => {
            assert_eq!((seen.kind, seen.device), (Kind::Character, (*major, *minor)));
        }
        Body::Fifo => assert_eq!(seen.kind, Kind::Fifo),
        Body::Socket => assert_eq!(seen.kind, Kind::Socket),
    }
}
