//! The records of one node, put together.

use super::acl::{Ace, DefaultAcl};
use super::node::{Body, Node, Xattr};
use super::record::Kind;
use crate::flags;
use crate::wire::word;

/// The features of what desync writes. It puts a NUL behind the value of an extended attribute.
const DESYNC: u64 = 0x1000_1f22;

type Parsed<T> = Result<T, String>;

/// A node of which more may come.
#[derive(Debug)]
pub(super) struct Parts {
    node: Node,
    /// The kind of the last record, of which none may come again that should have come before.
    last: u8,
    /// Whether values of extended attributes end in a NUL that is not theirs.
    is_desync: bool,
}

impl Parts {
    /// Begins with what follows the header of an ENTRY.
    pub(super) fn of_entry(body: &[u8], features: u64) -> Parsed<Self> {
        let mode = word(body, 8);
        let mode = u32::try_from(mode).map_err(|_| format!("a mode of {mode:#o}"))?;
        let what = Body::of_mode(mode).ok_or_else(|| format!("a mode of {mode:#o}"))?;
        if mode & !(what.type_bits() | 0o7777) != 0 {
            return Err(format!("a mode of {mode:#o}"));
        }
        let id = |at| {
            let id = word(body, at);
            u32::try_from(id)
                .ok()
                .filter(|&id| id != u32::MAX)
                .ok_or(format!("a user or group {id}"))
        };
        let mut node = Node::new(what);
        node.permissions = mode & 0o7777;
        node.attributes = word(body, 16);
        if node.attributes & !flags::ATTRIBUTES != 0 {
            return Err(format!("unknown attributes {:#x}", node.attributes & !flags::ATTRIBUTES));
        }
        (node.uid, node.gid) = (id(24)?, id(32)?);
        node.mtime = word(body, 40).cast_signed();
        let is_desync = features & flags::ALL == DESYNC;
        Ok(Self { node, last: 0, is_desync })
    }

    /// Whether such a record belongs between an ENTRY and the body.
    pub(super) fn is_metadata(kind: Kind) -> bool {
        place(kind).is_some()
    }

    /// Takes a record of metadata.
    pub(super) fn add(&mut self, kind: Kind, body: &[u8]) -> Parsed<()> {
        let (place, may_repeat) = place(kind).expect("a record of metadata");
        if place < self.last || (place == self.last && !may_repeat) {
            return Err(format!("{kind:?} comes too late or twice"));
        }
        self.last = place;
        let node = &mut self.node;
        match kind {
            Kind::User => node.user = name(body)?,
            Kind::Group => node.group = name(body)?,
            Kind::Xattr => self.add_xattr(body)?,
            Kind::AclUser => push(&mut node.acl.users, body)?,
            Kind::AclGroup => push(&mut node.acl.groups, body)?,
            Kind::AclGroupObj => node.acl.group_obj = Some(permissions(word(body, 0))?),
            Kind::AclDefault => {
                let mask = Some(word(body, 24)).filter(|&mask| mask != u64::MAX);
                node.acl.default = Some(DefaultAcl {
                    user_obj: permissions(word(body, 0))?,
                    group_obj: permissions(word(body, 8))?,
                    other: permissions(word(body, 16))?,
                    mask: mask.map(permissions).transpose()?,
                    ..DefaultAcl::default()
                });
            }
            Kind::AclDefaultUser => push(&mut self.default_acl()?.users, body)?,
            Kind::AclDefaultGroup => push(&mut self.default_acl()?.groups, body)?,
            Kind::Selinux => {
                node.selinux = text(body).map_err(|why| format!("a label {why}"))?.to_vec();
            }
            Kind::Fcaps => node.fcaps = body.to_vec(),
            Kind::QuotaProjid => {
                let id = word(body, 0);
                let id = u32::try_from(id).ok().filter(|&id| id != 0);
                node.projid = id.ok_or_else(|| format!("a project {}", word(body, 0)))?;
            }
            _ => unreachable!("not a record of metadata"),
        }
        Ok(())
    }

    fn add_xattr(&mut self, body: &[u8]) -> Parsed<()> {
        let nul = body.iter().position(|&byte| byte == 0).filter(|&nul| (1..=255).contains(&nul));
        let nul = nul.ok_or("an extended attribute without a name")?;
        let (name, mut value) = (&body[..nul], &body[nul + 1..]);
        if self.is_desync && value.last() == Some(&0) {
            value = &value[..value.len() - 1];
        }
        if value.len() > 65536 {
            return Err("an extended attribute that is too long".to_owned());
        }
        if self.node.xattrs.last().is_some_and(|last| last.name.as_slice() >= name) {
            return Err("extended attributes that are not in order".to_owned());
        }
        self.node.xattrs.push(Xattr { name: name.to_vec(), value: value.to_vec() });
        Ok(())
    }

