//! Whatever the table of a directory says: nobody is led out of the directory, and what is found is there.

#![no_main]

use cairn_formats::catar::{Goodbye, HEADER_LEN, encode_goodbye};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((at, body)) = bytes.split_first_chunk() else { return };
    let at = u64::from_le_bytes(*at);
    let Ok(goodbye) = Goodbye::parse(body.to_vec(), at) else { return };
    assert!(goodbye.entry() <= at && goodbye.at() == at);
    // Of tables that lead elsewhere some places can be found all the same.
    let hashes = body
        .chunks_exact(24)
        .map(|item| u64::from_le_bytes(item[16..].try_into().expect("a word")));
    for hash in hashes {
        for child in goodbye.find(hash).unwrap_or_default() {
            assert!(child.hash == hash);
            assert!(goodbye.entry() < child.start && child.start < child.end && child.end <= at);
        }
    }
    let Ok(mut children) = goodbye.children() else { return };
    assert_eq!(children.len(), goodbye.len());
    let mut again = Vec::new();
    encode_goodbye(&mut again, &mut children, goodbye.entry(), at);
    if again[HEADER_LEN..] == *body {
        for child in &children {
            let expected: Vec<_> =
                children.iter().filter(|other| other.hash == child.hash).copied().collect();
            assert_eq!(goodbye.find(child.hash).expect("a table that can be read"), expected);
        }
    }
});
