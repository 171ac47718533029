//! A request on its way to a server, and what whoever made it waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::failure::Failure;
use super::session::SHOWN;
use super::waiting::Waiting;
use super::wire::{Answer, Attributes, Request, code};

/// A request on its way to the server.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) number: u32,
    /// Whether it is sent even if nobody waits for the answer any more.
    pub(super) is_due: bool,
    pub(super) head: Bytes,
    pub(super) data: Bytes,
}

impl Packet {
    pub(super) fn of(request: &Request<'_>, number: u32) -> Self {
        let (head, data) = request.packet(number);
        // What is open on the server must not stay so.
        let is_due = matches!(request, Request::Close { .. });
        Self { number, is_due, head, data }
    }
}

/// A request that is under way.
pub(super) struct Pending {
    pub(super) number: u32,
    pub(super) answer: oneshot::Receiver<Answer>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) queue: WeakUnboundedSender<Packet>,
    pub(super) sent: Instant,
    pub(super) timeout: Option<Duration>,
    pub(super) is_answered: bool,
}

impl Pending {
    /// Waits for the answer.
    async fn answer(mut self) -> Result<Answer, Failure> {
        let answer = match self.timeout {
            Some(time) => match timeout(time, &mut self.answer).await {
                Ok(answer) => answer,
                Err(_) => return Err(Failure::lost(format!("no answer within {time:?}"))),
            },
            None => (&mut self.answer).await,
        };
        self.is_answered = true;
        match answer {
            Ok(Answer::Status { code, message }) if code > code::END => {
                Err(refusal(code, &message))
            }
            Ok(answer) => Ok(answer),
            Err(_) => Err(Failure::lost(self.waiting.why())),
        }
    }

    /// Waits until it has been done.
    pub(super) async fn done(self) -> Result<(), Failure> {
        match self.answer().await? {
            Answer::Status { code: code::OK, .. } => Ok(()),
            _ => Err(Failure::nonsense()),
        }
    }

    /// Waits for what was opened.
    pub(super) async fn handle(self) -> Result<Bytes, Failure> {
        match self.answer().await? {
            Answer::Handle(handle) => Ok(handle),
            _ => Err(Failure::nonsense()),
        }
    }

    /// Waits for what is known of a file.
    pub(super) async fn attributes(self) -> Result<Attributes, Failure> {
        match self.answer().await? {
            Answer::Attributes(attributes) => Ok(attributes),
            _ => Err(Failure::nonsense()),
        }
    }

    /// Waits for some bytes; `None` at the end of the file.
    pub(super) async fn data(self) -> Result<Option<Bytes>, Failure> {
        match self.answer().await? {
            Answer::Data(data) if !data.is_empty() => Ok(Some(data)),
            Answer::Status { code: code::END, .. } => Ok(None),
            _ => Err(Failure::nonsense()),
        }
    }

    /// Waits for some names; `None` at the end of the directory.
    pub(super) async fn names(self) -> Result<Option<Vec<(Bytes, Attributes)>>, Failure> {
        match self.answer().await? {
            Answer::Names(names) => Ok(Some(names)),
            Answer::Status { code: code::END, .. } => Ok(None),
            _ => Err(Failure::nonsense()),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Answer::Handle(handle)) = self.answer.try_recv() {
            close(&handle, self.number, &self.waiting, &self.queue);
        }
        if let Some(timeout) = self.timeout
            && !self.is_answered
        {
            // A request is one of several that something takes, so that its own wait is shorter.
            self.waiting.give_up(self.sent, timeout / 2);
        }
    }
}

fn refusal(code: u32, message: &str) -> Failure {
    let said: String = message.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    match code {
        code::NO_SUCH_FILE => Failure::Missing,
        code::PERMISSION_DENIED => Failure::Denied("permission denied".to_owned()),
        code::UNSUPPORTED => Failure::Unsupported("the server cannot do that".to_owned()),
        code::FAILURE if said.is_empty() || said == "Failure" => {
            Failure::Refused("the server has failed to do it, and does not say why".to_owned())
        }
        _ => Failure::Refused(format!("the server has failed to do it: {said} ({code})")),
    }
}

/// Closes what somebody has opened who has gone, with the number of the request that is answered.
pub(super) fn close(
    handle: &[u8],
    number: u32,
    waiting: &Waiting,
    queue: &WeakUnboundedSender<Packet>,
) {
    if let Some(queue) = queue.upgrade()
        && waiting.add(number, None)
    {
        let _ = queue.send(Packet::of(&Request::Close { handle }, number));
    }
}
