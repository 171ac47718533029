//! Sets of extended attributes, each kept once however many nodes have it.
//!
//! ```text
//! set := len:4 (name length:1 value length:4 name value)*    filled up to a multiple of 8 bytes
//! ```
//! A set is called by where it begins, in units of 8 bytes and counted from 1; 0 is the empty set, which is nowhere.
//! Lists of who may do what, labels and capabilities are in it in the form that the kernel has them in.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use cairn_formats::catar::{Body, Node};
use cairn_formats::posix_acl;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::build::make_room;

/// The attribute that holds a label of SELinux.
const LABEL: &[u8] = b"security.selinux";

/// The attribute that holds capabilities of a program.
const CAPABILITIES: &[u8] = b"security.capability";

/// Where sets begin: at multiples of this.
const UNIT: usize = 8;

/// Whether an attribute is a list of who may do what.
pub(super) fn is_acl(name: &[u8]) -> bool {
    name == posix_acl::ACCESS.as_bytes() || name == posix_acl::DEFAULT.as_bytes()
}

/// Sets that are collected.
#[derive(Default)]
pub(super) struct Sets {
    pub(super) bytes: Vec<u8>,
    /// What each is called, by its bytes.
    known: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The one that is looked up.
    set: Vec<u8>,
    /// Whether there is a list of who may do what in one.
    pub(super) has_acls: bool,
}

impl Sets {
    /// What the attributes of a node are called; `None` if there are too many by now.
    pub(super) fn add(&mut self, node: &Node) -> Option<u32> {
        let is_plain = node.xattrs.is_empty()
            && node.acl.is_trivial()
            && node.selinux.is_empty()
            && node.fcaps.is_empty();
        if is_plain {
            return Some(0);
        }
        self.collect(node)?;
        let Self { bytes, known, hasher, set, .. } = self;
        if set.len() == 4 {
            return Some(0);
        }
        let hash = |set: &[u8]| hasher.hash_one(set);
        let there = |name: u32| raw(bytes, name).unwrap_or_default();
        if let Some(&name) = known.find(hash(set), |&name| there(name) == set) {
            return Some(name);
        }
        let name = u32::try_from(bytes.len() / UNIT + 1).ok()?;
        make_room(bytes, set.len() + UNIT);
        bytes.extend_from_slice(set);
        bytes.resize(bytes.len().next_multiple_of(UNIT), 0);
        let there = |name: u32| raw(bytes, name).unwrap_or_default();
        known.insert_unique(hash(set), name, |&name| hash(there(name)));
        Some(name)
    }

    /// Puts the attributes of a node together, in the order of their names.
    fn collect(&mut self, node: &Node) -> Option<()> {
        let mut all: BTreeMap<&[u8], &[u8]> =
            node.xattrs.iter().map(|xattr| (&xattr.name[..], &xattr.value[..])).collect();
        let (access, default) =
            posix_acl::to_xattrs(&node.acl, node.permissions, &|ace| ace.id, &|ace| ace.id);
        // The kernel has a NUL behind a label.
        let label = (!node.selinux.is_empty()).then(|| [&node.selinux[..], b"\0"].concat());
        let lists = [(posix_acl::ACCESS, &access), (posix_acl::DEFAULT, &default)];
        if !matches!(node.body, Body::Symlink(_)) {
            let lists = lists.into_iter().filter_map(|(name, list)| list.as_ref().zip(Some(name)));
            all.extend(lists.map(|(list, name)| (name.as_bytes(), &list[..])));
        }
        all.extend(label.as_ref().map(|label| (LABEL, &label[..])));
        if !node.fcaps.is_empty() {
            all.insert(CAPABILITIES, &node.fcaps);
        }
        self.set.clear();
        self.set.extend([0; 4]);
        for (name, value) in all {
            self.has_acls |= is_acl(name);
            self.set.push(u8::try_from(name.len()).ok()?);
            self.set.extend(u32::try_from(value.len()).ok()?.to_le_bytes());
            self.set.extend_from_slice(name);
            self.set.extend_from_slice(value);
        }
        let len = u32::try_from(self.set.len()).ok()?;
        self.set[..4].copy_from_slice(&len.to_le_bytes());
        Some(())
    }
}

/// The attributes in a set; `None` if there is no such set.
pub(super) fn set(bytes: &[u8], name: u32) -> Option<Set<'_>> {
    Some(Set { rest: if name == 0 { &[] } else { raw(bytes, name)?.get(4..)? } })
}

/// All bytes of a set.
fn raw(bytes: &[u8], name: u32) -> Option<&[u8]> {
    let at = usize::try_from(name.checked_sub(1)?).ok()?.checked_mul(UNIT)?;
    let rest = bytes.get(at..)?;
    let len = u32::from_le_bytes(*rest.first_chunk()?);
    rest.get(..usize::try_from(len).ok()?)
}

/// Extended attributes, in the order of their names.
pub(super) struct Set<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Set<'a> {
    /// Name and value; an error at what is none, which is the last then.
    type Item = Result<(&'a [u8], &'a [u8]), ()>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = one(self.rest);
        self.rest = parsed.map_or(&[], |(_, _, rest)| rest);
        Some(parsed.map(|(name, value, _)| (name, value)).ok_or(()))
    }
}

/// The first attribute, and what is behind it.
fn one(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&[name, value @ ..], rest) = bytes.split_first_chunk::<5>()?;
    let (name, rest) = rest.split_at_checked(name.into())?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(value) as usize)?;
    (!name.is_empty() && !name.contains(&0)).then_some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use cairn_formats::catar::Xattr;

    use super::*;

    fn node(name: &str, value: &[u8]) -> Node {
        let xattr = Xattr { name: name.into(), value: value.to_vec() };
        Node { xattrs: vec![xattr], ..Node::new(Body::File(0)) }
    }

    #[test]
    fn equal_sets_are_kept_once() {
        let mut sets = Sets::default();
        let mut names: Vec<u32> = (0..3000_u32)
            .map(|n| sets.add(&node("user.n", &(n % 1000).to_le_bytes())).unwrap())
            .collect();
        assert_eq!(names[..1000], names[1000..2000]);
        assert_eq!(names[..1000], names[2000..]);
        names.truncate(1000);
        names.dedup();
        assert_eq!(names.len(), 1000);
        assert_eq!(sets.bytes.len(), 24 * 1000);
        for (n, name) in (0..).zip(names) {
            let all: Vec<_> = set(&sets.bytes, name).unwrap().map(Result::unwrap).collect();
            assert_eq!(all, [(&b"user.n"[..], &u32::to_le_bytes(n)[..])]);
        }
        assert_eq!(sets.add(&Node::new(Body::Fifo)), Some(0));
        assert!(set(&sets.bytes, 0).unwrap().next().is_none());
    }

    #[test]
    fn what_is_no_set_is_none() {
        let mut sets = Sets::default();
        assert_eq!(sets.add(&node("user.name", b"value")), Some(1));
        assert!(set(&sets.bytes, 100).is_none());
        assert!(set(&sets.bytes, u32::MAX).is_none());
        for at in 0..sets.bytes.len() {
            let mut bytes = sets.bytes.clone();
            bytes[at] ^= 0xff;
            for name in 0..5 {
                let count = set(&bytes, name).into_iter().flatten().count();
                assert!(count < bytes.len());
            }
        }
    }
}
