//! What an archive with some feature word records of a node.
//!
//! ```text
//! all that is known of a node + feature word -> what of it is recorded, or that it is left out
//! ```
//! This is what recording a directory keeps, for nodes that come from elsewhere. The rules are those of casync.

use cairn_formats::catar::{Ace, Acl, Body, Node, Xattr, is_desync};
use cairn_formats::{flags, posix_acl};

use crate::tree::rules;

/// What is recorded of a node; `None` if it is left out as a whole, or why it cannot be recorded.
pub fn kept(mut node: Node, features: u64) -> Result<Option<Node>, String> {
    let has = |bits: u64| features & bits != 0;
    let needed = rules::feature_of(&node.body);
    if needed != 0 && !has(needed) {
        return Ok(None);
    }
    let unsaid = Node::new(node.body.clone());
    node.permissions = rules::permissions(&unsaid, node.permissions, features);
    node.attributes &= features;
    if !matches!(node.body, Body::Directory | Body::File(_)) {
        node.attributes = 0;
        node.projid = 0;
    }
    if !has(flags::QUOTA_PROJID) {
        node.projid = 0;
    }
    node.mtime = rules::time(node.mtime, features);
    keep_owner(&mut node, features)?;
    keep_attributes(&mut node, features);
    Ok(Some(node))
}

fn keep_owner(node: &mut Node, features: u64) -> Result<(), String> {
    let has_numbers = rules::has_numbers(features);
    let (uid, gid) = (rules::number(node.uid, features)?, rules::number(node.gid, features)?);
    for (name, id) in [(&mut node.user, node.uid), (&mut node.group, node.gid)] {
        *name = rules::name(name, id, features);
    }
    for ace in all_aces(&mut node.acl) {
        ace.name = rules::name(&ace.name, ace.id, features);
        ace.id = rules::number(ace.id, features)?;
    }
    (node.uid, node.gid) = (uid, gid);
    if !has_numbers {
        posix_acl::sort(&mut node.acl);
    }
    Ok(())
}

fn all_aces(acl: &mut Acl) -> impl Iterator<Item = &mut Ace> {
    let Acl { users, groups, default, .. } = acl;
    let default = default.iter_mut().flat_map(|it| it.users.iter_mut().chain(&mut it.groups));
    users.iter_mut().chain(groups).chain(default)
}

fn keep_attributes(node: &mut Node, features: u64) {
    let has = |bits: u64| features & bits != 0;
    let is_symlink = matches!(node.body, Body::Symlink(_));
    if is_symlink {
        node.acl = Acl::default();
    }
    if !node.is_directory() {
        node.acl.default = None;
    }
    if !matches!(node.body, Body::File(_)) {
        node.fcaps.clear();
    }
    if is_desync(features) {
        all_to_xattrs(node);
    } else {
        let is_kept = |name: &[u8]| name.starts_with(b"user.") || name.starts_with(b"trusted.");
        node.xattrs.retain(|xattr| has(flags::XATTRS) && !is_symlink && is_kept(&xattr.name));
    }
    node.xattrs.sort();
    node.xattrs.dedup_by(|a, b| a.name == b.name);
    if !has(flags::ACL) {
        node.acl = Acl::default();
    }
    if !has(flags::SELINUX) {
        node.selinux.clear();
    }
    if !has(flags::FCAPS) {
        node.fcaps.clear();
    }
}

