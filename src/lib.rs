//! cairn stores big files by content, compatible with casync and desync.
//!
//! ```text
//! make      file -> chunks in a store, and their index
//! extract   index + store -> file
//! archive   trees of files <-> archives
//! cat       index + store -> bytes, in order
//! mount     archives seen as files
//! check     index + file -> do they match?
//! tree      files and directories as the system has them
//! upkeep    looks after stores: verify, prune, cache, chop, info
//! flow      workers, the only place jobs start threads
//! spread    workers that begin on different processors
//! storing   chunks into a store that may have some already
//! copy      bytes from one file into another, by reflink where blocks can be shared
//! reflink   blocks shared between files
//! buffer    memory that files are read into, again and again
//! batch     which chunks are fetched together
//! mapped    stretches of files that are looked at where they lie
//! kept      files of our own, mapped
//! ids       which chunks came by already, and where they are
//! monitor   how jobs say what they are doing
//! ```
//! The formats are in `cairn-formats`, the places in `cairn-store`. A job here is a function of
//! plain values and stores; it prints nothing and keeps no global state, but for the handler of a signal that
//! [`survive_bus_errors`] puts in place.

pub mod archive;
mod batch;
mod buffer;
pub mod cat;
pub mod check;
mod copy;
mod error;
pub mod extract;
pub mod flow;
pub mod ids;
mod kept;
pub mod make;
mod mapped;
pub mod monitor;
pub mod mount;
mod reflink;
mod spread;
mod storing;
pub mod tree;
pub mod upkeep;

pub use error::{Error, Result};
pub use mapped::survive_bus_errors;
pub use monitor::{Monitor, Silent, Unit};
