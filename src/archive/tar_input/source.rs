//! The file a tar is in.
//!
//! A plain tar in a file is read where it is. A stream, and whatever is compressed, is written to a file without a
//! name first, for its members may be needed in another order.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use cairn_formats::Coding;
use cairn_formats::tar::{BLOCK, Header};
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use rustix::fs::{Mode, OFlags};

use crate::{Error, Result};

/// Memory an xz stream may ask for, in bytes: that of its highest preset.
const XZ_MEMORY: u64 = 128 << 20;

/// Where a tar is, to be read from anywhere.
#[derive(Clone, Debug)]
pub struct Source {
    pub(super) file: Arc<File>,
    /// Where in the file the tar begins.
    pub(super) start: u64,
    /// Where the file ends.
    pub(super) end: u64,
    /// What it is called in messages.
    name: PathBuf,
}

impl Source {
    /// Opens a file; `-` is the standard input.
    pub fn open(path: &Path) -> Result<Self> {
        let file = if path == Path::new("-") {
            let own = io::stdin().as_fd().try_clone_to_owned();
            File::from(own.map_err(Error::io("open", path))?)
        } else {
            File::open(path).map_err(Error::io("open", path))?
        };
        Self::of_file(file, path)
    }

    /// Takes a file from where its position is.
    pub fn of_file(mut file: File, name: &Path) -> Result<Self> {
        let metadata = file.metadata().map_err(Error::io("read", name))?;
        if metadata.is_dir() {
            return Err(Error::file(name, "it is a directory, not a tar"));
        }
        if !metadata.is_file() {
            return Self::of_stream(file, name);
        }
        let start = file.stream_position().map_err(Error::io("read", name))?;
        let mut first = [0; BLOCK];
        let is_tar = match file.read_exact_at(&mut first, start) {
            Ok(()) => Header::parse(&first).is_some(),
            Err(_) => false,
        };
        if is_tar || Coding::of_magic(&first).is_none() {
            let name = name.to_owned();
            return Ok(Self { file: Arc::new(file), start, end: metadata.len(), name });
        }
        Self::of_stream(file, name)
    }

    /// Takes what comes until its end, which need not be a file. It is kept in a file without a name in `$TMPDIR`,
    /// or `/var/tmp`.
    pub fn of_stream(input: impl Read, name: &Path) -> Result<Self> {
        let mut input = BufReader::with_capacity(128 << 10, input);
        let first = first_bytes(&mut input).map_err(Error::io("read", name))?;
        let is_tar = first.first_chunk().is_some_and(|block| Header::parse(block).is_some());
        let coding = Coding::of_magic(&first).filter(|_| !is_tar).unwrap_or(Coding::Plain);
        let input = BufReader::with_capacity(128 << 10, io::Cursor::new(first).chain(input));
        let mut input: Box<dyn Read + '_> = match coding {
            Coding::Plain => Box::new(input),
            Coding::Gzip => Box::new(MultiGzDecoder::new(input)),
            Coding::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED);
                let stream = stream.map_err(|e| Error::file(name, e.to_string()))?;
                Box::new(XzDecoder::new_stream(input, stream))
            }
            Coding::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(input);
                Box::new(decoder.map_err(Error::io("unpack", name))?)
            }
        };
        let doing = if coding == Coding::Plain { "read" } else { "unpack" };
        let (mut file, folder) = unnamed()?;
        let end = copy(&mut input, &mut file, doing, name, &folder)?;
        file.seek(SeekFrom::Start(0)).map_err(Error::io("read", folder))?;
        Ok(Self { file: Arc::new(file), start: 0, end, name: name.to_owned() })
    }

    /// An error of what is in it.
    pub(super) fn bad(&self, why: impl Into<String>) -> Error {
        Error::file(&self.name, why)
    }

    /// An error of reading it.
    pub(super) fn unreadable(&self, error: io::Error) -> Error {
        Error::io("read", &self.name)(error)
    }
}

/// As many bytes as a header has, or all there are.
fn first_bytes(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(BLOCK);
    input.take(BLOCK as u64).read_to_end(&mut first)?;
    Ok(first)
}

/// As [`io::copy`], but one knows which side has failed.
fn copy(
    input: &mut dyn Read,
    file: &mut File,
    doing: &'static str,
    name: &Path,
    folder: &Path,
) -> Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => return Ok(at),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(Error::io(doing, name))?,
        };
        file.write_all_at(&buffer[..read], at).map_err(Error::io("write to a file in", folder))?;
        at += read as u64;
    }
}

/// A new file that goes away with its last descriptor, and where it is.
fn unnamed() -> Result<(File, PathBuf)> {
    let folder = env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(&folder, flags, Mode::RUSR | Mode::WUSR) {
        return Ok((File::from(file), folder));
    }
    // Some file systems only have files with names.
    for attempt in 0..100_u32 {
        let path = folder.join(format!(".cairn-tar.{}.{attempt}", process::id()));
        let options =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).clone();
        match options.open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            opened => {
                let file = opened.map_err(Error::io("create a file in", &folder))?;
                std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                return Ok((file, folder));
            }
        }
    }
    Err(Error::file(folder, "no room for a file of our own"))
}
