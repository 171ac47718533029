//! `casync make`

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use cairn::archive::encoder_cache::EncoderCache;
use cairn::archive::pack::{self, Output, PackOptions, PackStats, make_archive, pack};
use cairn::cat::widen_pipe;
use cairn::make::{Input, MakeOptions, make};
use cairn::{Error, Monitor};
use cairn_formats::ChunkId;
use cairn_formats::digest::Hasher;
use cairn_store::{Location, RemoteOptions, WriteStore, local};

use super::options::{Compression, Options};
use super::place;
use super::what::{self, What};
use crate::cli::access::Access;
use crate::cli::make::check_place;
use crate::cli::options::{Concurrency, WriteOptions};
use crate::cli::outlet::{self, Patient};
use crate::cli::store_flags::Given;
use crate::cli::{Context, failure, known_tree, open_files};

/// A store for chunks.
type Stored = Box<dyn WriteStore>;

/// What can be made.
const KINDS: [What; 3] = [What::Archive, What::ArchiveIndex, What::BlobIndex];

/// The permissions that an output may take over from its input.
const READ_WRITE: u32 = 0o666;

pub(super) fn run(words: &[OsString], options: &Options, context: &Context) -> anyhow::Result<()> {
    open_files::allow_many();
    let said = what::allowed(options.what(), "make", &KINDS)?;
    anyhow::ensure!(words.len() <= 2, "`make` takes an output and an input, and no more");
    if let Compression::ReadOnly(name) = options.compression {
        anyhow::bail!("--compression={name} is not possible: cairn reads {name}, and writes zstd");
    }
    let output = words.first().map_or(Ok(Location::Stdio), |word| place::parse(word))?;
    let told = said.or_else(|| What::by_suffix(&output));
    anyhow::ensure!(
        told.is_some() || output == Location::Stdio,
        "{}: ends neither in .catar nor in .caidx nor in .caibx: say what it is to be with --what",
        output.without_secrets()
    );
    let input = match (words.get(1), told) {
        (Some(word), _) => place::parse_local(word)?,
        (None, Some(What::Archive | What::ArchiveIndex)) => Location::Local(".".into()),
        (None, _) => Location::Stdio,
    };
    let job = Making { output, options, context };
    let digest = match (told, job.root(&input)?) {
        (Some(What::BlobIndex), Some(root)) => {
            anyhow::bail!("{}: is a directory, and no blob", root.display())
        }
        (Some(What::ArchiveIndex), Some(root)) => match job.index_tree(&root)? {
            Some(digest) => digest,
            None => return Ok(()),
        },
        (_, Some(root)) => {
            let digest = job.archive(&root)?;
            // As casync, though all has been read.
            if options.cache(&root).is_some() {
                return Ok(());
            }
            digest
        }
        (Some(What::Archive | What::ArchiveIndex), None) => {
            anyhow::bail!("{input}: is no directory, of which archives are made")
        }
        (_, None) => job.index_blob(&input)?,
    };
    // Behind an archive or index it would be taken for a part of it.
    let line = format!("{digest}\n");
    if job.output == Location::Stdio {
        let _ = io::stderr().write_all(line.as_bytes());
        return Ok(());
    }
    super::print(&line)
}

/// What is made where, and how.
struct Making<'a> {
    output: Location,
    options: &'a Options,
    context: &'a Context,
}

