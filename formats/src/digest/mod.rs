//! How chunk ids are computed: SHA-512/256 or SHA-256, one chunk or many at once.
//!
//! One SHA-512 stream cannot fill a modern core, because each round waits for the one before. Many
//! chunks can: [`Digest::hash_many`] runs one chunk per vector lane.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
mod sha512;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use crate::ChunkId;
use crate::simd::Level;

/// The digest chunk ids are made with. It travels with the index and is never global.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-512/256 of FIPS 180-4, what casync and desync use unless told otherwise.
    #[default]
    Sha512_256,
    /// SHA-256, as in the oldest stores.
    Sha256,
}

impl Digest {
    /// The id of one chunk.
    pub fn hash(self, data: &[u8]) -> ChunkId {
        ChunkId::from_bytes(match self {
            Digest::Sha512_256 => sha2::Sha512_256::digest(data).into(),
            Digest::Sha256 => sha2::Sha256::digest(data).into(),
        })
    }

    /// Begins a digest of bytes that come one after the other.
    pub fn hasher(self) -> Hasher {
        match self {
            Digest::Sha512_256 => Hasher::Sha512_256(sha2::Sha512_256::new()),
            Digest::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
        }
    }

    /// The digest that gives a chunk this id, if one does.
    pub fn of(id: &ChunkId, data: &[u8]) -> Option<Self> {
        [Digest::Sha512_256, Digest::Sha256].into_iter().find(|digest| digest.hash(data) == *id)
    }

    /// The ids of many chunks, in their order; several times faster than one by one.
    pub fn hash_many(self, chunks: &[&[u8]]) -> Vec<ChunkId> {
        self.hash_many_at(Level::chosen(), chunks)
    }

    /// As [`Digest::hash_many`], with the kernel of the given level: for tests and benches.
    pub fn hash_many_at(self, level: Level, chunks: &[&[u8]]) -> Vec<ChunkId> {
        match self {
            Digest::Sha512_256 => {
                let mut digests = vec![[0; 32]; chunks.len()];
                lanes::hash_many(level, chunks, &mut digests);
                digests.into_iter().map(ChunkId::from_bytes).collect()
            }
            // SHA-256 has instructions of its own, one stream is already fast.
            Digest::Sha256 => chunks.iter().map(|chunk| self.hash(chunk)).collect(),
        }
    }
}

/// A digest of which more may come.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// Of [`Digest::Sha512_256`].
    Sha512_256(sha2::Sha512_256),
    /// Of [`Digest::Sha256`].
    Sha256(sha2::Sha256),
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        match self {
            Hasher::Sha512_256(state) => state.update(data),
            Hasher::Sha256(state) => state.update(data),
        }
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> ChunkId {
        ChunkId::from_bytes(match self {
            Hasher::Sha512_256(state) => state.finalize().into(),
            Hasher::Sha256(state) => state.finalize().into(),
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Digest::Sha512_256 => "sha512-256",
            Digest::Sha256 => "sha256",
        })
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "sha512-256" => Ok(Digest::Sha512_256),
            "sha256" => Ok(Digest::Sha256),
            _ => Err(format!("invalid digest algorithm '{name}' (sha512-256 or sha256)")),
        }
    }
}

#[cfg(test)]
mod own_tests {
    use super::*;

    #[test]
    fn digests_match_fips_180_4() {
        // The examples of the standard for "abc".
        assert_eq!(
            Digest::Sha512_256.hash(b"abc").to_hex(),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
        assert_eq!(
            Digest::Sha256.hash(b"abc").to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn many_equal_one_by_one() {
        let chunks: Vec<Vec<u8>> = (0..9).map(|n| vec![n as u8; n * 100]).collect();
        let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        for digest in [Digest::Sha512_256, Digest::Sha256] {
            let ids: Vec<ChunkId> = slices.iter().map(|chunk| digest.hash(chunk)).collect();
            assert_eq!(digest.hash_many(&slices), ids);
            let mut hasher = digest.hasher();
            slices.iter().for_each(|slice| hasher.update(slice));
            assert_eq!(hasher.finish(), digest.hash(&slices.concat()));
        }
    }

    #[test]
    fn names_read_back() {
        for digest in [Digest::Sha512_256, Digest::Sha256] {
            assert_eq!(digest.to_string().parse(), Ok(digest));
        }
        assert!("sha1".parse::<Digest>().is_err());
    }
}
