//! Indexes behind ssh.
//!
//! ```text
//! read    ssh … pull - - INDEX -     <- INDEX, INDEX …, INDEX_EOF
//! write   ssh … push - - INDEX -     INDEX, INDEX …, INDEX_EOF, GOODBYE ->   <- GOODBYE or its end, when it is done
//! ```
//! The chunks of an index that is written are in their store already, so that none is asked for.

use std::io::{self, Read, Write};

use cairn_formats::Index;
use cairn_formats::protocol::Frame;
use cairn_formats::protocol::services::{PULLS_INDEX, PUSHES_INDEX};

use super::address::{Address, Programs};
use super::patient::Patience;
use super::session::Session;
use crate::{Again, Error, Location, RemoteOptions, Result};

/// Bytes of an index in a frame.
const PIECE: usize = 32 << 10;

/// Bytes of the longest index that is read: a hundred million chunks.
const LONGEST: u64 = 4 << 30;

/// Reads an index.
pub(crate) fn read(location: &Location, options: &RemoteOptions) -> Result<Index> {
    let (session, place) = start(location, options, "pull", PULLS_INDEX)?;
    let mut pieces = Pieces::of(session, LONGEST);
    let index = Index::read(&mut pieces);
    match (index, pieces.failure) {
        (_, Some(failure)) => Err(failure),
        (Ok(index), None) => {
            pieces.session.close();
            Ok(index)
        }
        (Err(e), None) => Err(Error::invalid(place)(e)),
    }
}

/// Writes an index, which appears whole or not at all.
pub(crate) fn write(location: &Location, index: &Index, options: &RemoteOptions) -> Result<()> {
    let (mut session, _) = start(location, options, "push", PUSHES_INDEX)?;
    let mut frames = Frames { session: &mut session, piece: Vec::new(), failure: None };
    let written = index.write(&mut frames).and_then(|()| frames.flush());
    if let Some(failure) = frames.failure {
        return Err(failure);
    }
    written.map_err(Error::io("write", location.without_secrets()))?;
    session.send(&Frame::IndexEof)?;
    session.finish()
}

/// Starts a session about an index. Returns it, and what the index is called in errors.
fn start(
    location: &Location,
    options: &RemoteOptions,
    verb: &str,
    hello: u64,
) -> Result<(Session, String)> {
    let address = Address::of(location)?;
    let command = address.index_command(&Programs::default(), verb);
    let patience = Patience { silence: options.timeout, stop: options.stop.clone() };
    let session = Session::start(command, &address.place, hello, &patience)?;
    Ok((session, address.place))
}

/// The bytes of an index as they come.
struct Pieces {
    session: Session,
    rest: Vec<u8>,
    at: usize,
    /// Bytes that may come at all, and how many of them have not.
    longest: u64,
    left: u64,
    is_over: bool,
    /// What `io::Error` cannot carry.
    failure: Option<Error>,
}

impl Pieces {
    fn of(session: Session, longest: u64) -> Self {
        let (rest, at, is_over, failure) = (Vec::new(), 0, false, None);
        Self { session, rest, at, longest, left: longest, is_over, failure }
    }

    fn next(&mut self) -> Result<()> {
        match self.session.receive()? {
            Frame::Index(bytes) => {
                self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
                    let why =
                        format!("the other side sent an index of more than {} bytes", self.longest);
                    self.session.unreachable(why, Again::No)
                })?;
                (self.rest, self.at) = (bytes.into_owned(), 0);
            }
            Frame::IndexEof => self.is_over = true,
            other => return Err(self.session.unexpected(&other)),
        }
        Ok(())
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.rest.len() && !self.is_over {
            if let Err(failure) = self.next() {
                self.failure = Some(failure);
                return Err(io::Error::other("the session failed"));
            }
        }
        let some = buffer.len().min(self.rest.len() - self.at);
        buffer[..some].copy_from_slice(&self.rest[self.at..self.at + some]);
        self.at += some;
        Ok(some)
    }
}

/// Sends what is written as frames.
struct Frames<'a> {
    session: &'a mut Session,
    piece: Vec<u8>,
    failure: Option<Error>,
}

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let some = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..some]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.session.send(&Frame::Index(piece.into())).map_err(|failure| {
            self.failure = Some(failure);
            io::Error::other("the session failed")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use cairn_formats::protocol::services::SERVES_INDEX;

    use super::*;

    #[test]
    fn an_index_has_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let answer = directory.path().join("answer");
        let mut said = Vec::new();
        Frame::Hello(SERVES_INDEX).write(&mut said).unwrap();
        for _ in 0..3 {
            Frame::Index(vec![7; 1000].into()).write(&mut said).unwrap();
        }
        Frame::IndexEof.write(&mut said).unwrap();
        std::fs::write(&answer, said).unwrap();
        let read = |longest| {
            let mut command = Command::new("sh");
            command.args(["-c", "cat \"$0\"; exec cat >/dev/null"]).arg(&answer);
            let patience = Patience::default();
            let session = Session::start(command, "there", PULLS_INDEX, &patience).unwrap();
            let mut pieces = Pieces::of(session, longest);
            let read = pieces.read_to_end(&mut Vec::new());
            (read.ok(), pieces.failure.map(|failure| failure.to_string()))
        };
        assert_eq!(read(3000), (Some(3000), None));
        let (read, failure) = read(2999);
        assert_eq!(read, None);
        let failure = failure.unwrap();
        assert!(
            failure.contains("there: the other side sent an index of more than 2999 bytes"),
            "{failure}"
        );
    }
}