impl Making<'_> {
    /// The path of the input if it is a directory.
    fn root(&self, input: &Location) -> anyhow::Result<Option<PathBuf>> {
        let path = match input {
            Location::Local(path) => path,
            _ => Path::new("/dev/stdin"),
        };
        let kind = path.metadata().map_err(Error::io("open", path))?.file_type();
        let is_read =
            kind.is_file() || kind.is_block_device() || kind.is_fifo() || kind.is_socket();
        anyhow::ensure!(
            is_read || kind.is_dir(),
            "{input}: is neither a directory nor a file nor a block device nor a pipe"
        );
        Ok(kind.is_dir().then(|| path.to_owned()))
    }

    fn index_blob(&self, input: &Location) -> anyhow::Result<ChunkId> {
        let path = match input {
            Location::Local(path) => path,
            _ => Path::new("-"),
        };
        let input = Input::open(path)?;
        let metadata = input.metadata()?;
        let (access, index_place, store) = self.places(&metadata)?;
        let make_options = self.make_options(store.as_ref());
        let progress = &self.context.progress.without_lines();
        let (index, stats) = make(input, Some(&*store), &make_options, progress)?;
        progress.check()?;
        let index = index.with_flags(self.options.features(false));
        // The mode of a pipe says nothing.
        let mode = if metadata.is_file() { metadata.mode() & READ_WRITE } else { READ_WRITE };
        access.write_index(&self.output, &index, (mode, false), &index_place)?;
        let new = format!("{} chunks, {} new", stats.chunks, stats.stored);
        self.context.progress.summary(&new, index.blob_size());
        Ok(stats.whole.expect("it was wanted"))
    }

    /// With a cache there is no digest: it would take bytes that need not be read.
    fn index_tree(&self, root: &Path) -> anyhow::Result<Option<ChunkId>> {
        let metadata = root.metadata().map_err(Error::io("read", root))?;
        let (access, index_place, store) = self.places(&metadata)?;
        let cache = self.options.cache(root);
        let whole = cache.is_none();
        let make_options = MakeOptions { whole, ..self.make_options(store.as_ref()) };
        let pack_options = PackOptions { workers: make_options.workers, ..self.pack_options(None) };
        let cache = cache
            .map(|directory| {
                let PackOptions { features, shift, .. } = pack_options;
                EncoderCache::open(&directory, root, features, shift, &make_options)
            })
            .transpose()?;
        let input = match &cache {
            Some(cache) => pack::Input::KnownTree(root, cache),
            None => pack::Input::Tree(root),
        };
        let progress = &self.context.progress.without_lines();
        let (index, made, stats) =
            make_archive(input, Some(&*store), &pack_options, &make_options, progress)?;
        progress.check()?;
        let mode = metadata.mode() & READ_WRITE;
        access.write_index(&self.output, &index, (mode, false), &index_place)?;
        known_tree::keep(cache.as_ref(), &stats);
        self.check(root, &stats)?;
        Ok(made.whole)
    }

    fn archive(&self, root: &Path) -> anyhow::Result<ChunkId> {
        let metadata = root.metadata().map_err(Error::io("read", root))?;
        let path = match &self.output {
            Location::Local(path) => path,
            Location::Stdio => Path::new("-"),
            far => anyhow::bail!(
                "{}: an archive is written on this machine; its index, .caidx, can be far away",
                far.without_secrets()
            ),
        };
        if !outlet::is_stream(path) {
            self.context.signals.catch()?;
        }
        let (output, name) = outlet::open_as(path, metadata.mode() & READ_WRITE)?;
        let own = output.file().metadata().ok().map(|file| (file.dev(), file.ino()));
        let pack_options = self.pack_options(own);
        let progress = &self.context.progress.without_lines();
        let file: &File = match &output {
            local::Output::New(new) => new.file(),
            local::Output::Stream(stream) => {
                widen_pipe(stream);
                stream
            }
        };
        let mut hashed = Hashed { output: Patient(file), hasher: self.options.digest.hasher() };
        let stream = Output::Stream(&mut hashed);
        let stats = pack(pack::Input::Tree(root), stream, name, &pack_options, progress)?;
        progress.check()?;
        let digest = hashed.hasher.finish();
        output.commit(false).map_err(Error::io("finish", name))?;
        self.check(root, &stats)?;
        Ok(digest)
    }

    /// How the index of an input is written, and the store for its chunks. From now on an interrupt is asked about.
    fn places(&self, input: &Metadata) -> anyhow::Result<(Access<'_>, RemoteOptions, Stored)> {
        if let Location::Local(index) = &self.output {
            check_place(index, input)?;
        }
        let access = self.options.access(self.context);
        let index_place = access.index_place(&self.output)?;
        let store = place::store(self.options, &self.output)?;
        let store = access.writable(&store, &Given::<WriteOptions>::default())?;
        self.context.signals.catch()?;
        Ok((access, index_place, store))
    }

    fn make_options(&self, store: &dyn WriteStore) -> MakeOptions {
        MakeOptions {
            sizes: self.options.chunk_size,
            digest: self.options.digest,
            whole: true,
            workers: Concurrency::default().workers(store.in_flight()),
            ..MakeOptions::default()
        }
    }

    fn pack_options(&self, skip: Option<(u64, u64)>) -> PackOptions {
        let features = self.options.features(true);
        let workers = Concurrency::default().processors();
        PackOptions { features, shift: self.options.shift(), skip, workers }
    }

    /// Says what casync would not read, and that a file changed, which is an error.
    fn check(&self, root: &Path, stats: &PackStats) -> anyhow::Result<()> {
        let (deep, changed) = (stats.counts.too_deep, stats.changed);
        if deep > 0 {
            let output = self.output.without_secrets();
            failure::warn(&format!("{output}: {deep} names lie deeper than casync reads"));
        }
        anyhow::ensure!(
            changed == 0,
            "{}: {changed} files changed while they were archived: they are in the archive, but may not be as they ever were",
            root.display()
        );
        Ok(())
    }
}

/// An output whose digest is computed as it is written.
struct Hashed<'a> {
    output: Patient<'a>,
    hasher: Hasher,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
