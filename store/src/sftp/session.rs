//! One ssh, and the many requests under way in it.
//!
//! ```text
//! ask -(number it, queue it)-> writer -> ssh … server … ssh -> reader -(by its number)-> who asked
//! ```
//! Whoever has asked may lose interest: what was not sent yet is not sent then, and an answer that comes
//! all the same is dropped. A session in which nothing at all is heard any more is ended, and so is one
//! whose server breaks the rules; all that are waiting for it are told. Its ssh is waited for in any
//! case.

use std::io;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::{
    UnboundedReceiver, UnboundedSender, WeakUnboundedSender, unbounded_channel,
};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::address::Address;
use super::failure::Failure;
use super::request::{Packet, Pending, close};
use super::waiting::{Stop, Unwanted, Waiting};
use super::wire::{self, Answer, Request};
use crate::Again;

/// How much is read and written at once, in bytes: what a pipe holds.
const PIPE: usize = 64 << 10;

/// An ssh that was asked to end gets so long for it.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long it may take for its end when it is told to.
const LAST_MOMENT: Duration = Duration::from_millis(200);

/// So much of what a server says in place of an answer is shown, in bytes.
pub(super) const SHOWN: usize = 60;

/// The status with which ssh ends when it could not connect.
const NOT_CONNECTED: i32 = 255;

/// A session with a server.
#[derive(Debug)]
pub(super) struct Session {
    queue: UnboundedSender<Packet>,
    waiting: Arc<Waiting>,
    number: AtomicU32,
    timeout: Option<Duration>,
    /// Whether the server can rename a file in place of another.
    pub(super) renames: bool,
    /// How much the server gives at once of what it is asked to read, in bytes, as far as is known.
    pub(super) read_len: AtomicUsize,
    /// Disconnected when ssh has ended.
    gone: Mutex<mpsc::Receiver<()>>,
}

impl Session {
    /// Starts ssh and waits for the server's first word.
    pub(super) async fn open(
        address: &Address,
        timeout: Option<Duration>,
    ) -> Result<Self, Failure> {
        let mut command = Command::from(address.command());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let program = address.program.display().to_string();
        let cannot = |e: io::Error| {
            let why = format!("cannot run {program}: {e}");
            Failure::Lost { why, again: Again::No }
        };
        let mut child = command.spawn().map_err(cannot)?;
        let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(cannot(io::ErrorKind::BrokenPipe.into()));
        };
        let mut buffer = BytesMut::new();
        let greeted = greet(&mut stdin, &mut stdout, &mut buffer);
        let greeted = match timeout {
            Some(time) => tokio::time::timeout(time, greeted).await.unwrap_or_else(|_| {
                Err(Some(Failure::lost(format!("{program} has not connected within {time:?}"))))
            }),
            None => greeted.await,
        };
        let renames = match greeted {
            Ok(renames) => renames,
            Err(Some(failure)) => {
                end(child).await;
                return Err(failure);
            }
            Err(None) => return Err(ended(&program, &mut child).await),
        };
        let (queue, requests) = unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (alive, gone) = mpsc::channel();
        let waiting = Arc::new(Waiting::new(stop));
        tokio::spawn(reap(child, stopped, alive));
        tokio::spawn(send(stdin, requests, waiting.clone()));
        tokio::spawn(receive(stdout, buffer, waiting.clone(), queue.downgrade()));
        tracing::debug!(program, renames, "sftp session opened");
        let number = AtomicU32::new(0);
        let read_len = AtomicUsize::new(usize::MAX);
        let gone = Mutex::new(gone);
        Ok(Self { queue, waiting, number, timeout, renames, read_len, gone })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.waiting.has_ended()
    }

    /// Asks the server for something. It is sent at once, without waiting for other answers.
    pub(super) fn ask(&self, request: &Request<'_>) -> Pending {
        let (sender, answer) = oneshot::channel();
        let number = self.queue(request, Some(sender));
        let (waiting, timeout) = (self.waiting.clone(), self.timeout);
        let queue = self.queue.downgrade();
        Pending {
            number,
            answer,
            waiting,
            queue,
            sent: Instant::now(),
            timeout,
            is_answered: false,
        }
    }

    /// Asks the server for something of which nobody waits to hear.
    pub(super) fn tell(&self, request: &Request<'_>) {
        self.queue(request, None);
    }

    fn queue(&self, request: &Request<'_>, sender: Option<oneshot::Sender<Answer>>) -> u32 {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        if self.waiting.add(number, sender) {
            // If nobody takes it any more, the session has ended and whoever waits is told.
            let _ = self.queue.send(Packet::of(request, number));
        }
        number
    }
}

impl Drop for Session {
    /// Waits for the end of ssh, which takes no time unless its server hangs: the program may end after
    /// this, and must not leave it behind.
    fn drop(&mut self) {
        // What is queued is sent still, and then the end of our pipe.
        self.queue = unbounded_channel().0;
        self.waiting.stop(Stop::Soon);
        let gone = self.gone.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = gone.recv_timeout(FAREWELL + 2 * LAST_MOMENT);
    }
}