/// Adds as extended attributes, which desync has for everything, what else has records of its own.
fn all_to_xattrs(node: &mut Node) {
    let (access, default) =
        posix_acl::to_xattrs(&node.acl, node.mode(), &|ace| ace.id, &|ace| ace.id);
    // The kernel has a NUL behind a label.
    let label = (!node.selinux.is_empty()).then(|| [&node.selinux[..], b"\0"].concat());
    let fcaps = (!node.fcaps.is_empty()).then(|| node.fcaps.clone());
    let all = [
        (posix_acl::ACCESS, access),
        (posix_acl::DEFAULT, default),
        ("security.selinux", label),
        ("security.capability", fcaps),
    ];
    for (name, value) in all {
        let xattr = |value| Xattr { name: name.as_bytes().to_vec(), value };
        node.xattrs.extend(value.map(xattr));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = 0xb000_0001_ffef_fe26;
    const DESYNC: u64 = 0xb000_0000_1000_1f22;

    fn file() -> Node {
        Node {
            permissions: 0o4644,
            uid: 1000,
            gid: 0,
            mtime: -1_234_567_891,
            user: b"ann".to_vec(),
            group: b"root".to_vec(),
            xattrs: [&b"user.a"[..], b"trusted.b", b"security.c"]
                .map(|name| Xattr { name: name.to_vec(), value: Vec::new() })
                .to_vec(),
            fcaps: vec![1],
            selinux: b"label".to_vec(),
            ..Node::new(Body::File(5))
        }
    }

    fn kept_of(node: Node, features: u64) -> Node {
        kept(node, flags::normalised(features)).unwrap().unwrap()
    }

    #[test]
    fn what_the_word_names_is_kept() {
        let node = kept_of(file(), ALL);
        assert_eq!((node.uid, &node.user[..], &node.group[..]), (1000, &b"ann"[..], &b""[..]));
        assert_eq!((node.permissions, node.mtime), (0o4644, -1_234_567_891));
        assert_eq!((node.xattrs.len(), node.fcaps.len(), node.selinux.len()), (2, 1, 5));
        assert_eq!(kept_of(node.clone(), ALL), node);
    }

    #[test]
    fn what_the_word_does_not_name_is_not_there() {
        let expected = Node::new(Body::File(5));
        assert_eq!(kept_of(file(), 0), expected);
        // As casync floors what is before 1970: it refuses whole seconds there.
        assert_eq!(kept_of(file(), flags::SEC_TIME).mtime, -1_709_551_616);
        assert_eq!(kept_of(file(), flags::READ_ONLY).permissions, 0o666);
        let read_only = Node { permissions: 0o444, ..file() };
        assert_eq!(kept_of(read_only, flags::READ_ONLY).permissions, 0o444);
        for (body, bit) in [
            (Body::Symlink(b"x".to_vec()), flags::SYMLINKS),
            (Body::Fifo, flags::FIFOS),
            (Body::Socket, flags::SOCKETS),
            (Body::Block { major: 1, minor: 1 }, flags::DEVICE_NODES),
        ] {
            assert_eq!(kept(Node::new(body.clone()), ALL & !bit), Ok(None));
            assert!(kept(Node::new(body), bit).unwrap().is_some());
        }
    }

    #[test]
    fn owners_that_cannot_be_recorded_are_told() {
        let owned = |uid| Node { uid, ..file() };
        assert!(kept(owned(65535), ALL).is_err());
        assert!(kept(owned(70_000), flags::UIDS_16BIT).is_err());
        assert!(kept(owned(70_000), ALL).is_ok());
        assert!(kept(owned(65535), flags::USER_NAMES).is_ok());
    }

    #[test]
    fn names_that_casync_would_not_read_stand_only_where_there_are_no_numbers() {
        let named = |user: &[u8]| Node { user: user.to_vec(), ..file() };
        for name in [&b"a.b"[..], b"5", b"root", b"-a"] {
            assert_eq!(kept_of(named(name), ALL).user, b"");
            assert_eq!(kept_of(named(name), flags::USER_NAMES).user, name);
        }
        for name in [&b""[..], b"a\0b", &[b'a'; 256]] {
            assert_eq!(kept_of(named(name), ALL).user, b"");
            assert_eq!(kept_of(named(name), flags::USER_NAMES).user, b"1000");
        }
        assert_eq!(kept_of(named(b"_a-1"), flags::USER_NAMES).user, b"_a-1");
    }

    #[test]
    fn desync_has_attributes_for_everything() {
        let node = kept_of(file(), DESYNC);
        let names: Vec<&[u8]> = node.xattrs.iter().map(|xattr| &xattr.name[..]).collect();
        let expected =
            ["security.c", "security.capability", "security.selinux", "trusted.b", "user.a"];
        assert_eq!(names, expected.map(str::as_bytes));
        assert_eq!(node.xattrs[2].value, b"label\0");
        assert!(node.selinux.is_empty() && node.fcaps.is_empty() && node.user.is_empty());
    }

    #[test]
    fn lists_without_numbers_are_in_the_order_of_names() {
        let ace = |id, name: &[u8]| Ace { id, name: name.to_vec(), permissions: 4 };
        let users = vec![ace(1, b"z"), ace(2, b"a"), ace(3, b"")];
        let acl = Acl { users, group_obj: Some(4), ..Acl::default() };
        let node = kept_of(Node { acl, ..file() }, flags::ACL | flags::USER_NAMES);
        assert_eq!(node.acl.users, [ace(0, b"3"), ace(0, b"a"), ace(0, b"z")]);
    }
}
