//! Any tree, and any order of names.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn text(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8.., 1..longest)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    text(12).prop_filter("a name", |name| name != b"." && name != b".." && !name.contains(&b'/'))
}

fn aces() -> impl Strategy<Value = Vec<Ace>> {
    let ace = (any::<u32>(), 0..8_u8);
    vec(ace.prop_map(|(id, permissions)| Ace { id: id >> 1, name: Vec::new(), permissions }), 0..3)
        .prop_map(|mut aces| {
            aces.sort();
            aces.dedup();
            aces
        })
}

fn acl(is_directory: bool) -> impl Strategy<Value = Acl> {
    let objs = (0..8_u8, 0..8_u8, 0..8_u8, 0..8_u8);
    let default =
        (objs, aces(), aces()).prop_map(|((user_obj, group_obj, other, mask), users, groups)| {
            DefaultAcl { user_obj, group_obj, other, mask: Some(mask), users, groups }
        });
    (aces(), aces(), 0..8_u8, option::of(default)).prop_map(
        move |(users, groups, group_obj, default)| Acl {
            users,
            groups,
            group_obj: Some(group_obj),
            default: default.filter(|_| is_directory),
        },
    )
}

fn node(body: Body) -> impl Strategy<Value = Node> {
    let xattrs = vec(("[a-c]{1,2}", vec(any::<u8>(), 0..9)), 0..3).prop_map(|mut xattrs| {
        xattrs.sort();
        xattrs.dedup_by(|a, b| a.0 == b.0);
        let xattr = |(name, value)| Xattr { name: format!("user.{name}").into(), value };
        xattrs.into_iter().map(xattr).collect()
    });
    let owner = (0..u32::MAX, 0..u32::MAX);
    let rest = (prop_oneof![Just(Vec::new()), text(9)], vec(any::<u8>(), 0..3));
    let acl = option::of(acl(body == Body::Directory));
    (0..0o10000_u32, owner, any::<i64>(), xattrs, acl, rest).prop_map(
        move |(permissions, (uid, gid), mtime, xattrs, acl, (selinux, fcaps))| {
            let acl = acl.unwrap_or_default();
            let plain = Node::new(body.clone());
            Node { permissions, uid, gid, mtime, xattrs, acl, selinux, fcaps, ..plain }
        },
    )
}

fn leaf() -> impl Strategy<Value = Sample> {
    let numbers = || (0..1_u32 << 12, 0..1_u32 << 20);
    let bytes = vec(any::<u8>(), 0..100);
    let body = prop_oneof![
        3 => bytes.prop_map(|bytes| (Body::File(bytes.len() as u64), bytes)),
        1 => text(20).prop_map(|target| (Body::Symlink(target), Vec::new())),
        1 => numbers().prop_map(|(major, minor)| (Body::Block { major, minor }, Vec::new())),
        1 => numbers().prop_map(|(major, minor)| (Body::Character { major, minor }, Vec::new())),
        1 => Just((Body::Fifo, Vec::new())),
        1 => Just((Body::Socket, Vec::new())),
    ];
    body.prop_flat_map(|(body, bytes)| (node(body), Just(bytes))).prop_map(|(node, bytes)| Sample {
        node,
        bytes,
        children: Vec::new(),
    })
}

fn any_directory(children: impl Strategy<Value = Sample>) -> impl Strategy<Value = Sample> {
    (node(Body::Directory), vec((name(), children), 0..6), any::<bool>()).prop_map(
        |(node, mut children, is_sorted)| {
            children.sort_by(|a, b| a.0.cmp(&b.0));
            children.dedup_by(|a, b| a.0 == b.0);
            if !is_sorted {
                children.reverse();
            }
            Sample { node, bytes: Vec::new(), children }
        },
    )
}

/// Any tree at all.
pub(super) fn any_tree() -> impl Strategy<Value = Sample> {
    any_directory(leaf().prop_recursive(4, 40, 6, any_directory))
}

proptest! {
    #[test]
    fn a_tree_answers_as_its_archive_does(sample in any_tree()) {
        tree(&sample);
    }

    #[test]
    fn a_saved_tree_answers_as_its_archive_does(sample in any_tree(), key in any::<[u8; 32]>()) {
        let archive = sample.archive();
        let mut saved = Vec::new();
        block(&archive).write(&mut saved, &key).unwrap();
        let opened = Block::open(saved, &key).unwrap();
        mutual(&Tree::new(opened, Arc::new(Nothing), TreeOptions::default()), &archive);
    }
}
