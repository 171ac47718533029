//! `cairn tar`

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cairn::archive::encoder_cache::EncoderCache;
use cairn::archive::pack::{Input, Output, PackOptions, PackStats, make_archive, pack};
use cairn::archive::tar_input;
use cairn::cat::widen_pipe;
use cairn::make::{MakeOptions, MakeStats};
use cairn::{Error, Monitor};
use cairn_formats::flags;
use cairn_store::{Location, WriteStore, local};
use clap::{Parser, ValueEnum};

use super::access::Access;
use super::awaited::open_tar;
use super::options::{Cutting, WriteOptions};
use super::outlet::{self, Patient};
use super::selection::Selection;
use super::store_flags::{Given, StoreFlags};
use super::{Context, known_tree, open_files};

/// Archive a directory or a tar, into a file or chunked into a store
///
/// Without `-i` the archive is written as it is (.catar). With it, or if the output ends in .caidx, it is cut
/// into chunks that go into a store, and the output is their index.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Archive or index to write, `-` for standard output
    output: PathBuf,

    /// Directory to archive; with --input-format=tar a tar, `-` for standard input
    source: PathBuf,

    /// Chunk the archive into a store and write its index
    #[arg(short, long)]
    index: bool,

    /// Store to put chunks into
    #[arg(short, long, value_name = "STORE")]
    store: Option<Location>,

    #[command(flatten)]
    cutting: Given<Cutting>,

    /// What the source is: a directory (`disk`), or a tar, which may be compressed
    #[arg(long, value_name = "FORMAT", default_value = "disk")]
    input_format: InputFormat,

    /// Put a directory around what is at the top of a tar
    #[arg(long)]
    tar_add_root: bool,

    /// Do not record when files were modified
    #[arg(long)]
    no_time: bool,

    /// Keep in this directory what is known of the source, so that what does not change until the next time is not
    /// read again; only with -i, and only of directories
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    /// Print statistics as JSON to standard error
    #[arg(long)]
    print_stats: bool,

    #[command(flatten)]
    selection: Given<Selection>,

    #[command(flatten)]
    write: Given<WriteOptions>,

    #[command(flatten)]
    reach: StoreFlags,
}

/// What an archive is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    Disk,
    Tar,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    open_files::allow_many();
    let is_index = args.index || args.output.extension().is_some_and(|suffix| suffix == "caidx");
    let stats = if is_index { args.make(context)? } else { args.pack(context)? };
    anyhow::ensure!(
        stats.changed == 0,
        "{}: {} files changed while they were archived: they are in the archive, but may not be as they ever were",
        args.source.display(),
        stats.changed
    );
    Ok(())
}

impl Args {
    /// Into a file or a pipe.
    fn pack(&self, context: &Context) -> anyhow::Result<PackStats> {
        if let Some(store) = &self.store {
            let store = store.without_secrets();
            anyhow::bail!(
                "{store}: a store is for chunks, which are made with -i, or with an output that ends in .caidx"
            );
        }
        self.check_unchunked(context)?;
        self.check_source()?;
        let is_stream = outlet::is_stream(&self.output);
        if !is_stream {
            context.signals.catch()?;
        }
        let (output, name) = outlet::open(&self.output)?;
        let options = self
            .options(context, output.file().metadata().ok().map(|file| (file.dev(), file.ino())));
        let input = self.input(options.features, context)?;
        let progress = context.progress.without_lines();
        let stats = match &output {
            local::Output::New(file) => {
                pack(input, Output::File(file.file()), name, &options, &progress)?
            }
            local::Output::Stream(file) => {
                widen_pipe(file);
                pack(input, Output::Stream(&mut Patient(file)), name, &options, &progress)?
            }
        };
        progress.check()?;
        output.commit(self.write.flush()).map_err(Error::io("finish", name))?;
        self.sum_up(context, &stats, None)?;
        Ok(stats)
    }

    /// Into a store and an index.
    fn make(&self, context: &Context) -> anyhow::Result<PackStats> {
        let store = self
            .store
            .as_ref()
            .context("an index needs a store for its chunks: name one with -s")?;
        self.check_source()?;
        let index = self.output.to_str().context("the name of an index is UTF-8")?;
        let index: Location = index.parse().map_err(anyhow::Error::msg)?;
        let access = Access::new(context, &self.reach);
        let index_place = access.index_place(&index)?;
        let store = access.writable(store, &self.write)?;
        context.signals.catch()?;
        let options = PackOptions {
            workers: self.reach.concurrency.workers(store.in_flight()),
            ..self.options(context, None)
        };
        let make = MakeOptions {
            rule: self.cutting.chunker,
            sizes: self.cutting.chunk_size,
            digest: context.digest,
            level: self.cutting.level,
            archive: true,
            repair: false,
            whole: false,
            workers: options.workers,
        };
        let store: Option<&dyn WriteStore> = Some(&*store);
        let cache = self.cache(&options, &make)?;
        let input = match &cache {
            Some(cache) => Input::KnownTree(&self.source, cache),
            None => self.input(options.features, context)?,
        };
        let (made, made_stats, stats) =
            make_archive(input, store, &options, &make, &context.progress.without_lines())?;
        context.progress.check()?;
        access.write_index(&index, &made, (0o666, self.write.flush()), &index_place)?;
        known_tree::keep(cache.as_ref(), &stats);
        self.sum_up(context, &stats, Some(&made_stats))?;
        Ok(stats)
    }

