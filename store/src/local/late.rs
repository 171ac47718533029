//! File systems that say at the end of a write that it failed.

use std::fs::File;
use std::os::fd::AsFd;

/// Magic numbers of file systems that keep written bytes to themselves and may find no room for them
/// only when the file is closed, an error nobody can see: NFS, SMB (three), FUSE, 9P, Ceph, AFS.
const LATE: [i64; 8] =
    [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f];

/// Whether errors of a write to this file may come only when it is flushed.
///
/// Such a file must be flushed before it takes its name. That costs little: these file systems do
/// it when the file is closed anyhow.
#[allow(clippy::unnecessary_cast, reason = "the word has another type on other processors")]
pub fn fails_late(file: &File) -> bool {
    rustix::fs::fstatfs(file.as_fd()).is_ok_and(|found| LATE.contains(&(found.f_type as i64)))
}
