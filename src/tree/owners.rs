//! Owners as archives record them: numbers shifted and checked, and names.

use std::cell::Cell;
use std::io;

use cairn_formats::catar::{Acl, Node, Shift};
use cairn_formats::{flags, posix_acl};

use super::names::{Name, Names};
use super::rules;

/// Whom archives with a feature word name as owners.
#[derive(Debug)]
pub(super) struct Owners {
    features: u64,
    shift: Option<Shift>,
    names: Names,
}

impl Owners {
    pub(super) fn new(features: u64, shift: Option<Shift>) -> Self {
        Self { features, shift, names: Names::default() }
    }

    /// The names that have been asked for.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Records who owns a node.
    pub(super) fn record(&self, node: &mut Node, uid: u32, gid: u32) -> io::Result<()> {
        (node.uid, node.gid) = (self.id(uid)?, self.id(gid)?);
        node.user = self.name(uid, |id| self.names.user(id))?;
        node.group = self.name(gid, |id| self.names.group(id))?;
        Ok(())
    }

    /// Records the access control lists in two attributes.
    pub(super) fn acl(&self, access: Option<&[u8]>, default: Option<&[u8]>) -> io::Result<Acl> {
        let fault = Cell::new(None);
        let name = |id, lookup: &dyn Fn(u32) -> io::Result<Option<Name>>| {
            self.name(id, lookup).unwrap_or_else(|error| {
                fault.set(Some(error));
                Vec::new()
            })
        };
        let user = |id| name(id, &|id| self.names.user(id));
        let group = |id| name(id, &|id| self.names.group(id));
        let mut acl = posix_acl::from_xattrs(access, default, &user, &group)?;
        if let Some(error) = fault.take() {
            return Err(error);
        }
        let default = acl.default.as_mut().map(|default| [&mut default.users, &mut default.groups]);
        let lists = [&mut acl.users, &mut acl.groups].into_iter();
        for ace in lists.chain(default.into_iter().flatten()).flatten() {
            ace.id = self.id(ace.id)?;
        }
        posix_acl::sort(&mut acl);
        Ok(acl)
    }

    /// The number to be recorded; 0 if none is.
    fn id(&self, id: u32) -> io::Result<u32> {
        if !rules::has_numbers(self.features) {
            return Ok(0);
        }
        let mut recorded = id;
        if let Some(Shift { shift, range }) = self.shift {
            recorded = id.checked_sub(shift).ok_or_else(|| {
                io::Error::other(format!("id {id} is below {shift}, by which ids are shifted"))
            })?;
            if let Ok(range @ 1..) = u32::try_from(range) {
                recorded %= range;
            }
        }
        rules::number(recorded, self.features).map_err(io::Error::other)
    }

    /// The name to be recorded of an id, which is not shifted for that; empty for none.
    fn name(
        &self,
        id: u32,
        lookup: impl Fn(u32) -> io::Result<Option<Name>>,
    ) -> io::Result<Vec<u8>> {
        if self.features & flags::USER_NAMES == 0 || id == 0 {
            return Ok(Vec::new());
        }
        let name = lookup(id)?;
        Ok(rules::name(name.as_deref().unwrap_or_default(), id, self.features))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: u64 = flags::UIDS_32BIT | flags::USER_NAMES;

    fn owners(features: u64, shift: u32, range: u64) -> Owners {
        Owners::new(features, Some(Shift { shift, range }))
    }

    #[test]
    fn ids_are_shifted_down() {
        let ids = |range, id| owners(flags::UIDS_32BIT, 70000, range).id(id).ok();
        assert_eq!(ids(65536, 70000), Some(0));
        assert_eq!(ids(65536, 70000 + 65536 + 3), Some(3));
        assert_eq!(ids(0, 70000 + 65536 + 3), Some(65539));
        assert_eq!(ids(1 << 32, 70000 + 65536 + 3), Some(65539));
        assert_eq!(ids(65536, 69999), None);
    }

    #[test]
    fn ids_that_an_archive_cannot_hold_are_refused() {
        let id = |features, id| Owners::new(features, None).id(id).ok();
        assert_eq!(id(flags::UIDS_32BIT, 65536), Some(65536));
        assert_eq!(id(flags::UIDS_32BIT, 65535), None);
        assert_eq!(id(flags::UIDS_32BIT, u32::MAX), None);
        assert_eq!(id(flags::UIDS_16BIT, 65534), Some(65534));
        assert_eq!(id(flags::UIDS_16BIT, 65536), None);
        assert_eq!(id(flags::USER_NAMES, u32::MAX), Some(0));
    }

    #[test]
    fn names_are_those_casync_records() {
        let name = |features, id, name: Option<&str>| {
            let name = name.map(|name| Name::from(name.as_bytes()));
            let name = Owners::new(features, None).name(id, |_| Ok(name.clone())).unwrap();
            String::from_utf8(name).unwrap()
        };
        assert_eq!(name(BOTH, 7, Some("mail")), "mail");
        assert_eq!(name(BOTH, 0, Some("root")), "");
        assert_eq!(name(BOTH, 7, Some("a.b")), "");
        assert_eq!(name(BOTH, 7, None), "");
        assert_eq!(name(flags::USER_NAMES, 7, None), "7");
        assert_eq!(name(flags::USER_NAMES, 7, Some("a.b")), "a.b");
        assert_eq!(name(flags::USER_NAMES, 0, Some("root")), "");
        assert_eq!(name(flags::UIDS_32BIT, 7, Some("mail")), "");
    }

    #[test]
    fn lists_are_shifted_and_in_order_again() {
        let mut list = vec![2, 0, 0, 0];
        let entries: [(u8, u8, u32); 6] =
            [(1, 6, !0), (2, 4, 70009), (2, 6, 135_538), (4, 4, !0), (16, 6, !0), (32, 0, !0)];
        for (tag, permissions, id) in entries {
            list.extend([tag, 0, permissions, 0]);
            list.extend(id.to_le_bytes());
        }
        let acl = owners(flags::UIDS_32BIT, 70000, 65536).acl(Some(&list), None).unwrap();
        let users: Vec<_> = acl.users.iter().map(|ace| (ace.id, ace.permissions)).collect();
        assert_eq!(users, [(2, 6), (9, 4)]);
        let acl = Owners::new(flags::USER_NAMES, None).acl(Some(&list), None).unwrap();
        let users: Vec<_> = acl.users.iter().map(|ace| (ace.id, &ace.name[..])).collect();
        assert_eq!(users, [(0, &b"135538"[..]), (0, b"70009")]);
        assert!(owners(flags::UIDS_32BIT, 80000, 0).acl(Some(&list), None).is_err());
    }
}
