//! What casync wrote for 26 blobs, we write too, to the byte.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::fs;
use std::path::Path;

use cairn_formats::chunker::{CutRule, Cutter, Piece, Stitcher};
use cairn_formats::simd::Level;
use cairn_formats::{Chunk, ChunkSizes, Digest, Index};
use serde_json::Value;

fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/casync-vectors.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Rebuilds an input from its recipe; the recipes are described in the file itself.
fn input(recipe: &Value, words: &Value) -> Vec<u8> {
    let size = || recipe[2].as_u64().unwrap() as usize;
    match recipe[0].as_str().unwrap() {
        "const" => vec![recipe[1].as_u64().unwrap() as u8; size()],
        "cat" => {
            let parts = recipe.as_array().unwrap()[1..].iter();
            parts.flat_map(|part| input(part, words)).collect()
        }
        "sha256ctr" => {
            let label = recipe[1].as_str().unwrap().as_bytes();
            let block = |i: u64| {
                let id = Digest::Sha256.hash(&[label, &i.to_le_bytes()].concat());
                *id.as_bytes()
            };
            (0..).flat_map(block).take(size()).collect()
        }
        "lcg64" => lcg64(recipe[1].as_u64().unwrap()).take(size()).collect(),
        "words" => {
            let mut text = Vec::new();
            for (n, byte) in (1..).zip(lcg64(recipe[1].as_u64().unwrap())) {
                text.extend(words[usize::from(byte & 15)].as_str().unwrap().bytes());
                text.push(if n % 12 == 0 { b'\n' } else { b' ' });
                if text.len() >= size() {
                    break;
                }
            }
            text.truncate(size());
            text
        }
        other => panic!("unknown recipe {other}"),
    }
}

fn lcg64(seed: u64) -> impl Iterator<Item = u8> {
    let mut x = seed;
    std::iter::repeat_with(move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    })
}

/// Makes the index by windows of an odd size, as the program does.
fn index(blob: &[u8], sizes: ChunkSizes, digest: Digest, level: Level) -> Index {
    let cutter = Cutter::at_level(level, CutRule::Buzhash, sizes).unwrap();
    let mut stitcher = Stitcher::new(&cutter);
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for window in blob.chunks(777_777) {
        let guesses = cutter.cut_window(window);
        for piece in stitcher.window(window, &guesses) {
            match piece {
                Piece::Joined(bytes) => chunks.push(bytes),
                Piece::Within(range) => chunks.push(window[range].to_vec()),
                Piece::Zeros { .. } => unreachable!("no hole was offered"),
            }
        }
    }
    if let Some(Piece::Joined(bytes)) = stitcher.end() {
        chunks.push(bytes);
    }
    let mut index = Index::of_blob(digest, sizes);
    let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    for chunk in Chunk::name_many(digest, &slices) {
        index.push(chunk.id(), chunk.data().len());
    }
    index
}

#[test]
fn all_blob_vectors_match_to_the_byte() {
    let vectors = vectors();
    let blobs = vectors["blobs"].as_array().unwrap();
    assert_eq!(blobs.len(), 26);
    for case in blobs {
        let name = case["name"].as_str().unwrap();
        let blob = input(&case["recipe"], &vectors["words"]);
        assert_eq!(Digest::Sha256.hash(&blob).to_hex(), case["input_sha256"], "{name}: recipe");

        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let sizes = ChunkSizes::new(size("min"), size("avg"), size("max")).unwrap();
        assert_eq!(u64::from(sizes.discriminator()), case["discriminator"], "{name}");
        let options = case["options"].as_array().unwrap();
        let is_sha256 = options.iter().any(|option| option == "--digest=sha256");
        let digest = if is_sha256 { Digest::Sha256 } else { Digest::Sha512_256 };
        let printed = if is_sha256 { Digest::Sha256 } else { Digest::Sha512_256 }.hash(&blob);
        assert_eq!(printed.to_hex(), case["printed_digest"], "{name}");

        for level in Level::supported() {
            let index = index(&blob, sizes, digest, level);
            for (ours, theirs) in index.chunks().zip(case["chunks"].as_array().unwrap()) {
                assert_eq!(ours.start, theirs["offset"], "{name} at {level}");
                assert_eq!(ours.len as u64, theirs["size"], "{name} at {level}");
                assert_eq!(ours.id.to_hex(), theirs["id"], "{name} at {level}");
            }
            let mut bytes = Vec::new();
            index.write(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, case["index_size"], "{name}");
            let sha256 = Digest::Sha256.hash(&bytes).to_hex();
            assert_eq!(sha256, case["index_sha256"], "{name} at {level}");
            assert_eq!(Index::read(&bytes[..]).unwrap(), index);
        }
    }
}

#[test]
fn sizes_given_as_options_parse_to_what_casync_records() {
    for case in vectors()["blobs"].as_array().unwrap() {
        let options = case["options"].as_array().unwrap();
        let given = options.iter().find_map(|o| o.as_str().unwrap().strip_prefix("--chunk-size="));
        let Some(given) = given else { continue };
        // Three bare numbers are KiB here, as in desync; a suffix makes them bytes.
        let bare_triplet = given.contains(':') && !given.contains('K');
        let given = if bare_triplet { format!("{given}B") } else { given.to_owned() };
        let sizes: ChunkSizes = given.parse().unwrap();
        let recorded = [sizes.min(), sizes.avg(), sizes.max()].map(|size| size as u64);
        assert_eq!(
            recorded,
            ["min", "avg", "max"].map(|key| case[key].as_u64().unwrap()),
            "{given}"
        );
    }
}
