//! A tree of files as the system has it.
