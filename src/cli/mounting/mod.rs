//! What commands that mount share.
//!
//! ```text
//! flags        what is typed
//! sources      an index or archive -> what of it is mounted, and what all that is mounted shares
//! directory    a directory of indexes, as it changes
//! serve        the life of a mount
//! background   a life without a terminal           notify   what a service manager is told
//! ```

mod background;
mod directory;
mod flags;
mod notify;
mod serve;
mod sources;

pub(super) use self::directory::Shown;
pub(super) use self::flags::{MountFlags, MountStores, parse_count};
pub(super) use self::notify::ready;
pub(super) use self::serve::serve;
pub(super) use self::sources::{Mounting, Opened, Shape, TreeFlags, name_of};
