//! A million files take little memory, while they are read as well.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::fs;
use std::io::{self, Read};

use cairn_formats::catar::{
    Body, Child, Node, encode_goodbye, encode_name, encode_node, hash_name,
};
use cairn_fuse::tree::{Block, Skip};

const FEATURES: u64 = 0xb000_0001_ffef_fe26;
const DIRECTORIES: u64 = 1000;
const FILES: u64 = 1000;

/// Bytes that a node may take, with a name of 20 bytes.
const MOST: u64 = 120;
const MOST_KEPT: u64 = 100;

/// An archive of directories with empty files in them, made as it is read.
struct Million {
    directory: u64,
    /// Bytes made, and how many were given out of the last of them.
    at: u64,
    made: Vec<u8>,
    given: usize,
    children: Vec<Child>,
}

impl Million {
    fn new() -> Self {
        let mut made = Vec::new();
        encode_node(&mut made, &Node::new(Body::Directory), FEATURES);
        Self { directory: 0, at: made.len() as u64, made, given: 0, children: Vec::new() }
    }

    /// Makes the next directory, or the end.
    fn go_on(&mut self) {
        let Self { directory, at, made, given, children } = self;
        made.clear();
        *given = 0;
        if *directory == DIRECTORIES {
            encode_goodbye(made, children, 0, *at);
        } else if *directory < DIRECTORIES {
            let name = format!("a-directory-{directory:08}").into_bytes();
            encode_name(made, &name);
            let entry = made.len() as u64;
            encode_node(made, &Node::new(Body::Directory), FEATURES);
            let mut files = Vec::new();
            for file in 0..FILES {
                let name = format!("some-file-{file:010}").into_bytes();
                let start = made.len() as u64;
                encode_name(made, &name);
                encode_node(made, &Node::new(Body::File(0)), FEATURES);
                files.push(Child { hash: hash_name(&name), start, end: made.len() as u64 });
            }
            let end = made.len() as u64;
            encode_goodbye(made, &mut files, entry, end);
            let end = *at + made.len() as u64;
            children.push(Child { hash: hash_name(&name), start: *at, end });
        }
        *directory += 1;
        *at += made.len() as u64;
    }
}

impl Read for Million {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.made.len() {
            self.go_on();
        }
        let read = (&self.made[self.given..]).read(buffer)?;
        self.given += read;
        Ok(read)
    }
}

impl Skip for Million {
    fn skip(&mut self, _: u64) -> io::Result<()> {
        unreachable!("all files are empty")
    }
}

/// A line of what the system says of our memory, in bytes.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|status| status.strip_prefix(line)).unwrap();
    let kib: u64 = line.trim_start_matches(':').trim_end_matches("kB").trim().parse().unwrap();
    kib << 10
}

#[test]
fn a_million_files_take_little_memory() {
    let before = memory("VmRSS");
    let block = Block::build(Million::new()).unwrap();
    let peak = memory("VmHWM") - before;
    let nodes = block.nodes();
    assert_eq!(nodes, 1 + DIRECTORIES * (1 + FILES));
    assert!(block.size() <= MOST_KEPT * nodes, "{} bytes a node", block.size() / nodes);
    assert!(peak <= MOST * nodes, "{} bytes a node while building", peak / nodes);
}
