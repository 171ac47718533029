//! A tree of files as the system has it.
//!
//! ```text
//! beneath      open directories, and what is done in them by name
//! apply        an archive's node -> owner, mode, attributes and time of a file
//!   refusals   what the system refused
//! ```

pub mod apply;
pub mod beneath;
pub mod refusals;
