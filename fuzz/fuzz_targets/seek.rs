//! Whatever the tables of an archive say: what is found lies where it belongs and has its name, and it is what one
//! reads from front to end.
//!
//! ```text
//! bytes -(mutated, often with tables that fit again)-> by the tables      -> nodes \
//!                                                   -> from front to end -> nodes  = the same, if both can be read
//! ```
//! What is read from front to end is found by the tables as well, unless a name stands without its node: the table is
//! not compared then.

#![no_main]

#[path = "shared/records.rs"]
mod records;

use std::collections::HashSet;

use cairn_formats::catar::{
    Archive, Decoder, Found, GOODBYE_ITEM_LEN, HEADER_LEN, Item, Node, encode_name,
};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// Bytes of the shortest table: that of no names.
const TABLE_LEN: u64 = (HEADER_LEN + GOODBYE_ITEM_LEN) as u64;

/// A node, its path, where its metadata ends and where it ends itself.
#[derive(Debug, PartialEq)]
struct Seen {
    path: Vec<u8>,
    node: Node,
    body: u64,
    end: u64,
}

fuzz_target!(|bytes: &[u8]| {
    let read = read(bytes);
    let sought = sought(bytes);
    let Some(read) = read else { return };
    if sought.is_none() && records::has_gap(bytes) {
        return;
    }
    let (archive, sought) = sought.expect("what can be read can be sought");
    assert_eq!(read, sought);
    for seen in &read {
        let found = archive.find(&seen.path).ok().flatten();
        if !records::has_gap(bytes) {
            assert_eq!(found.map(|found| found.body), Some(seen.body));
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    // Tables that lie are what this is about, but whoever lies always gets no further than the root.
    if seed % 2 == 0 { size } else { records::mend(data, size, max_size) }
});

/// The nodes from front to end; `None` if it is no archive.
fn read(bytes: &[u8]) -> Option<Vec<Seen>> {
    let mut decoder = Decoder::new(bytes);
    let mut all: Vec<Seen> = Vec::new();
    let mut open = Vec::new();
    while let Some(item) = decoder.next().ok()? {
        match item {
            Item::Node(node) => {
                if node.is_directory() {
                    open.push(all.len());
                }
                let (path, body) = (decoder.path().to_vec(), decoder.body_start());
                // Whether the bytes are there is seen when they are passed over.
                let end = body.saturating_add(node.size());
                all.push(Seen { path, node: *node, body, end });
            }
            Item::Leave => {
                let left = open.pop().expect("only what is open is left");
                all[left].end = decoder.position();
            }
        }
    }
    Some(all)
}

/// The nodes by the tables, in the order of the archive; `None` if it is none.
fn sought(bytes: &[u8]) -> Option<(Archive<&[u8]>, Vec<Seen>)> {
    let archive = Archive::new(bytes, bytes.len() as u64).ok()?;
    let root = archive.root().clone();
    assert_eq!((root.start, root.end), (0, bytes.len() as u64));
    let mut all = Vec::new();
    let is_whole = walk(&archive, bytes, Vec::new(), &root, &mut all);
    is_whole.then_some((archive, all))
}

/// Goes through a node and all below it: whether it can be read.
fn walk(
    archive: &Archive<&[u8]>,
    bytes: &[u8],
    path: Vec<u8>,
    found: &Found,
    all: &mut Vec<Seen>,
) -> bool {
    let Found { node, start, body, end } = found;
    assert!(start < body && body <= end && *end <= bytes.len() as u64);
    check_bytes(archive, bytes, found);
    all.push(Seen { path: path.clone(), node: node.clone(), body: *body, end: *end });
    if !node.is_directory() {
        assert_eq!(body + node.size(), *end);
        return true;
    }
    let Ok(mut children) = archive.children(found) else { return false };
    let mut names = HashSet::new();
    let mut last_end = *body;
    loop {
        let (name, child) = match children.next() {
            Ok(Some(next)) => next,
            Ok(None) => return true,
            Err(_) => return false,
        };
        check_place(bytes, found, &name, &child);
        assert!(child.start - record(&name).len() as u64 >= last_end, "it goes back");
        assert!(names.insert(name.clone()), "a name comes twice");
        last_end = child.end;
        if let Ok(Some(same)) = archive.lookup(found, &name) {
            check_place(bytes, found, &name, &same);
        }
        let joint = if path.is_empty() { &b""[..] } else { b"/" };
        let below = [&path[..], joint, &name].concat();
        if !walk(archive, bytes, below, &child, all) {
            return false;
        }
    }
}

/// Whether something lies in its directory, behind the name that was asked for.
fn check_place(bytes: &[u8], directory: &Found, name: &[u8], found: &Found) {
    assert!((1..=255).contains(&name.len()) && !name.contains(&b'/') && !name.contains(&0));
    assert!(name != b"." && name != b"..");
    let record = record(name);
    let start = found.start.checked_sub(record.len() as u64).expect("room for a name");
    assert!(directory.body <= start && found.end + TABLE_LEN <= directory.end, "it is outside");
    assert!(bytes[start as usize..].starts_with(&record), "it has another name");
}

/// Whether the bytes of a file are those that lie there.
fn check_bytes(archive: &Archive<&[u8]>, bytes: &[u8], found: &Found) {
    let mut buffer = vec![0; 1 + found.node.size() as usize];
    let read = archive.read(found, 0, &mut buffer).expect("bytes that lie in memory");
    assert_eq!(read as u64, found.node.size());
    assert!(buffer[..read] == bytes[found.body as usize..][..read]);
}

fn record(name: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    encode_name(&mut record, name);
    record
}
