//! Every store does what a store must do. A new one is a constructor and a line in this list.
//!
//! ```text
//! name: all(constructor)         read, written, listed and pruned
//! name: writable(constructor)    read and written
//! ```
//! What can only be read is paired with another way to write to the same place. What is made of stores
//! is made of stores in memory here.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../common/mod.rs"]
mod common;
mod places;
mod spread;

use std::time::Duration;

use cairn_formats::seal::Cipher;
use cairn_formats::{Form, WriteCoding};
use cairn_store::combine::{Cache, Rate, RateLimited, Retrying, Router, SingleFlight};
use cairn_store::testing::{Pair, conformance, far_memory};
use cairn_store::{Durability, MemoryStore, Retry, Stop, StoreOptions};

use common::azurite::{Azurite, KEY};
use common::desync_is_here;
use common::environment::with_environment;
use common::moto::Moto;
use places::{
    CAIRN, at_sftp, at_ssh, behind_desync, behind_nginx, directory, in_bucket, in_container,
    in_google_bucket, in_registry, lru, mirrored_directories, read_at_ssh, sealed, served,
};
use spread::{Side, Spread, shared};

/// A test of each name, which runs the suite over fresh stores.
macro_rules! conform {
    ($($name:ident: $suite:ident($fresh:expr);)*) => {
        $(
            #[test]
            fn $name() {
                conformance::$suite($fresh);
            }
        )*
    };
}

// On this machine.
conform! {
    memory: all(|| MemoryStore::new(WriteCoding::Zstd));
    memory_of_plain_chunks: all(|| MemoryStore::new(WriteCoding::Plain));
    directories: all(directory(Form::default(), Durability::None));
    directories_flushed_in_the_end: all(directory(Form::default(), Durability::Batch));
    directories_flushed_each_time: all(directory(Form::default(), Durability::Each));
    directories_of_plain_chunks: all(directory(plain(), Durability::None));
    directories_of_plain_chunks_flushed_in_the_end: all(directory(plain(), Durability::Batch));
    directories_of_plain_chunks_flushed_each_time: all(directory(plain(), Durability::Each));
    directories_with_another_suffix: all(directory(suffixed(), Durability::None));
    directories_sealed_by_xchacha: all(
        directory(sealed(Form::default(), Cipher::XChaCha20Poly1305), Durability::None)
    );
    directories_sealed_by_aes: all(
        directory(sealed(Form::default(), Cipher::Aes256Gcm), Durability::None)
    );
    directories_of_plain_chunks_sealed_by_xchacha: all(
        directory(sealed(plain(), Cipher::XChaCha20Poly1305), Durability::None)
    );
    directories_of_plain_chunks_sealed_by_aes: all(
        directory(sealed(plain(), Cipher::Aes256Gcm), Durability::None)
    );
    directories_of_limited_size: all(lru());
}

// Far away.
conform! {
    what_all_backends_share: all(|| far_memory(Duration::ZERO, &StoreOptions::default()));
    what_all_backends_share_of_plain_chunks: all(
        || far_memory(Duration::ZERO, &StoreOptions { form: plain(), ..StoreOptions::default() })
    );
    http: writable(served(Form::default()));
    http_of_plain_chunks: writable(served(plain()));
    ssh_with_casync_there: writable(at_ssh("casync"));
    ssh_with_cairn_there: writable(at_ssh(CAIRN));
    ssh_read_with_casync_there: writable(read_at_ssh("casync"));
    ssh_read_with_cairn_there: writable(read_at_ssh(CAIRN));
    http_by_nginx: writable(behind_nginx(Form::default()));
    http_by_nginx_of_plain_chunks: writable(behind_nginx(plain()));
    sftp: all(at_sftp(Form::default()));
    sftp_of_plain_sealed_chunks: all(at_sftp(sealed(plain(), Cipher::Aes256Gcm)));
    s3: all(in_bucket(Form::default()));
    s3_of_plain_chunks: all(in_bucket(plain()));
    s3_of_sealed_chunks: all(in_bucket(sealed(Form::default(), Cipher::XChaCha20Poly1305)));
    oci: all(in_registry(Form::default()));
    oci_of_plain_sealed_chunks: all(in_registry(sealed(plain(), Cipher::Aes256Gcm)));
}

#[test]
fn ssh_read_with_desync_there() {
    if desync_is_here("ssh_read_with_desync_there") {
        conformance::writable(read_at_ssh("desync"));
    }
}

#[test]
fn google() {
    let server = Moto::start();
    with_environment("google", &[("STORAGE_EMULATOR_HOST", server.url())], || {
        conformance::all(in_google_bucket(Form::default()));
    });
}

#[test]
fn azure() {
    let Some(server) = Azurite::start("azure") else { return };
    let variables = [("AZURE_STORAGE_ACCOUNT_KEY", KEY), ("PLACE", server.url())];
    with_environment("azure", &variables, || {
        let place = std::env::var("PLACE").unwrap();
        conformance::all(in_container(&place, Form::default()));
    });
}

#[test]
fn http_by_desync() {
    if desync_is_here("http_by_desync") {
        conformance::writable(behind_desync());
    }
}

// Made of stores.
conform! {
    caches: all(|| cached(Side::Near, WriteCoding::Zstd));
    caches_over_a_source: all(|| cached(Side::Far, WriteCoding::Zstd));
    caches_with_a_part_of_their_source: all(|| cached(Side::Either, WriteCoding::Zstd));
    caches_of_plain_chunks: all(|| cached(Side::Near, WriteCoding::Plain));
    caches_over_a_source_of_plain_chunks: all(|| cached(Side::Far, WriteCoding::Plain));
    caches_with_a_part_of_plain_chunks: all(|| cached(Side::Either, WriteCoding::Plain));
    chains_with_all_in_the_first: all(|| chain(Side::Near));
    chains_with_all_in_the_last: all(|| chain(Side::Far));
    chains_with_some_in_each: all(|| chain(Side::Either));
    mirrors: writable(|| Router::new(vec![MemoryStore::default(), MemoryStore::default()]));
    mirrors_by_their_locations: writable(mirrored_directories());
    asked_again: all(|| Retrying::new(MemoryStore::default(), Retry::default(), Stop::default()));
    at_a_limited_rate: all(|| {
        RateLimited::new(MemoryStore::default(), Rate::new(1 << 30), Stop::default())
    });
    asked_once_at_a_time: all(|| {
        let writer = shared(WriteCoding::Zstd);
        Pair { reader: SingleFlight::new(writer), writer }
    });
    as_a_store_far_away_is_used: all(|| {
        let store = far_memory(Duration::ZERO, &StoreOptions::default());
        let store = RateLimited::new(store, Rate::new(1 << 30), Stop::default());
        Retrying::new(store, Retry::default(), Stop::default())
    });
}

fn cached(side: Side, coding: WriteCoding) -> Spread {
    Spread::new(side, coding, |near, far| Cache::new(near, far, true))
}

fn chain(side: Side) -> Spread {
    Spread::new(side, WriteCoding::Zstd, |near, far| Router::new(vec![near, far]))
}

fn plain() -> Form {
    Form::default().with_compression(false)
}

fn suffixed() -> Form {
    Form::default().with_compressed_suffix(".xz").unwrap()
}
