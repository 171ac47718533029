//! Chunks that only who has the key can read, as desync keeps them.
//!
//! ```text
//! sealed = nonce (24 or 12 random bytes) || ciphertext || tag (16 bytes)
//! ```
//! There is no header, no associated data, and the 32 bytes of the key are used as they are. What is
//! sealed is the chunk as it would lie in a store without key, compressed or plain. The seal is not
//! bound to the chunk's id: that another chunk was put in its place is found when the id is checked.

use std::fmt;
use std::str::FromStr;

use aes_gcm::Aes256Gcm;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{AeadCore, AeadInOut, KeyInit, Nonce, Tag, array::typenum::Unsigned};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{ChunkId, Error, Result};

/// The length of a key in bytes, with every cipher.
const KEY_LEN: usize = 32;

/// The length of the tag that proves a sealed chunk genuine, in bytes, with every cipher.
const TAG_LEN: usize = 16;

/// How chunks are sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// XChaCha20-Poly1305, whose nonces are long enough to be picked at random for ever.
    #[default]
    XChaCha20Poly1305,
    /// AES-256-GCM, faster where the processor knows AES. Its nonces have 96 bits, so a key should
    /// not seal more than 2^32 chunks.
    Aes256Gcm,
}

impl Cipher {
    const ALL: [Self; 2] = [Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm];

    /// The length of the random bytes before the ciphertext.
    fn nonce_len(self) -> usize {
        match self {
            Cipher::XChaCha20Poly1305 => nonce_len::<XChaCha20Poly1305>(),
            Cipher::Aes256Gcm => nonce_len::<Aes256Gcm>(),
        }
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cipher::XChaCha20Poly1305 => "xchacha20-poly1305",
            Cipher::Aes256Gcm => "aes-256-gcm",
        })
    }
}

impl FromStr for Cipher {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|cipher| cipher.to_string() == name).ok_or_else(|| {
            let known = Self::ALL.map(|cipher| cipher.to_string()).join(" and ");
            bad_settings(format!("unsupported encryption algorithm \"{name}\" (known: {known})"))
        })
    }
}

/// A key with the cipher it is used for.
///
/// Its bytes appear in no message and are wiped when it is dropped. What is shown is the key's id,
/// which stands in file names too.
pub struct Key {
    cipher: Cipher,
    /// In memory of its own, so that moving the key leaves no copy behind.
    bytes: Box<Zeroizing<[u8; KEY_LEN]>>,
    suffix: String,
}

impl Key {
    /// A key of these 32 bytes.
    pub fn new(cipher: Cipher, bytes: &[u8]) -> Result<Self> {
        if bytes.len() != KEY_LEN {
            let got = bytes.len();
            return Err(bad_settings(format!("encryption key must be {KEY_LEN} bytes, got {got}")));
        }
        let mut key = Box::new(Zeroizing::new([0; KEY_LEN]));
        key.copy_from_slice(bytes);
        let mut suffix = format!(".{cipher}-");
        for byte in &Sha256::digest(bytes)[..4] {
            suffix.push_str(&format!("{byte:02x}"));
        }
        Ok(Self { cipher, bytes: key, suffix })
    }

    /// A key written as 64 hex digits of either case.
    pub fn from_hex(cipher: Cipher, hex: &str) -> Result<Self> {
        // The digits are secret: only their number and places may be told.
        let bad = |why: String| {
            bad_settings(format!("invalid encryption key, expected hex-encoded 256-bit key: {why}"))
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(hex.len() / 2));
        let digit = |at: usize, byte: u8| {
            let digit = char::from(byte).to_digit(16);
            digit.ok_or_else(|| bad(format!("no hex digit at position {}", at + 1)))
        };
        for (n, pair) in hex.as_bytes().chunks(2).enumerate() {
            let high = digit(2 * n, pair[0])?;
            let low = pair.get(1).ok_or_else(|| bad("odd number of digits".to_owned()))?;
            bytes.push((high << 4 | digit(2 * n + 1, *low)?) as u8);
        }
        Self::new(cipher, &bytes)
    }

