//! The nodes of an archive, one after the other, with or without the bytes of files.

use std::io::{self, Read};

use cairn_formats::catar::{Decoder, Found, Item, Node};

use super::input::{Forward, Input};
use crate::{Monitor, Result};

/// Which nodes are visited.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The one at this path, and what is below.
    pub path: Vec<u8>,
    /// Of what is below, only what is in the directory itself.
    pub is_shallow: bool,
}

/// A node that is visited.
pub struct Visit<'a> {
    /// Its path in the archive; empty for the root.
    pub path: &'a [u8],
    /// What is recorded of it.
    pub node: &'a Node,
    /// The feature word of the archive.
    pub features: u64,
    /// The bytes of a file, where they are wanted.
    pub content: &'a mut dyn Read,
}

/// What is done with each node.
pub type Visitor<'a> = dyn FnMut(Visit<'_>) -> Result<()> + 'a;

/// Visits the nodes of a part of an archive in its order. The bytes of files are not read.
pub fn walk(input: &Input, part: &Part, visit: &mut Visitor<'_>) -> Result<()> {
    if input.is_stream() {
        return input
            .in_whole(0..0, 1, &crate::Silent, |from| Walk::new(input, part, visit).stream(from));
    }
    let archive = input.archive()?;
    let found = input.find(&archive, &part.path)?;
    let path = simple(&part.path);
    let features = archive.features();
    if part.is_shallow || !found.node.is_directory() {
        let mut empty = io::empty();
        visit(Visit { path: &path, node: &found.node, features, content: &mut empty })?;
        let mut children = archive.children(&found).map_err(|e| input.wrong(e))?;
        while let Some((name, child)) = children.next().map_err(|e| input.wrong(e))? {
            let path = below(&path, &name);
            visit(Visit { path: &path, node: &child.node, features, content: &mut empty })?;
        }
        return Ok(());
    }
    input.in_parts(found.start..found.end, |from| {
        Walk::new(input, part, visit).subtree(from, &found, features, &path)
    })
}

/// Visits the nodes of a part of an archive in its order, with the bytes of files, which are all read.
pub fn walk_content(
    input: &Input,
    path: &[u8],
    workers: usize,
    monitor: &dyn Monitor,
    visit: &mut Visitor<'_>,
) -> Result<()> {
    let part = Part { path: path.to_vec(), is_shallow: false };
    if input.is_stream() || input.is_directory() {
        return input
            .in_whole(0..0, 1, monitor, |from| Walk::new(input, &part, visit).stream(from));
    }
    let archive = input.archive()?;
    let found = input.find(&archive, path)?;
    let (path, features) = (simple(path), archive.features());
    if found.node.is_directory() {
        return input.in_whole(found.start..found.end, workers, monitor, |from| {
            Walk::new(input, &part, visit).subtree(from, &found, features, &path)
        });
    }
    input.in_whole(found.body..found.end, workers, monitor, |mut from| {
        visit(Visit { path: &path, node: &found.node, features, content: &mut from })
    })
}

/// A path without what leads nowhere, as it stands in the lines of a listing.
pub fn simple(path: &[u8]) -> Vec<u8> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.collect::<Vec<_>>().join(&b'/')
}

/// The path of a name in a directory.
pub fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory, name) {
        ([], _) => name.to_vec(),
        (_, []) => directory.to_vec(),
        _ => [directory, name].join(&b'/'),
    }
}

/// A walk from front to end.
struct Walk<'a, 'v> {
    input: &'a Input,
    part: &'a Part,
    visit: &'a mut Visitor<'v>,
}

impl<'a, 'v> Walk<'a, 'v> {
    fn new(input: &'a Input, part: &'a Part, visit: &'a mut Visitor<'v>) -> Self {
        Self { input, part, visit }
    }

    /// Visits a directory that was found at `path`, whose bytes these are.
    fn subtree(
        self,
        from: &mut dyn Forward,
        found: &Found,
        features: u64,
        path: &[u8],
    ) -> Result<()> {
        let mut decoder = Decoder::at_node(from, found.start, features);
        while let Some(item) = decoder.next().map_err(|e| self.input.wrong(e))? {
            let Item::Node(node) = item else { continue };
            let path = below(path, decoder.path());
            let mut content = decoder.payload();
            (self.visit)(Visit { path: &path, node: &node, features, content: &mut content })?;
            skip(&mut decoder).map_err(|e| self.input.unreadable(e))?;
        }
        Ok(())
    }

    /// Visits the part of an archive that comes as a whole.
    fn stream(self, from: &mut dyn Forward) -> Result<()> {
        let wanted = simple(&self.part.path);
        let mut is_there = false;
        let mut decoder = Decoder::new(from);
        while let Some(item) = decoder.next().map_err(|e| self.input.wrong(e))? {
            let Item::Node(node) = item else { continue };
            let features = decoder.features().unwrap_or_default();
            let path = decoder.path().to_vec();
            let below = path
                .strip_prefix(&wanted[..])
                .filter(|below| below.is_empty() || wanted.is_empty() || below.starts_with(b"/"));
            let Some(below) = below else { continue };
            let names = below.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
            is_there = true;
            if self.part.is_shallow && names.count() > 1 {
                continue;
            }
            let mut content = decoder.payload();
            (self.visit)(Visit { path: &path, node: &node, features, content: &mut content })?;
        }
        if is_there { Ok(()) } else { Err(self.input.absent(&self.part.path)) }
    }
}

/// Passes over what nobody has read of a file.
fn skip(decoder: &mut Decoder<&mut dyn Forward>) -> io::Result<()> {
    decoder.take_payload(|from, len| from.skip(len))
}
