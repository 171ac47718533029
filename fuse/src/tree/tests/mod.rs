//! What a tree answers is what its archive says.

mod damaged;
mod property;
mod samples;

use std::ops::Range;
use std::sync::Arc;

use cairn_formats::catar::{Ace, Acl, Body, DefaultAcl, Node, Shift, Span, Xattr};
use cairn_formats::posix_acl;

use self::samples::{Sample, block, file, mutual, tree};
use super::*;
use crate::content::Bytes;

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

/// A directory of these.
fn directory(children: Vec<(&[u8], Sample)>) -> Sample {
    let children = children.into_iter().map(|(name, sample)| (name.to_vec(), sample)).collect();
    Sample { children, ..Sample::of(Body::Directory) }
}

fn names(tree: &Tree, directory: Ino, from: u64, most: usize) -> Vec<(Vec<u8>, u64)> {
    let mut names = Vec::new();
    tree.list(directory, from, &mut |listed| {
        names.push((listed.name.to_vec(), listed.next));
        names.len() < most
    })
    .unwrap();
    names
}

fn at(tree: &Tree, path: &[&[u8]]) -> Attributes {
    let root = tree.attributes(Ino::ROOT).unwrap();
    path.iter().fold(root, |there, name| tree.lookup(there.ino, name).unwrap().unwrap())
}

/// The numbers in a list of who may do what.
fn ids(list: &[u8]) -> Vec<u32> {
    let ids = list[4..].chunks(8).map(|entry| u32::from_le_bytes(*entry.last_chunk().unwrap()));
    ids.filter(|&id| id != u32::MAX).collect()
}

#[test]
fn every_kind_of_node_is_shown() {
    let special = [
        (&b"block"[..], Body::Block { major: 259, minor: 0xf_ffff }),
        (b"character", Body::Character { major: 1, minor: 3 }),
        (b"fifo", Body::Fifo),
        (b"link", Body::Symlink(b"../to/\xff nowhere".to_vec())),
        (b"socket", Body::Socket),
    ];
    let mut children: Vec<_> =
        special.into_iter().map(|(name, body)| (name, Sample::of(body))).collect();
    let mut here = file(b"some bytes");
    (here.node.uid, here.node.gid, here.node.mtime) = (1000, 70_000, -1_500_000_001);
    here.node.permissions = 0o6751;
    children.insert(3, (b"here", here));
    children.insert(0, (b"a", directory(vec![(b"empty", directory(vec![]))])));
    let tree = tree(&directory(children));
    let kind = |name: &[u8]| at(&tree, &[name]);
    assert_eq!((kind(b"block").kind, kind(b"block").device), (Kind::Block, (259, 0xf_ffff)));
    assert_eq!((kind(b"character").kind, kind(b"character").device), (Kind::Character, (1, 3)));
    assert_eq!((kind(b"fifo").kind, kind(b"socket").kind), (Kind::Fifo, Kind::Socket));
    let link = kind(b"link");
    assert_eq!((link.kind, link.size, link.permissions), (Kind::Symlink, 15, 0o777));
    assert_eq!(tree.read_link(link.ino).unwrap(), b"../to/\xff nowhere");
    let here = kind(b"here");
    assert_eq!((here.kind, here.size, here.links), (Kind::File, 10, 1));
    assert_eq!((here.uid, here.gid, here.mtime), (1000, 70_000, -1_500_000_001));
    assert_eq!(here.permissions, 0o6751);
    let (root, a, empty) = (at(&tree, &[]), kind(b"a"), at(&tree, &[b"a", b"empty"]));
    assert_eq!((root.ino, root.links, a.links, empty.links), (Ino::ROOT, 3, 3, 2));
    assert_eq!(tree.parent(empty.ino), Ok(a.ino));
    assert_eq!((tree.parent(a.ino), tree.parent(Ino::ROOT)), (Ok(Ino::ROOT), Ok(Ino::ROOT)));
    assert!(names(&tree, empty.ino, 0, 9).is_empty());
    assert!(!tree.has_xattrs() && !tree.has_acls());
    assert_eq!(tree.space().nodes, 9);
}

#[test]
fn what_a_node_is_not_is_told() {
    let tree = tree(&directory(vec![(b"a", directory(vec![])), (b"f", file(b"12345"))]));
    let (a, f) = (at(&tree, &[b"a"]).ino, at(&tree, &[b"f"]).ino);
    assert_eq!(tree.lookup(f, b"x"), Err(Errno::NOTDIR));
    assert_eq!(tree.list(f, 0, &mut |_| true), Err(Errno::NOTDIR));
    assert_eq!(tree.parent(f), Err(Errno::NOTDIR));
    assert_eq!(tree.lookup(a, b"x"), Ok(None));
    assert_eq!((tree.read_link(f), tree.read_link(a)), (Err(Errno::INVAL), Err(Errno::INVAL)));
    assert_eq!(tree.extent(a).err(), Some(Errno::ISDIR));
    assert_eq!(tree.extent(f).unwrap().range.count(), 5);
    for unknown in [0, 4, 5, 100, u64::MAX] {
        assert_eq!(tree.attributes(Ino(unknown)), Err(Errno::STALE), "{unknown}");
        assert_eq!(tree.xattr_names(Ino(unknown)), Err(Errno::STALE), "{unknown}");
    }
}