    /// What is known of the source from the last time.
    fn cache(
        &self,
        options: &PackOptions,
        make: &MakeOptions,
    ) -> anyhow::Result<Option<EncoderCache>> {
        let Some(directory) = &self.cache_dir else { return Ok(None) };
        anyhow::ensure!(
            self.input_format == InputFormat::Disk,
            "--cache-dir is for directories: a tar is read in any case"
        );
        Ok(Some(EncoderCache::open(
            directory,
            &self.source,
            options.features,
            options.shift,
            make,
        )?))
    }

    fn options(&self, context: &Context, skip: Option<(u64, u64)>) -> PackOptions {
        let mut features = self.selection.features(context.digest);
        if self.no_time {
            features &= !flags::TIMES;
        }
        let workers = self.reach.concurrency.processors();
        PackOptions { features, shift: self.selection.shift(), skip, workers }
    }

    /// Refuses what is said of chunks where there are none, but for what desync takes.
    fn check_unchunked(&self, context: &Context) -> anyhow::Result<()> {
        let cutting = |flag| self.cutting.is_given(flag);
        for (flag, is_given) in [
            ("--chunker", cutting("chunker")),
            ("--level", cutting("level")),
            ("--uncompressed", self.write.is_given("uncompressed")),
            ("--cache-dir", self.cache_dir.is_some()),
        ] {
            anyhow::ensure!(
                !is_given,
                "{flag} is for chunks, which are made with -i, or with an output that ends in .caidx"
            );
        }
        let access = Access::new(context, &self.reach);
        access.warn_of_no_store(&[("--chunk-size", cutting("chunk_size"))]);
        Ok(())
    }

    /// Refuses early what cannot be archived.
    fn check_source(&self) -> anyhow::Result<()> {
        if self.input_format == InputFormat::Tar {
            return self.selection.check_for_tar();
        }
        anyhow::ensure!(!self.tar_add_root, "--tar-add-root is for --input-format=tar");
        let metadata = self.source.metadata().map_err(Error::io("read", &self.source))?;
        anyhow::ensure!(
            metadata.is_dir(),
            "{}: is no directory; `make` is for single files, --input-format=tar for a tar",
            self.source.display()
        );
        Ok(())
    }

    /// What is archived. A tar is read to its end here.
    fn input(&self, features: u64, context: &Context) -> anyhow::Result<Input<'_>> {
        if self.input_format == InputFormat::Disk {
            return Ok(Input::Tree(&self.source));
        }
        let source = open_tar(&self.source, context)?;
        let options = tar_input::Options { features, is_root_added: self.tar_add_root };
        Ok(Input::Steps(Box::new(tar_input::steps(&source, &options)?)))
    }

    fn sum_up(
        &self,
        context: &Context,
        stats: &PackStats,
        made: Option<&MakeStats>,
    ) -> anyhow::Result<()> {
        let counts = &stats.counts;
        if self.print_stats {
            let mut fields = vec![
                ("directories", counts.directories),
                ("files", counts.files),
                ("others", counts.others),
                ("bytes", counts.bytes),
                ("left-out", stats.left_out),
                ("changed", stats.changed),
            ];
            if let Some(made) = made {
                fields.extend([
                    ("chunks", made.chunks),
                    ("known", made.known),
                    ("stored", made.stored),
                    ("stored-bytes", made.stored_bytes),
                ]);
            }
            let json = super::json::ordered_json(&fields);
            writeln!(io::stderr(), "{json}").map_err(Error::io("write to", "standard error"))?;
        }
        if counts.too_deep > 0 {
            let deep = counts.too_deep;
            context.progress.notice(
                Path::new(&self.output),
                &format!("{deep} names lie deeper than casync reads"),
            );
        }
        let (files, directories) = (counts.files, counts.directories);
        let line = match made {
            None => format!("{files} files in {directories} directories"),
            Some(made) => format!(
                "{files} files in {directories} directories, {} chunks, {} new with {} bytes",
                made.chunks, made.stored, made.stored_bytes
            ),
        };
        context.progress.summary(&line, counts.bytes);
        Ok(())
    }
}
