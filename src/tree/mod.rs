//! A tree of files as the system has it.

pub mod listing;
pub mod record;
