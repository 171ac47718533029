//! How fast are stored chunks encrypted and decrypted? `cargo bench --bench seal`

mod common;

use cairn_formats::ChunkId;
use cairn_formats::seal::{Cipher, Key};
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

/// A chunk of 64 KiB after compression.
const CHUNK: usize = 24 << 10;
const CIPHERS: [Cipher; 2] = [Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm];

fn key(cipher: Cipher) -> Key {
    Key::new(cipher, &[7; 32]).expect("a key has 32 bytes")
}

#[divan::bench(args = CIPHERS)]
fn seal(bencher: Bencher<'_, '_>, cipher: Cipher) {
    let (key, chunk) = (key(cipher), common::noise(CHUNK));
    bencher
        .counter(BytesCount::new(CHUNK))
        .bench_local(|| key.seal(&chunk).expect("there are random bytes"));
}

#[divan::bench(args = CIPHERS)]
fn unseal(bencher: Bencher<'_, '_>, cipher: Cipher) {
    let key = key(cipher);
    let sealed = key.seal(&common::noise(CHUNK)).expect("there are random bytes");
    let id = ChunkId::from_bytes([0; 32]);
    bencher
        .counter(BytesCount::new(CHUNK))
        .with_inputs(|| sealed.clone())
        .bench_local_values(|sealed| key.unseal(&id, sealed).expect("it is genuine"));
}
