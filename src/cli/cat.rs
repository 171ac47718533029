//! `cairn cat`

use std::fs::File;
use std::io::{self, IoSlice, IsTerminal, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cairn::cat::{CatOptions, cat, widen_pipe};
use cairn::{Error, Monitor, Silent};
use cairn_formats::Index;
use cairn_store::Location;
use cairn_store::local::Output;
use clap::Parser;
use rustix::event::{PollFd, PollFlags, poll};

use super::Context;
use super::access::Access;
use super::options::{self, ReadStores};
use super::read_cache::ReadCache;
use super::store_flags::StoreFlags;

/// Write the blob of an index, or a part of it, to standard output or a file
///
/// A file appears whole or not at all; pipes and devices are written to as they are.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Index to read, `-` for standard input
    index: Location,

    /// File, pipe or device to write, `-` for standard output
    #[arg(default_value = "-")]
    output: PathBuf,

    #[command(flatten)]
    stores: ReadStores,

    #[command(flatten)]
    cache: ReadCache,

    /// First byte of the blob to write
    #[arg(short, long, value_name = "BYTE", default_value_t = 0)]
    offset: u64,

    /// Number of bytes to write, 0 for all to the end; an error if there are not so many
    #[arg(short, long, value_name = "BYTES", default_value_t = 0)]
    length: u64,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    if let (Location::Local(index), false) = (&args.index, args.is_stdout()) {
        let both = index.metadata().ok().zip(args.output.metadata().ok());
        anyhow::ensure!(
            both.is_none_or(|(a, b)| !options::is_same_file(&a, &b)),
            "{}: input and output are the same file",
            index.display()
        );
    }
    let access = Access::new(context, &args.reach);
    let index = access.index(&args.index)?;
    let range = args.range(&index)?;
    let store = access.cached(&args.stores.all(), &args.cache, args.reach.cache_repair())?;
    let is_stream = args.is_stdout() || Output::is_stream(&args.output);
    // A stream has nothing that must be cleaned up, and a write to it may take for ever: there, the
    // system ends us.
    if !is_stream {
        context.signals.catch()?;
    }
    let (output, name) = args.open_output()?;
    widen_pipe(output.file());
    let progress = context.progress.without_lines();
    let is_seen = is_stream && output.file().is_terminal();
    let monitor: &dyn Monitor = if is_seen { &Silent } else { &progress };
    let options = CatOptions {
        range: range.clone(),
        workers: args.reach.concurrency.workers(store.in_flight()),
    };
    cat(&index, store.as_ref(), &mut Patient(output.file()), name, &options, monitor)?;
    monitor.check()?;
    output.commit(false).map_err(Error::io("finish", name))?;
    let size = index.blob_size();
    anyhow::ensure!(
        range.end <= size,
        "{}: the blob ends at {size}, {} bytes before the end of what was asked for",
        args.index,
        range.end - size
    );
    Ok(())
}

/// An output that is waited for, also if it is a pipe that another process has set not to block.
struct Patient<'a>(&'a File);

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.0.write_vectored(slices) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            // Why it ends does not matter: the next write tells.
            let _ = poll(&mut [PollFd::new(self.0, PollFlags::OUT)], None);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Args {
    fn is_stdout(&self) -> bool {
        self.output == Path::new("-")
    }

    /// The bytes that are asked for, of which those behind the end of the blob will be missed.
    fn range(&self, index: &Index) -> anyhow::Result<Range<u64>> {
        let size = index.blob_size();
        anyhow::ensure!(
            self.offset <= size,
            "{}: the blob ends at {size}, before the offset {}",
            self.index,
            self.offset
        );
        let end = if self.length == 0 { size } else { self.offset.saturating_add(self.length) };
        Ok(self.offset..end)
    }

    /// The output, and what it is called in errors.
    fn open_output(&self) -> anyhow::Result<(Output, &Path)> {
        if self.is_stdout() {
            let name = Path::new("standard output");
            // Past the standard library's buffer, which looks for line ends.
            let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
            return Ok((Output::Stream(file.map_err(Error::io("open", name))?), name));
        }
        let output = Output::create(&self.output, 0o666);
        Ok((output.map_err(Error::io("create", &self.output))?, &self.output))
    }
}
