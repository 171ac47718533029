//! Every store does what a store must do.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::cell::Cell;

use cairn_formats::seal::{Cipher, Key};
use cairn_formats::{Form, WriteCoding};
use cairn_store::testing::conformance;
use cairn_store::{Durability, LocalOptions, LocalStore, MemoryStore};

#[test]
fn memory_stores_conform() {
    for coding in [WriteCoding::Zstd, WriteCoding::Plain] {
        conformance::all(|| MemoryStore::new(coding));
    }
}

/// Runs the suite over fresh directories.
fn local_stores_conform(options: &LocalOptions) {
    let directory = tempfile::tempdir().unwrap();
    let number = Cell::new(0);
    conformance::all(|| {
        number.set(number.get() + 1);
        let path = directory.path().join(number.get().to_string());
        LocalStore::create(&path, options.clone()).unwrap()
    });
}

#[test]
fn local_stores_of_any_durability_conform() {
    for compressed in [true, false] {
        for durability in [Durability::None, Durability::Batch, Durability::Each] {
            let form = Form::default().with_compression(compressed);
            local_stores_conform(&LocalOptions { form, durability, ..LocalOptions::default() });
        }
    }
}

#[test]
fn local_stores_of_encrypted_chunks_conform() {
    for compressed in [true, false] {
        for cipher in [Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm] {
            let key = Key::new(cipher, &[7; 32]).unwrap();
            let form = Form::default().with_compression(compressed).with_key(Some(key));
            local_stores_conform(&LocalOptions { form, ..LocalOptions::default() });
        }
    }
}

#[test]
fn local_stores_with_another_suffix_conform() {
    let form = Form::default().with_compressed_suffix(".xz").unwrap();
    local_stores_conform(&LocalOptions { form, ..LocalOptions::default() });
}