    fn default_acl(&mut self) -> Parsed<&mut DefaultAcl> {
        let default = self.node.acl.default.as_mut();
        default.ok_or_else(|| "an entry of a default ACL without the ACL".to_owned())
    }

    /// Takes the record that ends the metadata: its kind, its length, and what it holds if that has
    /// been read.
    pub(super) fn set_body(&mut self, kind: Kind, len: u64, body: &[u8]) -> Parsed<()> {
        match (&mut self.node.body, kind) {
            (Body::File(size), Kind::Payload) => *size = len,
            (Body::Symlink(target), Kind::Symlink) => {
                *target = text(body).map_err(|why| format!("a target {why}"))?.to_vec();
            }
            (Body::Block { major, minor } | Body::Character { major, minor }, Kind::Device) => {
                // What Linux has room for in a device's number.
                let part = |at, bits| {
                    let part = word(body, at);
                    u32::try_from(part)
                        .ok()
                        .filter(|part| part >> bits == 0_u32)
                        .ok_or(format!("a device {part}"))
                };
                (*major, *minor) = (part(0, 12)?, part(8, 20)?);
            }
            (Body::Directory, Kind::Filename | Kind::Goodbye)
            | (Body::Fifo | Body::Socket, Kind::Filename | Kind::Goodbye) => {}
            (what, kind) => return Err(format!("{kind:?} behind the entry of a {what:?}")),
        }
        Ok(())
    }

    /// The node, if it is complete.
    pub(super) fn finish(self) -> Parsed<Node> {
        let node = self.node;
        let acl = &node.acl;
        if !(acl.users.is_empty() && acl.groups.is_empty()) && acl.group_obj.is_none() {
            return Err("an ACL with users or groups but no mask".to_owned());
        }
        if let Some(default) = &acl.default {
            if !node.is_directory() {
                return Err("a default ACL of what is no directory".to_owned());
            }
            if !(default.users.is_empty() && default.groups.is_empty()) && default.mask.is_none() {
                return Err("a default ACL with users or groups but no mask".to_owned());
            }
        }
        Ok(node)
    }
}

/// The place of a record of metadata among the others, and whether there may be several.
fn place(kind: Kind) -> Option<(u8, bool)> {
    Some(match kind {
        Kind::User => (1, false),
        Kind::Group => (2, false),
        Kind::Xattr => (3, true),
        Kind::AclUser => (4, true),
        Kind::AclGroup => (5, true),
        Kind::AclGroupObj => (6, false),
        Kind::AclDefault => (7, false),
        Kind::AclDefaultUser => (8, true),
        Kind::AclDefaultGroup => (9, true),
        Kind::Selinux => (10, false),
        Kind::Fcaps => (11, false),
        Kind::QuotaProjid => (12, false),
        _ => return None,
    })
}

fn push(aces: &mut Vec<Ace>, body: &[u8]) -> Parsed<()> {
    let id = word(body, 0);
    let id = u32::try_from(id)
        .ok()
        .filter(|&id| id != u32::MAX)
        .ok_or(format!("a user or group {id}"))?;
    let name = if body.len() == 16 { Vec::new() } else { name(&body[16..])? };
    let ace = Ace { id, name, permissions: permissions(word(body, 8))? };
    if aces.last().is_some_and(|last| *last >= ace) {
        return Err("an ACL that is not in order".to_owned());
    }
    aces.push(ace);
    Ok(())
}

fn permissions(word: u64) -> Parsed<u8> {
    u8::try_from(word)
        .ok()
        .filter(|&bits| bits <= 7)
        .ok_or(format!("permissions {word:#o} in an ACL"))
}

fn name(body: &[u8]) -> Parsed<Vec<u8>> {
    text(body).map(<[u8]>::to_vec).map_err(|why| format!("the name of a user or group {why}"))
}

/// A text with a NUL at its end and nowhere else.
pub(super) fn text(body: &[u8]) -> Result<&[u8], &'static str> {
    match body.split_last() {
        None | Some((_, [])) => Err("that is empty"),
        Some((0, text)) if !text.contains(&0) => Ok(text),
        Some(_) => Err("that does not end where it should"),
    }
}
