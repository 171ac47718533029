//! What there is to do, for whoever has nothing to do.
//!
//! ```text
//!   windows: to be read -> being read -> ready -> the reader of entries
//!   jobs:    <- the reader of entries             -> anybody
//! ```
//! Windows are read ahead as far as there are buffers. Jobs hold windows, so the reader of entries waits for jobs
//! sooner or later; while it waits it does what there is to do as everybody else.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::bell::Bell;
use super::source::Source;
use super::still::Still;
use super::window::{Spares, Window};
use crate::Result;
use crate::buffer::Buffer;
use crate::flow::lock;

/// What workers share.
#[derive(Debug)]
pub(super) struct Board<'a, J> {
    source: &'a Source<'a>,
    state: Mutex<State<J>>,
    spares: Arc<Spares>,
    bell: Arc<Bell>,
    is_stopped: AtomicBool,
    /// Windows that should be ready or on their way before anything else is done.
    ahead: usize,
    /// Jobs that may wait before the reader of entries does some itself.
    most_jobs: usize,
    /// What need not be read.
    still: Option<Arc<Still<'a>>>,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<J>,
    /// Jobs that somebody is doing.
    running: usize,
    /// Windows that were read, by where they begin, with where they end.
    ready: BTreeMap<u64, (u64, Result<Window>)>,
    /// Windows that somebody is reading.
    reading: Vec<Range<u64>>,
    /// Where the next window to be read begins.
    next: u64,
    /// Whether there are no more windows to read.
    is_read: bool,
    /// Whether there will be no more jobs.
    is_over: bool,
}

/// What a worker is to do.
#[derive(Debug)]
pub(super) enum Task<J> {
    Job(J),
    Read(Range<u64>, Buffer),
    /// Nothing at present: wait for a ring after this one.
    Wait(u64),
    /// Nothing any more.
    Over,
}

/// What the reader of entries gets when it wants a window.
#[derive(Debug)]
pub(super) enum Next<J> {
    Window(Result<Window>),
    /// There is none behind the last.
    End,
    /// It is not there; meanwhile this is to be done.
    Meanwhile(Task<J>),
}

