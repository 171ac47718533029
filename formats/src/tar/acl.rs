//! Access control lists and their text, `user::rw-,user:1000:r--,group::r--,mask::rw-,other::---`.
//!
//! Entries are parted by commas or newlines. Behind the permissions of a user or group that has a name may come its
//! number, as star writes it: `user:lisa:rw-:1000`.

use crate::catar::{Ace, Acl, DefaultAcl};

/// Who an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    User,
    Group,
    Mask,
    Other,
}

/// The entries of one text.
#[derive(Debug, Default)]
struct Entries {
    user_obj: Option<u8>,
    group_obj: Option<u8>,
    other: Option<u8>,
    mask: Option<u8>,
    users: Vec<Ace>,
    groups: Vec<Ace>,
}

/// Reads the text of an access ACL into `acl`; says what is wrong with it.
///
/// `id` gives the number of a user (`true`) or group (`false`) of which there is only the name.
pub fn parse_access(
    text: &[u8],
    acl: &mut Acl,
    id: &mut dyn FnMut(bool, &[u8]) -> Option<u32>,
) -> Result<(), String> {
    let entries = parse(text, id)?;
    (acl.users, acl.groups) = (entries.users, entries.groups);
    // Without a mask the mode says it.
    acl.group_obj = entries.mask.and(entries.group_obj);
    Ok(())
}

/// Reads the text of a default ACL into `acl`; says what is wrong with it. See [`parse_access`].
pub fn parse_default(
    text: &[u8],
    acl: &mut Acl,
    id: &mut dyn FnMut(bool, &[u8]) -> Option<u32>,
) -> Result<(), String> {
    let Entries { user_obj, group_obj, other, mask, users, groups } = parse(text, id)?;
    acl.default = user_obj.zip(group_obj).zip(other).map(|((user_obj, group_obj), other)| {
        DefaultAcl { user_obj, group_obj, other, mask, users, groups }
    });
    Ok(())
}

fn parse(text: &[u8], id: &mut dyn FnMut(bool, &[u8]) -> Option<u32>) -> Result<Entries, String> {
    let mut entries = Entries::default();
    for entry in text.split(|byte| b",\n".contains(byte)) {
        let entry = entry.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
        if !entry.is_empty() {
            let why = || format!("`{}` is no entry of an ACL", String::from_utf8_lossy(entry));
            parse_entry(entry, &mut entries, id).ok_or_else(why)?;
        }
    }
    let is_empty = text.trim_ascii().is_empty();
    let has_all = [entries.user_obj, entries.group_obj, entries.other].iter().all(Option::is_some);
    if !is_empty && !has_all {
        return Err("an ACL without its owner, group or others".to_owned());
    }
    if entries.mask.is_none() && !(entries.users.is_empty() && entries.groups.is_empty()) {
        return Err("an ACL with users or groups but no mask".to_owned());
    }
    for aces in [&mut entries.users, &mut entries.groups] {
        aces.sort();
        if aces.windows(2).any(|two| two[0].id == two[1].id) {
            return Err("an ACL that names somebody twice".to_owned());
        }
    }
    Ok(entries)
}

fn parse_entry(
    entry: &[u8],
    entries: &mut Entries,
    id: &mut dyn FnMut(bool, &[u8]) -> Option<u32>,
) -> Option<()> {
    let mut fields = entry.split(|&byte| byte == b':').map(<[u8]>::trim_ascii);
    let tag = match fields.next()? {
        b"user" | b"u" => Tag::User,
        b"group" | b"g" => Tag::Group,
        b"mask" | b"m" => Tag::Mask,
        b"other" | b"o" => Tag::Other,
        _ => return None,
    };
    let who = fields.next()?;
    // `other:r--` is an old form of `other::r--`.
    let (who, bits) = match fields.next() {
        Some(bits) => (who, bits),
        None => (&b""[..], who),
    };
    let permissions = permissions(bits)?;
    let given = fields.next().map(number);
    let slot = match (tag, who) {
        (Tag::User, b"") => &mut entries.user_obj,
        (Tag::Group, b"") => &mut entries.group_obj,
        (Tag::Mask, b"") => &mut entries.mask,
        (Tag::Other, b"") => &mut entries.other,
        (Tag::User | Tag::Group, who) => {
            let is_user = tag == Tag::User;
            let ace = match (number(who), given) {
                (Some(id), _) => Ace { id, name: Vec::new(), permissions },
                (None, Some(id)) => Ace { id: id?, name: who.to_vec(), permissions },
                (None, None) => Ace { id: id(is_user, who)?, name: who.to_vec(), permissions },
            };
            (if is_user { &mut entries.users } else { &mut entries.groups }).push(ace);
            return Some(());
        }
        _ => return None,
    };
    slot.replace(permissions).is_none().then_some(())
}

fn number(text: &[u8]) -> Option<u32> {
    super::pax::decimal(text).and_then(|id| u32::try_from(id).ok()).filter(|&id| id != u32::MAX)
}

fn permissions(text: &[u8]) -> Option<u8> {
    text.iter().try_fold(0, |bits, byte| match byte {
        b'r' => Some(bits | 4),
        b'w' => Some(bits | 2),
        b'x' => Some(bits | 1),
        b'-' => Some(bits),
        _ => None,
    })
}

