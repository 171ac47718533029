//! The form in which a store keeps its chunks: how they lie there, and by which names.
//!
//! ```text
//! <store>/<first 4 hex digits of the id>/<64 hex digits><suffix>
//!
//! form                  suffix
//! compressed            .cacnk, or what casync's environment has in its place
//! plain                 none
//! compressed, sealed    .cacnk.xchacha20-poly1305-50d64035
//! plain, sealed         .xchacha20-poly1305-50d64035
//! ```
//! Forms lie side by side in one store, and each user of it sees those it knows of. Which compression
//! it is stands in no name: that is told by its magic.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::chunker::LARGEST_CHUNK;
use crate::coding::{DEFAULT_LEVEL, Decoder, Encoder, WriteCoding};
use crate::seal::Key;
use crate::{ChunkId, CodedChunk, Coding, Error, Result};

/// The suffix of compressed chunks, where nobody says otherwise.
const COMPRESSED_SUFFIX: &str = ".cacnk";

/// How long the directory part of a chunk name is, in hex digits.
const PREFIX_LEN: usize = 4;

/// How a store keeps its chunks.
#[derive(Clone, Debug)]
pub struct Form {
    compressed: bool,
    /// Of compressed chunks that are not sealed.
    compressed_suffix: Cow<'static, str>,
    key: Option<Arc<Key>>,
}

impl Default for Form {
    fn default() -> Self {
        Self { compressed: true, compressed_suffix: Cow::Borrowed(COMPRESSED_SUFFIX), key: None }
    }
}

impl Form {
    /// The same form, compressed or plain.
    pub fn with_compression(self, compressed: bool) -> Self {
        Self { compressed, ..self }
    }

    /// The same form, sealed with this key if there is one.
    pub fn with_key(self, key: Option<Key>) -> Self {
        Self { key: key.map(Arc::new), ..self }
    }

    /// The same form with another suffix of compressed chunks, such as `.xz` in old stores of
    /// casync.
    ///
    /// It is not used for sealed chunks: those are desync's, which knows one suffix only.
    pub fn with_compressed_suffix(self, suffix: &str) -> Result<Self> {
        if !suffix.starts_with('.') || suffix.contains(['/', '\0']) {
            let why = format!(
                "\"{suffix}\" is no suffix of compressed chunks: it must begin with a dot and have \
                 neither slash nor NUL"
            );
            return Err(Error::Settings { why });
        }
        Ok(Self { compressed_suffix: Cow::Owned(suffix.to_owned()), ..self })
    }

    /// Whether chunks are compressed in this form.
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Whether chunks are sealed in this form.
    pub fn is_sealed(&self) -> bool {
        self.key.is_some()
    }

    /// The coding of new chunks.
    pub fn coding(&self) -> WriteCoding {
        if self.compressed { WriteCoding::Zstd } else { WriteCoding::Plain }
    }

    /// How many bytes longer a chunk is in a store than its coding, in bytes: no file is a chunk
    /// that is not longer than this.
    pub fn overhead(&self) -> usize {
        self.key.as_ref().map_or(0, |key| key.overhead())
    }

    /// The path of a chunk inside its store, `1234/1234…cdef.cacnk`.
    pub fn path(&self, id: &ChunkId) -> String {
        self.path_of(id, self.compressed)
    }

    /// The two paths under which a chunk may lie, and whether it is compressed there; this form's
    /// own first.
    ///
    /// What is sealed and what is not do not stand in for each other, nor do two keys.
    pub fn paths(&self, id: &ChunkId) -> [(String, bool); 2] {
        [self.compressed, !self.compressed]
            .map(|compressed| (self.path_of(id, compressed), compressed))
    }

    fn path_of(&self, id: &ChunkId, compressed: bool) -> String {
        let hex = id.to_hex();
        let [first, second] = self.suffix(compressed);
        [&hex[..PREFIX_LEN], "/", &hex, first, second].concat()
    }

    /// The id in a chunk's file name, and whether the name says that it is compressed.
    ///
    /// Anything that is not exactly a name of a chunk in this form, or in its compressed or plain
    /// sister, is `None`: temporary files, strays, and chunks sealed with another key.
    pub fn parse(&self, file_name: &str) -> Option<(ChunkId, bool)> {
        [true, false].into_iter().find_map(|compressed| {
            let [first, second] = self.suffix(compressed);
            let hex = file_name.strip_suffix(second)?.strip_suffix(first)?;
            Some((hex.parse().ok()?, compressed))
        })
    }