impl<'a, J> Board<'a, J> {
    pub(super) fn new(
        source: &'a Source<'a>,
        workers: usize,
        still: Option<Arc<Still<'a>>>,
    ) -> Self {
        let bell = Arc::new(Bell::default());
        Self {
            source,
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                running: 0,
                ready: BTreeMap::new(),
                reading: Vec::new(),
                next: 0,
                is_read: false,
                is_over: false,
            }),
            spares: Arc::new(Spares::new(2 * workers + 3, &bell)),
            bell,
            is_stopped: AtomicBool::new(false),
            ahead: workers,
            most_jobs: 4 * workers,
            still,
        }
    }

    /// Where windows give their buffers back.
    pub(super) fn spares(&self) -> &Arc<Spares> {
        &self.spares
    }

    /// What a worker is to do next.
    pub(super) fn task(&self) -> Task<J> {
        let rings = self.bell.rings();
        if self.is_stopped() {
            return Task::Over;
        }
        let mut state = lock(&self.state);
        let is_behind = state.ready.len() + state.reading.len() < self.ahead;
        if is_behind && let Some(task) = self.read_ahead(&mut state) {
            return task;
        }
        if let Some(job) = state.jobs.pop_front() {
            state.running += 1;
            return Task::Job(job);
        }
        if let Some(task) = self.read_ahead(&mut state) {
            return task;
        }
        if state.is_over { Task::Over } else { Task::Wait(rings) }
    }

    fn read_ahead(&self, state: &mut State<J>) -> Option<Task<J>> {
        if state.is_read || (self.source.is_sequential() && !state.reading.is_empty()) {
            return None;
        }
        let still = self.still.as_ref();
        let at = still.map_or(state.next, |still| still.next_unknown(state.next));
        let window = self.window_up_to_known(at);
        if window.is_empty() {
            state.is_read = true;
            return None;
        }
        let buffer = self.spares.take()?;
        state.next = window.end;
        state.reading.push(window.clone());
        Some(Task::Read(window, buffer))
    }

    /// What the reader of entries wants of what is known, or else it would come in its turn: not more of it than so
    /// many bytes need. Windows that were read ahead stay.
    fn read_aside(&self, state: &mut State<J>, at: u64, most: u64) -> Option<Task<J>> {
        let buffer = self.spares.take_last()?;
        let still = self.still.as_ref();
        let window = match still.map_or(at, |still| still.next_unknown(at)) {
            unknown if unknown > at => {
                let window = self.source.window_at(at);
                let end = at.saturating_add(most.max(1)).min(window.end).min(unknown);
                window.start..self.source.chunk_end(end - 1)
            }
            _ => self.window_up_to_known(at),
        };
        state.next = state.next.max(window.end);
        state.reading.push(window.clone());
        Some(Task::Read(window, buffer))
    }

    /// The window that a byte is in, up to where something is known.
    fn window_up_to_known(&self, at: u64) -> Range<u64> {
        let window = self.source.window_at(at);
        let known = self.still.as_ref().and_then(|still| still.next_known(at));
        window.start..known.map_or(window.end, |known| known.min(window.end))
    }

    /// Takes a window that was read.
    pub(super) fn put(&self, range: &Range<u64>, window: Result<Window>) {
        let is_last = window.as_ref().map_or(true, |window| window.range() != *range);
        let mut state = lock(&self.state);
        state.reading.retain(|reading| reading != range);
        state.is_read |= is_last;
        state.ready.insert(range.start, (range.end, window));
        drop(state);
        self.bell.ring();
    }

    /// The window that a byte is in, of which so many are wanted at most. What lies before it is not wanted any more.
    pub(super) fn window(&self, at: u64, most: u64) -> Next<J> {
        let rings = self.bell.rings();
        if self.is_stopped() {
            return Next::Meanwhile(Task::Over);
        }
        let mut state = lock(&self.state);
        let mut passed = Vec::new();
        while let Some(first) = state.ready.first_entry()
            && *first.key() <= at
        {
            let (end, window) = first.remove();
            if at < end || window.is_err() {
                return Next::Window(window);
            }
            passed.push(window);
        }
        let task = if state.reading.iter().any(|reading| reading.contains(&at)) {
            None
        } else if self.still.is_some() && self.source.size().is_some_and(|size| at < size) {
            self.read_aside(&mut state, at, most)
        } else if state.is_read && state.reading.is_empty() {
            return Next::End;
        } else {
            if !self.source.is_sequential() && state.next < at {
                state.next = at;
            }
            let task = self.read_ahead(&mut state);
            if task.is_none() && state.is_read && state.reading.is_empty() {
                return Next::End;
            }
            task
        };
        let task = task.or_else(|| {
            let job = state.jobs.pop_front()?;
            state.running += 1;
            Some(Task::Job(job))
        });
        drop(state);
        Next::Meanwhile(task.unwrap_or(Task::Wait(rings)))
    }

    /// Adds a job. One is returned if there are too many, for the caller to do.
    pub(super) fn add(&self, job: J) -> Option<J> {
        let mut state = lock(&self.state);
        state.jobs.push_back(job);
        let mut own = None;
        if state.jobs.len() > self.most_jobs {
            own = state.jobs.pop_front();
            state.running += usize::from(own.is_some());
        }
        drop(state);
        self.bell.ring();
        own
    }

    /// A job that [`Board::task`] gave is done.
    pub(super) fn done(&self) {
        let mut state = lock(&self.state);
        state.running -= 1;
        let is_last = state.running == 0;
        drop(state);
        if is_last {
            self.bell.ring();
        }
    }

    /// A job that is still to be done, or a ring to wait for while others do the last ones.
    pub(super) fn rest(&self) -> Task<J> {
        let rings = self.bell.rings();
        if self.is_stopped() {
            return Task::Over;
        }
        let mut state = lock(&self.state);
        match state.jobs.pop_front() {
            Some(job) => {
                state.running += 1;
                Task::Job(job)
            }
            None if state.running == 0 => Task::Over,
            None => Task::Wait(rings),
        }
    }

    /// No jobs will be added any more.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        (state.is_over, state.is_read) = (true, true);
        drop(state);
        self.bell.ring();
    }

    /// Whether nothing more of the archive is wanted.
    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).is_over
    }

    /// Everybody is to stop.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.bell.ring();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    pub(super) fn wait(&self, rings: u64) {
        self.bell.wait_after(rings);
    }
}
