//! Stored data seen as files.
//!
//! ```text
//! fs         a file system without a kernel: what can be asked, and the answers
//! blob       a file system with one file in it
//! several    file systems in one directory
//! content    the bytes of files, at hand or to be waited for
//! stored     the bytes of a blob in a store
//! sparse     a blob that is kept in a file as it is read
//! plain      a file on this machine
//! padded     with zeros behind it
//! ahead      what will be read next
//! pool       threads that wait in the place of others
//! said       what was said already
//! errno      what programs are told of errors
//! tree       the nodes of an archive, in one block
//! kernel     a file system where the kernel asks: at a mount point
//! ```

mod ahead;
mod blob;
pub mod content;
mod errno;
pub mod fs;
mod kernel;
mod padded;
mod plain;
mod pool;
mod said;
mod several;
mod sparse;
mod stored;
pub mod tree;

pub use blob::BlobFile;
pub use content::{Bytes, Content};
pub use errno::errno;
pub use fs::{Answer, Attributes, Extent, FileSystem, Ino, Kind, Listed, Space};
pub use kernel::{Forget, Holder, MountOptions, Mounted, Refused, holders, unmount};
pub use padded::Padded;
pub use plain::PlainFile;
pub use said::Said;
pub use several::{Part, Several};
pub use sparse::{SparseFile, SparseOptions};
pub use stored::{Fetchers, StoredBlob};
