//! Stores by SFTP, on any machine that `ssh` gets into.
//!
//! ```text
//! address    sftp://user@host:port/path -> what ssh is told, and a directory
//! wire       packets: what is asked, what is answered
//! session    one ssh, and the many requests under way in it
//! request    one of them, and its answer      waiting    who waits for which
//! pool       as many sessions as are of use
//! file       files read and written in pieces, several under way
//! failure    what went wrong, for whoever asked
//! objects    chunks and indexes as files below a directory
//! listing    all that is in it
//! ```
//! The connection is the system's `ssh`, or what `CASYNC_SSH_PATH` says: its configuration, keys,
//! agents and jump hosts are the user's. What we speak is version 3 of the protocol
//! (draft-ietf-secsh-filexfer-02), which all servers know, with the extension
//! `posix-rename@openssh.com` where it is there. What a server sends makes us take no more memory than
//! its packets of limited size, for as many requests as we make, and lists of names of limited length.

mod address;
mod failure;
mod file;
mod listing;
mod objects;
mod pool;
mod request;
mod session;
mod waiting;
mod wire;

#[cfg(test)]
mod tests;

#[cfg(feature = "testing")]
pub(crate) use address::Address;
pub(crate) use objects::SftpObjects;
