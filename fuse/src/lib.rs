//! Stored data seen as files.
//!
//! ```text
//! fs         a file system without a kernel: what can be asked, and the answers
//! content    the bytes of files, at hand or to be waited for
//! errno      what programs are told of errors
//! ```

pub mod content;
mod errno;
pub mod fs;

pub use content::{Bytes, Content};
pub use errno::errno;
pub use fs::{Answer, Attributes, Extent, FileSystem, Ino, Kind, Listed, Space};
