//! How fast are boundaries found? `cargo bench --bench scan`
//!
//! Rows are the kernels this machine can run; `portable` is the one to compare with. The goals, on
//! one core: 1.9 GB/s with AVX-512, 1.0 with AVX2, 0.7 portable, every byte tested.

mod common;

use cairn_formats::ChunkSizes;
use cairn_formats::chunker::{CutRule, Cutter};
use cairn_formats::simd::Level;
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

/// In the cache of a core, as the windows of `make` mostly are.
const LEN: usize = 1 << 20;

fn cut(bencher: Bencher<'_, '_>, level: Level, sizes: ChunkSizes) {
    let data = common::noise(LEN);
    let cutter = Cutter::at_level(level, CutRule::Buzhash, sizes).expect("the sizes are valid");
    bencher.counter(BytesCount::new(LEN)).bench_local(|| cutter.cut_window(&data));
}

/// The smallest size is that of the hash's window, so no byte is skipped.
#[divan::bench(args = Level::supported())]
fn every_byte_tested(bencher: Bencher<'_, '_>, level: Level) {
    cut(bencher, level, ChunkSizes::new(48, 64 << 10, 256 << 10).expect("valid"));
}

/// 16:64:256 KiB: a fifth of all bytes need not be tested.
#[divan::bench(args = Level::supported())]
fn default_sizes(bencher: Bencher<'_, '_>, level: Level) {
    cut(bencher, level, ChunkSizes::default());
}

#[divan::bench]
fn fastcdc_default_sizes(bencher: Bencher<'_, '_>) {
    let data = common::noise(LEN);
    let cutter = Cutter::new(CutRule::FastCdc, ChunkSizes::default()).expect("valid");
    bencher.counter(BytesCount::new(LEN)).bench_local(|| cutter.cut_window(&data));
}
