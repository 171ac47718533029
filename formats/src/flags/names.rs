//! Features by the names casync's options have.

use super::{
    ACL, ALL, CHATTR, DEVICE_NODES, FAT_ATTRIBUTES, FCAPS, FIFOS, FLAG_APPEND, FLAG_ARCHIVE,
    FLAG_COMPR, FLAG_DIRSYNC, FLAG_HIDDEN, FLAG_IMMUTABLE, FLAG_NOATIME, FLAG_NOCOMP, FLAG_NOCOW,
    FLAG_NODUMP, FLAG_PROJINHERIT, FLAG_SYNC, FLAG_SYSTEM, NSEC_TIME, PERMISSIONS, QUOTA_PROJID,
    READ_ONLY, SEC_TIME, SELINUX, SOCKETS, SUBVOLUME, SUBVOLUME_RO, SYMLINKS, TWO_SEC_TIME,
    UIDS_16BIT, UIDS_32BIT, USEC_TIME, USER_NAMES, XATTRS,
};

/// All features, and sets of them, by name.
pub const FEATURES: [(&str, u64); 40] = [
    ("16bit-uids", UIDS_16BIT),
    ("32bit-uids", UIDS_32BIT),
    ("user-names", USER_NAMES),
    ("sec-time", SEC_TIME),
    ("usec-time", USEC_TIME),
    ("nsec-time", NSEC_TIME),
    ("2sec-time", TWO_SEC_TIME),
    ("read-only", READ_ONLY),
    ("permissions", PERMISSIONS),
    ("symlinks", SYMLINKS),
    ("device-nodes", DEVICE_NODES),
    ("fifos", FIFOS),
    ("sockets", SOCKETS),
    ("flag-hidden", FLAG_HIDDEN),
    ("flag-system", FLAG_SYSTEM),
    ("flag-archive", FLAG_ARCHIVE),
    ("flag-append", FLAG_APPEND),
    ("flag-noatime", FLAG_NOATIME),
    ("flag-compr", FLAG_COMPR),
    ("flag-nocow", FLAG_NOCOW),
    ("flag-nodump", FLAG_NODUMP),
    ("flag-dirsync", FLAG_DIRSYNC),
    ("flag-immutable", FLAG_IMMUTABLE),
    ("flag-sync", FLAG_SYNC),
    ("flag-nocomp", FLAG_NOCOMP),
    ("flag-projinherit", FLAG_PROJINHERIT),
    ("subvolume", SUBVOLUME),
    ("subvolume-ro", SUBVOLUME_RO),
    ("xattrs", XATTRS),
    ("acl", ACL),
    ("selinux", SELINUX),
    ("fcaps", FCAPS),
    ("quota-projid", QUOTA_PROJID),
    ("best", 0x1_ffff_fe26),
    ("unix", 0x1f09),
    ("fat", TWO_SEC_TIME | READ_ONLY | FAT_ATTRIBUTES),
    ("chattr", CHATTR),
    ("fat-attrs", FAT_ATTRIBUTES),
    ("privileged", 0x1_ec41_4407),
    ("fuse", 0x13ff_fffb),
];

/// The bits of a feature or a set by its name; `all` is all of them.
pub fn parse(name: &str) -> Option<u64> {
    if name == "all" {
        return Some(ALL);
    }
    FEATURES.iter().find(|(known, _)| *known == name).map(|(_, bits)| *bits)
}
