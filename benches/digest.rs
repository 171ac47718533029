//! How fast are chunks named? `cargo bench --bench digest`
//!
//! Rows are the kernels this machine can run; `portable` is the `sha2` crate, chunk by chunk. The
//! goals, on one core: 2.2 GB/s with AVX-512, 0.95 with AVX2.

mod common;

use cairn_formats::Digest;
use cairn_formats::simd::Level;
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

fn hash(bencher: Bencher<'_, '_>, digest: Digest, level: Level, lens: &[usize]) {
    let data = common::noise(lens.iter().sum());
    let mut rest = &data[..];
    let chunks: Vec<&[u8]> = lens.iter().filter_map(|&len| rest.split_off(..len)).collect();
    bencher
        .counter(BytesCount::new(data.len()))
        .bench_local(|| digest.hash_many_at(level, &chunks));
}

/// What one window of `make` yields: chunks of 16 to 256 KiB.
fn window() -> Vec<usize> {
    (0..64).map(|n| (16 << 10) + n * 7919 % (112 << 10)).collect()
}

#[divan::bench(args = Level::supported())]
fn sha512_256_of_a_window(bencher: Bencher<'_, '_>, level: Level) {
    hash(bencher, Digest::Sha512_256, level, &window());
}

#[divan::bench(args = Level::supported())]
fn sha512_256_of_equal_chunks(bencher: Bencher<'_, '_>, level: Level) {
    hash(bencher, Digest::Sha512_256, level, &[64 << 10; 64]);
}

#[divan::bench]
fn sha256_of_a_window(bencher: Bencher<'_, '_>) {
    hash(bencher, Digest::Sha256, Level::chosen(), &window());
}
