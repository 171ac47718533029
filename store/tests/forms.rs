//! Several forms in one directory, and sealed chunks that are not what they should be.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::fs;
use std::path::{Path, PathBuf};

use cairn_formats::coding::{DEFAULT_LEVEL, Decoder, Encoder};
use cairn_formats::seal::{Cipher, Key};
use cairn_formats::{Chunk, ChunkId, CodedChunk, Digest, Error as FormatError, Form, WriteCoding};
use cairn_store::{Error, LocalOptions, LocalStore, PruneStore, Result, Store, Stored, WriteStore};

const CIPHERS: [Cipher; 2] = [Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm];

/// A form sealed with the key of 32 equal bytes.
fn sealed(cipher: Cipher, byte: u8, compressed: bool) -> Form {
    let key = Key::new(cipher, &[byte; 32]).unwrap();
    Form::default().with_compression(compressed).with_key(Some(key))
}

/// Every form there is, and one of another key.
fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    for compressed in [true, false] {
        forms.push(Form::default().with_compression(compressed));
        forms.extend(CIPHERS.map(|cipher| sealed(cipher, 7, compressed)));
        forms.push(sealed(CIPHERS[0], 8, compressed));
    }
    forms
}

fn store(directory: &Path, form: &Form) -> LocalStore {
    let options = LocalOptions { form: form.clone(), ..LocalOptions::default() };
    LocalStore::create(directory, options).unwrap()
}

fn coded(data: &[u8], form: &Form) -> CodedChunk {
    let chunk = Chunk::name(Digest::default(), data.repeat(100));
    Encoder::new(DEFAULT_LEVEL).encode(&chunk, form.coding())
}

fn listed(store: &LocalStore) -> Vec<ChunkId> {
    let mut ids = Vec::new();
    let mut each = |found, _| {
        match found {
            Stored::Chunk(id) => ids.push(id),
            Stored::Leftover(path) => panic!("{}", path.display()),
        }
        Ok(())
    };
    store.list(&mut each).unwrap();
    ids
}

/// A store of one form with one chunk, and the chunk's file.
struct OneChunk {
    directory: tempfile::TempDir,
    form: Form,
    chunk: CodedChunk,
}

impl OneChunk {
    fn new(form: Form) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let chunk = coded(b"a chunk ", &form);
        store(directory.path(), &form).put(&chunk).unwrap();
        Self { directory, form, chunk }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join(self.form.path(&self.chunk.id()))
    }

    fn store(&self) -> LocalStore {
        store(self.directory.path(), &self.form)
    }

    /// Puts these bytes into the chunk's file and reads.
    fn with(&self, bytes: &[u8]) -> Result<Option<CodedChunk>> {
        fs::write(self.file(), bytes).unwrap();
        self.store().get(&self.chunk.id())
    }

    /// Checks that these bytes in the chunk's file are an error that names it and says why.
    #[track_caller]
    fn refuses(&self, bytes: &[u8], why: &str) {
        let error = self.with(bytes).unwrap_err();
        let text = error.to_string();
        for part in [self.file().to_str().unwrap(), why] {
            assert!(text.contains(part), "{text}");
        }
        assert!(matches!(error, Error::Invalid { .. }), "{text}");
    }
}

fn sealed_stores() -> impl Iterator<Item = OneChunk> {
    let forms = [true, false].map(|compressed| CIPHERS.map(|c| sealed(c, 7, compressed)));
    forms.into_iter().flatten().map(OneChunk::new)
}

#[test]
fn a_form_is_put_listed_and_removed_for_itself() {
    let directory = tempfile::tempdir().unwrap();
    let forms = forms();
    let stores: Vec<LocalStore> = forms.iter().map(|form| store(directory.path(), form)).collect();
    let data: Vec<Vec<u8>> = (0..forms.len()).map(|n| format!("chunk {n} ").into_bytes()).collect();
    // All have the first chunk, and each one of its own.
    for ((store, form), data) in stores.iter().zip(&forms).zip(&data) {
        store.put(&coded(b"common ", form)).unwrap();
        store.put(&coded(data, form)).unwrap();
    }
    let common = coded(b"common ", &forms[0]).id();
    for (number, (store, form)) in stores.iter().zip(&forms).enumerate() {
        let own = coded(&data[number], form).id();
        let mut expected = [common, own];
        expected.sort();
        let mut found = listed(store);
        found.sort();
        assert_eq!(found, expected);
        store.remove(&Stored::Chunk(common)).unwrap();
        assert_eq!(listed(store), [own]);
        assert!(!store.has(&common).unwrap());
        for others in &stores[number + 1..] {
            assert!(others.has(&common).unwrap());
        }
    }
}

#[test]
fn a_store_reads_its_form_and_its_sister_alone() {
    for form in forms() {
        let stored = OneChunk::new(form);
        for other in forms() {
            let found = store(stored.directory.path(), &other).get(&stored.chunk.id()).unwrap();
            let own = stored.form.path(&stored.chunk.id());
            let is_known = other.paths(&stored.chunk.id()).iter().any(|(path, _)| *path == own);
            assert_eq!(found.is_some(), is_known, "{other:?} reads {:?}", stored.form);
            if let Some(found) = found {
                assert_eq!(found, stored.chunk);
            }
        }
    }
}

#[test]
fn a_chunk_moves_between_keys_without_being_coded_again() {
    for compressed in [true, false] {
        let mut chunk = coded(b"moves ", &Form::default().with_compression(compressed));
        let first = chunk.clone();
        for form in forms().into_iter().filter(|form| form.is_compressed() == compressed) {
            let directory = tempfile::tempdir().unwrap();
            let store = store(directory.path(), &form);
            store.put(&chunk).unwrap();
            chunk = store.fetch(&first.id()).unwrap();
        }
        assert_eq!(chunk, first);
    }
}

