//! Nodes into records.

use super::acl::{Ace, Acl, DefaultAcl};
use super::is_desync;
use super::node::{Body, Node};
use super::record::{ENTRY_LEN, HEADER_LEN, Kind, begin, put, put_text};

/// Appends the name of the node that is to follow.
pub fn encode_name(out: &mut Vec<u8>, name: &[u8]) {
    put_text(out, Kind::Filename, name);
}

/// Appends a node as an archive with this feature word records it, but for the bytes of a file and what is
/// in a directory: those come next.
///
/// What the feature word leaves out must not be there.
pub fn encode_node(out: &mut Vec<u8>, node: &Node, features: u64) {
    begin(out, Kind::Entry, (ENTRY_LEN - HEADER_LEN) as u64);
    put(out, features);
    put(out, u64::from(node.mode()));
    put(out, node.attributes);
    put(out, u64::from(node.uid));
    put(out, u64::from(node.gid));
    // casync writes times before 1970 in the same way, though it calls the word unsigned.
    put(out, node.mtime.cast_unsigned());
    let text = |out: &mut Vec<u8>, kind, text: &[u8]| {
        if !text.is_empty() {
            put_text(out, kind, text);
        }
    };
    text(out, Kind::User, &node.user);
    text(out, Kind::Group, &node.group);
    let nul: &[u8] = if is_desync(features) { b"\0" } else { b"" };
    for xattr in &node.xattrs {
        begin(out, Kind::Xattr, (xattr.name.len() + 1 + xattr.value.len() + nul.len()) as u64);
        out.extend_from_slice(&xattr.name);
        out.push(0);
        out.extend_from_slice(&xattr.value);
        out.extend_from_slice(nul);
    }
    put_acl(out, &node.acl);
    text(out, Kind::Selinux, &node.selinux);
    if !node.fcaps.is_empty() {
        begin(out, Kind::Fcaps, node.fcaps.len() as u64);
        out.extend_from_slice(&node.fcaps);
    }
    if node.projid != 0 {
        begin(out, Kind::QuotaProjid, 8);
        put(out, u64::from(node.projid));
    }
    match &node.body {
        Body::File(size) => begin(out, Kind::Payload, *size),
        Body::Symlink(target) => put_text(out, Kind::Symlink, target),
        Body::Block { major, minor } | Body::Character { major, minor } => {
            begin(out, Kind::Device, 16);
            put(out, u64::from(*major));
            put(out, u64::from(*minor));
        }
        Body::Directory | Body::Fifo | Body::Socket => {}
    }
}

fn put_acl(out: &mut Vec<u8>, acl: &Acl) {
    put_aces(out, Kind::AclUser, &acl.users);
    put_aces(out, Kind::AclGroup, &acl.groups);
    if let Some(permissions) = acl.group_obj {
        begin(out, Kind::AclGroupObj, 8);
        put(out, u64::from(permissions));
    }
    if let Some(DefaultAcl { user_obj, group_obj, other, mask, users, groups }) = &acl.default {
        begin(out, Kind::AclDefault, 32);
        put(out, u64::from(*user_obj));
        put(out, u64::from(*group_obj));
        put(out, u64::from(*other));
        put(out, mask.map_or(u64::MAX, u64::from));
        put_aces(out, Kind::AclDefaultUser, users);
        put_aces(out, Kind::AclDefaultGroup, groups);
    }
}

fn put_aces(out: &mut Vec<u8>, kind: Kind, aces: &[Ace]) {
    for ace in aces {
        let name_len = if ace.name.is_empty() { 0 } else { ace.name.len() + 1 };
        begin(out, kind, (16 + name_len) as u64);
        put(out, u64::from(ace.id));
        put(out, u64::from(ace.permissions));
        if name_len > 0 {
            out.extend_from_slice(&ace.name);
            out.push(0);
        }
    }
}