    /// The suffix of a chunk's name: that of its compression, and that of its key.
    fn suffix(&self, compressed: bool) -> [&str; 2] {
        let key = self.key.as_ref().map_or("", |key| key.suffix());
        match (compressed, &self.key) {
            (false, _) => ["", key],
            (true, Some(_)) => [COMPRESSED_SUFFIX, key],
            (true, None) => [&self.compressed_suffix, key],
        }
    }

    /// The bytes to store for a chunk: compressed or unpacked if it comes otherwise, and sealed if
    /// there is a key.
    ///
    /// Who moves many chunks between a compressed and a plain store had better
    /// [recode](CodedChunk::recode) them first: here a coder is made for each.
    pub fn seal<'a>(&self, chunk: &'a CodedChunk) -> Result<Cow<'a, [u8]>> {
        let chunk = if chunk.coding().is_compressed() == self.compressed {
            Cow::Borrowed(chunk)
        } else {
            let (mut encoder, mut decoder) = (Encoder::new(DEFAULT_LEVEL), Decoder::new());
            chunk.recode(self.coding(), &mut encoder, &mut decoder, LARGEST_CHUNK)?
        };
        Ok(match (&self.key, chunk) {
            (Some(key), chunk) => Cow::Owned(key.seal(chunk.bytes())?),
            (None, Cow::Borrowed(chunk)) => Cow::Borrowed(chunk.bytes()),
            (None, Cow::Owned(chunk)) => Cow::Owned(chunk.into_bytes()),
        })
    }

    /// The chunk in what was found under one of [its names](Form::paths).
    pub fn unseal(&self, id: &ChunkId, compressed: bool, bytes: Vec<u8>) -> Result<CodedChunk> {
        let bytes = match &self.key {
            Some(key) => key.unseal(id, bytes)?,
            None => bytes,
        };
        match (compressed, bytes.is_empty()) {
            (true, _) => CodedChunk::from_compressed(*id, bytes),
            (false, false) => Ok(CodedChunk::new(*id, Coding::Plain, bytes)),
            (false, true) => {
                let why = "the file is empty".to_owned();
                Err(Error::BadCoding { id: *id, coding: Coding::Plain, why })
            }
        }
    }
}

