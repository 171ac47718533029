//! Tar: the blocks of 512 bytes in which everybody else keeps trees of files.
//!
//! ```text
//! tar       := member* zeros zeros
//! member    := (header, bytes padded to a block)     a header of kind `x`, `L` or `K` says more of the next
//! ```
//! Four dialects share the header: v7, ustar with longer names, GNU with numbers in binary and sparse files, and
//! PAX with records `length key=value` in front of a member. All are read, PAX is written.
//!
//! ```text
//! header     one block <-> its fields
//! pax        the records in front of a member
//! sparse     which parts of a file its bytes are
//! acl        access control lists <-> their text
//! ```
//! The `tar` crate is not used: its records of PAX end at the first newline in a value, it knows sparse files of
//! GNU's old form alone, and its reader takes as much memory as a name says it needs.

mod acl;
mod header;
mod pax;
mod sparse;

pub use acl::{access_text, default_text, parse_access, parse_default};
pub use header::{BLOCK, Header, Kind};
pub use pax::{Time, parse_time, put_record, records};
pub use sparse::{Extent, MapReader, extension_extents, header_extents, list_extents};
