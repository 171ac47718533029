//! One ssh, with somebody who speaks casync's protocol at its other end.
//!
//! ```text
//! start: HELLO both ways -> send, receive ... -> close: GOODBYE, end of our pipe, its end
//! ```
//! A session in which anything went wrong is over: dropped, it ends ssh and waits for that, which
//! takes no time. Whoever sends must not send more than a pipe holds (at the least 4 KiB) before
//! receiving, if what is sent makes the other side answer: both would wait for each other for ever.

use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn_formats::Error as FormatError;
use cairn_formats::protocol::{Frame, services};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use crate::remote::NOTICED;
use crate::{Again, Error, Result, Stop};

use super::patient::{Patience, Patient};

/// How long ssh may take for its end, after we have said ours.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long it may take for its end when it is told to.
const LAST_MOMENT: Duration = Duration::from_millis(200);

/// Between two looks whether ssh has ended, after it closed its pipes.
const LOOK: Duration = Duration::from_millis(2);

/// Frames that are looked through for an ABORT once the other side does not listen any more.
const LAST_WORDS: usize = 1000;

/// What shells say when there is no such program, and when it cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// A connection.
pub(super) struct Session {
    /// For messages.
    place: String,
    child: Child,
    input: BufReader<Patient<ChildStdout>>,
    /// Nothing once it is closed.
    output: Option<BufWriter<Patient<ChildStdin>>>,
    /// How long nothing may happen; `None` for as long as it likes.
    silence: Option<Duration>,
    /// Whether nobody waits any more.
    stop: Stop,
    /// Whether the other side has said HELLO.
    has_answered: bool,
    /// Whether ssh has ended and been waited for.
    is_reaped: bool,
}

