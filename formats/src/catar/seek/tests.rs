//! What is found by the tables is what is read from front to end; what is damaged is told; nothing panics, and
//! nothing goes round in circles.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::testing::{FEATURES, Tree, archive, directory_of, file, tree};
use super::super::{Body, encode_goodbye, encode_name, encode_node};
use super::*;

fn open(bytes: &[u8]) -> Result<Archive<&[u8]>> {
    Archive::new(bytes, bytes.len() as u64)
}

fn bytes_of<R: ReadAt>(archive: &Archive<R>, found: &Found) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 7];
    loop {
        match archive.read(found, bytes.len() as u64, &mut buffer)? {
            0 => return Ok(bytes),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

/// The tree below a node, by its tables alone.
fn tree_at<R: ReadAt>(archive: &Archive<R>, found: &Found) -> Result<Tree> {
    let mut children = Vec::new();
    let mut below = archive.children(found)?;
    while let Some((name, child)) = below.next()? {
        children.push((name, tree_at(archive, &child)?));
    }
    Ok(Tree { node: found.node.clone(), bytes: bytes_of(archive, found)?, children })
}

/// Checks that every path below a tree leads to its node.
fn check_paths(archive: &Archive<&[u8]>, path: &[u8], tree: &Tree) {
    let found = archive.find(path).unwrap().unwrap();
    assert_eq!(tree_at(archive, &found).unwrap(), *tree);
    for (name, child) in &tree.children {
        check_paths(archive, &[path, b"/", name].concat(), child);
    }
    for absent in [&b"absent"[..], b"..", b"a/.."] {
        assert_eq!(archive.find(&[path, b"/", absent].concat()).unwrap(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_path_leads_to_its_node(tree in tree()) {
        let bytes = archive(&tree);
        let archive = open(&bytes).unwrap();
        prop_assert_eq!(archive.features(), FEATURES);
        check_paths(&archive, b"", &tree);
    }

    #[test]
    fn damage_is_told_or_leads_to_something(tree in tree(), at: usize, bits in 1_u8..) {
        let mut bytes = archive(&tree);
        let at = at % bytes.len();
        bytes[at] ^= bits;
        // Either way it ends.
        if let Ok(archive) = open(&bytes) {
            let _ = tree_at(&archive, archive.root());
            for (name, _) in &tree.children {
                let _ = archive.find(name);
            }
        }
    }

    #[test]
    fn words_that_lie_lead_nowhere(tree in tree(), at: usize, word: u64, near in 0_u64..200) {
        let mut bytes = archive(&tree);
        let at = at % (bytes.len() / 8) * 8;
        let old = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        for lie in [word, near, old.wrapping_sub(near), old.wrapping_add(near)] {
            bytes[at..at + 8].copy_from_slice(&lie.to_le_bytes());
            if let Ok(archive) = open(&bytes) {
                let _ = tree_at(&archive, archive.root());
            }
        }
    }

    #[test]
    fn a_cut_archive_is_told(tree in tree(), more in vec(any::<u8>(), 1..40)) {
        let bytes = archive(&tree);
        for len in 0..bytes.len() {
            prop_assert!(open(&bytes[..len]).is_err(), "cut at {}", len);
        }
        prop_assert!(open(&[&bytes[..], &more[..]].concat()).is_err());
    }
}

/// A directory in an archive of its own, with these names and hashes.
fn forged(names: &[(&[u8], u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_node(&mut bytes, &Node::new(Body::Directory), FEATURES);
    let mut children = Vec::new();
    for &(name, hash) in names {
        let start = bytes.len() as u64;
        encode_name(&mut bytes, name);
        encode_node(&mut bytes, &Node::new(Body::File(0)), FEATURES);
        children.push(Child { hash, start, end: bytes.len() as u64 });
    }
    let at = bytes.len() as u64;
    encode_goodbye(&mut bytes, &mut children, 0, at);
    bytes
}

#[test]
fn names_with_one_hash_are_told_apart() {
    let hash = hash_name(b"b");
    let bytes = forged(&[(b"a", hash), (b"b", hash), (b"c", hash), (b"d", hash_name(b"d"))]);
    let archive = open(&bytes).unwrap();
    let found = archive.find(b"b").unwrap().unwrap();
    assert_eq!(archive.name(found.start - 18, found.start).unwrap().0, b"b");
    assert!(archive.find(b"d").unwrap().is_some());
    assert_eq!(archive.find(b"a").unwrap(), None, "its hash is another");
}

#[test]
fn a_flood_of_names_with_one_hash_is_refused() {
    let names: Vec<Vec<u8>> = (0..100).map(|n| format!("{n:03}").into_bytes()).collect();
    let hash = hash_name(b"000");
    let names: Vec<(&[u8], u64)> = names.iter().map(|name| (&name[..], hash)).collect();
    let bytes = forged(&names);
    let error = open(&bytes).unwrap().find(b"000").unwrap_err();
    assert!(error.to_string().contains("too many names"), "{error}");
}

/// A name behind which a table stands where its node belongs.
#[test]
fn a_table_for_a_node_is_told() {
    let mut bytes = forged(&[(b"a", hash_name(b"a"))]);
    let found = open(&bytes).unwrap().find(b"a").unwrap().unwrap();
    let kind = found.start as usize + 8;
    let table = bytes.len() - 64;
    bytes.copy_within(table + 8..table + 16, kind);
    let archive = open(&bytes).unwrap();
    assert!(archive.find(b"a").is_err());
    assert!(tree_at(&archive, archive.root()).is_err());
}

#[test]
fn a_name_that_comes_twice_is_told() {
    let hash = hash_name(b"a");
    let bytes = forged(&[(b"a", hash), (b"b", hash_name(b"b")), (b"a", hash)]);
    let archive = open(&bytes).unwrap();
    let error = tree_at(&archive, archive.root()).unwrap_err();
    assert!(error.to_string().contains("comes twice"), "{error}");
}

#[test]
fn whatever_is_in_a_table_is_found() {
    for len in 0..70 {
        let names: Vec<Vec<u8>> = (0..len).map(|n| format!("name {n:02}").into_bytes()).collect();
        let children = names.iter().map(|name| (&name[..], file(name))).collect();
        let bytes = archive(&directory_of(children));
        let archive = open(&bytes).unwrap();
        for name in &names {
            let found = archive.find(name).unwrap().unwrap();
            assert_eq!(bytes_of(&archive, &found).unwrap(), *name);
        }
        assert_eq!(archive.find(b"name 70").unwrap(), None);
    }
}

/// Counts what is read.
struct Counted<'a>(&'a [u8], Cell<usize>);

impl ReadAt for Counted<'_> {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_at(at, buffer)?;
        self.1.set(self.1.get() + read);
        Ok(read)
    }
}

#[test]
fn a_path_in_a_great_directory_is_found_by_reading_little() {
    let names: Vec<Vec<u8>> = (0..50_000).map(|n| format!("{n:06}").into_bytes()).collect();
    let children = names.iter().map(|name| (&name[..], file(b"content"))).collect();
    let bytes = archive(&directory_of(children));
    let archive = Archive::new(Counted(&bytes, Cell::new(0)), bytes.len() as u64).unwrap();
    archive.find(b"012345").unwrap().unwrap();
    assert!(archive.input().1.get() < 5000, "{} bytes read", archive.input().1.get());
}

#[test]
fn a_table_that_claims_more_than_there_is_takes_no_memory() {
    let mut bytes = archive(&directory_of(vec![(b"a", file(b""))]));
    let at = bytes.len() - 16;
    bytes[at..at + 8].copy_from_slice(&(40_u64 + (24 << 40)).to_le_bytes());
    assert!(open(&bytes).is_err());
}

/// A directory whose table says that it is in itself.
#[test]
fn a_directory_within_itself_is_refused() {
    let good = archive(&directory_of(vec![(b"d", directory_of(Vec::new()))]));
    let table = good.len() - 64;
    for back in 0..good.len() as u64 + 20 {
        for size in 0..good.len() as u64 + 20 {
            let mut bytes = good.clone();
            bytes[table + 16..table + 24].copy_from_slice(&back.to_le_bytes());
            bytes[table + 24..table + 32].copy_from_slice(&size.to_le_bytes());
            let archive = open(&bytes).unwrap();
            let mut path = b"d".to_vec();
            while archive.find(&path).is_ok_and(|found| found.is_some()) {
                path.extend_from_slice(b"/d");
            }
            let _ = tree_at(&archive, archive.root());
        }
    }
}

#[test]
fn names_without_a_node_lead_nowhere() {
    for gap in 0..3 {
        let mut bytes = Vec::new();
        encode_node(&mut bytes, &Node::new(Body::Directory), FEATURES);
        let mut children = Vec::new();
        for (n, name) in [b"a", b"b", b"c"].into_iter().enumerate() {
            let start = bytes.len() as u64;
            encode_name(&mut bytes, name);
            if n != gap {
                encode_node(&mut bytes, &Node::new(Body::File(0)), FEATURES);
            }
            children.push(Child { hash: hash_name(name), start, end: bytes.len() as u64 });
        }
        let at = bytes.len() as u64;
        encode_goodbye(&mut bytes, &mut children, 0, at);
        let archive = open(&bytes).unwrap();
        for (n, name) in [b"a", b"b", b"c"].into_iter().enumerate() {
            assert_eq!(archive.find(name).unwrap().is_some(), n != gap);
        }
        assert_eq!(tree_at(&archive, archive.root()).unwrap().children.len(), 2);
    }
}

#[test]
fn an_archive_of_one_file_is_its_root() {
    let bytes = archive(&file(b"content"));
    let archive = open(&bytes).unwrap();
    assert_eq!(bytes_of(&archive, archive.root()).unwrap(), b"content");
    assert_eq!(archive.find(b"x").unwrap(), None);
    assert_eq!(tree_at(&archive, archive.root()).unwrap(), file(b"content"));
}
