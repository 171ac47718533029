//! Several file systems in one directory, which come and go.
//!
//! ```text
//! /            a directory of names
//! /images      a file system
//! /disk.img    the only file of another one
//! ```
//! The number of a node is that of its file system, and its own there. That of a file system follows from its name and
//! from what it is, so it is the same the next time; what has gone keeps its number as long as this is mounted, as
//! programs may still have files of it open.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cairn_formats::catar::hash_name;
use rustix::io::Errno;

use crate::fs::{Answer, Attributes, Extent, FileSystem, Ino, Kind, Listed, Space};

/// Bits of a number that are a file system's own: more nodes than any has.
const OWN_BITS: u32 = 40;

/// How many file systems there can be.
const MOST: u64 = (1 << (63 - OWN_BITS)) - 1;

/// A file system, and which node of it has the name.
#[derive(Clone)]
pub struct Part {
    /// All of it.
    pub fs: Arc<dyn FileSystem>,
    /// Its root, or the file that is all there is.
    pub entry: Ino,
}

/// File systems by their names.
pub struct Several {
    state: RwLock<State>,
    owner: (u32, u32),
    has_acls: bool,
}

#[derive(Default)]
struct State {
    names: BTreeMap<Vec<u8>, u64>,
    parts: HashMap<u64, Part>,
    /// What each of them is: its name and its key.
    texts: HashMap<u64, Vec<u8>>,
    /// When names last came or went, in nanoseconds since 1970.
    mtime: i64,
}

impl Several {
    /// None yet, in a directory of this user and group. If any is to have access control lists, that is to be known
    /// now.
    pub fn new(owner: (u32, u32), has_acls: bool) -> Self {
        Self { state: RwLock::default(), owner, has_acls }
    }

    /// Has a part under a name from now on, in place of the one that had it. `key` is what tells it from other parts
    /// that have had or will have the name. `now` is the time in nanoseconds since 1970.
    pub fn put(&self, name: &[u8], key: &[u8], part: Part, now: i64) {
        let mut state = self.write();
        let text = [name, b"/", key].concat();
        let mut number = hash_name(&text) % MOST + 1;
        while state.texts.get(&number).is_some_and(|there| *there != text) {
            number = number % MOST + 1;
        }
        // What is the same has its number already.
        state.parts.entry(number).or_insert(part);
        state.texts.insert(number, text);
        state.names.insert(name.to_owned(), number);
        state.mtime = now;
    }

    /// Has nothing under a name any more.
    pub fn remove(&self, name: &[u8], now: i64) {
        let mut state = self.write();
        state.names.remove(name);
        state.mtime = now;
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part that a node is in, its number, and the number of the node there.
    fn part(&self, node: Ino) -> Answer<(Part, u64, Ino)> {
        let number = node.0 >> OWN_BITS;
        let part = self.read().parts.get(&number).cloned().ok_or(Errno::STALE)?;
        Ok((part, number, Ino(node.0 & ((1 << OWN_BITS) - 1))))
    }

    fn root(&self) -> Attributes {
        let state = self.read();
        let directories = state.names.values().filter(|number| {
            let part = state.parts.get(*number);
            part.is_some_and(|part| part.entry == Ino::ROOT)
        });
        Attributes {
            ino: Ino::ROOT,
            kind: Kind::Directory,
            permissions: 0o755,
            links: 2 + u32::try_from(directories.count()).unwrap_or(u32::MAX - 2),
            uid: self.owner.0,
            gid: self.owner.1,
            size: 0,
            mtime: state.mtime,
            device: (0, 0),
        }
    }
}

/// The number of a node that has one of its own in a part.
fn outer(number: u64, node: Ino) -> Ino {
    Ino(number << OWN_BITS | node.0)
}

fn outside(number: u64, attributes: Attributes) -> Attributes {
    Attributes { ino: outer(number, attributes.ino), ..attributes }
}

impl FileSystem for Several {
    fn lookup(&self, directory: Ino, name: &[u8]) -> Answer<Option<Attributes>> {
        if directory != Ino::ROOT {
            let (part, number, node) = self.part(directory)?;
            return Ok(part.fs.lookup(node, name)?.map(|found| outside(number, found)));
        }
        let found = {
            let state = self.read();
            let number = state.names.get(name).copied();
            number.and_then(|number| Some((number, state.parts.get(&number)?.clone())))
        };
        let Some((number, part)) = found else { return Ok(None) };
        Ok(Some(outside(number, part.fs.attributes(part.entry)?)))
    }

    fn attributes(&self, node: Ino) -> Answer<Attributes> {
        if node == Ino::ROOT {
            return Ok(self.root());
        }
        let (part, number, node) = self.part(node)?;
        Ok(outside(number, part.fs.attributes(node)?))
    }

    fn parent(&self, directory: Ino) -> Answer<Ino> {
        if directory == Ino::ROOT {
            return Ok(Ino::ROOT);
        }
        let (part, number, node) = self.part(directory)?;
        if node == part.entry { Ok(Ino::ROOT) } else { Ok(outer(number, part.fs.parent(node)?)) }
    }

