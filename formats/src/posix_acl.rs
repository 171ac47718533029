//! Access control lists: the bytes the kernel keeps them in, and what archives record.
//!
//! ```text
//! system.posix_acl_access    2:u32 (tag:u16 permissions:u16 id:u32)*      little-endian
//! tag                        1 owner  2 user  4 group  8 groups  16 mask  32 others
//! ```
//! With a mask, the bits of the group in the mode *are* the mask, and what the owning group may do is only
//! in the list. So an archive records the mask nowhere but in the mode, the owning group only where there is
//! a mask, and owner and others never. A default list has no mode and is recorded in full.

use std::io;

use crate::catar::{Ace, Acl, DefaultAcl};

/// The attribute that holds who may do what.
pub const ACCESS: &str = "system.posix_acl_access";
/// The attribute that holds what new files in a directory start with.
pub const DEFAULT: &str = "system.posix_acl_default";

const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// The id of what needs none.
const NOBODY: u32 = u32::MAX;

/// What an archive records of the lists in these two attributes. The names of users and groups are asked for; empty
/// for none.
///
/// Fails on bytes that are no such list.
pub fn from_xattrs(
    access: Option<&[u8]>,
    default: Option<&[u8]>,
    user_name: &dyn Fn(u32) -> Vec<u8>,
    group_name: &dyn Fn(u32) -> Vec<u8>,
) -> io::Result<Acl> {
    let parse = |bytes| List::parse(bytes, user_name, group_name);
    let mut acl = Acl::default();
    // Without a mask the kernel has no further users or groups in a list, and the mode says it all.
    if let Some(list) = access.map(parse).transpose()?.filter(|list| list.mask.is_some()) {
        (acl.users, acl.groups, acl.group_obj) = (list.users, list.groups, list.group_obj);
    }
    if let Some(list) = default.map(parse).transpose()? {
        acl.default = Some(DefaultAcl {
            user_obj: list.user_obj.unwrap_or(0),
            group_obj: list.group_obj.unwrap_or(0),
            other: list.other.unwrap_or(0),
            mask: list.mask,
            users: list.users,
            groups: list.groups,
        });
    }
    Ok(acl)
}

/// The two attributes for what an archive records of a node with this mode: of the list of who may do what, and of
/// what new files start with. The numbers of users and groups are asked for.
///
/// `None` where there is no list; a file that has one must then lose it, or the mode would not say what it
/// should.
pub fn to_xattrs(
    acl: &Acl,
    mode: u32,
    uid: &dyn Fn(&Ace) -> u32,
    gid: &dyn Fn(&Ace) -> u32,
) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let of_mode = |shift: u32| (mode >> shift & 7) as u8;
    let has_access = acl.group_obj.is_some() || !acl.users.is_empty() || !acl.groups.is_empty();
    let access = has_access.then(|| {
        let mut list = Bytes::new();
        list.push(USER_OBJ, of_mode(6), NOBODY);
        list.push_all(USER, &acl.users, uid);
        list.push(GROUP_OBJ, acl.group_obj.unwrap_or(of_mode(3)), NOBODY);
        list.push_all(GROUP, &acl.groups, gid);
        list.push(MASK, of_mode(3), NOBODY);
        list.push(OTHER, of_mode(0), NOBODY);
        list.0
    });
    let default = acl.default.as_ref().map(|default| {
        let mut list = Bytes::new();
        list.push(USER_OBJ, default.user_obj, NOBODY);
        list.push_all(USER, &default.users, uid);
        list.push(GROUP_OBJ, default.group_obj, NOBODY);
        list.push_all(GROUP, &default.groups, gid);
        if let Some(mask) = default.mask {
            list.push(MASK, mask, NOBODY);
        }
        list.push(OTHER, default.other, NOBODY);
        list.0
    });
    (access, default)
}

/// Brings the users and groups of all lists into the order that archives have, each once.
///
/// To be done again when ids were changed.
pub fn sort(acl: &mut Acl) {
    let Acl { users, groups, default, .. } = acl;
    let default = default.as_mut().map(|default| [&mut default.users, &mut default.groups]);
    for aces in [users, groups].into_iter().chain(default.into_iter().flatten()) {
        // By id, no name before a name, name, permissions: that is how the fields stand.
        aces.sort_unstable();
        aces.dedup();
    }
}

/// Gives the users and groups in an attribute other ids. What is no list stays as it is.
pub fn map_ids(list: &mut [u8], to: impl Fn(u32) -> u32) {
    let Some((_, entries)) = list.split_first_chunk_mut::<4>() else { return };
    let (entries, _) = entries.as_chunks_mut::<8>();
    for entry in &mut *entries {
        let [tag, tag_high, _, _, id @ ..] = entry;
        if matches!(u16::from_le_bytes([*tag, *tag_high]), USER | GROUP) {
            *id = to(u32::from_le_bytes(*id)).to_le_bytes();
        }
    }
    // Users and groups stand in the order of their ids.
    entries.sort_by_key(|&[tag, tag_high, _, _, id @ ..]| {
        (u16::from_le_bytes([tag, tag_high]), u32::from_le_bytes(id))
    });
}

