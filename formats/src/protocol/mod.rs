//! What casync and its kin say to one another over a pipe, such as one that ssh makes.
//!
//! ```text
//! frame       size of all: word   type: word   body
//!
//! HELLO       flags: word                        both sides begin with it, at once
//! INDEX       a piece of an index file           INDEX_EOF     -
//! ARCHIVE     a piece of an archive              ARCHIVE_EOF   -
//! REQUEST     flags: word, one or more ids       a chunk that is wanted
//! CHUNK       flags: word, id, bytes             a chunk
//! MISSING     id                                 a chunk that is not there
//! GOODBYE     -                                  all is done
//! ABORT       error number: word, text, NUL      nothing more will come
//! ```
//! Words are little-endian. A size that is not in `16..=16 MiB`, or that its type cannot have, is
//! refused before anything is allocated; a stream that ends between frames has ended well, one that
//! ends inside of a frame has not.

mod frame;
pub mod services;

pub use frame::{Frame, LONGEST_CHUNK, MAX_FRAME};
