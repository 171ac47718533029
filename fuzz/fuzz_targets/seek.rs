//! Whatever the tables of an archive say: the search ends, nobody is led out of a directory, and what is found has
//! the name that was asked for.

#![no_main]

use cairn_formats::catar::{Archive, Found};
use libfuzzer_sys::fuzz_target;

/// Directories that are gone into, so that an archive of many is no hang.
const MOST: usize = 100;

fuzz_target!(|bytes: &[u8]| {
    let Ok(archive) = Archive::new(bytes, bytes.len() as u64) else { return };
    let mut open: Vec<Found> = vec![archive.root().clone()];
    for _ in 0..MOST {
        let Some(directory) = open.pop() else { break };
        let Ok(mut children) = archive.children(&directory) else { continue };
        while let Ok(Some((name, found))) = children.next() {
            if let Ok(Some(same)) = archive.lookup(&directory, &name) {
                assert!(same.node.is_directory() || same.node.size() <= bytes.len() as u64);
            }
            if found.node.is_directory() {
                open.push(found);
            }
        }
    }
    let _ = archive.find(b"a/b");
});
