//! How fast are chunks coded and decoded? `cargo bench --bench coding`

mod common;

use cairn_formats::coding::{Decoder, Encoder};
use cairn_formats::{Chunk, CodedChunk, Digest, WriteCoding};
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 32;

fn chunks() -> Vec<Chunk<'static>> {
    let data = common::text(CHUNK * CHUNKS);
    data.chunks(CHUNK).map(|data| Chunk::name(Digest::default(), data.to_vec())).collect()
}

#[divan::bench(args = [1, 3, 9])]
fn encode_at_level(bencher: Bencher<'_, '_>, level: i32) {
    let chunks = chunks();
    let mut encoder = Encoder::new(level);
    bencher.counter(BytesCount::new(CHUNK * CHUNKS)).bench_local(|| {
        chunks
            .iter()
            .map(|chunk| encoder.encode(chunk, WriteCoding::Zstd).bytes().len())
            .sum::<usize>()
    });
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let mut encoder = Encoder::new(3);
    let coded: Vec<CodedChunk> =
        chunks().iter().map(|chunk| encoder.encode(chunk, WriteCoding::Zstd)).collect();
    let mut decoder = Decoder::new();
    let mut plain = vec![0; CHUNK];
    bencher.counter(BytesCount::new(CHUNK * CHUNKS)).bench_local(|| {
        coded.iter().for_each(|coded| {
            decoder.decode_exact(coded, &mut plain).expect("it decodes");
        });
    });
}
