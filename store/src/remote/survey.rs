//! Which chunks a store has, from its listing: for those who ask about many.
//!
//! ```text
//! questions -(each PRICE of them pay for a page)-> listing -> ids that are there
//!           \-> answered from the ids, or asked one by one where those do not tell
//! listing   all names -(more than a page?)-> 16 listings, by the first digit, beside each other
//! ```
//! A page tells of a thousand chunks for what a few questions cost. Whether that pays depends on how
//! many chunks the store has and how many questions will come, which nobody knows. So pages are read as
//! questions are asked: a few questions cost no page, the pages never cost more than the questions, and
//! when so many were asked that the listing is complete nothing more is asked at all.
//!
//! - A chunk that was listed, or that we have put since, is there.
//! - One that is in no listing that has come to its end is not there. If somebody else has put it
//!   meanwhile, it will be written again, which changes nothing.
//! - About all others the store is asked.
//!
//! When we remove anything, all is forgotten, and so it is after a while.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cairn_formats::ChunkId;

/// Questions that pay for a page: about what it costs at Amazon, in money and in time.
const PRICE: usize = 16;

/// Ids that are kept, of 32 bytes each. Larger stores are listed no further.
const MOST: usize = 4 << 20;

/// How long a listing is believed.
const FRESH: Duration = Duration::from_secs(15 * 60);

/// Listings beside each other, by the first hex digit.
const SHARDS: usize = 16;

/// What is known of the chunks of a store.
#[derive(Debug)]
pub(super) struct Survey {
    state: Mutex<State>,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Pages that were asked for before everything was forgotten do not count.
    generation: u64,
    /// When the first page was asked for.
    began: Option<Instant>,
    /// Questions that have not paid for a page yet.
    credit: usize,
    /// Listings to go on with.
    open: Vec<Listing>,
    /// Whether no more pages are wanted.
    is_over: bool,
    shards: [Shard; SHARDS],
    /// What we have put since the listing began.
    put: HashSet<ChunkId>,
}

#[derive(Debug, Default)]
struct Shard {
    /// In order.
    ids: Vec<ChunkId>,
    is_complete: bool,
}

/// A listing, and where it goes on.
#[derive(Debug)]
pub(super) struct Listing {
    generation: u64,
    /// The digit with which its names begin; `None` for all.
    digit: Option<u8>,
    /// What the store wants to be told to go on; `None` to begin.
    pub(super) next: Option<String>,
}

impl Listing {
    /// How its names begin.
    pub(super) fn beginning(&self) -> String {
        self.digit.map_or(String::new(), |digit| format!("{digit:x}"))
    }
}

impl Survey {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), most: MOST }
    }

    /// Whether each chunk is there, as far as is known.
    pub(super) fn answers(&self, ids: &[ChunkId]) -> Vec<Option<bool>> {
        let mut state = self.state();
        if state.began.is_some_and(|began| began.elapsed() > FRESH) {
            state.forget();
        }
        ids.iter().map(|id| state.answer(id)).collect()
    }

    /// Some more questions have to be asked: takes the listings of which they pay for a page.
    pub(super) fn pay(&self, questions: usize) -> Vec<Listing> {
        let mut state = self.state();
        if state.is_over {
            return Vec::new();
        }
        // What is not used now is of use later, but not all at once.
        state.credit = (state.credit + questions).min(PRICE * SHARDS);
        let pages = state.credit / PRICE;
        if pages == 0 {
            return Vec::new();
        }
        if state.began.is_none() {
            state.began = Some(Instant::now());
            let generation = state.generation;
            state.open.push(Listing { generation, digit: None, next: None });
        }
        let pages = pages.min(state.open.len());
        state.credit -= pages * PRICE;
        state.open.drain(..pages).collect()
    }

    /// A page of a listing has come: the chunks in it, and where it goes on.
    pub(super) fn page(&self, listing: &Listing, ids: Vec<ChunkId>, next: Option<String>) {
        let mut state = self.state();
        if listing.generation != state.generation {
            return;
        }
        match (listing.digit, &next) {
            (Some(digit), _) => {
                let shard = &mut state.shards[usize::from(digit)];
                shard.add(ids);
                shard.is_complete = next.is_none();
                if next.is_some() {
                    let Listing { generation, digit, .. } = *listing;
                    state.open.push(Listing { generation, digit, next });
                }
            }
            // All of it: each shard has what there is.
            (None, None) => {
                ids.into_iter().for_each(|id| state.shards[digit(&id)].ids.push(id));
                for shard in &mut state.shards {
                    shard.ids.sort_unstable();
                    shard.is_complete = true;
                }
            }
            (None, Some(_)) => {
                let generation = listing.generation;
                let shards = (0..SHARDS as u8).map(|digit| Listing {
                    generation,
                    digit: Some(digit),
                    next: None,
                });
                state.open.extend(shards);
            }
        }
        if state.count() >= self.most {
            state.end();
        }
    }

    /// A page could not be had. What is known is still good, but there will be no more of it.
    pub(super) fn fail(&self, listing: &Listing) {
        let mut state = self.state();
        if listing.generation == state.generation {
            state.end();
        }
    }

    /// A chunk is there now.
    pub(super) fn put(&self, id: ChunkId) {
        let mut state = self.state();
        if state.began.is_none() {
            return;
        }
        if state.count() < self.most {
            state.put.insert(id);
            return;
        }
        // It cannot be kept in mind, so what is not listed may be there.
        state.shards[digit(&id)].is_complete = false;
        state.end();
    }

    /// Some chunks are no longer there.
    pub(super) fn forget(&self) {
        self.state().forget();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing leaves it half changed, so a panic elsewhere does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn answer(&self, id: &ChunkId) -> Option<bool> {
        let shard = &self.shards[digit(id)];
        if shard.ids.binary_search(id).is_ok() || self.put.contains(id) {
            return Some(true);
        }
        shard.is_complete.then_some(false)
    }

    fn count(&self) -> usize {
        self.put.len() + self.shards.iter().map(|shard| shard.ids.len()).sum::<usize>()
    }

    fn end(&mut self) {
        self.open.clear();
        self.is_over = true;
    }

    fn forget(&mut self) {
        *self = Self { generation: self.generation + 1, ..Self::default() };
    }
}

