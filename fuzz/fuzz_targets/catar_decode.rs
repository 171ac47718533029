//! An archive that is read to its end is, written again, the same bytes.
//!
//! ```text
//! bytes -(mutated, often with tables that fit again)-> decode -> encode -> the same bytes
//! ```
//! Left out are what has several forms: values with desync's NUL, and names without a node.

#![no_main]

#[path = "shared/records.rs"]
mod records;

use std::io::Read;

use cairn_formats::catar::{
    Child, Decoder, Item, encode_goodbye, encode_name, encode_node, hash_name,
};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// The lower half of a feature word by which desync's archives are told.
const DESYNC: u64 = 0x1000_1f22;

/// A directory that is being written again.
struct Directory {
    entry: u64,
    /// Where its own name begins, in what it is in.
    start: u64,
    hash: u64,
    children: Vec<Child>,
}

fuzz_target!(|bytes: &[u8]| {
    let Some((again, features)) = again(bytes) else { return };
    if features & 0x1_ffff_ffff != DESYNC && !records::has_gap(bytes) {
        assert!(again == bytes, "another archive when written again");
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    // Hardly any change of an archive is one without its tables.
    if seed % 4 == 0 { size } else { records::mend(data, size, max_size) }
});

/// The archive written again, and its feature word; `None` if it is none.
fn again(bytes: &[u8]) -> Option<(Vec<u8>, u64)> {
    let mut decoder = Decoder::new(bytes);
    let mut out: Vec<u8> = Vec::new();
    let mut open: Vec<Directory> = Vec::new();
    while let Some(item) = decoder.next().ok()? {
        match item {
            Item::Node(node) => {
                let start = out.len() as u64;
                let hash = hash_name(decoder.name());
                if !open.is_empty() {
                    encode_name(&mut out, decoder.name());
                }
                let entry = out.len() as u64;
                encode_node(&mut out, &node, decoder.features().expect("behind an entry"));
                decoder.payload().read_to_end(&mut out).ok()?;
                if node.is_directory() {
                    open.push(Directory { entry, start, hash, children: Vec::new() });
                } else if let Some(directory) = open.last_mut() {
                    directory.children.push(Child { hash, start, end: out.len() as u64 });
                }
            }
            Item::Leave => {
                let mut left = open.pop().expect("only what is open is left");
                let at = out.len() as u64;
                encode_goodbye(&mut out, &mut left.children, left.entry, at);
                if let Some(directory) = open.last_mut() {
                    let end = out.len() as u64;
                    directory.children.push(Child { hash: left.hash, start: left.start, end });
                }
            }
        }
    }
    assert!(open.is_empty(), "the end came inside of a directory");
    assert_eq!(decoder.position(), bytes.len() as u64);
    Some((out, decoder.features().expect("behind an entry")))
}