/// The coding, and the cipher and key id behind it: `zstd.xchacha20-poly1305-50d64035`.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seal = self.key.as_ref().map_or("", |key| key.suffix());
        write!(f, "{}{seal}", Coding::from(self.coding()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Cipher;
    use crate::{Chunk, Digest};

    const HEX: &str = "abababababababababababababababababababababababababababababababab";

    fn id() -> ChunkId {
        HEX.parse().unwrap()
    }

    fn key(cipher: Cipher) -> Option<Key> {
        Some(Key::new(cipher, b"change this password to a secret").unwrap())
    }

    /// All forms, with the suffixes of their own and of the sister's names.
    fn forms() -> Vec<(Form, &'static str, &'static str)> {
        let (chacha, aes) = (Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm);
        let mut forms = Vec::new();
        for (key, packed, plain) in [
            (None, ".cacnk", ""),
            (key(chacha), ".cacnk.xchacha20-poly1305-50d64035", ".xchacha20-poly1305-50d64035"),
            (key(aes), ".cacnk.aes-256-gcm-50d64035", ".aes-256-gcm-50d64035"),
        ] {
            let form = Form::default().with_key(key);
            forms.push((form.clone(), packed, plain));
            forms.push((form.with_compression(false), plain, packed));
        }
        forms
    }

    #[test]
    fn every_form_has_the_names_of_desync() {
        for (form, own, sister) in forms() {
            let [own, sister] = [own, sister].map(|suffix| format!("abab/{HEX}{suffix}"));
            assert_eq!(form.path(&id()), own);
            let compressed = form.is_compressed();
            assert_eq!(form.paths(&id()), [(own, compressed), (sister, !compressed)]);
        }
    }

    #[test]
    fn a_form_knows_its_own_names_and_those_of_its_sister() {
        let forms = forms();
        for (form, own, sister) in &forms {
            let compressed = form.is_compressed();
            for (suffix, expected) in [(own, compressed), (sister, !compressed)] {
                assert_eq!(form.parse(&format!("{HEX}{suffix}")), Some((id(), expected)));
            }
            for (_, other, _) in forms.iter().filter(|(_, name, _)| name != own && name != sister) {
                assert_eq!(form.parse(&format!("{HEX}{other}")), None, "{form:?} {other}");
            }
        }
    }

    #[test]
    fn only_exact_names_parse() {
        for (form, own, _) in forms() {
            for stray in [
                String::new(),
                own.to_owned(),
                ".tmp-cacnk.17".to_owned(),
                format!("{HEX}.tmp"),
                format!("{HEX}{own}.1"),
                format!("{}{own}", &HEX[1..]),
                format!("{}{own}", HEX.to_uppercase()),
                format!("{HEX}.cacnk{own}.cacnk"),
                format!("{HEX}.xchacha20-poly1305-aed95766"),
            ] {
                assert_eq!(form.parse(&stray), None, "{form:?} {stray}");
            }
        }
    }

    #[test]
    fn another_suffix_replaces_that_of_compressed_chunks_alone() {
        let form = Form::default().with_compressed_suffix(".xz").unwrap();
        assert_eq!(form.path(&id()), format!("abab/{HEX}.xz"));
        assert_eq!(form.parse(&format!("{HEX}.xz")), Some((id(), true)));
        assert_eq!(form.parse(HEX), Some((id(), false)));
        assert_eq!(form.parse(&format!("{HEX}.cacnk")), None);
        assert_eq!(form.clone().with_compression(false).path(&id()), format!("abab/{HEX}"));
        let sealed = form.with_key(key(Cipher::Aes256Gcm));
        assert_eq!(sealed.path(&id()), format!("abab/{HEX}.cacnk.aes-256-gcm-50d64035"));
    }

    #[test]
    fn suffixes_that_lead_elsewhere_are_refused() {
        for bad in ["", "xz", "/", "./x", ".x/../y", ".\0", "\0."] {
            let error = Form::default().with_compressed_suffix(bad).unwrap_err().to_string();
            assert!(error.contains("must begin with a dot"), "{error}");
        }
    }

    #[test]
    fn chunks_come_back_from_every_form() {
        let chunk = Chunk::name(Digest::default(), b"some bytes".repeat(1000));
        let mut encoder = Encoder::new(DEFAULT_LEVEL);
        for coding in [WriteCoding::Zstd, WriteCoding::Plain] {
            let coded = encoder.encode(&chunk, coding);
            for (form, _, _) in forms() {
                let stored = form.seal(&coded).unwrap().into_owned();
                let back = form.unseal(&chunk.id(), form.is_compressed(), stored).unwrap();
                assert_eq!(back.coding(), form.coding().into());
                let opened = back.open(Digest::default(), &mut Decoder::new(), 10_000).unwrap();
                assert_eq!(opened, chunk);
                if coding == form.coding() {
                    assert_eq!(back, coded, "it was coded again");
                }
            }
        }
    }

    #[test]
    fn a_compressed_chunk_stays_as_it_came() {
        // Whatever the compression: casync tells them apart.
        let mut xz = vec![0xfd, b'7', b'z', b'X', b'Z', 0];
        xz.extend(b"not looked at");
        let coded = CodedChunk::from_compressed(id(), xz.clone()).unwrap();
        assert_eq!(&*Form::default().seal(&coded).unwrap(), xz);
        // To be plain it must be unpacked.
        assert!(Form::default().with_compression(false).seal(&coded).is_err());
    }

    #[test]
    fn nothing_is_no_chunk() {
        for (form, _, _) in forms() {
            let empty = CodedChunk::new(id(), form.coding().into(), Vec::new());
            let sealed = form.seal(&empty).unwrap().into_owned();
            assert_eq!(sealed.len(), form.overhead());
            for bytes in [sealed, Vec::new()] {
                assert!(form.unseal(&id(), form.is_compressed(), bytes).is_err());
            }
        }
    }
}
