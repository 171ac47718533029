//! Pipes that are waited for, but not for ever.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Stop;
use crate::remote::NOTICED;

/// One end of a pipe, which may be in non-blocking mode: casync hands such to the programs it starts.
///
/// Reading and writing wait until something moves; if nothing does for the whole `silence`, that is
/// an error of the kind `TimedOut`, and one of another kind if nobody waits any more.
#[derive(Debug)]
pub struct Patient<F> {
    pipe: F,
    silence: Option<Duration>,
    stop: Option<Stop>,
}

/// How long somebody waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Patience {
    /// How long nothing may move; `None` for as long as it likes.
    pub(super) silence: Option<Duration>,
    /// Whether to give up waiting.
    pub(super) stop: Stop,
}

impl<F: AsFd> Patient<F> {
    /// Waits for ever.
    pub fn new(pipe: F) -> Self {
        Self { pipe, silence: None, stop: None }
    }

    /// Waits for so long at a time.
    pub(super) fn for_at_most(pipe: F, patience: &Patience) -> Self {
        Self { pipe, silence: patience.silence, stop: Some(patience.stop.clone()) }
    }

    /// Waits for less from now on.
    pub(super) fn set_silence(&mut self, silence: Duration) {
        self.silence = Some(silence);
    }

    fn wait(&self, events: PollFlags) -> io::Result<()> {
        let end = self.silence.and_then(|silence| Instant::now().checked_add(silence));
        loop {
            if self.stop.as_ref().is_some_and(Stop::is_asked) {
                return Err(io::Error::other("nobody waits any more"));
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let look = self.stop.as_ref().map(|_| NOTICED);
            // Longer than a system can wait is for ever.
            let timeout = left.into_iter().chain(look).min();
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            match poll(&mut [PollFd::new(&self.pipe, events)], timeout.as_ref()) {
                Ok(0) if left.is_some_and(|left| left.is_zero()) => {
                    let silence = self.silence.unwrap_or_default();
                    let why = format!("nothing moved for {silence:?}");
                    return Err(io::Error::new(ErrorKind::TimedOut, why));
                }
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Tries until it need not wait.
    fn until_done<T>(
        &mut self,
        events: PollFlags,
        mut attempt: impl FnMut(&mut F) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            // What may block is asked only when it will not.
            if self.silence.is_some() || self.stop.is_some() {
                self.wait(events)?;
            }
            match attempt(&mut self.pipe) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.wait(events)?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }
}

impl<F: AsFd + Read> Read for Patient<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until_done(PollFlags::IN, |pipe| pipe.read(buffer))
    }
}

impl<F: AsFd + Write> Write for Patient<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until_done(PollFlags::OUT, |pipe| pipe.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.until_done(PollFlags::OUT, Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    use super::*;

    fn make_impatient(pipe: impl AsFd) {
        let flags = fcntl_getfl(&pipe).unwrap();
        fcntl_setfl(&pipe, flags | OFlags::NONBLOCK).unwrap();
    }

    #[test]
    fn pipes_that_do_not_block_are_waited_for() {
        let (reader, writer) = io::pipe().unwrap();
        make_impatient(&reader);
        make_impatient(&writer);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        let copy = sent.clone();
        let writing = thread::spawn(move || Patient::new(writer).write_all(&copy));
        let mut got = Vec::new();
        Patient::new(reader).read_to_end(&mut got).unwrap();
        writing.join().unwrap().unwrap();
        assert!(got == sent);
    }

    #[test]
    fn silence_ends_the_waiting() {
        let (reader, writer) = io::pipe().unwrap();
        make_impatient(&writer);
        let patience = Patience { silence: Some(Duration::from_millis(30)), ..Patience::default() };
        let error = Patient::for_at_most(reader.try_clone().unwrap(), &patience).read(&mut [0]);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
        let error = Patient::for_at_most(writer, &patience).write_all(&vec![0; 1 << 20]);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
