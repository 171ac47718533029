//! Every store does what a store must do.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::cell::Cell;

use cairn_formats::Coding;
use cairn_store::testing::conformance;
use cairn_store::{Durability, LocalOptions, LocalStore, MemoryStore};

#[test]
fn memory_stores_conform() {
    for coding in [Coding::Zstd, Coding::Plain] {
        conformance::all(|| MemoryStore::new(coding));
    }
}

#[test]
fn local_stores_conform() {
    let directory = tempfile::tempdir().unwrap();
    let number = Cell::new(0);
    for coding in [Coding::Zstd, Coding::Plain] {
        for durability in [Durability::None, Durability::Batch, Durability::Each] {
            conformance::all(|| {
                number.set(number.get() + 1);
                let path = directory.path().join(number.get().to_string());
                LocalStore::create(&path, LocalOptions { coding, durability }).unwrap()
            });
        }
    }
}