    /// What the names of chunks sealed with this key end in: `.<cipher>-<key id>`.
    ///
    /// The key id is the first 4 bytes of the key's SHA-256, in hex.
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// How many bytes longer a sealed chunk is.
    pub fn overhead(&self) -> usize {
        self.cipher.nonce_len() + TAG_LEN
    }

    /// Seals the stored bytes of a chunk with a fresh nonce. Fails only where the system has no
    /// random bytes.
    pub fn seal(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        match self.cipher {
            Cipher::XChaCha20Poly1305 => seal(&self.aead::<XChaCha20Poly1305>(), bytes),
            Cipher::Aes256Gcm => seal(&self.aead::<Aes256Gcm>(), bytes),
        }
    }

    /// The stored bytes of a chunk out of what [`Key::seal`] made of them. `id` is for messages.
    pub fn unseal(&self, id: &ChunkId, sealed: Vec<u8>) -> Result<Vec<u8>> {
        let opened = match self.cipher {
            Cipher::XChaCha20Poly1305 => unseal(&self.aead::<XChaCha20Poly1305>(), sealed),
            Cipher::Aes256Gcm => unseal(&self.aead::<Aes256Gcm>(), sealed),
        };
        opened.map_err(|why| Error::BadSeal { id: *id, cipher: self.cipher, why })
    }

    /// Made anew each time, which costs little beside a chunk: so the key lies in one place only.
    fn aead<A: KeyInit>(&self) -> A {
        A::new_from_slice(&self.bytes[..]).expect("every cipher takes 32 bytes")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.suffix)
    }
}

fn bad_settings(why: String) -> Error {
    Error::Settings { why }
}

fn nonce_len<A: AeadCore>() -> usize {
    A::NonceSize::USIZE
}

fn seal<A: AeadInOut>(aead: &A, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = Nonce::<A>::default();
    getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
    let mut sealed = Vec::with_capacity(nonce.len() + bytes.len() + TAG_LEN);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(bytes);
    let text = &mut sealed[nonce.len()..];
    let tag = aead.encrypt_inout_detached(&nonce, &[], text.into());
    sealed.extend_from_slice(&tag.expect("a chunk is shorter than what a nonce is good for"));
    Ok(sealed)
}