#[test]
fn names_are_any_bytes() {
    let all: [&[u8]; 6] =
        [b"\x01", b" ", b"a\nb", "\u{e4}\u{1f600}".as_bytes(), b"\xfe\xff", b"..."];
    let mut all: Vec<Vec<u8>> = all.iter().map(|name| name.to_vec()).collect();
    all.push(vec![b'n'; 255]);
    all.sort();
    let children = all.iter().map(|name| (&name[..], file(name))).collect();
    let tree = tree(&directory(children));
    assert!(names(&tree, Ino::ROOT, 0, 100).iter().map(|(name, _)| name).eq(&all));
    for name in &all {
        assert_eq!(at(&tree, &[name]).size, name.len() as u64);
        let longer = [&name[..], b"\x01"].concat();
        assert_eq!(tree.lookup(Ino::ROOT, &longer), Ok(None));
    }
    assert_eq!(tree.lookup(Ino::ROOT, b""), Ok(None));
}

#[test]
fn a_deep_tree_is_no_trouble() {
    let mut sample = file(b"deep");
    for _ in 0..500 {
        sample = directory(vec![(b"d", sample), (b"e", file(b""))]);
    }
    let tree = tree(&sample);
    let mut there = at(&tree, &[]);
    let mut above = Vec::new();
    while there.kind == Kind::Directory {
        above.push(there.ino);
        there = tree.lookup(there.ino, b"d").unwrap().unwrap();
    }
    assert_eq!((there.size, above.len()), (4, 500));
    for two in above.windows(2) {
        assert_eq!(tree.parent(two[1]), Ok(two[0]));
    }
}

#[test]
fn ten_thousand_names_are_found_and_listed_from_anywhere() {
    let all: Vec<Vec<u8>> = (0..10_000).map(|n| format!("name-{n:07}").into_bytes()).collect();
    let children = all.iter().map(|name| (&name[..], Sample::of(Body::Fifo))).collect();
    let tree = tree(&directory(vec![(b"many", directory(children))]));
    let many = at(&tree, &[b"many"]).ino;
    for name in all.iter().step_by(7) {
        assert!(tree.lookup(many, name).unwrap().is_some());
    }
    assert_eq!(tree.lookup(many, b"name-0010000"), Ok(None));
    let (mut seen, mut from) = (Vec::new(), 0);
    loop {
        let some = names(&tree, many, from, 333);
        let Some(&(_, next)) = some.last() else { break };
        from = next;
        seen.extend(some.into_iter().map(|(name, _)| name));
    }
    assert_eq!(seen, all);
    assert!(names(&tree, many, u64::MAX, 1).is_empty());
}

#[test]
fn names_that_are_not_in_order_are_put_into_it() {
    let unsorted = [&b"c"[..], b"a", b"d", b"b", b"ab"];
    let children =
        unsorted.iter().map(|&name| (name, directory(vec![(name, file(name))]))).collect();
    let tree = tree(&directory(children));
    let listed: Vec<_> = names(&tree, Ino::ROOT, 0, 9).into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, [&b"a"[..], b"ab", b"b", b"c", b"d"]);
    for name in unsorted {
        let there = at(&tree, &[name]);
        assert_eq!(tree.parent(there.ino), Ok(Ino::ROOT));
        assert_eq!(names(&tree, there.ino, 0, 9), [(name.to_vec(), 1)]);
    }
}

#[test]
fn a_single_file_is_no_tree() {
    let archive = file(b"bytes").archive();
    let error = Block::build(Span::new(&archive[..], 0..archive.len() as u64, 100)).unwrap_err();
    assert!(error.to_string().contains("its root is one file"), "{error}");
}

#[test]
fn what_is_cut_off_is_no_tree() {
    let archive = directory(vec![(b"a", directory(vec![(b"b", file(b"bytes"))]))]).archive();
    for len in 0..archive.len() {
        let cut = Span::new(&archive[..len], 0..len as u64, 100);
        assert!(Block::build(cut).is_err(), "{len} bytes");
    }
}

fn with_attributes() -> Sample {
    let xattr = |name: &str, value: &[u8]| Xattr { name: name.into(), value: value.to_vec() };
    let ace = |id, permissions| Ace { id, name: b"somebody".to_vec(), permissions };
    let acl = Acl {
        users: vec![ace(5, 6), ace(70_000, 4)],
        groups: vec![ace(9, 1)],
        group_obj: Some(5),
        default: None,
    };
    let default =
        DefaultAcl { user_obj: 7, mask: Some(7), users: vec![ace(5, 6)], ..DefaultAcl::default() };
    let mut a = file(b"a");
    a.node.xattrs = vec![xattr("trusted.t", b""), xattr("user.u", b"\0\xff")];
    (a.node.selinux, a.node.fcaps) = (b"some:label".to_vec(), vec![1, 2, 3]);
    (a.node.acl, a.node.permissions) = (acl, 0o754);
    let mut b = directory(vec![]);
    b.node.acl.default = Some(default);
    directory(vec![(b"a", a), (b"b", b), (b"c", file(b""))])
}

