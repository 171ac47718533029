//! What a client has asked for and not got yet: read by one thread, answered by another.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use cairn_formats::ChunkId;
use cairn_formats::protocol::Frame;

use super::{client, misread, unexpected};
use crate::{Error, Result};

/// Ids that wait at a time, before the client is made to wait. casync asks for a whole index at once;
/// this is one of some 60 GiB.
const MOST: usize = 1 << 20;

/// The requests of a client.
#[derive(Default)]
pub(super) struct Asked {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    urgent: VecDeque<ChunkId>,
    others: VecDeque<ChunkId>,
    /// What waits, and whether it is urgent. What is not here has been answered, though it may still
    /// stand in `others`.
    waiting: HashMap<ChunkId, bool>,
    /// How the client ended.
    end: Option<Result<()>>,
    /// Whether nobody answers any more.
    is_abandoned: bool,
}

impl Asked {
    /// Begins to read requests.
    pub(super) fn read(mut input: impl Read + Send + 'static) -> Arc<Self> {
        let asked = Arc::new(Self::default());
        let reading = Arc::clone(&asked);
        // Not waited for: it ends with the client's pipe, which may be open for longer than we need.
        thread::spawn(move || {
            let end = reading.read_all(&mut input);
            reading.queue().end = Some(end);
            reading.changed.notify_all();
        });
        asked
    }

    /// The next chunk to answer; `None` when the client has gone and all is answered.
    pub(super) fn next(&self) -> Result<Option<ChunkId>> {
        let mut queue = self.queue();
        loop {
            while let Some(id) = queue.urgent.pop_front().or_else(|| queue.others.pop_front()) {
                if queue.waiting.remove(&id).is_some() {
                    self.changed.notify_all();
                    return Ok(Some(id));
                }
            }
            if let Some(end) = queue.end.take() {
                queue.end = Some(Ok(()));
                return end.map(|()| None);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether an answer is waited for right now.
    pub(super) fn is_idle(&self) -> bool {
        self.queue().waiting.is_empty()
    }

    /// Nothing will be answered any more.
    pub(super) fn abandon(&self) {
        self.queue().is_abandoned = true;
        self.changed.notify_all();
    }

    fn read_all(&self, input: &mut impl Read) -> Result<()> {
        loop {
            match Frame::read(input).map_err(misread)? {
                Some(Frame::Request { urgent, ids }) => {
                    for id in ids.iter() {
                        self.add(*id, urgent)?;
                    }
                    self.changed.notify_all();
                }
                // casync goes without a word, and that is an end as good as any.
                Some(Frame::Goodbye) | None => return Ok(()),
                Some(other) => return Err(unexpected(&other)),
            }
        }
    }

    fn add(&self, id: ChunkId, urgent: bool) -> std::result::Result<(), Error> {
        let mut queue = self.queue();
        while queue.waiting.len() >= MOST && !queue.is_abandoned {
            self.changed.notify_all();
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.is_abandoned {
            return Err(client("it is not answered any more"));
        }
        let known = queue.waiting.get(&id).copied();
        match (known, urgent) {
            (None, _) if !urgent => queue.others.push_back(id),
            (None | Some(false), true) => queue.urgent.push_back(id),
            _ => return Ok(()),
        }
        queue.waiting.insert(id, urgent);
        Ok(())
    }

    /// Nothing leaves it half changed, so a panic elsewhere does not matter.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ChunkId {
        ChunkId::from_bytes([byte; 32])
    }

    #[test]
    fn what_is_waited_for_comes_first_and_everything_once() {
        let asked = Asked::default();
        for (byte, urgent) in
            [(1, false), (2, false), (3, false), (2, true), (4, true), (2, true), (1, false)]
        {
            asked.add(id(byte), urgent).unwrap();
        }
        asked.queue().end = Some(Ok(()));
        let order: Vec<ChunkId> = std::iter::from_fn(|| asked.next().unwrap()).collect();
        assert_eq!(order, [2, 4, 1, 3].map(id));
        // What was answered may be asked for again.
        asked.add(id(2), false).unwrap();
        assert_eq!(asked.next().unwrap(), Some(id(2)));
        assert_eq!(asked.next().unwrap(), None);
    }

    #[test]
    fn a_client_that_asks_for_too_much_waits() {
        let asked = Arc::new(Asked::default());
        let number = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            ChunkId::from_bytes(bytes)
        };
        (0..MOST).for_each(|n| asked.add(number(n), false).unwrap());
        let other = Arc::clone(&asked);
        let adding = thread::spawn(move || other.add(number(MOST), false));
        assert_eq!(asked.next().unwrap(), Some(number(0)));
        adding.join().unwrap().unwrap();
        let other = Arc::clone(&asked);
        let adding = thread::spawn(move || other.add(number(MOST + 1), false));
        asked.abandon();
        assert!(adding.join().unwrap().is_err());
    }
}
