//! The feature word that stands in every index and in every entry of an archive.
//!
//! Only its digest bit matters for reading a blob; the rest says what an archive records of each
//! entry. casync demands that the word is *normalised*: no flag that another one implies or
//! contradicts. Values and rules as observed from casync 2.

use crate::wire::word;
use crate::{Digest, Error, Result};

mod names;

pub use names::{FEATURES, parse};

/// Ids are SHA-512/256; clear means SHA-256.
pub const SHA512_256: u64 = 0x2000_0000_0000_0000;
/// `.caexclude` files were honoured.
pub const EXCLUDE_FILE: u64 = 0x1000_0000_0000_0000;
/// Other mounts were skipped.
pub const EXCLUDE_SUBMOUNTS: u64 = 0x4000_0000_0000_0000;
/// Files marked "no dump" were skipped.
pub const EXCLUDE_NODUMP: u64 = 0x8000_0000_0000_0000;

/// Owners by number, up to 65535.
pub const UIDS_16BIT: u64 = 0x1;
/// Owners by number.
pub const UIDS_32BIT: u64 = 0x2;
/// Owners by name.
pub const USER_NAMES: u64 = 0x4;
/// Times to the second.
pub const SEC_TIME: u64 = 0x8;
/// Times to the microsecond.
pub const USEC_TIME: u64 = 0x10;
/// Times to the nanosecond.
pub const NSEC_TIME: u64 = 0x20;
/// Times to two seconds, as FAT has them.
pub const TWO_SEC_TIME: u64 = 0x40;
/// Of permissions only whether anybody may write.
pub const READ_ONLY: u64 = 0x80;
/// Permissions.
pub const PERMISSIONS: u64 = 0x100;
/// Symbolic links; without it they are left out.
pub const SYMLINKS: u64 = 0x200;
/// Devices; without it they are left out.
pub const DEVICE_NODES: u64 = 0x400;
/// Named pipes; without it they are left out.
pub const FIFOS: u64 = 0x800;
/// Sockets; without it they are left out.
pub const SOCKETS: u64 = 0x1000;
/// FAT's attributes: hidden, system, archive.
pub const FAT_ATTRIBUTES: u64 = 0xe000;
/// The attribute "hidden" of FAT.
pub const FLAG_HIDDEN: u64 = 0x2000;
/// The attribute "system" of FAT.
pub const FLAG_SYSTEM: u64 = 0x4000;
/// The attribute "archive" of FAT.
pub const FLAG_ARCHIVE: u64 = 0x8000;
/// The ten attributes of `chattr`.
pub const CHATTR: u64 = 0x3ff_0000;
/// `chattr +a`.
pub const FLAG_APPEND: u64 = 0x1_0000;
/// `chattr +A`.
pub const FLAG_NOATIME: u64 = 0x2_0000;
/// `chattr +c`.
pub const FLAG_COMPR: u64 = 0x4_0000;
/// `chattr +C`.
pub const FLAG_NOCOW: u64 = 0x8_0000;
/// `chattr +d`.
pub const FLAG_NODUMP: u64 = 0x10_0000;
/// `chattr +D`.
pub const FLAG_DIRSYNC: u64 = 0x20_0000;
/// `chattr +i`.
pub const FLAG_IMMUTABLE: u64 = 0x40_0000;
/// `chattr +S`.
pub const FLAG_SYNC: u64 = 0x80_0000;
/// `chattr +m`.
pub const FLAG_NOCOMP: u64 = 0x100_0000;
/// `chattr +P`.
pub const FLAG_PROJINHERIT: u64 = 0x200_0000;
/// That a directory is a subvolume of btrfs.
pub const SUBVOLUME: u64 = 0x400_0000;
/// That a subvolume is read-only.
pub const SUBVOLUME_RO: u64 = 0x800_0000;
/// Extended attributes `user.*` and `trusted.*`.
pub const XATTRS: u64 = 0x1000_0000;
/// Access control lists, permissions among them.
pub const ACL: u64 = 0x2000_0000;
/// Labels of SELinux.
pub const SELINUX: u64 = 0x4000_0000;
/// Capabilities of programs.
pub const FCAPS: u64 = 0x8000_0000;
/// Projects whose quotas count.
pub const QUOTA_PROJID: u64 = 0x1_0000_0000;

