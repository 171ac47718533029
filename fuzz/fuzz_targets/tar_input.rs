//! Whatever a tar says: its steps are in order, their bytes are in the tar, and they make an archive that is read. The
//! memory that is taken goes with the length of the tar, not with what it says.

#![no_main]

use std::alloc::System;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use cairn::archive::step::{Content, Piece, Step};
use cairn::archive::tar_input::{Options, Source, Steps, steps};
use cairn_formats::Coding;
use cairn_formats::catar::{Child, Decoder, encode_goodbye, encode_name, encode_node, hash_name};
use cap::Cap;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

const BLOCK: usize = 512;
/// What casync records, what desync does, and names alone.
const FEATURES: [u64; 3] = [0xb000_0001_ffef_fe26, 0xb000_0000_1000_1f22, 0xa];

/// Bytes of an archive that is made: beyond, only the steps are looked at.
const MOST_OUT: u64 = 1 << 20;

/// Memory that may be taken whatever the tar is, and for each byte of it: a directory of its own for every second one.
const MEMORY: usize = 16 << 20;
const MEMORY_OF_BYTE: usize = 1024;

/// What asks for more than it may have ends the process.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// A directory that has not been left.
struct Directory {
    entry: u64,
    children: Vec<Child>,
    last_name: Vec<u8>,
}

fuzz_target!(|bytes: &[u8]| {
    // Streams are not what this is about.
    if Coding::of_magic(bytes).is_some() {
        return;
    }
    let most = ALLOCATOR.allocated() + MEMORY + MEMORY_OF_BYTE * bytes.len();
    ALLOCATOR.set_limit(most).expect("more than is held");
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
    let mut open: Vec<Directory> = Vec::new();
    let mut is_over = false;
    for step in steps {
        let Ok(step) = step else { return };
        assert!(!is_over, "a step behind the end");
        match step {
            Step::Node(named) => {
                let start = out.len() as u64;
                match open.last_mut() {
                    None => assert!(named.name.is_empty() && out.is_empty(), "another root"),
                    Some(directory) => {
                        check_name(&named.name, &directory.last_name);
                        directory.last_name.clone_from(&named.name);
                        encode_name(&mut out, &named.name);
                    }
                }
                let entry = out.len() as u64;
                encode_node(&mut out, &named.node, features);
                let size = named.node.size();
                assert_eq!(len(&named.content, bytes), size);
                if size > MOST_OUT || out.len() as u64 + size > MOST_OUT {
                    return;
                }
                out.resize(out.len() + size as usize, 0);
                let (hash, end) = (hash_name(&named.name), out.len() as u64);
                if let Some(directory) = open.last_mut() {
                    directory.children.push(Child { hash, start, end });
                }
                if named.node.is_directory() {
                    open.push(Directory { entry, children: Vec::new(), last_name: Vec::new() });
                }
            }
            Step::Leave => {
                let mut left = open.pop().expect("only what is open is left");
                let at = out.len() as u64;
                encode_goodbye(&mut out, &mut left.children, left.entry, at);
                if let Some(directory) = open.last_mut() {
                    directory.children.last_mut().expect("what was left").end = out.len() as u64;
                }
            }
        }
        is_over = open.is_empty();
    }
    assert!(is_over, "a directory that is not left");
    let mut decoder = Decoder::new(&out[..]);
    while decoder.next().expect("an archive as it should be").is_some() {}
}

/// Whether it is one component of a path, behind the last one.
fn check_name(name: &[u8], last: &[u8]) {
    assert!((1..=255).contains(&name.len()) && !name.contains(&b'/') && !name.contains(&0));
    assert!(name != b"." && name != b"..");
    assert!(last < name, "names are not in order");
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
