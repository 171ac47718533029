//! What programs are told of errors.
//!
//! ```text
//! Missing, Invalid, Chunk, Denied, Unreachable …    EIO: the bytes cannot be had
//! Stopped                                           EINTR
//! Io                                                what the system said
//! ```

use cairn_store::Error;
use rustix::io::Errno;

/// The number that a program sees of an error.
pub fn errno(error: &Error) -> Errno {
    match error.root() {
        Error::Stopped => Errno::INTR,
        Error::Io { source, .. } => Errno::from_io_error(source).unwrap_or(Errno::IO),
        _ => Errno::IO,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_the_system_said_is_passed_on_and_all_else_is_eio() {
        let io = Error::io("read", "a file")(io::Error::from_raw_os_error(28));
        assert_eq!(errno(&io), Errno::NOSPC);
        let without_number = Error::io("read", "a file")(io::ErrorKind::UnexpectedEof.into());
        assert_eq!(errno(&without_number), Errno::IO);
        assert_eq!(errno(&Error::Stopped), Errno::INTR);
        let busy = Error::Busy { place: "a".to_owned(), why: "b".to_owned() };
        assert_eq!(errno(&busy), Errno::IO);
    }
}