#[test]
fn a_chunk_is_stored_in_the_own_form_whatever_it_comes_in() {
    for form in forms() {
        for coding in [WriteCoding::Zstd, WriteCoding::Plain] {
            let directory = tempfile::tempdir().unwrap();
            let store = store(directory.path(), &form);
            let chunk = Chunk::name(Digest::default(), b"comes ".repeat(100));
            store.put(&Encoder::new(DEFAULT_LEVEL).encode(&chunk, coding)).unwrap();
            assert!(directory.path().join(form.path(&chunk.id())).is_file());
            let back = store.fetch(&chunk.id()).unwrap();
            assert_eq!(back.coding(), form.coding().into());
            assert_eq!(back.open(Digest::default(), &mut Decoder::new(), 600).unwrap(), chunk);
        }
    }
}

#[test]
fn nothing_of_the_chunk_can_be_seen_in_a_sealed_file() {
    for stored in sealed_stores() {
        let file = fs::read(stored.file()).unwrap();
        let secret = &stored.chunk.bytes()[..8];
        assert!(!file.windows(secret.len()).any(|window| window == secret));
        assert_eq!(file.len(), stored.chunk.bytes().len() + stored.form.overhead());
    }
}

#[test]
fn a_file_renamed_to_another_key_is_not_believed() {
    for stored in sealed_stores() {
        for other in forms().into_iter().filter(Form::is_sealed) {
            if other.path(&stored.chunk.id()) == stored.form.path(&stored.chunk.id())
                || other.is_compressed() != stored.form.is_compressed()
            {
                continue;
            }
            let theirs = OneChunk::new(other);
            theirs.refuses(&fs::read(stored.file()).unwrap(), "another key");
        }
    }
}

#[test]
fn a_short_file_is_not_believed() {
    for stored in sealed_stores() {
        let good = fs::read(stored.file()).unwrap();
        for len in 0..good.len() {
            stored.refuses(&good[..len], "not decrypted");
            // What has no room for a single byte does not even count as being there.
            let is_there = stored.store().has(&stored.chunk.id()).unwrap();
            assert_eq!(is_there, len > stored.form.overhead());
        }
        stored.refuses(&[], "no nonce prefix");
        assert_eq!(stored.with(&good).unwrap().as_ref(), Some(&stored.chunk));
    }
}

#[test]
fn a_turned_bit_is_found_wherever_it_is() {
    for stored in sealed_stores() {
        let mut bytes = fs::read(stored.file()).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1 << (at % 8);
            stored.refuses(&bytes, "authentication failed");
            bytes[at] ^= 1 << (at % 8);
        }
        bytes.push(0);
        stored.refuses(&bytes, "authentication failed");
    }
}

#[test]
fn a_plain_file_by_a_sealed_name_is_not_believed() {
    for stored in sealed_stores() {
        stored.refuses(stored.chunk.bytes(), "not decrypted");
    }
}

/// The seal holds, but it is not bound to the id.
#[test]
fn another_chunk_by_the_name_is_found_by_its_id() {
    for stored in sealed_stores() {
        let other = coded(b"another ", &stored.form);
        stored.store().put(&other).unwrap();
        let other = fs::read(stored.directory.path().join(stored.form.path(&other.id()))).unwrap();
        let found = stored.with(&other).unwrap().unwrap();
        let opened = found.open(Digest::default(), &mut Decoder::new(), 1 << 20);
        assert!(matches!(opened, Err(FormatError::WrongId { id, .. }) if id == stored.chunk.id()));
    }
}

#[test]
fn a_damaged_copy_does_not_hide_the_sister() {
    for cipher in CIPHERS {
        let stored = OneChunk::new(sealed(cipher, 7, true));
        let plain = stored.form.clone().with_compression(false);
        store(stored.directory.path(), &plain).put(&stored.chunk).unwrap();
        stored.refuses(b"damaged", "no nonce prefix");
        let another = stored.store().another(&stored.chunk.id(), 1).unwrap().unwrap();
        let opened = another.open(Digest::default(), &mut Decoder::new(), 1 << 20).unwrap();
        assert_eq!(opened.id(), stored.chunk.id());
        assert_eq!(stored.store().another(&stored.chunk.id(), 2).unwrap(), None);
    }
}

#[test]
fn only_a_trusted_store_is_believed_without_a_look() {
    let directory = tempfile::tempdir().unwrap();
    let form = Form::default().with_compression(false);
    let (chunk, other) = (coded(b"a chunk ", &form), coded(b"another ", &form));
    store(directory.path(), &form).put(&chunk).unwrap();
    fs::write(directory.path().join(form.path(&chunk.id())), other.bytes()).unwrap();
    for skip_verify in [false, true] {
        let options = LocalOptions { skip_verify, ..LocalOptions::default() };
        let store = LocalStore::open(directory.path(), options).unwrap();
        let found = store.fetch(&chunk.id()).unwrap();
        assert_eq!(found.is_trusted(), skip_verify);
        let opened = found.open(Digest::default(), &mut Decoder::new(), 1 << 20);
        assert_eq!(opened.is_ok(), skip_verify);
        // What is coded anew is as much of a claim as it was.
        let (mut encoder, mut decoder) = (Encoder::new(DEFAULT_LEVEL), Decoder::new());
        let recoded = found.recode(WriteCoding::Zstd, &mut encoder, &mut decoder, 1 << 20);
        assert_eq!(recoded.unwrap().is_trusted(), skip_verify);
    }
}
