//! What feeds an archive: a tree, or whatever gives steps one after the other.

use std::path::Path;
use std::sync::Mutex;

use super::encoded::{Encoded, Encoder};
use super::notices::Notices;
use super::tree::Tree;
use super::walk::{Task, Walk};
use super::{Input, PackOptions};
use crate::Result;
use crate::archive::encoder_cache::EncoderCache;
use crate::archive::step::Step;
use crate::flow::lock;

/// Steps taken at once from what gives them one by one.
const BATCH: usize = 64;

/// Where an archive comes from, in batches. One may be encoded while others are.
pub(super) enum Feed<'a> {
    /// A tree of files, and how far the walk through it has come.
    Tree(Box<Tree<'a>>, Mutex<Walk>),
    /// Steps for an archive with a feature word.
    Steps(u64, Mutex<Steps<'a>>),
}

type Steps<'a> = Box<dyn Iterator<Item = Result<Step>> + Send + 'a>;

/// What is known of what comes next while it is still in order.
pub(super) enum Batch {
    Tasks(Vec<Task>),
    Steps(Vec<Step>),
}

impl<'a> Feed<'a> {
    pub(super) fn new(input: Input<'a>, options: &PackOptions, notices: &'a Notices<'a>) -> Self {
        let (root, cache) = match input {
            Input::Tree(root) => (root, None),
            Input::KnownTree(root, cache) => (root, Some(cache)),
            Input::Steps(steps) => return Feed::Steps(options.features, Mutex::new(steps)),
        };
        Feed::Tree(Box::new(Tree::new(root, options, notices, cache)), Mutex::default())
    }

    /// A tree whose files are not read.
    pub(super) fn without_bytes(
        root: &Path,
        options: &PackOptions,
        notices: &'a Notices<'a>,
    ) -> Self {
        let tree = Tree::new(root, options, notices, None).without_bytes();
        Feed::Tree(Box::new(tree), Mutex::default())
    }

    /// What is known of the tree from an earlier time.
    pub(super) fn cache(&self) -> Option<&'a EncoderCache> {
        match self {
            Feed::Tree(tree, _) => tree.cache(),
            Feed::Steps(..) => None,
        }
    }

    /// The next batch; none at the end. It is asked by one worker after the other.
    pub(super) fn next(&self) -> Result<Option<Batch>> {
        Ok(match self {
            Feed::Tree(tree, walk) => {
                let tasks = lock(walk).next(tree)?;
                Some(tasks).filter(|tasks| !tasks.is_empty()).map(Batch::Tasks)
            }
            Feed::Steps(_, steps) => {
                let steps = lock(steps).by_ref().take(BATCH).collect::<Result<Vec<Step>>>()?;
                Some(steps).filter(|steps| !steps.is_empty()).map(Batch::Steps)
            }
        })
    }

    /// What a batch adds to the archive.
    pub(super) fn encode(&self, batch: Batch) -> Result<Encoded<'a>> {
        match (self, batch) {
            (Feed::Tree(tree, _), Batch::Tasks(tasks)) => {
                let mut encoder = Encoder::new(tree.features(), tasks.len());
                tasks.into_iter().try_for_each(|task| task.encode(tree, &mut encoder))?;
                if let Some(cache) = tree.cache() {
                    encoder.mark(cache);
                }
                Ok(encoder.finish())
            }
            (Feed::Steps(features, _), Batch::Steps(steps)) => {
                let mut encoder = Encoder::new(*features, steps.len());
                steps.into_iter().for_each(|step| encoder.add(step));
                Ok(encoder.finish())
            }
            _ => unreachable!("batches go back where they came from"),
        }
    }

    /// Lets the cache know what owners are called.
    pub(super) fn name_owners(&self) {
        if let Feed::Tree(tree, _) = self {
            tree.name_owners();
        }
    }
}
