//! The steps through a tree that came out of a tar.

use std::collections::{BTreeMap, btree_map};
use std::fs::File;
use std::mem;
use std::sync::Arc;

use cairn_formats::catar::{Body, Node};

use super::members::shown;
use super::source::Source;
use super::tree::Tree;
use crate::Result;
use crate::archive::kept::kept;
use crate::archive::step::{Content, Named, Origin, Step};

/// Steps of a tar into an archive: directories before what is in them, names in order.
#[derive(Debug)]
pub struct Steps {
    tree: Tree,
    source: Source,
    /// The tar, whose pieces the bytes of all files are.
    origin: Arc<Origin>,
    features: u64,
    /// The root, before it was taken.
    root: Option<usize>,
    /// What is still to come in the directories we are in, and their names.
    open: Vec<(Vec<u8>, btree_map::IntoIter<Vec<u8>, usize>)>,
}

impl Steps {
    pub(super) fn new(tree: Tree, root: usize, source: &Source, features: u64) -> Self {
        let origin = Arc::new(Origin { file: source.file.clone(), seen: None });
        Self { tree, source: source.clone(), origin, features, root: Some(root), open: Vec::new() }
    }

    /// The file the pieces of all files are in.
    pub fn file(&self) -> &Arc<File> {
        &self.source.file
    }

    /// The step to a place; `None` if it is left out.
    fn step(&mut self, name: Vec<u8>, place: usize) -> Result<Option<Step>> {
        let place = &mut self.tree.places[place];
        // The last of its names takes what there is, the others take a copy.
        place.names = place.names.saturating_sub(1);
        let (node, pieces, children) = if place.names == 0 {
            let gone = Node::new(Body::Fifo);
            let node = mem::replace(&mut place.node, gone);
            (node, mem::take(&mut place.pieces), mem::take(&mut place.children))
        } else {
            (place.node.clone(), place.pieces.clone(), BTreeMap::new())
        };
        let node = kept(node, self.features).map_err(|why| {
            let names = self.open.iter().skip(1).map(|(name, _)| &name[..]).chain([&name[..]]);
            let path = names.collect::<Vec<&[u8]>>().join(&b'/');
            self.source.bad(format!("member `{}`: {why}", shown(&path)))
        })?;
        let Some(node) = node else { return Ok(None) };
        let content = match node.body {
            Body::File(_) => Content::Pieces(Arc::clone(&self.origin), pieces),
            _ => Content::None,
        };
        if node.is_directory() {
            self.open.push((name.clone(), children.into_iter()));
        }
        Ok(Some(Step::Node(Box::new(Named { name, node, content }))))
    }
}

impl Iterator for Steps {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(root) = self.root.take() {
            return self.step(Vec::new(), root).transpose();
        }
        loop {
            let Some((name, place)) = self.open.last_mut()?.1.next() else {
                self.open.pop();
                return Some(Ok(Step::Leave));
            };
            if let Some(step) = self.step(name, place).transpose() {
                if step.is_err() {
                    self.open.clear();
                }
                return Some(step);
            }
        }
    }
}