/// A list as the kernel keeps it.
#[derive(Default)]
struct List {
    user_obj: Option<u8>,
    users: Vec<Ace>,
    group_obj: Option<u8>,
    groups: Vec<Ace>,
    mask: Option<u8>,
    other: Option<u8>,
}

impl List {
    fn parse(
        bytes: &[u8],
        user_name: &dyn Fn(u32) -> Vec<u8>,
        group_name: &dyn Fn(u32) -> Vec<u8>,
    ) -> io::Result<Self> {
        let (version, entries) = bytes.split_first_chunk().ok_or_else(|| invalid("too short"))?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(invalid(format!("of version {version}")));
        }
        let (entries, []) = entries.as_chunks::<8>() else {
            return Err(invalid("with half an entry"));
        };
        let mut list = Self::default();
        for &[tag, tag_high, bits, bits_high, id @ ..] in entries {
            let permissions = bits;
            if permissions > 7 || bits_high != 0 {
                return Err(invalid(format!("with permissions {permissions:#o}")));
            }
            let id = u32::from_le_bytes(id);
            let obj = match u16::from_le_bytes([tag, tag_high]) {
                USER => {
                    list.users.push(Ace { id, name: user_name(id), permissions });
                    continue;
                }
                GROUP => {
                    list.groups.push(Ace { id, name: group_name(id), permissions });
                    continue;
                }
                USER_OBJ => &mut list.user_obj,
                GROUP_OBJ => &mut list.group_obj,
                MASK => &mut list.mask,
                OTHER => &mut list.other,
                tag => return Err(invalid(format!("with an entry of kind {tag}"))),
            };
            if obj.replace(permissions).is_some() {
                return Err(invalid("with an entry twice"));
            }
        }
        list.checked()
    }

    /// What an archive could not hold is refused.
    fn checked(mut self) -> io::Result<Self> {
        if self.user_obj.is_none() || self.group_obj.is_none() || self.other.is_none() {
            return Err(invalid("without owner, group or others"));
        }
        let has_names = !self.users.is_empty() || !self.groups.is_empty();
        if has_names && self.mask.is_none() {
            return Err(invalid("with users or groups but no mask"));
        }
        if self.users.iter().chain(&self.groups).any(|ace| ace.id == NOBODY) {
            return Err(invalid("with a user or group that is none"));
        }
        for aces in [&mut self.users, &mut self.groups] {
            aces.sort_unstable();
            aces.dedup();
        }
        Ok(self)
    }
}

fn invalid(why: impl AsRef<str>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an access control list {}", why.as_ref()))
}

/// A list in the making.
struct Bytes(Vec<u8>);

impl Bytes {
    fn new() -> Self {
        Self(VERSION.to_le_bytes().to_vec())
    }

    fn push(&mut self, tag: u16, permissions: u8, id: u32) {
        self.0.extend_from_slice(&tag.to_le_bytes());
        self.0.extend_from_slice(&u16::from(permissions).to_le_bytes());
        self.0.extend_from_slice(&id.to_le_bytes());
    }

