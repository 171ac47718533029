//! Whatever a tar says: its steps are in order, their bytes are in the tar, and they make an archive that is read.

#![no_main]

use std::fs::File;
use std::io::Write;
use std::path::Path;

use cairn::archive::step::{Content, Piece, Step};
use cairn::archive::tar_input::{Options, Source, Steps, steps};
use cairn_formats::Coding;
use cairn_formats::catar::{Child, Decoder, encode_goodbye, encode_name, encode_node, hash_name};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

const BLOCK: usize = 512;
/// What casync records, what desync does, and names alone.
const FEATURES: [u64; 3] = [0xb000_0001_ffef_fe26, 0xb000_0000_1000_1f22, 0xa];

fuzz_target!(|bytes: &[u8]| {
    // Streams are not what this is about.
    if Coding::of_magic(bytes).is_some() {
        return;
    }
    for features in FEATURES {
        for is_root_added in [false, true] {
            let Ok(source) = Source::of_file(file(bytes), Path::new("tar")) else { return };
            if let Ok(steps) = steps(&source, &Options { features, is_root_added }) {
                check(steps, features, bytes);
            }
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    // Hardly any change of a header leaves its sum what it was.
    if seed % 8 != 0 {
        for block in
            data[..size].chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar")
        {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    size
});

/// A file in memory with these bytes, to be read from its beginning.
fn file(bytes: &[u8]) -> File {
    use std::io::Seek;
    let file = rustix::fs::memfd_create("tar", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(file.expect("a file in memory"));
    file.write_all(bytes).expect("room for it");
    file.rewind().expect("a file that can be rewound");
    file
}

fn check(steps: Steps, features: u64, bytes: &[u8]) {
    let mut out = Vec::new();
    let mut open: Vec<(u64, Vec<Child>)> = Vec::new();
    for step in steps {
        let Ok(step) = step else { return };
        match step {
            Step::Node(named) => {
                let start = out.len() as u64;
                if !open.is_empty() {
                    encode_name(&mut out, &named.name);
                }
                let entry = out.len() as u64;
                encode_node(&mut out, &named.node, features);
                let size = named.node.size();
                if size > 1 << 20 {
                    return;
                }
                out.resize(out.len() + size as usize, 0);
                assert_eq!(len(&named.content, bytes), size);
                let (hash, end) = (hash_name(&named.name), out.len() as u64);
                if let Some((_, children)) = open.last_mut() {
                    children.push(Child { hash, start, end });
                }
                if named.node.is_directory() {
                    open.push((entry, Vec::new()));
                }
            }
            Step::Leave => {
                let (entry, mut children) = open.pop().expect("only what is open is left");
                let at = out.len() as u64;
                encode_goodbye(&mut out, &mut children, entry, at);
                if let Some((_, children)) = open.last_mut() {
                    children.last_mut().expect("what was left").end = out.len() as u64;
                }
            }
        }
    }
    assert!(open.is_empty());
    let mut decoder = Decoder::new(&out[..]);
    while decoder.next().expect("an archive as it should be").is_some() {}
}

/// How many bytes there are, all of them in the tar.
fn len(content: &Content, bytes: &[u8]) -> u64 {
    let Content::Pieces(_, pieces) = content else { return 0 };
    let piece = |piece: &Piece| match *piece {
        Piece::Data { at, len } => {
            assert!(at + len <= bytes.len() as u64);
            len
        }
        Piece::Zeros(len) => len,
    };
    pieces.iter().map(piece).sum()
}