/// Opens in place. The error says what is wrong.
fn unseal<A: AeadInOut>(
    aead: &A,
    mut sealed: Vec<u8>,
) -> std::result::Result<Vec<u8>, &'static str> {
    const SHORT: &str = "no nonce prefix found: it is not encrypted, or with another algorithm";
    let (nonce, rest) = sealed.split_at_mut_checked(nonce_len::<A>()).ok_or(SHORT)?;
    let text_len = rest.len().checked_sub(TAG_LEN).ok_or("it is cut short")?;
    let (text, tag) = rest.split_at_mut(text_len);
    let nonce = <&Nonce<A>>::try_from(&*nonce).map_err(|_| SHORT)?;
    let tag = <&Tag<A>>::try_from(&*tag).map_err(|_| SHORT)?;
    aead.decrypt_inout_detached(nonce, &[], text.into(), tag)
        .map_err(|_| "authentication failed: it is damaged, or encrypted with another key")?;
    sealed.truncate(nonce_len::<A>() + text_len);
    sealed.drain(..nonce_len::<A>());
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example keys of desync's documentation.
    const KEYS: [(&str, &str); 2] = [
        ("6368616e676520746869732070617373776f726420746f206120736563726574", "50d64035"),
        ("746f74616c6c7920646966666572656e74206b65792075736564206865726521", "aed95766"),
    ];

    fn key(cipher: Cipher) -> Key {
        Key::from_hex(cipher, KEYS[0].0).unwrap()
    }

    fn id() -> ChunkId {
        ChunkId::from_bytes([7; 32])
    }

    #[test]
    fn suffixes_are_those_of_desync() {
        for (hex, key_id) in KEYS {
            for (cipher, name) in
                [(Cipher::default(), "xchacha20-poly1305"), (Cipher::Aes256Gcm, "aes-256-gcm")]
            {
                let key = Key::from_hex(cipher, &hex.to_uppercase()).unwrap();
                assert_eq!(key.suffix(), format!(".{name}-{key_id}"));
                assert_eq!(name.parse::<Cipher>().unwrap(), cipher);
            }
        }
    }

    #[test]
    fn other_ciphers_are_refused_by_name() {
        for name in ["", "rot13", "AES-256-GCM", "aes-256-gcm "] {
            let error = name.parse::<Cipher>().unwrap_err().to_string();
            let expected = format!(
                "unsupported encryption algorithm \"{name}\" \
                 (known: xchacha20-poly1305 and aes-256-gcm)"
            );
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn bad_keys_are_refused_without_being_told() {
        let good = KEYS[0].0;
        let bad_hex = "invalid encryption key, expected hex-encoded 256-bit key: ";
        for (hex, expected) in [
            (String::new(), "encryption key must be 32 bytes, got 0".to_owned()),
            (good[2..].to_owned(), "encryption key must be 32 bytes, got 31".to_owned()),
            (good.repeat(2), "encryption key must be 32 bytes, got 64".to_owned()),
            (good[1..].to_owned(), format!("{bad_hex}odd number of digits")),
            (good.replacen('e', "x", 1), format!("{bad_hex}no hex digit at position 8")),
            (format!("{good}é"), format!("{bad_hex}no hex digit at position 65")),
        ] {
            let error = Key::from_hex(Cipher::default(), &hex).unwrap_err().to_string();
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_key_does_not_show_its_bytes() {
        let shown = format!("{:?}", key(Cipher::Aes256Gcm));
        assert_eq!(shown, "Key(.aes-256-gcm-50d64035)");
    }

    #[test]
    fn no_nonce_is_used_twice() {
        for cipher in Cipher::ALL {
            let key = key(cipher);
            let (one, other) = (key.seal(b"same").unwrap(), key.seal(b"same").unwrap());
            assert_ne!(one[..cipher.nonce_len()], other[..cipher.nonce_len()]);
            assert_ne!(one[cipher.nonce_len()..], other[cipher.nonce_len()..]);
        }
    }

    #[test]
    fn errors_tell_what_is_wrong() {
        for cipher in Cipher::ALL {
            let sealed = key(cipher).seal(b"some bytes").unwrap();
            let why = |len: usize| {
                let error = key(cipher).unseal(&id(), sealed[..len].to_vec()).unwrap_err();
                let (start, why) =
                    (format!("chunk {}: not decrypted with {cipher}: ", id()), error);
                why.to_string().strip_prefix(&start).unwrap().to_owned()
            };
            assert!(why(0).starts_with("no nonce prefix found"));
            assert!(why(cipher.nonce_len() - 1).starts_with("no nonce prefix found"));
            assert_eq!(why(cipher.nonce_len()), "it is cut short");
            assert_eq!(why(key(cipher).overhead() - 1), "it is cut short");
            assert!(why(key(cipher).overhead()).starts_with("authentication failed"));
            assert!(why(sealed.len() - 1).starts_with("authentication failed"));
        }
    }

    #[test]
    fn another_key_opens_nothing() {
        for cipher in Cipher::ALL {
            let sealed = key(cipher).seal(b"some bytes").unwrap();
            let other = Key::from_hex(cipher, KEYS[1].0).unwrap();
            assert!(other.unseal(&id(), sealed.clone()).is_err());
            for other in Cipher::ALL.into_iter().filter(|&other| other != cipher) {
                assert!(key(other).unseal(&id(), sealed.clone()).is_err());
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_comes_back(bytes: Vec<u8>, aes: bool) {
            let key = key(Cipher::ALL[usize::from(aes)]);
            let sealed = key.seal(&bytes).unwrap();
            prop_assert_eq!(sealed.len(), bytes.len() + key.overhead());
            prop_assert_eq!(key.unseal(&id(), sealed).unwrap(), bytes);
        }

        #[test]
        fn no_bit_can_be_turned(bytes: Vec<u8>, aes: bool, at: prop::sample::Index, bit in 0..8_u8) {
            let key = key(Cipher::ALL[usize::from(aes)]);
            let mut sealed = key.seal(&bytes).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(key.unseal(&id(), sealed).is_err());
        }
    }
}
