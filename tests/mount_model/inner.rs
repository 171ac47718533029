//! A file system is asked without a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_fuse::{Attributes, FileSystem, Ino, Kind, errno};
use proptest::collection::vec;
use proptest::prelude::*;
use rustix::io::Errno;

use super::asked::{Answer, Asked, Question, Said, Seen, Tree, agree, questions};
use super::common::random;
use super::common::things::thing;
use super::outer::Outer;
use super::scene::{LITTLE, MUCH, Scene};

/// Who asks many at a time.
const MANY: usize = 6;

/// A file system, whose nodes have paths.
struct Inner(Arc<dyn FileSystem>);

impl Inner {
    fn find(&self, path: &[u8]) -> Result<Attributes, Errno> {
        let mut there = self.0.attributes(Ino::ROOT)?;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            there = self.0.lookup(there.ino, name)?.ok_or(Errno::NOENT)?;
        }
        assert_eq!(self.0.attributes(there.ino)?, there);
        Ok(there)
    }

    fn read(&self, node: &Attributes, at: u64, len: usize) -> Said {
        let extent = self.0.extent(node.ino)?;
        assert_eq!(extent.range.end - extent.range.start, node.size);
        let start = (extent.range.start + at).min(extent.range.end);
        let wanted = start..(start + len as u64).min(extent.range.end);
        let at_hand = extent.content.at_hand(wanted.clone());
        let bytes = match at_hand {
            Some(bytes) => bytes,
            None => extent.content.read(wanted).map_err(|e| errno(&e))?,
        };
        Ok(Answer::Bytes(bytes.to_vec()))
    }

    /// Names in portions, and all that comes behind one of them again.
    fn list(&self, node: &Attributes, room: usize, from: usize) -> Said {
        let mut listed: Vec<(Vec<u8>, u32, u64)> = Vec::new();
        let most = room / 100 + 1;
        loop {
            let place = listed.last().map_or(0, |(.., next)| *next);
            let before = listed.len();
            self.0.list(node.ino, place, &mut |found| {
                let kind = mode(&found.attributes) >> 12;
                listed.push((found.name.to_vec(), kind, found.next));
                listed.len() - before < most
            })?;
            if listed.len() == before {
                break;
            }
        }
        if !listed.is_empty() {
            let from = from % listed.len();
            let mut rest = Vec::new();
            self.0.list(node.ino, listed[from].2, &mut |found| {
                rest.push(found.name.to_vec());
                true
            })?;
            assert!(rest.iter().eq(listed[from + 1..].iter().map(|(name, ..)| name)));
        }
        assert!(listed.is_sorted_by(|a, b| a.0 < b.0), "names are not in order");
        Ok(Answer::Names(listed.into_iter().map(|(name, kind, _)| (name, kind)).collect()))
    }
}

/// Whether a program can ask for it as it is.
fn is_name(name: &[u8]) -> bool {
    name.len() < 256 && name[0] != b'.' && !name.contains(&b'/')
}

fn mode(of: &Attributes) -> u32 {
    let kind = match of.kind {
        Kind::Directory => 0o040_000,
        Kind::File => 0o100_000,
        Kind::Symlink => 0o120_000,
        Kind::Block => 0o060_000,
        Kind::Character => 0o020_000,
        Kind::Fifo => 0o010_000,
        Kind::Socket => 0o140_000,
    };
    kind | u32::from(of.permissions)
}

impl Tree for Inner {
    fn ask(&self, path: &[u8], question: &Question) -> Option<Said> {
        let node = match self.find(path) {
            Ok(node) => node,
            Err(e) => return Some(Err(e)),
        };
        let is_plain = matches!(node.kind, Kind::File | Kind::Directory);
        Some(match question {
            Question::Attributes => Ok(Answer::Attributes(Seen {
                mode: mode(&node),
                owner: (node.uid, node.gid),
                size: matches!(node.kind, Kind::File | Kind::Symlink).then_some(node.size),
                mtime: node.mtime,
                device: node.device,
            })),
            Question::Read { at, len } if is_plain => {
                let at = u64::from(*at) % (node.size + node.size / 8 + 2);
                self.read(&node, at, *len)
            }
            Question::List { room, from } => self.list(&node, *room, *from),
            Question::Link => self.0.read_link(node.ino).map(Answer::Bytes),
            Question::Xattrs if is_plain => self.0.xattr_names(node.ino).and_then(|names| {
                let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
                let mut all = BTreeMap::new();
                for name in names {
                    all.insert(name.to_vec(), self.0.xattr(node.ino, name)?.ok_or(Errno::NODATA)?);
                }
                Ok(Answer::Xattrs(all))
            }),
            Question::NoXattr if is_plain => {
                match self.0.xattr(node.ino, b"user.none of that name") {
                    Ok(None) => Err(Errno::NODATA),
                    Ok(Some(value)) => Ok(Answer::Bytes(value)),
                    Err(e) => Err(e),
                }
            }
            Question::NoName(name) if node.kind != Kind::Symlink && is_name(name) => {
                match self.0.lookup(node.ino, name) {
                    Ok(None) => Err(Errno::NOENT),
                    // There is one after all.
                    Ok(Some(_)) => return None,
                    Err(e) => Err(e),
                }
            }
            // All else is for the kernel to say.
            _ => return None,
        })
    }
}

