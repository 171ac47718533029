//! The feature word that stands in every index and in every entry of an archive.
//!
//! Only its digest bit matters for reading a blob; the rest says what an archive records of each
//! entry. casync demands that the word is *normalised*: no flag that another one implies or
//! contradicts. Values and rules as observed from casync 2.

use crate::wire::word;
use crate::{Digest, Error, Result};

/// Ids are SHA-512/256; clear means SHA-256.
pub const SHA512_256: u64 = 0x2000_0000_0000_0000;
/// `.caexclude` files were honoured.
pub const EXCLUDE_FILE: u64 = 0x1000_0000_0000_0000;
/// Files marked "no dump" were skipped.
pub const EXCLUDE_NODUMP: u64 = 0x8000_0000_0000_0000;

const UIDS_16BIT: u64 = 0x1;
const UIDS_32BIT: u64 = 0x2;
const USER_NAMES: u64 = 0x4;
const SEC_TIME: u64 = 0x8;
const USEC_TIME: u64 = 0x10;
const NSEC_TIME: u64 = 0x20;
const TWO_SEC_TIME: u64 = 0x40;
const READ_ONLY: u64 = 0x80;
const PERMISSIONS: u64 = 0x100;
const FLAG_NODUMP: u64 = 0x10_0000;
const SUBVOLUME: u64 = 0x400_0000;
const SUBVOLUME_RO: u64 = 0x800_0000;
const ACL: u64 = 0x2000_0000;

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

/// Refuses a word that casync would refuse: unknown bits, or not normalised.
pub(crate) fn check(flags: u64) -> Result<()> {
    if flags & !KNOWN != 0 {
        let why = format!("unknown feature flags {:#x}", flags & !KNOWN);
        return Err(Error::Unsupported { why });
    }
    if normalised(flags) != flags {
        let why = format!("feature flags {flags:#x} contradict each other");
        return Err(Error::BadIndex { at: 16, why });
    }
    Ok(())
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
