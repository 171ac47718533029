//! What a feature word lets be recorded, whether a node comes from a file, a tar or elsewhere. The rules are casync's.

use cairn_formats::catar::{Body, Node};
use cairn_formats::flags;

use super::names::is_portable;

/// The feature without which such a node is left out; 0 if it never is.
pub fn feature_of(body: &Body) -> u64 {
    match body {
        Body::Directory | Body::File(_) => 0,
        Body::Symlink(_) => flags::SYMLINKS,
        Body::Block { .. } | Body::Character { .. } => flags::DEVICE_NODES,
        Body::Fifo => flags::FIFOS,
        Body::Socket => flags::SOCKETS,
    }
}

/// What is recorded of the permissions in a mode. `node` has those that stand for nothing said.
pub fn permissions(node: &Node, mode: u32, features: u64) -> u32 {
    if matches!(node.body, Body::Symlink(_)) {
        node.permissions
    } else if features & (flags::PERMISSIONS | flags::ACL) != 0 {
        mode & 0o7777
    } else if features & flags::READ_ONLY != 0 && mode & 0o222 == 0 {
        node.permissions & !0o222
    } else {
        node.permissions
    }
}

/// What is recorded of a time in nanoseconds since 1970.
///
/// casync takes times for unsigned and reads only multiples of the grain in that sense, before 1970 as well.
pub fn time(time: i64, features: u64) -> i64 {
    flags::granularity(features).map_or(0, |grain| coarse_time(time, grain))
}

/// A time in multiples of so many nanoseconds.
pub fn coarse_time(time: i64, grain: i64) -> i64 {
    let word = time.cast_unsigned();
    (word - word % grain.cast_unsigned()).cast_signed()
}

/// Whether owners are recorded by number.
pub fn has_numbers(features: u64) -> bool {
    features & (flags::UIDS_16BIT | flags::UIDS_32BIT) != 0
}

/// What is recorded of the number of a user or group, which is 0 if none are; or why it cannot be.
pub fn number(id: u32, features: u64) -> Result<u32, String> {
    if !has_numbers(features) {
        return Ok(0);
    }
    // What stands for "no id" in the calls of Linux, once 16 bits wide; casync reads neither.
    if id == u32::MAX || id == u32::from(u16::MAX) {
        return Err(format!("the user or group {id} cannot be recorded"));
    }
    if features & flags::UIDS_16BIT != 0 && id > u32::from(u16::MAX) {
        return Err(format!("the user or group {id} has more than the 16 bits that are recorded"));
    }
    Ok(id)
}

/// The name that is recorded of a user or group; empty for none. `name` is the one it has, empty if it has none.
///
/// Where the number is recorded as well, a name that casync would not read is left out. Else it is all there is, and
/// who has none is named by number, as casync does it. Root never has a name: it is whose name is missing.
pub fn name(name: &[u8], id: u32, features: u64) -> Vec<u8> {
    if features & flags::USER_NAMES == 0 || id == 0 {
        Vec::new()
    } else if has_numbers(features) {
        Some(name).filter(|name| is_portable(name)).unwrap_or_default().to_vec()
    } else if (1..=255).contains(&name.len()) && !name.contains(&0) {
        name.to_vec()
    } else {
        id.to_string().into_bytes()
    }
}