impl Shard {
    /// Adds a page. Stores list in order, so that there is seldom anything to be sorted.
    fn add(&mut self, ids: Vec<ChunkId>) {
        self.ids.extend(ids);
        if !self.ids.is_sorted() {
            self.ids.sort_unstable();
        }
    }
}

/// The first hex digit.
fn digit(id: &ChunkId) -> usize {
    usize::from(id.as_bytes()[0] >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: u8, last: u8) -> ChunkId {
        let mut bytes = [last; 32];
        bytes[0] = first;
        ChunkId::from_bytes(bytes)
    }

    /// Pays until a listing is begun, and returns it.
    fn begun(survey: &Survey) -> Listing {
        assert!(survey.pay(PRICE - 1).is_empty());
        survey.pay(1).pop().unwrap()
    }

    fn answer(survey: &Survey, id: ChunkId) -> Option<bool> {
        survey.answers(&[id])[0]
    }

    #[test]
    fn a_store_of_one_page_is_known_by_it() {
        let survey = Survey::new();
        assert_eq!(answer(&survey, id(1, 1)), None);
        let listing = begun(&survey);
        assert_eq!((listing.beginning().as_str(), &listing.next), ("", &None));
        survey.page(&listing, vec![id(0xf0, 1), id(1, 1)], None);
        assert_eq!(answer(&survey, id(1, 1)), Some(true));
        assert_eq!(answer(&survey, id(1, 2)), Some(false));
        assert!(survey.pay(1000).is_empty());
    }

    #[test]
    fn a_larger_store_is_listed_by_its_first_digits() {
        let survey = Survey::new();
        survey.page(&begun(&survey), vec![id(1, 1)], Some("more".to_owned()));
        let mut shards = survey.pay(100 * PRICE);
        assert_eq!(shards.len(), SHARDS);
        let shard = shards.swap_remove(10);
        assert_eq!(shard.beginning(), "a");
        survey.page(&shard, vec![id(0xa0, 1)], Some("x".to_owned()));
        assert_eq!(answer(&survey, id(0xa0, 1)), Some(true));
        assert_eq!(answer(&survey, id(0xa1, 1)), None);
        // However the store orders its names.
        let shard = begun(&survey);
        assert_eq!(shard.next.as_deref(), Some("x"));
        survey.page(&shard, vec![id(0xa9, 1), id(0xa1, 1), id(0xa5, 1)], None);
        assert_eq!(answer(&survey, id(0xa1, 1)), Some(true));
        assert_eq!(answer(&survey, id(0xa2, 1)), Some(false));
        assert_eq!(answer(&survey, id(0xb1, 1)), None);
    }

    #[test]
    fn what_was_put_is_there_and_what_was_removed_is_asked_for() {
        let survey = Survey::new();
        let listing = begun(&survey);
        // The listing may have passed it already.
        survey.put(id(1, 1));
        survey.page(&listing, vec![id(1, 2)], None);
        assert_eq!(answer(&survey, id(1, 1)), Some(true));
        survey.forget();
        assert_eq!(answer(&survey, id(1, 1)), None);
        assert_eq!(answer(&survey, id(1, 2)), None);
        // A page of the time before.
        let old = Listing { generation: 0, digit: None, next: None };
        survey.page(&old, vec![id(1, 2)], None);
        assert_eq!(answer(&survey, id(1, 2)), None);
        survey.fail(&old);
        begun(&survey);
    }

    #[test]
    fn a_listing_that_fails_ends_and_tells_nothing_of_the_rest() {
        let survey = Survey::new();
        let listing = begun(&survey);
        survey.fail(&listing);
        assert!(survey.pay(1000).is_empty());
        assert_eq!(answer(&survey, id(1, 1)), None);
    }

    #[test]
    fn memory_is_bounded_and_answers_stay_right() {
        let survey = Survey { most: 3, ..Survey::new() };
        let listing = begun(&survey);
        survey.page(&listing, vec![id(1, 1), id(2, 1), id(3, 1)], None);
        for last in 0..100 {
            survey.put(id(4, last));
        }
        assert!(survey.state().count() <= 3);
        assert_eq!(answer(&survey, id(1, 1)), Some(true));
        assert_eq!(answer(&survey, id(1, 9)), None, "shard 0 has had puts that are not in mind");
        assert_eq!(answer(&survey, id(0xf1, 1)), Some(false));
    }
}
