//! `cairn index-server`

use std::sync::Arc;

use cairn_store::Location;
use cairn_store::serve::{IndexService, IndexStore, Server};
use clap::Parser;

use super::Context;
use super::access::Access;
use super::server_flags::ServerFlags;
use super::signals::Signals;
use super::store_flags::StoreFlags;

/// Serve indexes over HTTP
///
/// Only indexes get in or out: each is read and written anew on its way. It runs until it is told to end
/// (SIGINT, SIGTERM).
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Directory, or URL, with the indexes
    #[arg(short, long, value_name = "STORE")]
    store: Location,

    #[command(flatten)]
    server: ServerFlags,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let options = args.server.options(context.program)?;
    // The options of a store are looked up by the indexes in it.
    let any = format!("{}/x", args.store).parse().map_err(anyhow::Error::msg)?;
    let remote = Access::new(context, &args.reach).index_place(&any)?;
    let service = IndexService::new(IndexStore {
        location: args.store.clone(),
        remote,
        is_writable: args.server.is_writable(),
        digest: context.digest,
    })?;
    let server = Server::of_indexes(options, Arc::new(service))?;
    let stopper = server.stopper();
    let run = || {
        // Not before signals are heeded: whoever waits for this line may send one.
        args.server.announce(&server, context.program);
        server.run()
    };
    Signals::while_running(move || stopper.stop(), || {}, run)??;
    Ok(())
}
