//! Who waits for which answer of a server.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::wire::Answer;

/// Who waits for which answer.
#[derive(Debug)]
pub(super) struct Waiting(Mutex<State>);

#[derive(Debug)]
struct State {
    /// By the number of the request; nobody, if none is to be told.
    asked: HashMap<u32, Option<oneshot::Sender<Answer>>>,
    heard: Instant,
    /// Why the session has ended, if it has.
    ended: Option<String>,
    stop: Option<oneshot::Sender<Stop>>,
}

/// An answer that nobody waits for, and that matters.
pub(super) enum Unwanted {
    Handle(Bytes),
    NeverAsked,
}

impl Waiting {
    pub(super) fn new(stop: oneshot::Sender<Stop>) -> Self {
        let asked = HashMap::new();
        let state = State { asked, heard: Instant::now(), ended: None, stop: Some(stop) };
        Self(Mutex::new(state))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing leaves it half changed, so a panic elsewhere does not matter.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who waits for an answer. `false` if none will come.
    pub(super) fn add(&self, number: u32, sender: Option<oneshot::Sender<Answer>>) -> bool {
        let mut state = self.state();
        let is_open = state.ended.is_none();
        if is_open {
            state.asked.insert(number, sender);
        }
        is_open
    }

    /// Whether a request should be sent; forgets it if not.
    pub(super) fn is_wanted(&self, number: u32) -> bool {
        let mut state = self.state();
        let sender = state.asked.get(&number);
        let is_wanted = sender.is_some_and(|s| s.as_ref().is_none_or(|s| !s.is_closed()));
        if !is_wanted {
            state.asked.remove(&number);
        }
        is_wanted
    }

    pub(super) fn deliver(&self, number: u32, answer: Answer) -> Option<Unwanted> {
        let mut state = self.state();
        state.heard = Instant::now();
        let Some(sender) = state.asked.remove(&number) else { return Some(Unwanted::NeverAsked) };
        drop(state);
        let unwanted = match sender {
            Some(sender) => sender.send(answer).err(),
            None => Some(answer),
        };
        match unwanted {
            Some(Answer::Handle(handle)) => Some(Unwanted::Handle(handle)),
            _ => None,
        }
    }

    /// Somebody does not wait any more for the answer to what was asked at that time. Ends the session
    /// if nothing has been heard since, for so long that nothing will be.
    pub(super) fn give_up(&self, sent: Instant, patience: Duration) {
        let heard = self.state().heard.max(sent);
        if heard.elapsed() >= patience {
            self.end("nothing is heard from the server any more");
        }
    }

    pub(super) fn end(&self, why: &str) {
        let mut state = self.state();
        if state.ended.is_none() {
            tracing::debug!(why, "sftp session ended");
            state.ended = Some(why.to_owned());
        }
        let asked = take(&mut state.asked);
        drop(state);
        // Which tells them.
        drop(asked);
        self.stop(Stop::Now);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended.is_some()
    }

    pub(super) fn stop(&self, how: Stop) {
        if let Some(stop) = self.state().stop.take() {
            let _ = stop.send(how);
        }
    }

    pub(super) fn why(&self) -> String {
        self.state().ended.clone().unwrap_or_else(|| "the connection was lost".to_owned())
    }
}

/// How a session is to end.
#[derive(Debug)]
pub(super) enum Stop {
    /// By itself: it has nothing more to do.
    Soon,
    /// It does not work any more.
    Now,
}
