//! What is written is read, what is damaged is told, and nothing panics.

use std::io::Read;

use proptest::collection::vec;
use proptest::prelude::*;

use super::testing::{FEATURES, Tree, archive, directory_of, file, tree, write};
use super::{
    Body, Child, Decoder, Item, Node, Xattr, encode_goodbye, encode_name, encode_node, hash_name,
};
use crate::Error;

fn read_node<R: Read>(decoder: &mut Decoder<R>, node: Node) -> crate::Result<Tree> {
    let mut tree = Tree { node, bytes: Vec::new(), children: Vec::new() };
    decoder.payload().read_to_end(&mut tree.bytes)?;
    if tree.node.is_directory() {
        let path = decoder.path().to_vec();
        while let Some(Item::Node(node)) = decoder.next()? {
            let name = decoder.name().to_vec();
            let is_below = [&path[..], &name[..]].join(&b'/');
            assert!(decoder.path() == is_below || path.is_empty() && decoder.path() == name);
            tree.children.push((name, read_node(decoder, *node)?));
        }
        assert_eq!(decoder.path(), path);
    }
    Ok(tree)
}

fn read(archive: &[u8]) -> crate::Result<Tree> {
    let mut decoder = Decoder::new(archive);
    let Some(Item::Node(root)) = decoder.next()? else { panic!("an archive has a root") };
    let tree = read_node(&mut decoder, *root)?;
    assert_eq!(decoder.next()?, None);
    assert_eq!(decoder.position(), archive.len() as u64);
    Ok(tree)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(tree in tree()) {
        prop_assert_eq!(read(&archive(&tree)).unwrap(), tree);
    }

    #[test]
    fn an_archive_cut_anywhere_is_told(tree in tree(), more in vec(any::<u8>(), 1..9)) {
        let bytes = archive(&tree);
        for len in 0..bytes.len() {
            let cut = read(&bytes[..len]);
            let is_told = matches!(
                cut, Err(Error::BadArchive { .. } | Error::NotAnArchive { .. } | Error::Io(_))
            );
            prop_assert!(is_told, "cut at {} of {}: {:?}", len, bytes.len(), cut);
        }
        prop_assert!(read(&[&bytes[..], &more[..]].concat()).is_err());
    }

    #[test]
    fn damage_is_told_or_read_as_something_else(tree in tree(), at: usize, bits in 1_u8..) {
        let mut bytes = archive(&tree);
        let at = at % bytes.len();
        // A lone entry may have another feature word.
        prop_assume!(!(16..24).contains(&at));
        bytes[at] ^= bits;
        if let Ok(other) = read(&bytes) {
            prop_assert!(other != tree || bytes == archive(&other));
        }
    }

    #[test]
    fn what_is_no_archive_is_told(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
    }
}

fn refusal(tree: &Tree) -> String {
    read(&archive(tree)).unwrap_err().to_string()
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [&b"."[..], b"..", b"a/b", b"/", b"", b"a\0b"] {
        let why = refusal(&directory_of(vec![(name, file(b"x"))]));
        assert!(why.contains("damaged archive"), "{why}");
    }
    // Backslashes are as good as all other bytes.
    assert!(read(&archive(&directory_of(vec![(b"a\\b", file(b"x"))]))).is_ok());
}

#[test]
fn a_name_comes_once() {
    for names in [vec![&b"a"[..], b"a"], vec![b"a", b"b", b"a"], vec![b"b", b"a", b"b"]] {
        let tree = directory_of(names.into_iter().map(|name| (name, file(b"x"))).collect());
        assert!(refusal(&tree).contains("twice"), "{}", refusal(&tree));
    }
    // desync keeps the order of a tar.
    let tree = directory_of(vec![(b"b", file(b"x")), (b"a", file(b"y"))]);
    assert_eq!(read(&archive(&tree)).unwrap(), tree);
}

#[test]
fn deep_trees_are_read() {
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for depth in 0..10_000 {
        if depth > 0 {
            encode_name(&mut bytes, b"d");
        }
        entries.push(bytes.len() as u64);
        encode_node(&mut bytes, &Node::new(Body::Directory), FEATURES);
    }
    let mut end = 0;
    let name_len = 18;
    for (depth, &entry) in entries.iter().enumerate().rev() {
        let start = entries.get(depth + 1).map(|next| next - name_len);
        let mut children: Vec<Child> =
            start.map(|start| Child { hash: hash_name(b"d"), start, end }).into_iter().collect();
        let at = bytes.len() as u64;
        encode_goodbye(&mut bytes, &mut children, entry, at);
        end = bytes.len() as u64;
    }
    let mut decoder = Decoder::new(&bytes[..]);
    let mut deepest = 0;
    while decoder.next().unwrap().is_some() {
        deepest = deepest.max(decoder.depth());
    }
    assert_eq!(deepest, 10_000);
}

/// A FILENAME without a node, as desync writes it for what it cannot store.
#[test]
fn names_without_a_node_are_passed_over() {
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
        let tree = read(&bytes).unwrap();
        let names: Vec<&[u8]> = tree.children.iter().map(|(name, _)| &name[..]).collect();
        let expected: Vec<&[u8]> = [&b"a"[..], b"b", b"c"]
            .into_iter()
            .enumerate()
            .filter_map(|(n, name)| (n != gap).then_some(name))
            .collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn values_of_desync_end_before_their_nul() {
    let mut tree = file(b"");
    tree.node.xattrs.push(Xattr { name: b"user.k".to_vec(), value: b"v\0".to_vec() });
    for (features, expected) in [(0xb000_0000_1000_1f22, &b"v"[..]), (FEATURES, b"v\0")] {
        let mut bytes = Vec::new();
        write(&mut bytes, &directory_of(vec![(b"f", tree.clone())]), features);
        let read = read(&bytes).unwrap();
        assert_eq!(read.children[0].1.node.xattrs[0].value, expected);
    }
}

#[test]
fn a_record_takes_no_more_memory_than_there_is() {
    let mut bytes = Vec::new();
    encode_node(&mut bytes, &Node::new(Body::Directory), FEATURES);
    let mut goodbye = Vec::new();
    super::record::begin(&mut goodbye, super::record::Kind::Goodbye, 24 << 40);
    let error = read(&[&bytes[..], &goodbye].concat()).unwrap_err();
    assert!(error.to_string().contains("more or fewer names"), "{error}");
}

/// As casync does: no project is said by no record.
#[test]
fn a_record_of_no_project_is_refused() {
    for (project, is_read) in [(0, false), (1, true), (1 << 32, false)] {
        let mut bytes = Vec::new();
        encode_node(&mut bytes, &Node::new(Body::Directory), FEATURES);
        super::record::begin(&mut bytes, super::record::Kind::QuotaProjid, 8);
        super::record::put(&mut bytes, project);
        let at = bytes.len() as u64;
        encode_goodbye(&mut bytes, &mut [], 0, at);
        assert_eq!(read(&bytes).is_ok(), is_read, "project {project}");
    }
}
