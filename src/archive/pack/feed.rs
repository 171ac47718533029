//! What feeds an archive with steps: a tree, or whatever gives steps one after the other.

use std::sync::Mutex;

use super::stream::Feed;
use super::walk::{Task, Tree, Walk};
use crate::Result;
use crate::archive::step::Step;
use crate::flow::lock;

/// Steps taken at once from what gives them one by one.
const BATCH: usize = 64;

/// A tree of files.
pub(super) struct TreeFeed<'a> {
    tree: Tree<'a>,
    walk: Mutex<Walk>,
}

impl<'a> TreeFeed<'a> {
    pub(super) fn new(tree: Tree<'a>) -> Self {
        Self { tree, walk: Mutex::default() }
    }
}

impl Feed for TreeFeed<'_> {
    type Batch = Vec<Task>;

    fn next(&self) -> Result<Option<Vec<Task>>> {
        let tasks = lock(&self.walk).next(&self.tree)?;
        Ok(Some(tasks).filter(|tasks| !tasks.is_empty()))
    }

    fn steps(&self, batch: Vec<Task>) -> Result<Vec<Step>> {
        batch.into_iter().filter_map(|task| task.step(&self.tree).transpose()).collect()
    }
}

/// Steps that come one after the other.
pub(super) struct StepFeed<'a> {
    steps: Mutex<Steps<'a>>,
}

type Steps<'a> = Box<dyn Iterator<Item = Result<Step>> + Send + 'a>;

impl<'a> StepFeed<'a> {
    pub(super) fn new(steps: Steps<'a>) -> Self {
        Self { steps: Mutex::new(steps) }
    }
}

impl Feed for StepFeed<'_> {
    type Batch = Vec<Step>;

    fn next(&self) -> Result<Option<Vec<Step>>> {
        let steps: Vec<Step> = lock(&self.steps).by_ref().take(BATCH).collect::<Result<_>>()?;
        Ok(Some(steps).filter(|steps| !steps.is_empty()))
    }

    fn steps(&self, batch: Vec<Step>) -> Result<Vec<Step>> {
        Ok(batch)
    }
}
