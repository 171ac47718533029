//! A tree of files as the system has it.
//!
//! ```text
//! record       a file -> all that is to be said of it
//!   found      what that is
//!   rules      what a feature word lets be recorded, of files and of all else
//!   owners     numbers shifted and checked, and names
//!   xattrs     extended attributes, sorted out by what records they become
//!   devices    which file system is on which device
//!   attributes of chattr, of FAT, of subvolumes; projects of quotas
//!   names      users and groups: numbers <-> names
//!   ioctl      the calls that no library has
//! listing      the names in a directory, in the order of archives
//! exclude      what `.caexclude` files leave out
//!   pattern    one component of a path and a pattern of a shell
//! beneath      directories of a tree that is written, of which so many are open
//! named        what is done by name in an open directory
//! apply        what an archive says of a file -> the file; what the system refused
//! ```
//! Nothing here follows a symbolic link, and nothing opens a pipe, a socket or a device.

pub mod apply;
pub mod attributes;
pub mod beneath;
mod devices;
pub mod exclude;
pub(crate) mod found;
mod ioctl;
pub mod listing;
pub mod named;
pub mod names;
mod owners;
mod pattern;
pub mod record;
pub mod rules;
mod xattrs;

pub use self::found::now;
pub use cairn_formats::catar::Shift;