/// The text of an access ACL of a node with these permissions; `None` if it says no more than they do.
pub fn access_text(acl: &Acl, permissions: u32) -> Option<Vec<u8>> {
    let bits = |shift: u32| (permissions >> shift & 7) as u8;
    let group_obj = acl.group_obj?;
    Some(text([bits(6), group_obj, bits(0)], Some(bits(3)), &acl.users, &acl.groups))
}

/// The text of a default ACL; `None` if there is none.
pub fn default_text(acl: &Acl) -> Option<Vec<u8>> {
    let DefaultAcl { user_obj, group_obj, other, mask, users, groups } = acl.default.as_ref()?;
    Some(text([*user_obj, *group_obj, *other], *mask, users, groups))
}

fn text(own: [u8; 3], mask: Option<u8>, users: &[Ace], groups: &[Ace]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |tag: &str, who: &[u8], bits: u8, id: Option<u32>| {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(format!("{tag}:").as_bytes());
        out.extend_from_slice(who);
        out.push(b':');
        let flags = [(4, b'r'), (2, b'w'), (1, b'x')];
        out.extend(flags.map(|(bit, letter)| if bits & bit != 0 { letter } else { b'-' }));
        if let Some(id) = id {
            out.extend_from_slice(format!(":{id}").as_bytes());
        }
    };
    let mut put_all = |tag: &str, own: u8, aces: &[Ace]| {
        put(tag, b"", own, None);
        for Ace { id, name, permissions } in aces {
            // A name that would not be read as one is left out.
            if name.is_empty()
                || name.iter().any(|byte| b":,#\n \t".contains(byte))
                || number(name).is_some()
            {
                put(tag, id.to_string().as_bytes(), *permissions, None);
            } else {
                put(tag, name, *permissions, Some(*id));
            }
        }
    };
    put_all("user", own[0], users);
    put_all("group", own[1], groups);
    if let Some(mask) = mask {
        put_all("mask", mask, &[]);
    }
    put_all("other", own[2], &[]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(is_user: bool, name: &[u8]) -> Option<u32> {
        (is_user && name == b"lisa").then_some(7)
    }

    fn access(text: &str) -> Result<Acl, String> {
        let mut acl = Acl::default();
        parse_access(text.as_bytes(), &mut acl, &mut ids).map(|()| acl)
    }

    fn ace(id: u32, name: &str, permissions: u8) -> Ace {
        Ace { id, name: name.as_bytes().to_vec(), permissions }
    }

    #[test]
    fn texts_of_all_programs_are_read() {
        let gnu = "user::rw-\nuser:lisa:r-x\nuser:5:-w-\t#effective:---\ngroup::r--\nmask::r-x\nother::---\n";
        let star = "user::rw-,user:lisa:r-x:7,user:5:-w-,group::r--,mask::r-x,other::---";
        let short = "u::rw,u:7:rx:7,u:5:w,g::r,m:rx,o:-";
        let named = vec![ace(5, "", 2), ace(7, "lisa", 5)];
        assert_eq!(access(gnu).unwrap().users, named);
        assert_eq!(access(star).unwrap().users, named);
        assert_eq!(access(short).unwrap().users, vec![ace(5, "", 2), ace(7, "", 5)]);
        for text in [gnu, star, short] {
            let acl = access(text).unwrap();
            assert_eq!((acl.group_obj, acl.groups.len()), (Some(4), 0));
        }
        assert!(access("user::rwx,group::r-x,other::r-x").unwrap().is_trivial());
        assert!(access("").unwrap().is_trivial());
    }

    #[test]
    fn what_is_no_acl_is_told() {
        for text in [
            "user::rw-",
            "user::rw-,group::r--,other::r--,user:5:r--",
            "user::rw-,user::rw-,group::r--,other::r--",
            "user::rw-,group::r--,other::r--,mask::r--,user:ann:r--",
            "user::rw-,group::r--,other::r--,mask::r--,user:5:r--,user:5:rw-",
            "user::rwz,group::r--,other::r--",
            "user::rw-,group::r--,other:5:r--",
            "owner::rw-,group::r--,other::r--",
            "user::rw-,group::r--,other::r--,mask::r--,user:a:r--:4294967295",
        ] {
            assert!(access(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let acl = Acl {
            users: vec![ace(5, "", 2), ace(7, "ann", 5)],
            groups: vec![ace(1, "a b", 7)],
            group_obj: Some(4),
            default: Some(DefaultAcl {
                user_obj: 7,
                group_obj: 0,
                other: 1,
                mask: Some(3),
                users: vec![ace(9, "eve", 0)],
                groups: Vec::new(),
            }),
        };
        let mut read = Acl::default();
        parse_access(&access_text(&acl, 0o653).unwrap(), &mut read, &mut ids).unwrap();
        parse_default(&default_text(&acl).unwrap(), &mut read, &mut ids).unwrap();
        // Such a name would be taken apart.
        read.groups[0].name = b"a b".to_vec();
        assert_eq!(read, acl);
        assert_eq!(
            String::from_utf8(access_text(&acl, 0o653).unwrap()).unwrap(),
            "user::rw-,user:5:-w-,user:ann:r-x:7,group::r--,group:1:rwx,mask::r-x,other::-wx"
        );
        assert_eq!((access_text(&Acl::default(), 0), default_text(&Acl::default())), (None, None));
    }
}
