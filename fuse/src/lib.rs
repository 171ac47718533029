//! Stored data seen as files: the place for what the kernel's FUSE calls.
