//! What each side of a connection offers and wants, as said in its HELLO.
//!
//! ```text
//!                 chunks     index      archive
//! I serve         0x1        0x4        0x10
//! I accept        0x2        0x8        0x20
//! I want to pull  0x40       0x80       0x100
//! I want to push  0x200      0x400      0x1000
//! pull from me what the index I push names  0x800
//! ```

use crate::{Error, Result};

/// I serve chunks.
pub const SERVES_CHUNKS: u64 = 0x1;
/// I accept chunks.
pub const ACCEPTS_CHUNKS: u64 = 0x2;
/// I serve the index.
pub const SERVES_INDEX: u64 = 0x4;
/// I accept an index.
pub const ACCEPTS_INDEX: u64 = 0x8;
/// I serve the archive.
pub const SERVES_ARCHIVE: u64 = 0x10;
/// I accept an archive.
pub const ACCEPTS_ARCHIVE: u64 = 0x20;
/// I want to pull chunks.
pub const PULLS_CHUNKS: u64 = 0x40;
/// I want to pull the index.
pub const PULLS_INDEX: u64 = 0x80;
/// I want to pull the archive.
pub const PULLS_ARCHIVE: u64 = 0x100;
/// I want to push chunks.
pub const PUSHES_CHUNKS: u64 = 0x200;
/// I want to push the index.
pub const PUSHES_INDEX: u64 = 0x400;
/// Ask me for those chunks you want of the index that I push.
pub const PUSHES_INDEX_CHUNKS: u64 = 0x800;
/// I want to push an archive.
pub const PUSHES_ARCHIVE: u64 = 0x1000;

const ALL: u64 = 0x1fff;

/// What is wanted, what the other side must say for that, and what it is called.
const WISHES: [(u64, u64, &str); 7] = [
    (PULLS_CHUNKS, SERVES_CHUNKS, "chunks"),
    (PULLS_INDEX, SERVES_INDEX, "an index"),
    (PULLS_ARCHIVE, SERVES_ARCHIVE, "an archive"),
    (PUSHES_CHUNKS, ACCEPTS_CHUNKS, "chunks"),
    (PUSHES_INDEX, ACCEPTS_INDEX, "an index"),
    (PUSHES_INDEX_CHUNKS, ACCEPTS_CHUNKS | ACCEPTS_INDEX, "chunks of an index"),
    (PUSHES_ARCHIVE, ACCEPTS_ARCHIVE, "an archive"),
];

/// Services of which a side may not offer both: the index, or archive, would be in two places.
const EITHER: [u64; 2] = [SERVES_INDEX | ACCEPTS_INDEX, SERVES_ARCHIVE | ACCEPTS_ARCHIVE];

/// Checks what one side says of itself.
pub fn check(flags: u64) -> Result<()> {
    let bad = |why: String| Err(Error::Protocol { why });
    if flags == 0 || flags & !ALL != 0 {
        return bad(format!("a HELLO with the flags {flags:#x}, which are unknown"));
    }
    for both in EITHER {
        if flags & both == both {
            return bad(format!("a HELLO with the flags {flags:#x}, which contradict one another"));
        }
    }
    let pushed = PUSHES_CHUNKS | PUSHES_INDEX;
    if flags & PUSHES_INDEX_CHUNKS != 0 && flags & pushed != pushed {
        return bad(format!("a HELLO with the flags {flags:#x}: chunks of no index"));
    }
    Ok(())
}

/// Checks that whatever either side wants is offered by the other, and that one wants something.
pub fn agree(ours: u64, theirs: u64) -> Result<()> {
    check(theirs)?;
    let wishes = |from: u64| WISHES.into_iter().filter(move |(wish, ..)| from & wish != 0);
    let bad = |why: String| Err(Error::Protocol { why });
    for (wish, needed, what) in wishes(ours) {
        if theirs & needed != needed {
            let does = if wish < PUSHES_CHUNKS { "serve" } else { "accept" };
            return bad(format!("the other side does not {does} {what} (it said {theirs:#x})"));
        }
    }
    for (_, needed, what) in wishes(theirs) {
        if ours & needed != needed {
            return bad(format!("the other side wants {what}, of which there are none to be had"));
        }
    }
    if wishes(ours).chain(wishes(theirs)).next().is_none() {
        return bad(format!("nobody wants anything (the other side said {theirs:#x})"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_known_programs_agree() {
        for (client, server) in [
            // pull of chunks, of chunks and index, of an index, of an archive
            (0x40, 0x1),
            (0xc0, 0x5),
            (0x80, 0x4),
            (0x100, 0x10),
            (0x40, 0x5),
            // push of index and chunks, and of an archive
            (0xe00, 0xa),
            (0x1000, 0x20),
        ] {
            agree(client, server).unwrap();
            agree(server, client).unwrap();
        }
    }

    #[test]
    fn wishes_that_cannot_be_met_are_refused() {
        for (ours, theirs, part) in [
            (0x40, 0, "unknown"),
            (0x40, u64::MAX, "unknown"),
            (0x40, 0x2001, "unknown"),
            (0x40, 0xd, "contradict"),
            (0x100, 0x30, "contradict"),
            (0xa, 0x800, "chunks of no index"),
            (0x40, 0x2, "does not serve chunks"),
            (0xc0, 0x1, "does not serve an index"),
            (0xe00, 0x2, "does not accept an index"),
            (0x1, 0x1, "nobody wants"),
            (0x1, 0x40 | 0x80, "wants an index"),
            (0x1, 0xe00, "wants chunks"),
        ] {
            let error = agree(ours, theirs).unwrap_err().to_string();
            assert!(error.contains(part), "{ours:#x} {theirs:#x}: {error}");
        }
    }
}
