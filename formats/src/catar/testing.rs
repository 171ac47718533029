//! Trees in memory and the archives of them, for tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{
    Ace, Acl, Body, Child, DefaultAcl, Node, Xattr, encode_goodbye, encode_name, encode_node,
    hash_name,
};
use crate::flags;

pub(super) const FEATURES: u64 = 0xb000_0001_ffef_fe26;

/// A tree in memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    pub(super) node: Node,
    pub(super) bytes: Vec<u8>,
    pub(super) children: Vec<(Vec<u8>, Tree)>,
}

pub(super) fn write(out: &mut Vec<u8>, tree: &Tree, features: u64) {
    let entry = out.len() as u64;
    encode_node(out, &tree.node, features);
    out.extend_from_slice(&tree.bytes);
    if tree.node.is_directory() {
        let mut children = Vec::new();
        for (name, child) in &tree.children {
            let start = out.len() as u64;
            encode_name(out, name);
            write(out, child, features);
            children.push(Child { hash: hash_name(name), start, end: out.len() as u64 });
        }
        let at = out.len() as u64;
        encode_goodbye(out, &mut children, entry, at);
    }
}

pub(super) fn archive(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, tree, FEATURES);
    out
}

fn text(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8.., 1..longest)
}

pub(super) fn name() -> impl Strategy<Value = Vec<u8>> {
    text(12).prop_filter("a name", |name| name != b"." && name != b".." && !name.contains(&b'/'))
}

fn aces() -> impl Strategy<Value = Vec<Ace>> {
    let ace = (0..9_u32, prop_oneof![Just(Vec::new()), text(4)], 0..8_u8);
    let aces = vec(ace.prop_map(|(id, name, permissions)| Ace { id, name, permissions }), 0..3);
    aces.prop_map(|mut aces| {
        aces.sort();
        aces.dedup();
        aces
    })
}

fn acl() -> impl Strategy<Value = Acl> {
    let default = (0..8_u8, 0..8_u8, 0..8_u8, 0..8_u8, aces(), aces()).prop_map(
        |(user_obj, group_obj, other, mask, users, groups)| DefaultAcl {
            user_obj,
            group_obj,
            other,
            mask: Some(mask),
            users,
            groups,
        },
    );
    (aces(), aces(), 0..8_u8, option::of(default)).prop_map(
        |(users, groups, group_obj, default)| Acl {
            users,
            groups,
            group_obj: Some(group_obj),
            default,
        },
    )
}

fn node(body: Body) -> impl Strategy<Value = Node> {
    let owner = (0..9_u32, 0..9_u32, prop_oneof![Just(Vec::new()), text(9)], text(9));
    let xattrs = vec((text(9), vec(any::<u8>(), 0..9)), 0..3).prop_map(|mut xattrs| {
        xattrs.sort();
        xattrs.dedup_by(|a, b| a.0 == b.0);
        xattrs.into_iter().map(|(name, value)| Xattr { name, value }).collect()
    });
    let rest = (prop_oneof![Just(Vec::new()), text(9)], vec(any::<u8>(), 0..20), 0..3_u32);
    let is_directory = body == Body::Directory;
    (0..0o10000_u32, any::<u64>(), owner, any::<i64>(), xattrs, option::of(acl()), rest).prop_map(
        move |(permissions, attributes, (uid, gid, user, group), mtime, xattrs, acl, rest)| {
            let mut acl = acl.unwrap_or_default();
            acl.default = acl.default.filter(|_| is_directory);
            let (selinux, fcaps, projid) = rest;
            let attributes = attributes & flags::ATTRIBUTES;
            let body = body.clone();
            Node {
                permissions,
                attributes,
                uid,
                gid,
                mtime,
                user,
                group,
                xattrs,
                acl,
                selinux,
                fcaps,
                projid,
                body,
            }
        },
    )
}

pub(super) fn leaf() -> impl Strategy<Value = Tree> {
    let numbers = || (0..1_u32 << 12, 0..1_u32 << 20);
    let bytes = vec(any::<u8>(), 0..100);
    let file = bytes.prop_flat_map(|bytes| {
        node(Body::File(bytes.len() as u64)).prop_map(move |node| (node, bytes.clone()))
    });
    let other = prop_oneof![
        text(20).prop_map(Body::Symlink),
        numbers().prop_map(|(major, minor)| Body::Block { major, minor }),
        numbers().prop_map(|(major, minor)| Body::Character { major, minor }),
        Just(Body::Fifo),
        Just(Body::Socket),
    ];
    let other = other.prop_flat_map(node).prop_map(|node| (node, Vec::new()));
    prop_oneof![file, other].prop_map(|(node, bytes)| Tree { node, bytes, children: Vec::new() })
}

fn directory(children: impl Strategy<Value = Tree>) -> impl Strategy<Value = Tree> {
    (node(Body::Directory), vec((name(), children), 0..6)).prop_map(|(node, mut children)| {
        children.sort_by(|a, b| a.0.cmp(&b.0));
        children.dedup_by(|a, b| a.0 == b.0);
        Tree { node, bytes: Vec::new(), children }
    })
}

pub(super) fn tree() -> impl Strategy<Value = Tree> {
    directory(leaf().prop_recursive(4, 30, 6, directory))
}

pub(super) fn file(bytes: &[u8]) -> Tree {
    let node = Node::new(Body::File(bytes.len() as u64));
    Tree { node, bytes: bytes.to_vec(), children: Vec::new() }
}

pub(super) fn directory_of(children: Vec<(&[u8], Tree)>) -> Tree {
    let children = children.into_iter().map(|(name, tree)| (name.to_vec(), tree)).collect();
    Tree { node: Node::new(Body::Directory), bytes: Vec::new(), children }
}
