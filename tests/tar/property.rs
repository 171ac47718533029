//! What is written to a tar is read from it again, whatever it is.

use cairn::archive::kept::kept;
use cairn::archive::step::{Content, Named, Step};
use cairn_formats::catar::{Ace, Acl, Body, DefaultAcl, Node, Xattr};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::read::assert_same;
use crate::support::{FEATURES, nodes, packed, read, written};

fn text(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(b'n'), 1_u8..], 1..longest)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![text(9), text(255)];
    name.prop_filter("a name", |name| name != b"." && name != b".." && !name.contains(&b'/'))
}

fn aces() -> impl Strategy<Value = Vec<Ace>> {
    let ace = (any::<u32>(), prop_oneof![Just(String::new()), "[a-z_][a-z0-9-]{0,9}"], 0..8_u8);
    btree_map(1..9000_u32, ace, 0..3).prop_map(|aces| {
        let ace = |(id, (_, name, permissions)): (u32, (u32, String, u8))| Ace {
            id,
            name: name.into_bytes(),
            permissions,
        };
        aces.into_iter().map(ace).collect()
    })
}

fn acl() -> impl Strategy<Value = Acl> {
    let default = (0..8_u8, 0..8_u8, 0..8_u8, 0..8_u8, aces(), aces());
    let default = default.prop_map(|(user_obj, group_obj, other, mask, users, groups)| {
        DefaultAcl { user_obj, group_obj, other, mask: Some(mask), users, groups }
    });
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
    let owner = (any::<u32>(), any::<u32>(), "[a-z_][a-zA-Z0-9-]{0,40}", "[a-z]{0,40}");
    let names = btree_set("(user|trusted)\\.[a-z%=0-9]{1,9}", 0..4);
    let values = vec(vec(any::<u8>(), 1..40), 4);
    let label = prop_oneof![Just(String::new()), "[a-z:]{1,20}"];
    let attributes = (names, values, label, vec(any::<u8>(), 0..24));
    (0..0o10000_u32, owner, any::<i64>(), option::of(acl()), attributes).prop_filter_map(
        "what can be recorded",
        move |(permissions, (uid, gid, user, group), mtime, acl, attributes)| {
            let (names, values, label, fcaps) = attributes;
            let xattr = |(name, value): (String, Vec<u8>)| Xattr { name: name.into_bytes(), value };
            let node = Node {
                permissions,
                uid,
                gid,
                mtime,
                user: user.into_bytes(),
                group: group.into_bytes(),
                xattrs: names.into_iter().zip(values).map(xattr).collect(),
                acl: acl.unwrap_or_default(),
                selinux: label.into_bytes(),
                fcaps,
                ..Node::new(body.clone())
            };
            kept(node, FEATURES).ok().flatten()
        },
    )
}

fn leaf() -> impl Strategy<Value = Vec<(Node, Vec<u8>)>> {
    let numbers = || (0..1_u32 << 12, 0..1_u32 << 20);
    let file = vec(any::<u8>(), 0..1100).prop_flat_map(|bytes| {
        node(Body::File(bytes.len() as u64)).prop_map(move |node| (node, bytes.clone()))
    });
    let other = prop_oneof![
        text(300).prop_map(Body::Symlink),
        numbers().prop_map(|(major, minor)| Body::Block { major, minor }),
        numbers().prop_map(|(major, minor)| Body::Character { major, minor }),
        Just(Body::Fifo),
    ];
    let other = other.prop_flat_map(node).prop_map(|node| (node, Vec::new()));
    vec(prop_oneof![file, other], 1)
}

/// A directory and all below it, in steps.
fn directory(depth: u32) -> BoxedStrategy<Vec<Step>> {
    let leaf = leaf().prop_map(|mut leaf| {
        let (node, bytes) = leaf.pop().unwrap();
        let content = match node.body {
            Body::File(_) => Content::Bytes(bytes),
            _ => Content::None,
        };
        vec![Step::Node(Box::new(Named { name: Vec::new(), node, content }))]
    });
    let child =
        if depth == 0 { leaf.boxed() } else { prop_oneof![leaf, directory(depth - 1)].boxed() };
    let children = (btree_set(name(), 0..5), vec(child, 5));
    (node(Body::Directory), children)
        .prop_map(|(node, (names, children))| {
            let root = Named { name: Vec::new(), node, content: Content::None };
            let mut steps = vec![Step::Node(Box::new(root))];
            for (name, mut child) in names.into_iter().zip(children) {
                if let Some(Step::Node(named)) = child.first_mut() {
                    named.name = name;
                }
                steps.append(&mut child);
            }
            steps.push(Step::Leave);
            steps
        })
        .boxed()
}

/// Steps cannot be copied, and a strategy wants to.
#[derive(Debug)]
struct Steps(Vec<Step>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(steps in directory(3).prop_map(Steps)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("written.tar");
        let stats = written(&packed(&steps.0, FEATURES), &path);
        prop_assert_eq!((stats.left_out.len(), stats.reduced), (0, 0));
        assert_same(&read(&path, FEATURES), &nodes(&steps.0));
    }
}