/// All that can be recorded of a file.
pub const ALL: u64 = 0x1_ffff_ffff;
/// Owners, by number or by name.
pub const OWNERS: u64 = UIDS_16BIT | UIDS_32BIT | USER_NAMES;
/// Times of whatever granularity.
pub const TIMES: u64 = SEC_TIME | USEC_TIME | NSEC_TIME | TWO_SEC_TIME;
/// Attributes that one file has or has not, in the bits of the entry's own word as well.
pub const ATTRIBUTES: u64 = FAT_ATTRIBUTES | CHATTR | SUBVOLUME | SUBVOLUME_RO;

/// Every bit that has a meaning.
const KNOWN: u64 = 0xf000_0001_ffff_ffff;

/// The word casync writes into the index of a blob: its default exclusions and the digest.
pub fn of_blob(digest: Digest) -> u64 {
    EXCLUDE_NODUMP
        | EXCLUDE_FILE
        | match digest {
            Digest::Sha512_256 => SHA512_256,
            Digest::Sha256 => 0,
        }
}

/// The word of an archive that begins with these bytes: that of its first entry, with which the
/// index of an archive must agree. `None` if they begin no archive, or one of another digest.
///
/// An entry starts with its size, 64, its type, and the feature word.
pub fn of_archive(beginning: &[u8], own: Digest) -> Option<u64> {
    const ENTRY: u64 = 0x1396_fabc_ea5b_bb51;
    if beginning.len() < 64 || word(beginning, 0) != 64 || word(beginning, 8) != ENTRY {
        return None;
    }
    Some(word(beginning, 16)).filter(|&flags| check(flags).is_ok() && digest(flags) == own)
}

/// The digest a feature word stands for.
pub fn digest(flags: u64) -> Digest {
    if flags & SHA512_256 != 0 { Digest::Sha512_256 } else { Digest::Sha256 }
}

/// The word with everything removed that another flag makes superfluous.
pub fn normalised(flags: u64) -> u64 {
    let mut flags = flags;
    let has = |flags: u64, bit: u64| flags & bit != 0;
    if has(flags, ACL) && !has(flags, UIDS_16BIT | UIDS_32BIT | USER_NAMES) {
        flags |= UIDS_32BIT | USER_NAMES;
    }
    if has(flags, UIDS_32BIT) {
        flags &= !UIDS_16BIT;
    }
    // The finest time wins.
    if has(flags, NSEC_TIME) {
        flags &= !(USEC_TIME | SEC_TIME | TWO_SEC_TIME);
    } else if has(flags, USEC_TIME) {
        flags &= !(SEC_TIME | TWO_SEC_TIME);
    } else if has(flags, SEC_TIME) {
        flags &= !TWO_SEC_TIME;
    }
    if has(flags, ACL) {
        flags &= !(PERMISSIONS | READ_ONLY);
    }
    if has(flags, PERMISSIONS) {
        flags &= !READ_ONLY;
    }
    if has(flags, EXCLUDE_NODUMP) {
        flags &= !FLAG_NODUMP;
    }
    if has(flags, SUBVOLUME_RO) {
        flags |= SUBVOLUME;
    }
    flags
}

/// What is to be restored of an archive with one word by a wish in the form of another: what both have, where
/// a coarser wish is fulfilled by what is finer.
pub fn common(archive: u64, wish: u64) -> u64 {
    let widened = |mut flags: u64| {
        let has = |flags: u64, bits: u64| flags & bits != 0;
        if has(flags, UIDS_16BIT | UIDS_32BIT) {
            flags |= UIDS_16BIT | UIDS_32BIT;
        }
        if has(flags, TIMES) {
            flags |= TIMES;
        }
        if has(flags, ACL) {
            flags |= PERMISSIONS;
        }
        if has(flags, PERMISSIONS) {
            flags |= READ_ONLY;
        }
        if has(flags, SUBVOLUME_RO) {
            flags |= SUBVOLUME;
        }
        flags
    };
    normalised(widened(archive) & widened(wish))
}