impl Session {
    /// Starts ssh and exchanges greetings.
    pub(super) fn start(
        mut command: Command,
        place: &str,
        hello: u64,
        patience: &Patience,
    ) -> Result<Self> {
        if patience.stop.is_asked() {
            return Err(Error::Stopped);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let program = command.get_program().to_string_lossy().into_owned();
        let spawned = command.spawn().map_err(|e| Error::Unreachable {
            place: place.to_owned(),
            why: format!("cannot run {program}: {e}"),
            again: Again::No,
        });
        let mut child = spawned?;
        let (input, output) = match (child.stdout.take(), child.stdin.take()) {
            (Some(input), Some(output)) => (input, output),
            _ => unreachable!("both are pipes"),
        };
        // Ours only: ssh has the other ends.
        let calm = fcntl_getfl(&output).and_then(|f| fcntl_setfl(&output, f | OFlags::NONBLOCK));
        let mut session = Self {
            place: place.to_owned(),
            child,
            input: BufReader::with_capacity(64 << 10, Patient::for_at_most(input, patience)),
            output: Some(BufWriter::new(Patient::for_at_most(output, patience))),
            silence: patience.silence,
            stop: patience.stop.clone(),
            has_answered: false,
            is_reaped: false,
        };
        calm.map_err(|e| session.failed(io::Error::from(e).into()))?;
        session.greet(hello)?;
        Ok(session)
    }

    fn greet(&mut self, hello: u64) -> Result<()> {
        self.send(&Frame::Hello(hello))?;
        let theirs = match self.receive()? {
            Frame::Hello(theirs) => theirs,
            other => return Err(self.unexpected(&other)),
        };
        services::agree(hello, theirs).map_err(|e| self.unreachable(e.to_string(), Again::No))?;
        self.has_answered = true;
        tracing::debug!(store = self.place, pid = self.child.id(), "ssh session opened");
        Ok(())
    }

    /// Sends a frame, at the latest before the next is received.
    pub(super) fn send(&mut self, frame: &Frame<'_>) -> Result<()> {
        let Some(output) = &mut self.output else { return Ok(()) };
        frame.write(output).map_err(|e| self.refused(e))
    }

    /// Receives a frame. The end of the connection, an ABORT, and what is no frame, are errors.
    pub(super) fn receive(&mut self) -> Result<Frame<'static>> {
        if let Some(output) = &mut self.output {
            output.flush().map_err(|e| self.refused(e))?;
        }
        match Frame::read(&mut self.input) {
            Ok(Some(Frame::Abort { errno, reason })) => Err(self.aborted(errno, &reason)),
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(self.failed(io::Error::from(ErrorKind::UnexpectedEof).into())),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// An error for a frame that has no place here.
    pub(super) fn unexpected(&self, frame: &Frame<'_>) -> Error {
        self.unreachable(format!("the other side sent {} out of place", frame.name()), Again::Yes)
    }

    pub(super) fn unreachable(&self, why: impl Into<String>, again: Again) -> Error {
        Error::Unreachable { place: self.place.clone(), why: why.into(), again }
    }

    /// Says goodbye without waiting for what comes of it.
    pub(super) fn part(&mut self) {
        let Some(mut output) = self.output.take() else { return };
        output.get_mut().set_silence(FAREWELL);
        // It may be gone already, and then there is nobody to be polite to.
        let _ = Frame::Goodbye.write(&mut output).and_then(|()| output.flush());
        let _ = output.into_parts();
    }

    /// Says goodbye and waits until the other side has done what was asked of it: it says so, or it ends well.
    pub(super) fn finish(mut self) -> Result<()> {
        // What was asked for is sent with all patience, and only the farewell need not arrive.
        if let Some(output) = &mut self.output {
            output.flush().map_err(|e| self.refused(e))?;
        }
        self.part();
        match Frame::read(&mut self.input) {
            Ok(Some(Frame::Goodbye)) => self.see_off(),
            Ok(Some(Frame::Abort { errno, reason })) => return Err(self.aborted(errno, &reason)),
            Ok(Some(other)) => return Err(self.unexpected(&other)),
            // casync says nothing if it was not asked for chunks as well.
            Ok(None) => match self.wait_for_outcome() {
                Some(status) if status.success() => {}
                None if self.stop.is_asked() => return Err(Error::Stopped),
                _ => return Err(self.ended()),
            },
            Err(e) => return Err(self.failed(e)),
        }
        Ok(())
    }

    /// Says goodbye and waits for the end, if it does not take long.
    pub(super) fn close(mut self) {
        self.part();
        self.see_off();
    }

    /// What went wrong when we could not send.
    fn refused(&mut self, error: io::Error) -> Error {
        if error.kind() == ErrorKind::BrokenPipe {
            // It may have said why.
            for _ in 0..LAST_WORDS {
                match Frame::read(&mut self.input) {
                    Ok(Some(Frame::Abort { errno, reason })) => {
                        return self.aborted(errno, &reason);
                    }
                    Ok(Some(_)) => self.has_answered = true,
                    Ok(None) => break,
                    Err(e) => return self.failed(e),
                }
            }
            return self.failed(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        self.failed(error.into())
    }

    fn aborted(&self, errno: u32, reason: &str) -> Error {
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        let number = match errno {
            0 => String::new(),
            errno => format!(" ({})", io::Error::from_raw_os_error(errno as i32)),
        };
        self.unreachable(format!("the other side gave up: {reason}{number}"), Again::No)
    }

    /// What went wrong, by what was read and by how ssh ended.
    fn failed(&mut self, error: FormatError) -> Error {
        match error {
            // ssh may have got the same signal as we.
            FormatError::Io(_) if self.stop.is_asked() => Error::Stopped,
            FormatError::Io(e) if e.kind() == ErrorKind::UnexpectedEof => self.ended(),
            FormatError::Io(e) if e.kind() == ErrorKind::TimedOut => {
                self.unreachable(format!("the other side does not answer: {e}"), Again::Yes)
            }
            FormatError::Io(e) => self.unreachable(e.to_string(), Again::Yes),
            e if !self.has_answered => {
                let why = format!(
                    "the other side sent something else: {e}; does a login script print text?"
                );
                self.unreachable(why, Again::No)
            }
            e => self.unreachable(format!("the other side sent something else: {e}"), Again::Yes),
        }
    }

    /// The connection has come to its end too early.
    fn ended(&mut self) -> Error {
        let how = match self.wait(FAREWELL) {
            None => "the connection was closed".to_owned(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code @ (NOT_FOUND | NOT_RUN)), _) if !self.has_answered => {
                    let why = format!(
                        "ssh exited with status {code}: the command there was not found or cannot be \
                         run (CASYNC_REMOTE_PATH names it)"
                    );
                    return self.unreachable(why, Again::No);
                }
                (Some(code), _) => format!("ssh exited with status {code}"),
                (None, Some(signal)) => format!("ssh was killed by signal {signal}"),
                (None, None) => "ssh ended".to_owned(),
            },
        };
        let when =
            if self.has_answered { "in the middle of the work" } else { "before it answered" };
        self.unreachable(format!("{how} {when}"), Again::Yes)
    }

    /// Waits for the end of ssh as long as for anything else.
    fn wait_for_outcome(&mut self) -> Option<ExitStatus> {
        let end = self.silence.and_then(|silence| Instant::now().checked_add(silence));
        loop {
            let status = self.wait(NOTICED);
            let is_over = end.is_some_and(|end| Instant::now() >= end) || self.stop.is_asked();
            if status.is_some() || is_over {
                return status;
            }
        }
    }

    /// Waits for the end of ssh, but not for long.
    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.is_reaped = true;
                return Some(status);
            }
            if begun.elapsed() > patience {
                return None;
            }
            sleep(LOOK);
        }
    }

    /// Waits until it has closed its pipe and ended; dropping kills it otherwise.
    fn see_off(&mut self) {
        let end = Instant::now() + FAREWELL;
        let mut rest = [0; 4096];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Whoever goes on talking is not silent.
            if left.is_zero() {
                break;
            }
            self.input.get_mut().set_silence(left);
            match self.input.read(&mut rest) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.wait(end.saturating_duration_since(Instant::now()));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_reaped {
            // Before its pipes close, so that the other side's complaint about that reaches nobody. In
            // good order first, for it may have a control socket to remove.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            if self.wait(LAST_MOMENT).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}
