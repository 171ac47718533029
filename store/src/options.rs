//! How a store is to be used: what users say, checked.

use cairn_formats::seal::{Cipher, Key};
use cairn_formats::{Error, Form, Result};

use crate::{Durability, RemoteOptions};

/// How a store is opened.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// The form in which it keeps its chunks.
    pub form: Form,
    /// When written chunks must have reached the disk.
    pub durability: Durability,
    /// Whether the ids of its chunks are believed without hashing their bytes.
    pub skip_verify: bool,
    /// How it is reached, if it is on another machine.
    pub remote: RemoteOptions,
}

/// How a cache is used.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// Whether what is damaged in the cache counts as missing and is replaced.
    pub repair: bool,
    /// What it may hold, in bytes. Then what was unused for longest is removed, whoever put it there.
    pub limit: Option<u64>,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { repair: true, limit: None }
    }
}

/// What a user says of the form of a store's chunks, in the words of desync's configuration. An
/// empty text says nothing.
///
/// The key is secret, so this cannot be shown.
#[derive(Clone, Copy, Default)]
pub struct FormOptions<'a> {
    /// Whether chunks are stored as they are instead of compressed.
    pub uncompressed: bool,
    /// Whether chunks are encrypted.
    pub encryption: bool,
    /// The name of the cipher, if not the usual one.
    pub encryption_algorithm: Option<&'a str>,
    /// The key in hex.
    pub encryption_key: Option<&'a str>,
}

impl FormOptions<'_> {
    /// The form that was asked for.
    ///
    /// Encryption is never guessed at: a key that is not to be used is an error, and so is the wish
    /// to encrypt without one. The error tells nothing of the key.
    pub fn form(&self) -> Result<Form> {
        let said = |text: Option<&'_ str>| text.is_some_and(|text| !text.is_empty());
        let key = match (self.encryption, self.encryption_key.filter(|key| !key.is_empty())) {
            (true, Some(key)) => Some(Key::from_hex(self.cipher()?, key)?),
            (true, None) => return Err(bad("no encryption key configured")),
            (false, None) if !said(self.encryption_algorithm) => None,
            (false, _) => {
                return Err(bad("encryption-key or encryption-algorithm configured without \
                     setting encryption to true"));
            }
        };
        Ok(Form::default().with_compression(!self.uncompressed).with_key(key))
    }

    fn cipher(&self) -> Result<Cipher> {
        match self.encryption_algorithm {
            None | Some("") => Ok(Cipher::default()),
            Some(name) => name.parse(),
        }
    }
}

fn bad(why: &str) -> Error {
    Error::Settings { why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "6368616e676520746869732070617373776f726420746f206120736563726574";

    fn options<'a>(
        encryption: bool,
        algorithm: Option<&'a str>,
        key: Option<&'a str>,
    ) -> FormOptions<'a> {
        let (encryption_algorithm, encryption_key) = (algorithm, key);
        FormOptions { uncompressed: false, encryption, encryption_algorithm, encryption_key }
    }

    #[test]
    fn wishes_become_a_form() {
        let id = cairn_formats::ChunkId::from_bytes([0; 32]);
        for (options, suffix) in [
            (FormOptions::default(), ".cacnk"),
            (options(false, Some(""), Some("")), ".cacnk"),
            (options(true, None, Some(KEY)), ".cacnk.xchacha20-poly1305-50d64035"),
            (options(true, Some(""), Some(KEY)), ".cacnk.xchacha20-poly1305-50d64035"),
            (options(true, Some("aes-256-gcm"), Some(KEY)), ".cacnk.aes-256-gcm-50d64035"),
        ] {
            for uncompressed in [false, true] {
                let form = FormOptions { uncompressed, ..options }.form().unwrap();
                let suffix = if uncompressed { &suffix[".cacnk".len()..] } else { suffix };
                assert_eq!(form.path(&id), format!("0000/{id}{suffix}"));
                assert_eq!(form.is_compressed(), !uncompressed);
            }
        }
    }

    #[test]
    fn half_wishes_are_refused_as_desync_does() {
        let unused = "encryption-key or encryption-algorithm configured without setting encryption \
                      to true";
        for (options, expected) in [
            (options(false, None, Some(KEY)), unused),
            (options(false, Some("aes-256-gcm"), None), unused),
            (options(false, Some("rot13"), Some("x")), unused),
            (options(true, None, None), "no encryption key configured"),
            (options(true, Some("aes-256-gcm"), Some("")), "no encryption key configured"),
            (options(true, None, Some("aabb")), "encryption key must be 32 bytes, got 2"),
            (options(true, Some("rot13"), Some(KEY)), "unsupported encryption algorithm \"rot13\""),
            (options(true, None, Some("secret")), "invalid encryption key, expected hex-encoded"),
        ] {
            let error = options.form().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("secret") && !error.contains(KEY));
        }
    }
}