/// Says hello. The error is `None` if ssh has ended instead.
async fn greet(
    stdin: &mut ChildStdin,
    stdout: &mut ChildStdout,
    buffer: &mut BytesMut,
) -> Result<bool, Option<Failure>> {
    // One that has ended may have said why before.
    let _ = stdin.write_all(&wire::hello()).await;
    let packet = packet(stdout, buffer).await;
    let hello = match &packet {
        Ok(Some(packet)) => wire::server_hello(packet.clone()),
        Ok(None) => return Err(None),
        Err(_) => None,
    };
    match hello {
        Some((wire::VERSION, renames)) => Ok(renames),
        Some((version, _)) => {
            let why = format!("the server speaks version {version} of SFTP, and not 3");
            Err(Some(Failure::Unsupported(why)))
        }
        // What programs for people say there comes from a login script.
        None => {
            let said = packet.ok().flatten().unwrap_or_default();
            let said = if said.is_empty() { &buffer[..] } else { &said };
            let said = String::from_utf8_lossy(&said[..said.len().min(SHOWN)]);
            let said = said.lines().next().unwrap_or_default().escape_debug();
            Err(Some(Failure::Refused(format!(
                "no SFTP server has answered, but \"{said}\": nothing may print when ssh logs in"
            ))))
        }
    }
}

/// An ssh has ended before it connected us.
async fn ended(program: &str, child: &mut Child) -> Failure {
    let status = timeout(FAREWELL, child.wait()).await;
    let (status, again) = match status {
        Ok(Ok(status)) => {
            let may_pass = status.code().is_none_or(|code| code == NOT_CONNECTED);
            (status.to_string(), if may_pass { Again::Yes } else { Again::No })
        }
        _ => ("it hangs".to_owned(), Again::Yes),
    };
    Failure::Lost { why: format!("{program} has not connected ({status})"), again }
}

/// The next packet, without its length; `None` at the end.
async fn packet(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Option<Bytes>> {
    loop {
        if let Some(len) = buffer.first_chunk::<4>() {
            let len = u32::from_be_bytes(*len) as usize;
            if len > wire::LONGEST {
                return Err(io::Error::other("the server has sent a packet that is too long"));
            }
            if buffer.len() >= 4 + len {
                buffer.advance(4);
                return Ok(Some(buffer.split_to(len).freeze()));
            }
        }
        buffer.reserve(PIPE);
        if stream.read_buf(buffer).await? == 0 {
            return match buffer.is_empty() {
                true => Ok(None),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}

/// The task that sends what is queued, until nobody can queue any more.
async fn send(stdin: ChildStdin, mut requests: UnboundedReceiver<Packet>, waiting: Arc<Waiting>) {
    let mut stdin = BufWriter::with_capacity(PIPE, stdin);
    while let Some(first) = requests.recv().await {
        let sent = async {
            let mut next = Some(first);
            while let Some(Packet { number, is_due, head, data }) = next {
                if is_due || waiting.is_wanted(number) {
                    stdin.write_all(&head).await?;
                    stdin.write_all(&data).await?;
                }
                next = requests.try_recv().ok();
            }
            stdin.flush().await
        };
        if let Err(e) = sent.await {
            return waiting.end(&format!("the connection was lost: {e}"));
        }
    }
}

/// The task that takes the answers.
async fn receive(
    mut stdout: ChildStdout,
    mut buffer: BytesMut,
    waiting: Arc<Waiting>,
    queue: WeakUnboundedSender<Packet>,
) {
    let why = loop {
        let answer = match packet(&mut stdout, &mut buffer).await {
            Ok(Some(packet)) => wire::answer(packet),
            Ok(None) => break "the connection was lost".to_owned(),
            Err(e) => break format!("the connection was lost: {e}"),
        };
        let Some((number, answer)) = answer else {
            break "the server has sent what is no answer".to_owned();
        };
        match waiting.deliver(number, answer) {
            Some(Unwanted::Handle(handle)) => close(&handle, number, &waiting, &queue),
            Some(Unwanted::NeverAsked) => {
                break "the server has answered what it was not asked".to_owned();
            }
            None => {}
        }
    };
    waiting.end(&why);
}

/// The task that sees to it that an ssh ends, and leaves nothing behind.
async fn reap(mut child: Child, stopped: oneshot::Receiver<Stop>, _alive: mpsc::Sender<()>) {
    let stop = tokio::select! {
        _ = child.wait() => return,
        stop = stopped => stop,
    };
    if !matches!(stop, Ok(Stop::Soon)) || timeout(FAREWELL, child.wait()).await.is_err() {
        end(child).await;
    }
}

/// Ends an ssh: in good order if it can, for it may have a control socket to remove.
async fn end(mut child: Child) {
    let id = child.id().and_then(|id| Pid::from_raw(id as i32));
    let asked = id.is_some_and(|id| kill_process(id, Signal::TERM).is_ok());
    if !asked || timeout(LAST_MOMENT, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