/// How fine times are recorded, in nanoseconds; `None` if they are not.
pub fn granularity(flags: u64) -> Option<i64> {
    let grains = [
        (NSEC_TIME, 1),
        (USEC_TIME, 1000),
        (SEC_TIME, 1_000_000_000),
        (TWO_SEC_TIME, 2_000_000_000),
    ];
    grains.into_iter().find(|(bit, _)| flags & bit != 0).map(|(_, grain)| grain)
}

/// Refuses a word that casync would refuse in an index: unknown bits, or not normalised.
pub(crate) fn check(flags: u64) -> Result<()> {
    if let Some(why) = unknown(flags) {
        return Err(Error::Unsupported { why });
    }
    contradiction(flags).map_or(Ok(()), |why| Err(Error::BadIndex { at: 16, why }))
}

/// What is wrong with a word in an archive, if anything is.
pub(crate) fn fault(flags: u64) -> Option<String> {
    unknown(flags).or_else(|| contradiction(flags))
}

fn unknown(flags: u64) -> Option<String> {
    let unknown = flags & !KNOWN;
    (unknown != 0).then(|| format!("unknown feature flags {unknown:#x}"))
}

fn contradiction(flags: u64) -> Option<String> {
    (normalised(flags) != flags).then(|| format!("feature flags {flags:#x} contradict each other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_words_are_those_of_casync() {
        assert_eq!(of_blob(Digest::Sha512_256), 0xb000_0000_0000_0000);
        assert_eq!(of_blob(Digest::Sha256), 0x9000_0000_0000_0000);
    }

    #[test]
    fn words_seen_in_the_wild_are_accepted() {
        for flags in [
            0xb000_0000_0000_0000,
            0x9000_0000_0000_0000,
            0xa000_0000_0000_0000, // desync before it wrote casync's word
            0xb000_0001_ffef_fe26,
            0xa000_0000_ffef_fe26,
            0xb000_0000_1000_1f22,
            0xa000_0000_0000_1f22,
            0x3000_0001_ffff_fe26,
            0xb000_0001_ec41_4406,
        ] {
            assert!(check(flags).is_ok(), "{flags:#x}");
        }
    }

    #[test]
    fn an_archive_is_told_by_its_first_entry() {
        let mut entry = [0; 64];
        entry[0] = 64;
        entry[8..16].copy_from_slice(&0x1396_fabc_ea5b_bb51_u64.to_le_bytes());
        entry[16..24].copy_from_slice(&0xb000_0000_1000_1f22_u64.to_le_bytes());
        assert_eq!(of_archive(&entry, Digest::Sha512_256), Some(0xb000_0000_1000_1f22));
        assert_eq!(of_archive(&entry, Digest::Sha256), None);
        assert_eq!(of_archive(&entry[..63], Digest::Sha512_256), None);
        assert_eq!(of_archive(&[0; 64], Digest::Sha512_256), None);
    }

    #[test]
    fn unknown_and_contradicting_bits_are_refused() {
        assert!(matches!(check(1 << 40), Err(Error::Unsupported { .. })));
        for flags in [
            UIDS_16BIT | UIDS_32BIT,
            NSEC_TIME | USEC_TIME,
            SEC_TIME | TWO_SEC_TIME,
            PERMISSIONS | READ_ONLY,
            SUBVOLUME_RO,
            ACL,
            KNOWN,
        ] {
            assert!(matches!(check(flags), Err(Error::BadIndex { .. })), "{flags:#x}");
        }
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for shift in 0..60 {
            let flags = 0x9e37_79b9_7f4a_7c15_u64.rotate_left(shift) & KNOWN;
            let once = normalised(flags);
            assert_eq!(normalised(once), once);
            assert!(check(once).is_ok());
        }
    }
}
