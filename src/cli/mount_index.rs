//! `cairn mount-index`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cairn::Error;
use cairn::tree::now;
use cairn_formats::Index;
use cairn_fuse::{BlobFile, Content, MountOptions, SparseFile, SparseOptions, StoredBlob};
use cairn_store::Location;
use clap::Parser;
use rustix::process::geteuid;

use super::access::Access;
use super::mounting::{self, MountFlags, MountStores, Mounting};
use super::{Context, failure};

/// Threads that fill a copy-on-read file if nothing is said.
const DEFAULT_FILLERS: usize = 10;

/// Mount the blob of an index as a file
///
/// The file is called as the index, without its last suffix. It is there at once; chunks are fetched as they are read.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Index of the blob, `-` for standard input
    index: Location,

    /// Directory to mount it at
    point: PathBuf,

    #[command(flatten)]
    stores: MountStores,

    /// Copy-on-read file: keeps what was read, so that it is fetched once. With --cor-state-save the next mount goes on
    /// with it; once all is there, reads are as fast as those of any file
    #[arg(long, value_name = "FILE")]
    cor_file: Option<PathBuf>,

    /// File that says which chunks the copy-on-read file has: read at the start, written at SIGHUP and at the end
    #[arg(long, value_name = "FILE", requires = "cor_file")]
    cor_state_save: Option<PathBuf>,

    /// Such a file of an earlier mount: what it says is fetched in the background, unless the saved state is of use
    #[arg(long, value_name = "FILE", requires = "cor_file")]
    cor_state_init: Option<PathBuf>,

    /// Chunks that are fetched in the background at once
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FILLERS,
          value_parser = mounting::parse_count)]
    cor_init_n: usize,

    #[command(flatten)]
    mount: MountFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    if args.mount.split()? {
        return Ok(());
    }
    let access = Access::new(context, &args.stores.reach);
    let name = mounting::name_of(&args.index)?;
    let index = Arc::new(access.index(&args.index)?);
    let mounting = Mounting::open(&args.stores, &args.mount, &access)?;
    let stored = mounting.blob(Arc::clone(&index), &args.index)?;
    let copy = args.copy(&index, &stored)?;
    if args.mount.prefetch && copy.is_none() {
        mounting.check_prefetch(&stored)?;
    }
    let content: Arc<dyn Content> = match &copy {
        Some(copy) => Arc::clone(&copy.file) as _,
        None => Arc::clone(&stored) as _,
    };
    let fs = BlobFile::new(name.into_bytes(), content, args.mount.owner(), now());
    let options = MountOptions {
        // What is whole can be read without us.
        passthrough: copy.is_some() && geteuid().is_root(),
        ..args.mount.mount_options(&args.index)
    };
    let reload = || {
        mounting.reload(&args.stores, &access);
        if let Some(Err(e)) = copy.as_ref().map(Copy::save) {
            failure::warn(&e.to_string());
        }
    };
    let stop = AtomicBool::new(false);
    let served = thread::scope(|scope| {
        let ready = |_| {
            if let Some(copy) = &copy {
                scope.spawn(|| copy.fill(args, &stop));
            } else if args.mount.prefetch {
                scope.spawn(|| mounting.prefetch(&stored, &stop));
            }
        };
        let served = mounting::serve(Arc::new(fs), &args.point, &options, context, &reload, ready);
        stop.store(true, Ordering::Relaxed);
        served
    });
    let saved = copy.as_ref().map_or(Ok(()), Copy::save);
    served?;
    Ok(saved.map_err(Error::from)?)
}

impl Args {
    /// The copy-on-read file, if there is one.
    fn copy(&self, index: &Arc<Index>, blob: &Arc<StoredBlob>) -> anyhow::Result<Option<Copy>> {
        let Some(path) = &self.cor_file else { return Ok(None) };
        let (state, init) = (self.cor_state_save.clone(), self.cor_state_init.clone());
        if let Some(state) = &state {
            check_writable(state)?;
        }
        let options = SparseOptions { state: state.clone(), init };
        let inner = Arc::clone(blob) as Arc<dyn Content>;
        let file = SparseFile::open(path, Arc::clone(index), inner, &options);
        let file = Arc::new(file.map_err(Error::from)?);
        Ok(Some(Copy { file, state }))
    }
}

/// A copy-on-read file, and where its state is kept.
struct Copy {
    file: Arc<SparseFile>,
    state: Option<PathBuf>,
}

impl Copy {
    /// Has those chunks in the file that are wanted there before anybody asks.
    fn fill(&self, args: &Args, stop: &AtomicBool) {
        self.file.fill(self.file.wanted(), args.cor_init_n, stop);
        if args.mount.prefetch {
            self.file.fill_all(args.cor_init_n, stop);
        }
    }

    fn save(&self) -> cairn_store::Result<()> {
        self.state.as_ref().map_or(Ok(()), |path| self.file.save(path))
    }
}

/// Refuses a place that nothing can be written to before anything is mounted, rather than when all is over.
fn check_writable(state: &Path) -> anyhow::Result<()> {
    let directory = match state.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    let checked = rustix::fs::access(directory, access);
    Ok(checked.map_err(|e| Error::io("write into", directory)(e.into()))?)
}
