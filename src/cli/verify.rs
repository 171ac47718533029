//! `cairn verify`

use cairn::upkeep::verify::{VerifyOptions, verify};
use cairn_store::{Location, PruneStore};
use clap::Parser;

use super::Context;
use super::access::Access;
use super::options::Concurrency;

/// Check that every chunk of a store is what its name says
///
/// Names each bad chunk on standard error, and ends with 1 if there was any, also if it was removed.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Store to check, a directory on this machine
    #[arg(short, long, value_name = "STORE")]
    store: Location,

    /// Remove bad chunks; nobody may be writing to the store meanwhile
    #[arg(short, long)]
    repair: bool,

    #[command(flatten)]
    concurrency: Concurrency,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let access = Access::without_flags(context);
    let store: Box<dyn PruneStore> = if args.repair {
        access.prunable(&args.store)?
    } else {
        Box::new(access.local(&args.store)?)
    };
    // Only now: opening a store may wait for others, and there is nothing to clean up yet.
    context.signals.catch()?;
    let options = VerifyOptions {
        digest: context.digest,
        repair: args.repair,
        workers: args.concurrency.processors(),
    };
    let progress = context.progress.without_lines();
    let stats = verify(store.as_ref(), &options, &progress, &|bad| progress.note(bad))?;
    if stats.bad > 0 {
        let (bad, chunks, removed) = (stats.bad, stats.chunks, stats.removed);
        let store = args.store.without_secrets();
        anyhow::bail!("{store}: {bad} of {chunks} chunks are bad, {removed} removed");
    }
    progress.summary(&format!("{} chunks are good", stats.chunks), stats.bytes);
    Ok(())
}
