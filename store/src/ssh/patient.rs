//! Pipes that are waited for, but not for ever.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// One end of a pipe, which may be in non-blocking mode: casync hands such to the programs it starts.
///
/// Reading and writing wait until something moves; if nothing does for the whole `silence`, that is
/// an error of the kind `TimedOut`.
#[derive(Debug)]
pub struct Patient<F> {
    pipe: F,
    silence: Option<Duration>,
}

impl<F: AsFd> Patient<F> {
    /// Waits for ever.
    pub fn new(pipe: F) -> Self {
        Self { pipe, silence: None }
    }

    /// Waits for so long at a time.
    pub(super) fn for_at_most(pipe: F, silence: Option<Duration>) -> Self {
        Self { pipe, silence }
    }

    /// Waits for less from now on.
    pub(super) fn set_silence(&mut self, silence: Duration) {
        self.silence = Some(silence);
    }

    fn wait(&self, events: PollFlags) -> io::Result<()> {
        let end = self.silence.and_then(|silence| Instant::now().checked_add(silence));
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            // Longer than a system can wait is for ever.
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
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
            if self.silence.is_some() {
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
        let silence = Some(Duration::from_millis(30));
        let error = Patient::for_at_most(reader.try_clone().unwrap(), silence).read(&mut [0]);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
        let error = Patient::for_at_most(writer, silence).write_all(&vec![0; 1 << 20]);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