    fn list(
        &self,
        directory: Ino,
        from: u64,
        each: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Answer<()> {
        if directory != Ino::ROOT {
            let (part, number, node) = self.part(directory)?;
            return part.fs.list(node, from, &mut |listed| {
                each(Listed { attributes: outside(number, listed.attributes), ..listed })
            });
        }
        // A place is the number of the part before it, as names come and go between two calls; after one that has gone
        // it goes on at the beginning, which tells some names twice rather than none.
        let listed: Vec<(Vec<u8>, u64, Part)> = {
            let state = self.read();
            let before = state.names.iter().find(|(_, number)| **number == from);
            let after = before.map_or(Bound::Unbounded, |(name, _)| Bound::Excluded(name.clone()));
            let names = state.names.range::<Vec<u8>, _>((after, Bound::Unbounded));
            let parts = names.filter_map(|(name, number)| {
                Some((name.clone(), *number, state.parts.get(number)?.clone()))
            });
            parts.collect()
        };
        for (name, number, part) in listed {
            let attributes = outside(number, part.fs.attributes(part.entry)?);
            if !each(Listed { attributes, name: &name, next: number }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, node: Ino) -> Answer<Vec<u8>> {
        let (part, _, node) = self.part(node)?;
        part.fs.read_link(node)
    }

    fn xattr(&self, node: Ino, name: &[u8]) -> Answer<Option<Vec<u8>>> {
        if node == Ino::ROOT {
            return Ok(None);
        }
        let (part, _, node) = self.part(node)?;
        part.fs.xattr(node, name)
    }

    fn xattr_names(&self, node: Ino) -> Answer<Vec<u8>> {
        if node == Ino::ROOT {
            return Ok(Vec::new());
        }
        let (part, _, node) = self.part(node)?;
        part.fs.xattr_names(node)
    }

    fn has_xattrs(&self) -> bool {
        true
    }

    fn has_acls(&self) -> bool {
        self.has_acls
    }

    fn extent(&self, node: Ino) -> Answer<Extent> {
        if node == Ino::ROOT {
            return Err(Errno::ISDIR);
        }
        let (part, _, node) = self.part(node)?;
        part.fs.extent(node)
    }

    fn space(&self) -> Space {
        let state = self.read();
        let parts = state.names.values().filter_map(|number| state.parts.get(number));
        let mut all = Space::default();
        for space in parts.map(|part| part.fs.space()) {
            all.bytes = all.bytes.saturating_add(space.bytes);
            all.nodes = all.nodes.saturating_add(space.nodes);
        }
        all
    }

    fn is_constant(&self, directory: Ino) -> bool {
        directory != Ino::ROOT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::BlobFile;
    use crate::content::Content;

    struct Letters(u64);

    impl Content for Letters {
        fn size(&self) -> u64 {
            self.0
        }

        fn at_hand(&self, range: std::ops::Range<u64>) -> Option<crate::Bytes> {
            Some(crate::Bytes::Own(vec![b'a'; (range.end - range.start) as usize]))
        }

        fn read(&self, range: std::ops::Range<u64>) -> cairn_store::Result<crate::Bytes> {
            Ok(self.at_hand(range).expect("it is"))
        }
    }

    fn blob(name: &str, size: u64) -> Arc<dyn FileSystem> {
        Arc::new(BlobFile::new(name.into(), Arc::new(Letters(size)), (0, 0), 1))
    }

    fn names(several: &Several, from: u64, most: usize) -> (Vec<String>, u64) {
        let (mut names, mut next) = (Vec::new(), from);
        let listed = several.list(Ino::ROOT, from, &mut |listed| {
            names.push(String::from_utf8_lossy(listed.name).into_owned());
            next = listed.next;
            names.len() < most
        });
        listed.expect("it is a directory");
        (names, next)
    }

    #[test]
    fn parts_come_and_go_and_have_numbers_of_their_own() {
        let several = Several::new((1, 2), false);
        let file = Part { fs: blob("inner", 5), entry: Ino(2) };
        let tree = Part { fs: blob("inner", 7), entry: Ino::ROOT };
        several.put(b"file", b"1", file.clone(), 10);
        several.put(b"tree", b"2", tree, 11);
        let found = several.lookup(Ino::ROOT, b"file").unwrap().unwrap();
        assert_eq!((found.kind, found.size), (Kind::File, 5));
        let directory = several.lookup(Ino::ROOT, b"tree").unwrap().unwrap();
        let inner = several.lookup(directory.ino, b"inner").unwrap().unwrap();
        assert_eq!((inner.size, several.attributes(inner.ino).unwrap()), (7, inner));
        assert_eq!(several.parent(directory.ino), Ok(Ino::ROOT));
        assert_eq!(several.attributes(Ino::ROOT).unwrap().links, 3);
        // The same number the next time; another one for what is something else.
        let again = Several::new((1, 2), false);
        again.put(b"file", b"1", file, 10);
        assert_eq!(again.lookup(Ino::ROOT, b"file").unwrap().unwrap().ino, found.ino);
        several.put(b"file", b"9", Part { fs: blob("inner", 6), entry: Ino(2) }, 12);
        let new = several.lookup(Ino::ROOT, b"file").unwrap().unwrap();
        assert!(new.ino != found.ino && new.size == 6);
        assert_eq!(several.attributes(found.ino).unwrap().size, 5, "it may still be open");
        several.remove(b"file", 13);
        assert_eq!(several.lookup(Ino::ROOT, b"file"), Ok(None));
        assert_eq!(several.attributes(Ino(77)), Err(Errno::STALE));
    }

    #[test]
    fn a_listing_goes_on_where_it_was() {
        let several = Several::new((0, 0), false);
        for n in 0..100 {
            let name = format!("{n:02}");
            let part = Part { fs: blob("x", 1), entry: Ino(2) };
            several.put(name.as_bytes(), b"", part, n);
        }
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let (some, next) = names(&several, from, 7);
            if some.is_empty() {
                break;
            }
            all.extend(some);
            from = next;
        }
        assert_eq!(all, (0..100).map(|n| format!("{n:02}")).collect::<Vec<_>>());
    }
}
