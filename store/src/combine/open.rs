//! Questions about many chunks of which some are still to be answered.

use cairn_formats::ChunkId;

use crate::Error;

/// Questions that the stores asked so far have not answered.
#[derive(Default)]
pub(super) struct Open {
    /// Where each stands among all that were asked.
    pub(super) places: Vec<usize>,
    pub(super) ids: Vec<ChunkId>,
    /// What went wrong first with each.
    pub(super) failures: Vec<Option<Error>>,
}

impl Open {
    /// All questions.
    pub(super) fn all(ids: &[ChunkId]) -> Self {
        let failures = ids.iter().map(|_| None).collect();
        Self { places: (0..ids.len()).collect(), ids: ids.to_vec(), failures }
    }

    /// One more.
    pub(super) fn add(&mut self, place: usize, id: ChunkId, failure: Option<Error>) {
        self.places.push(place);
        self.ids.push(id);
        self.failures.push(failure);
    }

    /// All of them, to ask the next store; what that does not answer has to be added again.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}
