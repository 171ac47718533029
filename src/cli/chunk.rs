//! `cairn chunk`

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use cairn::Error;
use cairn::make::{Input, MakeOptions, chunks};
use cairn_formats::ChunkSizes;
use cairn_formats::chunker::CutRule;
use clap::Parser;

use super::Context;
use super::options::Concurrency;

/// Print where a file is cut: start, length and id of each chunk
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// File to chunk, `-` for standard input
    file: PathBuf,

    /// Start at this byte
    #[arg(short = 'S', long, value_name = "BYTE", default_value_t = 0)]
    start: u64,

    /// Chunk sizes, as for `make`
    #[arg(short = 'm', long, value_name = "SIZES", default_value = "16:64:256")]
    chunk_size: ChunkSizes,

    /// Which cut points, as for `make`
    #[arg(long, value_name = "NAME", default_value = "buzhash")]
    chunker: CutRule,

    #[command(flatten)]
    concurrency: Concurrency,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let options = MakeOptions {
        rule: args.chunker,
        sizes: args.chunk_size,
        digest: context.digest,
        workers: args.concurrency.processors(),
        ..MakeOptions::default()
    };
    let input = Input::open(&args.file)?.skip(args.start)?;
    let mut start = args.start;
    let mut output = BufWriter::new(io::stdout());
    chunks(input, None, &options, &context.progress.without_lines(), &mut |run| {
        for _ in 0..run.count {
            writeln!(output, "{start}\t{}\t{}", run.len, run.id)
                .map_err(Error::io("write to", "standard output"))?;
            start += run.len as u64;
        }
        Ok(())
    })?;
    output.flush().map_err(Error::io("write to", "standard output"))?;
    Ok(())
}
