//! Archives written record by record, for what no program would archive.

use std::fs::{self, File};
use std::path::Path;

use cairn::archive::unpack::{Source, UnpackOptions, unpack};
use cairn::{Result, Silent};
use cairn_formats::catar::{
    Body, Child, Node, encode_goodbye, encode_name, encode_node, hash_name,
};
use cairn_formats::flags;

/// Permissions and times and nothing that takes root, as casync would write it.
pub const FEATURES: u64 =
    flags::SHA512_256 | flags::NSEC_TIME | flags::PERMISSIONS | flags::SYMLINKS | flags::FIFOS;

/// An archive under construction.
pub struct Written {
    pub bytes: Vec<u8>,
    /// Directories that are open: where each begins, and what is in it.
    open: Vec<(u64, Vec<Child>)>,
}

impl Written {
    pub fn new() -> Self {
        let mut written = Self { bytes: Vec::new(), open: Vec::new() };
        written.node(Body::Directory, 0o755);
        written.open.push((0, Vec::new()));
        written
    }

    fn node(&mut self, body: Body, permissions: u32) {
        let mut node = Node::new(body);
        node.permissions = permissions;
        node.mtime = 1_000_000_000_000_000_000;
        encode_node(&mut self.bytes, &node, FEATURES);
    }

    fn begin(&mut self, name: &str) {
        self.end_child();
        let start = self.bytes.len() as u64;
        let children = &mut self.open.last_mut().unwrap().1;
        children.push(Child { hash: hash_name(name.as_bytes()), start, end: 0 });
        encode_name(&mut self.bytes, name.as_bytes());
    }

    fn end_child(&mut self) {
        let end = self.bytes.len() as u64;
        let children = &mut self.open.last_mut().unwrap().1;
        if let Some(child) = children.last_mut().filter(|child| child.end == 0) {
            child.end = end;
        }
    }

    pub fn enter(&mut self, name: &str, permissions: u32) {
        self.begin(name);
        let start = self.bytes.len() as u64;
        self.node(Body::Directory, permissions);
        self.open.push((start, Vec::new()));
    }

    pub fn leave(&mut self) {
        self.end_child();
        let (start, mut children) = self.open.pop().unwrap();
        let at = self.bytes.len() as u64;
        encode_goodbye(&mut self.bytes, &mut children, start, at);
    }

    pub fn file(&mut self, name: &str, bytes: &[u8]) {
        self.begin(name);
        self.node(Body::File(bytes.len() as u64), 0o644);
        self.bytes.extend(bytes);
    }

    pub fn link(&mut self, name: &str, target: &str) {
        self.begin(name);
        self.node(Body::Symlink(target.as_bytes().to_vec()), 0o777);
    }

    /// Closes whatever is open.
    pub fn end(mut self) -> Vec<u8> {
        while !self.open.is_empty() {
            self.leave();
        }
        self.bytes
    }
}

/// Restores an archive without starting a program.
pub fn restore(archive: &[u8], beside: &Path, target: &Path) -> Result<()> {
    let name = beside.join("archive.catar");
    fs::write(&name, archive).unwrap();
    let file = File::open(&name).unwrap();
    let options = UnpackOptions { workers: 2, ..UnpackOptions::default() };
    unpack(&Source::file(&file, &name)?, target, &options, &Silent).map(drop)
}

/// An archive with one node in its root, and all of its features.
#[allow(dead_code, reason = "not all who write archives need it")]
pub fn node_in_root(name: &str, node: &Node, bytes: &[u8]) -> Vec<u8> {
    // As casync has it for what it records by default.
    let features = 0xb000_0001_ffef_fe26;
    let mut written = Written { bytes: Vec::new(), open: vec![(0, Vec::new())] };
    let root = Node { permissions: 0o755, ..Node::new(Body::Directory) };
    encode_node(&mut written.bytes, &root, features);
    written.begin(name);
    encode_node(&mut written.bytes, node, features);
    written.bytes.extend(bytes);
    written.end()
}
