//! Where a chunk lies in a store.
//!
//! ```text
//! <store>/<first 4 hex digits of the id>/<64 hex digits><suffix>
//! ```
//! The suffix is `.cacnk` for compressed chunks and empty for plain ones.

use crate::{ChunkId, Coding};

/// The suffix of compressed chunks, whatever the compression: that is told by its magic.
pub const COMPRESSED_SUFFIX: &str = ".cacnk";

/// How long the directory part of a chunk name is, in hex digits.
const PREFIX_LEN: usize = 4;

/// The file name suffix of chunks in this coding.
fn suffix(coding: Coding) -> &'static str {
    match coding {
        Coding::Plain => "",
        Coding::Zstd | Coding::Xz | Coding::Gzip => COMPRESSED_SUFFIX,
    }
}

/// The path of a chunk inside its store, `1234/1234…cdef.cacnk`.
pub fn path(id: &ChunkId, coding: Coding) -> String {
    let hex = id.to_hex();
    let suffix = suffix(coding);
    let mut path = String::with_capacity(PREFIX_LEN + 1 + hex.len() + suffix.len());
    path.push_str(&hex[..PREFIX_LEN]);
    path.push('/');
    path.push_str(&hex);
    path.push_str(suffix);
    path
}

/// The id in a chunk's file name, and whether the name says that it is compressed.
///
/// Anything that is not exactly a chunk's name is `None`: temporary files and strays.
pub fn parse(file_name: &str) -> Option<(ChunkId, bool)> {
    match file_name.strip_suffix(COMPRESSED_SUFFIX) {
        Some(hex) => Some((hex.parse().ok()?, true)),
        None => Some((file_name.parse().ok()?, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_holds_the_id_and_the_suffix() {
        let id = ChunkId::from_bytes([0xab; 32]);
        let hex = "ab".repeat(32);
        assert_eq!(path(&id, Coding::Zstd), format!("abab/{hex}.cacnk"));
        assert_eq!(path(&id, Coding::Plain), format!("abab/{hex}"));
    }

    #[test]
    fn only_exact_names_parse() {
        let id = ChunkId::from_bytes([0x12; 32]);
        let hex = id.to_hex();
        assert_eq!(parse(&hex), Some((id, false)));
        assert_eq!(parse(&format!("{hex}.cacnk")), Some((id, true)));
        for stray in [".tmp-cacnk.17", &format!("{hex}.tmp"), &format!("{hex}.cacnk.1"), ""] {
            assert_eq!(parse(stray), None, "{stray}");
        }
    }
}
