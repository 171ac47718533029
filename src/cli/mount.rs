//! `cairn mount`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cairn_fuse::{FileSystem, Forget, MountOptions, Several};
use cairn_store::Location;
use clap::Parser;
use rustix::process::geteuid;

use super::Context;
use super::access::Access;
use super::mounting::{self, MountFlags, MountStores, Mounting, Opened, Shape, Shown, TreeFlags};

/// Mount an archive, or what an index describes, or a directory of both
///
/// An archive becomes a directory with all that is in it, a blob a file; bytes are fetched as they are read. Of a
/// directory all indexes and archives in it are mounted, each under its name, also those that are put there later.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Archive (.catar), index (.caidx, .caibx), or a directory of them; `-` for an index on standard input
    input: Location,

    /// Directory to mount it at
    point: PathBuf,

    /// Mount an index as this; by default what begins as an archive is a tree, unless it is called .caibx
    #[arg(long = "as", value_name = "SHAPE")]
    shape: Option<Shape>,

    #[command(flatten)]
    stores: MountStores,

    #[command(flatten)]
    trees: TreeFlags,

    #[command(flatten)]
    mount: MountFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    if args.mount.split()? {
        return Ok(());
    }
    let access = Access::new(context, &args.stores.reach);
    let mounting = Mounting::open(&args.stores, &args.mount, &access)?;
    let options = args.mount.mount_options(&args.input);
    // As for all file systems that root mounts: who may do what is told by permissions.
    let allow_other = options.allow_other || geteuid().is_root();
    let options = MountOptions { allow_other, ..options };
    let job = Job { args, context, access: &access, mounting: &mounting, options };
    match &args.input {
        Location::Local(path) if path.is_dir() => job.directory(path.clone()),
        _ => job.one(),
    }
}

struct Job<'a> {
    args: &'a Args,
    context: &'a Context,
    access: &'a Access<'a>,
    mounting: &'a Mounting,
    options: MountOptions,
}

impl Job<'_> {
    /// Mounts one archive or blob.
    fn one(&self) -> anyhow::Result<()> {
        let Args { input, shape, mount, trees, .. } = self.args;
        let way = (self.access, self.context);
        let Opened { part, blob, .. } = self.mounting.part(input, *shape, mount, trees, way)?;
        let wanted = blob.filter(|_| mount.prefetch);
        if let Some(blob) = &wanted {
            self.mounting.check_prefetch(blob)?;
        }
        self.serve(part.fs, |_, stop| {
            if let Some(blob) = &wanted {
                self.mounting.prefetch(blob, stop);
            }
        })
    }

    /// Mounts what is in a directory.
    fn directory(&self, path: PathBuf) -> anyhow::Result<()> {
        let Args { shape, mount, trees, .. } = self.args;
        anyhow::ensure!(shape.is_none(), "--as is for one index, and this is a directory");
        anyhow::ensure!(!mount.prefetch, "--prefetch is for one index, and this is a directory");
        let several = Arc::new(Several::new(mount.owner(), true));
        let way = (self.access, self.context);
        let mut shown = Shown::new(&path, self.mounting, (mount, trees), way);
        shown.look(&several)?;
        let fs = Arc::clone(&several);
        self.serve(fs, |forget, stop| shown.watch(&several, &forget, stop))
    }

    /// Serves a file system, with something that goes on beside it until it is told to stop.
    fn serve(
        &self,
        fs: Arc<dyn FileSystem>,
        beside: impl FnOnce(Forget, &AtomicBool) + Send,
    ) -> anyhow::Result<()> {
        let stop = AtomicBool::new(false);
        let stop = &stop;
        thread::scope(|scope| {
            let reload = || self.mounting.reload(&self.args.stores, self.access);
            let ready = |forget| drop(scope.spawn(move || beside(forget, stop)));
            let point = &self.args.point;
            let served = mounting::serve(fs, point, &self.options, self.context, &reload, ready);
            stop.store(true, Ordering::Relaxed);
            served
        })
    }
}
