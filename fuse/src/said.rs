//! What was said is not said again for a while: a program that tries again and again fills no log.
//!
//! Kept is what was said, and when; what changes from one time to the next is to be left out of it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long nothing is repeated.
const QUIET: Duration = Duration::from_secs(60);

/// Texts that are kept at most: of more at once the oldest may be said again too soon.
const MOST: usize = 1024;

/// Texts that were said, and when.
#[derive(Debug, Default)]
pub struct Said(Mutex<HashMap<String, Instant>>);

impl Said {
    /// Whether this is to be said now; then it counts as said.
    pub fn is_news(&self, text: &str) -> bool {
        self.is_news_at(text, Instant::now())
    }

    fn is_news_at(&self, text: &str, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(text).is_some_and(|&when| now.saturating_duration_since(when) < QUIET) {
            return false;
        }
        if said.len() >= MOST {
            said.retain(|_, when| now.saturating_duration_since(*when) < QUIET);
        }
        if said.len() >= MOST {
            let oldest = said.iter().min_by_key(|(_, when)| **when).map(|(text, _)| text.clone());
            oldest.and_then(|text| said.remove(&text));
        }
        said.insert(text.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute() {
        let (said, begun) = (Said::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(said.is_news_at("a", at(0)));
        assert!(!said.is_news_at("a", at(1)));
        assert!(said.is_news_at("b", at(1)));
        assert!(!said.is_news_at("a", at(59)));
        // What was not said in between does not put it off.
        assert!(said.is_news_at("a", at(60)));
        assert!(!said.is_news_at("b", at(60)) && said.is_news_at("b", at(61)));
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let (said, begun) = (Said::default(), Instant::now());
        for n in 0..3 * MOST as u64 {
            assert!(said.is_news_at(&n.to_string(), begun + Duration::from_millis(n)));
            assert!(said.0.lock().expect("nobody panicked").len() <= MOST);
        }
        let (last, now) = (3 * MOST as u64 - 1, begun + Duration::from_secs(4));
        assert!(!said.is_news_at(&last.to_string(), now) && said.is_news_at("0", now));
    }
}