#[test]
fn extended_attributes_are_those_of_the_kernel() {
    let tree = tree(&with_attributes());
    assert!(tree.has_xattrs() && tree.has_acls());
    let node = |name: &[u8]| at(&tree, &[name]).ino;
    let value = |name: &[u8], xattr: &str| tree.xattr(node(name), xattr.as_bytes()).unwrap();
    let listed = tree.xattr_names(node(b"a")).unwrap();
    let wanted =
        "security.capability\0security.selinux\0system.posix_acl_access\0trusted.t\0user.u\0";
    assert_eq!(String::from_utf8(listed).unwrap(), wanted);
    assert_eq!(value(b"a", "user.u").unwrap(), b"\0\xff");
    assert_eq!(value(b"a", "trusted.t").unwrap(), b"");
    assert_eq!(value(b"a", "security.selinux").unwrap(), b"some:label\0");
    assert_eq!(value(b"a", "security.capability").unwrap(), [1, 2, 3]);
    assert_eq!(value(b"a", "user."), None);
    let access = value(b"a", posix_acl::ACCESS).unwrap();
    let read = posix_acl::from_xattrs(Some(&access), None, &|_| Vec::new(), &|_| Vec::new());
    assert_eq!(read.unwrap().users[1].permissions, 4);
    assert_eq!(ids(&access), [5, 70_000, 9]);
    assert_eq!(ids(&value(b"b", posix_acl::DEFAULT).unwrap()), [5]);
    assert_eq!(value(b"b", posix_acl::ACCESS), None);
    assert!(tree.xattr_names(node(b"c")).unwrap().is_empty());
}

#[test]
fn owners_are_those_that_are_wished_for() {
    let mut sample = with_attributes();
    (sample.node.uid, sample.node.gid) = (70_000, u32::MAX - 1);
    let archive = sample.archive();
    let of = |options| Tree::new(block(&archive), Arc::new(Nothing), options);
    let owner = |options| {
        let there = at(&of(options), &[]);
        (there.uid, there.gid)
    };
    let shift = |shift, range| TreeOptions {
        shift: Some(Shift { shift, range }),
        ..TreeOptions::default()
    };
    assert_eq!(owner(TreeOptions::default()), (70_000, u32::MAX - 1));
    assert_eq!(owner(TreeOptions { uid: Some(7), ..shift(100, 0) }), (7, 65_534));
    assert_eq!(owner(TreeOptions { gid: Some(0), ..TreeOptions::default() }), (70_000, 0));
    assert_eq!(owner(shift(100_000, 65_536)), (104_464, 165_534));
    let tree = of(shift(100_000, 65_536));
    let list = |name: &[u8], list: &str| tree.xattr(at(&tree, &[name]).ino, list.as_bytes());
    assert_eq!(ids(&list(b"a", posix_acl::ACCESS).unwrap().unwrap()), [100_005, 104_464, 100_009]);
    assert_eq!(ids(&list(b"b", posix_acl::DEFAULT).unwrap().unwrap()), [100_005]);
    let tree = of(shift(u32::MAX - 6, 0));
    let list = tree.xattr(at(&tree, &[b"a"]).ino, posix_acl::ACCESS.as_bytes());
    assert_eq!(ids(&list.unwrap().unwrap()), [65_534, u32::MAX - 1, 65_534]);
}

#[test]
fn equal_attributes_are_kept_once() {
    let mut one = file(b"");
    one.node.xattrs = vec![Xattr { name: b"user.long".to_vec(), value: vec![7; 1000] }];
    let size = |count: usize| {
        let all: Vec<Vec<u8>> = (0..count).map(|n| format!("{n:03}").into_bytes()).collect();
        let children = all.iter().map(|name| (&name[..], one.clone())).collect();
        block(&directory(children).archive()).size()
    };
    assert_eq!(size(101) - size(1), 100 * (rows::LEN as u64 + 3));
}

#[test]
fn what_was_saved_is_what_was_built() {
    let archive = with_attributes().archive();
    let built = block(&archive);
    let mut saved = Vec::new();
    built.write(&mut saved, &[3; 32]).unwrap();
    assert_eq!(saved.len() as u64, built.size());
    let opened = Block::open(saved.clone(), &[3; 32]).unwrap();
    assert_eq!(opened.nodes(), built.nodes());
    let mut again = Vec::new();
    opened.write(&mut again, &[3; 32]).unwrap();
    assert_eq!(again, saved);
    let of = |block| Tree::new(block, Arc::new(Nothing), TreeOptions::default());
    mutual(&of(opened), &archive);
    assert!(Block::open(saved, &[4; 32]).is_none());
}
