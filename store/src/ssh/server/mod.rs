//! The other side of casync's protocol: what `cairn pull` and `cairn push` are on the machine with the
//! store.
//!
//! ```text
//! pull   index, chunks -> client                       push   index, chunks <- client
//! ```

mod asked;
mod pull;
mod push;
mod throttle;

use std::io::{ErrorKind, Read, Write};

use cairn_formats::Error as FormatError;
use cairn_formats::protocol::{Frame, services};

use crate::{Again, Error, Result};

pub use pull::{Pull, serve_pull};
pub use push::{Push, serve_push};
pub use throttle::Throttle;

/// What the client is called in messages.
const CLIENT: &str = "client";

/// What is said of a client that does not listen any more.
const WENT_AWAY: &str = "it went away";

/// The longest text of an ABORT that we send, in bytes.
const LONGEST_REASON: usize = 1000;

/// What casync says for errors of which it is not told more: `EIO` and `EBADMSG`.
const EIO: u32 = 5;
const EBADMSG: u32 = 74;

/// Tells a client that comes in vain why.
pub fn refuse(mut output: impl Write, reason: &str) {
    let frame = Frame::Abort { errno: EIO, reason: shortened(reason).into() };
    // A client that is gone needs no words.
    let _ = frame.write(&mut output).and_then(|()| output.flush());
}

/// Exchanges greetings, and returns what the client said.
fn greet(input: &mut impl Read, output: &mut impl Write, ours: u64) -> Result<u64> {
    Frame::Hello(ours).write(output).and_then(|()| output.flush()).map_err(lost)?;
    let theirs = match Frame::read(input).map_err(misread)? {
        Some(Frame::Hello(theirs)) => theirs,
        Some(other) => return Err(unexpected(&other)),
        None => return Err(client("it went away without a word")),
    };
    services::agree(ours, theirs).map_err(misread)?;
    Ok(theirs)
}

/// Tells the client why it gets nothing more, and passes the outcome on.
fn with_abort<T>(output: &mut impl Write, outcome: Result<T>) -> Result<T> {
    outcome.inspect_err(|error| {
        let errno = match error {
            Error::Unreachable { place, .. } if place == CLIENT => EBADMSG,
            Error::Io { source, .. } => {
                source.raw_os_error().and_then(|errno| u32::try_from(errno).ok()).unwrap_or(EIO)
            }
            _ => EIO,
        };
        let reason = error.to_string();
        let frame = Frame::Abort { errno, reason: shortened(&reason).into() };
        let _ = frame.write(output).and_then(|()| output.flush());
    })
}

fn shortened(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(LONGEST_REASON)]
}

fn client(why: impl Into<String>) -> Error {
    Error::Unreachable { place: CLIENT.to_owned(), why: why.into(), again: Again::No }
}

fn unexpected(frame: &Frame<'_>) -> Error {
    match frame {
        Frame::Abort { reason, .. } => client(format!("it gave up: {reason}")),
        other => client(format!("it sent {} out of place", other.name())),
    }
}

/// For `map_err`: the client is not to be understood.
fn misread(error: FormatError) -> Error {
    client(error.to_string())
}

/// For `map_err`: the client does not listen.
fn lost(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe => client(WENT_AWAY),
        _ => client(error.to_string()),
    }
}
