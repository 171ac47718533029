//! `cairn mount-index`

use std::path::PathBuf;
use std::sync::Arc;

use cairn_fuse::{BlobFile, Content, Fetchers, StoredBlob};
use cairn_store::{Blob, Location, Store};
use clap::Parser;

use super::Context;
use super::access::Access;
use super::mounting::{self, MountFlags, MountStores};

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
    let store = args.stores.open(&access)?;
    let cache = args.mount.cache();
    let room = cache.limit();
    let threads = args.stores.reach.concurrency.workers(store.in_flight());
    let blob = Blob::new(index, Arc::clone(&store) as Arc<dyn Store>, cache);
    let fetchers = Arc::new(Fetchers::new(threads));
    let content: Arc<dyn Content> = Arc::new(StoredBlob::new(blob, room, fetchers));
    let fs = BlobFile::new(name.into_bytes(), content, args.mount.owner(), mounting::now());
    let options = args.mount.mount_options(&args.index);
    let reload = || args.stores.reload(&access, &store);
    mounting::serve(Arc::new(fs), &args.point, &options, context, &reload, |_| {})
}