    fn push_all(&mut self, tag: u16, aces: &[Ace], id: &dyn Fn(&Ace) -> u32) {
        for ace in aces {
            self.push(tag, ace.permissions, id(ace));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    /// Those of testdata/casync-vectors.json at `aclgroup` and `acldir`.
    const GROUP_LIST: &[(u16, u8, u32)] = &[
        (1, 6, NOBODY),
        (2, 4, 54400),
        (2, 6, 54399),
        (4, 4, NOBODY),
        (8, 2, 54500),
        (16, 6, NOBODY),
        (32, 0, NOBODY),
    ];

    fn bytes(entries: &[(u16, u8, u32)]) -> Vec<u8> {
        let mut list = Bytes::new();
        for &(tag, permissions, id) in entries {
            list.push(tag, permissions, id);
        }
        list.0
    }

    fn nameless(_: u32) -> Vec<u8> {
        Vec::new()
    }

    fn ace(id: u32, permissions: u8) -> Ace {
        Ace { id, name: Vec::new(), permissions }
    }

    #[test]
    fn a_list_is_recorded_in_order_and_without_what_the_mode_says() {
        let acl = from_xattrs(Some(&bytes(GROUP_LIST)), None, &nameless, &nameless).unwrap();
        let users = vec![ace(54399, 6), ace(54400, 4)];
        let groups = vec![ace(54500, 2)];
        assert_eq!(acl, Acl { users, groups, group_obj: Some(4), default: None });
    }

    #[test]
    fn a_list_without_a_mask_says_no_more_than_the_mode() {
        let list = bytes(&[(1, 7, NOBODY), (4, 5, NOBODY), (32, 0, NOBODY)]);
        let acl = from_xattrs(Some(&list), Some(&list), &nameless, &nameless).unwrap();
        let default = DefaultAcl { user_obj: 7, group_obj: 5, ..DefaultAcl::default() };
        assert_eq!(acl, Acl { default: Some(default), ..Acl::default() });
    }

    #[test]
    fn names_are_asked_for_and_come_into_the_order() {
        let list = bytes(GROUP_LIST);
        let user = |id: u32| format!("u{id}").into_bytes();
        let acl = from_xattrs(Some(&list), None, &user, &nameless).unwrap();
        assert_eq!(acl.users[0], Ace { id: 54399, name: b"u54399".to_vec(), permissions: 6 });
        assert!(acl.groups[0].name.is_empty());
        // As in an archive without numbers.
        let mut acl = acl;
        for ace in &mut acl.users {
            ace.id = 0;
        }
        acl.users[0].name = b"z".to_vec();
        acl.users.push(acl.users[0].clone());
        sort(&mut acl);
        assert_eq!(acl.users.len(), 2);
        assert_eq!(acl.users[1].name, b"z");
    }

    #[test]
    fn other_ids_come_into_their_order() {
        let mut list = bytes(GROUP_LIST);
        map_ids(&mut list, |id| 54600 - id);
        let users = [(2, 6, 201), (2, 4, 200)];
        let mut wanted = GROUP_LIST.to_vec();
        wanted.splice(1..3, users.into_iter().rev());
        wanted[4].2 = 100;
        assert_eq!(list, bytes(&wanted));
        for len in 0..5 {
            map_ids(&mut [255; 5][..len], |id| id);
        }
    }

    #[test]
    fn bytes_that_are_no_list_are_refused() {
        let whole = bytes(GROUP_LIST);
        let refused = |bytes: &[u8]| from_xattrs(Some(bytes), None, &nameless, &nameless).is_err();
        assert!(!refused(&whole));
        for len in 0..whole.len() {
            assert!(refused(&whole[..len]), "{len} bytes");
        }
        assert!(refused(&bytes(&[(1, 6, 0), (4, 4, 0), (32, 8, 0)])));
        assert!(refused(&bytes(&[(1, 6, 0), (4, 4, 0), (32, 0, 0), (64, 0, 0)])));
        assert!(refused(&bytes(&[(1, 6, 0), (4, 4, 0), (32, 0, 0), (4, 4, 0)])));
        assert!(refused(&bytes(&[(1, 6, 0), (2, 4, 7), (4, 4, 0), (32, 0, 0)])));
        assert!(refused(&bytes(&[(1, 6, 0), (2, 4, NOBODY), (4, 4, 0), (16, 0, 0), (32, 0, 0)])));
    }

    fn aces() -> impl Strategy<Value = Vec<Ace>> {
        vec((0..6_u32, 0..8_u8), 0..4).prop_map(|aces| {
            let mut aces: Vec<_> = aces.into_iter().map(|(id, bits)| ace(id, bits)).collect();
            aces.sort();
            aces.dedup();
            aces
        })
    }

    fn acl() -> impl Strategy<Value = Acl> {
        let access = option::of((aces(), aces(), 0..8_u8));
        let objs = (0..8_u8, 0..8_u8, 0..8_u8);
        let default = option::of((objs, option::of((aces(), aces(), 0..8_u8))));
        (access, default).prop_map(|(access, default)| {
            let (users, groups, group_obj) = match access {
                Some((users, groups, group_obj)) => (users, groups, Some(group_obj)),
                None => (Vec::new(), Vec::new(), None),
            };
            let default = default.map(|((user_obj, group_obj, other), named)| {
                let (users, groups, mask) = match named {
                    Some((users, groups, mask)) => (users, groups, Some(mask)),
                    None => (Vec::new(), Vec::new(), None),
                };
                DefaultAcl { user_obj, group_obj, other, mask, users, groups }
            });
            Acl { users, groups, group_obj, default }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(acl in acl(), mode in 0..0o10000_u32) {
            let (access, default) = to_xattrs(&acl, mode, &|ace| ace.id, &|ace| ace.id);
            let read = from_xattrs(access.as_deref(), default.as_deref(), &nameless, &nameless);
            prop_assert_eq!(read.unwrap(), acl);
            if let Some(access) = access {
                let objs = access[4..].chunks(8).filter(|entry| entry[0] & 0x0a == 0);
                let bits: Vec<u32> = objs.map(|entry| u32::from(entry[2])).collect();
                prop_assert_eq!(mode & 0o777, bits[0] << 6 | bits[2] << 3 | bits[3]);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..64)) {
            let _ = from_xattrs(Some(&bytes), Some(&bytes), &nameless, &nameless);
        }
    }
}
