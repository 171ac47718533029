//! Types of records and how long they may be.
//!
//! All numbers are little-endian 64-bit words. The constants are those of casync 2.

use crate::wire::word;

/// Bytes in front of every record: its size with these, and its type.
pub const HEADER_LEN: usize = 16;

/// Bytes of an item in a GOODBYE, and of its tail.
pub const GOODBYE_ITEM_LEN: usize = 24;

/// The last word of a GOODBYE.
pub(super) const GOODBYE_TAIL: u64 = 0x5744_6fa5_3370_2943;

/// Bytes of an ENTRY.
pub(super) const ENTRY_LEN: usize = 64;

/// Declares the kinds of records with their numbers.
macro_rules! kinds {
    ($($name:ident = $number:literal, $what:literal;)*) => {
        /// What a record is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind {
            $(#[doc = $what] $name,)*
        }

        impl Kind {
            /// The number it has in archives.
            pub(super) fn number(self) -> u64 {
                match self {
                    $(Self::$name => $number,)*
                }
            }

            fn of(number: u64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    Entry = 0x1396_fabc_ea5b_bb51, "Mode, owner, time and flags of a node.";
    User = 0xf453_131a_aeea_ccb3, "The name of the owner.";
    Group = 0x25eb_6ac9_6939_6a52, "The name of the group.";
    Xattr = 0xb815_7091_f80b_c486, "An extended attribute.";
    AclUser = 0x297d_c88b_2ef1_2faf, "What a user may do.";
    AclGroup = 0x36f2_acb5_6cb3_dd0b, "What a group may do.";
    AclGroupObj = 0x2304_7110_441f_38f3, "What the owning group may do where there is a mask.";
    AclDefault = 0xfe3e_eda6_823c_8cd0, "What new files in a directory start with.";
    AclDefaultUser = 0xbdf0_3df9_bd01_0a91, "The same for a user.";
    AclDefaultGroup = 0xa0cb_1168_782d_1f51, "The same for a group.";
    Selinux = 0x46fa_f060_2fd2_6c59, "A label of SELinux.";
    Fcaps = 0xf726_7db0_afed_0629, "Capabilities of a program.";
    QuotaProjid = 0x161b_af2d_8772_a72b, "The project whose quota counts.";
    Symlink = 0x664a_6fb6_830e_0d6c, "Where a symbolic link leads.";
    Device = 0xac3d_ace3_69df_e643, "The numbers of a device.";
    Payload = 0x8b9e_1d93_d6dc_ffc9, "The bytes of a file.";
    Filename = 0x6dbb_6ebc_b316_1f0b, "The name of the node that follows.";
    Goodbye = 0xdfd3_5c5e_8327_c403, "The end of a directory.";
}

/// The beginning of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Bytes of the whole record.
    pub(super) size: u64,
    pub(super) kind: Kind,
}

impl Header {
    /// Takes it apart; says what is wrong with it.
    pub(super) fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, String> {
        let (size, number) = (word(bytes, 0), word(bytes, 8));
        let kind = Kind::of(number).ok_or_else(|| format!("unknown record type {number:#018x}"))?;
        let fits = match kind {
            Kind::Entry => size == ENTRY_LEN as u64,
            Kind::Device => size == 32,
            Kind::AclGroupObj | Kind::QuotaProjid => size == 24,
            Kind::AclDefault => size == 48,
            Kind::AclUser | Kind::AclGroup | Kind::AclDefaultUser | Kind::AclDefaultGroup => {
                (32..=288).contains(&size)
            }
            Kind::User | Kind::Group | Kind::Filename => (18..=272).contains(&size),
            // One more for desync's NUL behind the value.
            Kind::Xattr => (17..=16 + 255 + 1 + 65536 + 1).contains(&size),
            Kind::Selinux | Kind::Symlink => (18..=16 + 4096).contains(&size),
            Kind::Fcaps => (17..=16 + 65536).contains(&size),
            Kind::Payload => (16..u64::MAX).contains(&size),
            Kind::Goodbye => {
                (40..u64::MAX).contains(&size)
                    && (size - 16).is_multiple_of(GOODBYE_ITEM_LEN as u64)
            }
        };
        if fits { Ok(Self { size, kind }) } else { Err(format!("{kind:?} of {size} bytes")) }
    }

    /// Bytes that follow.
    pub(super) fn body_len(&self) -> u64 {
        self.size - HEADER_LEN as u64
    }
}

/// Appends the beginning of a record with a body of so many bytes.
pub(super) fn begin(out: &mut Vec<u8>, kind: Kind, body_len: u64) {
    put(out, HEADER_LEN as u64 + body_len);
    put(out, kind.number());
}

/// Appends a word.
pub(super) fn put(out: &mut Vec<u8>, word: u64) {
    out.extend_from_slice(&word.to_le_bytes());
}

/// Appends a record that is one text, with the NUL at its end.
pub(super) fn put_text(out: &mut Vec<u8>, kind: Kind, text: &[u8]) {
    begin(out, kind, text.len() as u64 + 1);
    out.extend_from_slice(text);
    out.push(0);
}