/// The numbers of all nodes are different, and each directory is known by what is in it.
fn check_numbers(scene: &Scene) {
    let inner = Inner(Arc::clone(&scene.fs));
    let mut numbers = BTreeSet::new();
    for path in &scene.paths {
        let node = inner.find(path).unwrap();
        assert!(numbers.insert(node.ino), "{path:?}");
        if node.kind == Kind::Directory {
            let above = path.rsplitn(2, |&byte| byte == b'/').nth(1).unwrap_or_default();
            assert_eq!(scene.fs.parent(node.ino).unwrap(), inner.find(above).unwrap().ino);
        }
    }
    assert!(scene.fs.space().nodes as usize >= numbers.len());
}

/// Asks with faults and after them, by one and by many.
fn check(scene: &Scene, asked: &[Asked], is_fickle: bool) {
    let plain = Outer::new(&scene.plain(), false);
    let inner = Inner(Arc::clone(&scene.fs));
    if is_fickle {
        scene.store.set_calm(false);
        agree((&plain, &inner), &scene.paths, asked, MANY, true);
        agree((&plain, &inner), &scene.paths, asked, 1, true);
        scene.store.set_calm(true);
    }
    agree((&plain, &inner), &scene.paths, asked, 1, false);
    agree((&plain, &inner), &scene.paths, asked, MANY, false);
}

/// Or else nothing would be shown by what agrees with it.
#[test]
fn a_fickle_store_is_fickle_and_then_calm() {
    let bytes = random(5, 1_000_000);
    let scene = Scene::of_blob(&bytes, LITTLE);
    let inner = Inner(Arc::clone(&scene.fs));
    let node = inner.find(b"blob").unwrap();
    let failed = |is_calm| {
        scene.store.set_calm(is_calm);
        let mut failed = 0;
        for at in (0..bytes.len()).step_by(10_000).rev() {
            match inner.read(&node, at as u64, 10_000) {
                Ok(Answer::Bytes(read)) => assert!(read == bytes[at..at + 10_000], "{at}"),
                said => {
                    assert_eq!(said, Err(Errno::IO));
                    failed += 1;
                }
            }
        }
        failed
    };
    assert!((10..90).contains(&failed(false)));
    assert_eq!(failed(true), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_system_says_what_its_tree_says(
        things in vec(thing(), 0..30),
        asked in questions(400),
        shape in (0..400_usize, 0..50_usize),
        has_room in any::<bool>(),
    ) {
        let scene = Scene::of_things(&things, shape, if has_room { MUCH } else { LITTLE });
        check_numbers(&scene);
        check(&scene, &asked, false);
    }

    #[test]
    fn a_fickle_store_makes_no_wrong_answers(
        things in vec(thing(), 5..30),
        asked in questions(300),
        shape in (0..400_usize, 0..50_usize),
        has_room in any::<bool>(),
    ) {
        let scene = Scene::of_things(&things, shape, if has_room { MUCH } else { LITTLE });
        check(&scene, &asked, true);
    }

    #[test]
    fn a_blob_has_the_bytes_it_was_made_of(
        parts in vec((any::<u64>(), 0..400_000_usize, any::<bool>()), 0..5),
        asked in questions(300),
        is_fickle in any::<bool>(),
    ) {
        let part = |(seed, len, is_zeros)| if is_zeros { vec![0; len] } else { random(seed, len) };
        let bytes: Vec<u8> = parts.into_iter().flat_map(part).collect();
        let mut scene = Scene::of_blob(&bytes, LITTLE);
        scene.paths.remove(0);
        // Nothing but its bytes is that of the file on disk.
        let asked: Vec<Asked> = asked
            .into_iter()
            .filter(|asked| matches!(asked.question, Question::Read { .. } | Question::NoName(_)))
            .collect();
        check(&scene, &asked, is_fickle);
    }
}
