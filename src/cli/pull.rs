//! `cairn pull`

use std::io::BufReader;
use std::path::PathBuf;

use cairn_store::ssh::Patient;
use cairn_store::ssh::server::{Pull, Throttle, refuse, serve_pull};
use cairn_store::{Location, Store};
use clap::Parser;

use super::access::Access;
use super::failure::warn;
use super::{Context, pipes};

/// Serve chunks on standard input and output, by casync's protocol
///
/// This is what cairn, casync and desync start on the machine with the store to read it over ssh, if
/// CASYNC_REMOTE_PATH=cairn is set where they run. `-` stands for nothing. Several stores are asked in
/// their order. Every chunk is verified before it is sent, unless the configuration says skip-verify.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Always `-`
    #[arg(value_name = "BASE", value_parser = pipes::nothing)]
    _base: pipes::Nothing,

    /// Always `-`: archives are not served
    #[arg(value_name = "ARCHIVE", value_parser = pipes::nothing)]
    _archive: pipes::Nothing,

    /// Index to serve
    #[arg(value_parser = pipes::something::<PathBuf>)]
    index: pipes::Maybe<PathBuf>,

    /// Store to serve
    #[arg(required = true, value_parser = pipes::something::<Location>)]
    store: Vec<pipes::Maybe<Location>>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let (input, output) = pipes::standard()?;
    let mut output = Throttle::new(Patient::new(output), context.global.rate_limit_bps);
    let store = open(args, context).inspect_err(|e| refuse(&mut output, &format!("{e:#}")))?;
    let index = args.index.0.as_deref();
    let pull = Pull { store: store.as_deref(), index, digest: context.digest, warn: &warn };
    Ok(serve_pull(BufReader::new(Patient::new(input)), output, &pull)?)
}

fn open(args: &Args, context: &Context) -> anyhow::Result<Option<Box<dyn Store>>> {
    let stores: Vec<Location> = args.store.iter().flat_map(|store| store.0.clone()).collect();
    if stores.is_empty() {
        anyhow::ensure!(args.index.0.is_some(), "neither store nor index to serve");
        return Ok(None);
    }
    Access::without_flags(context).stores(&stores).map(Some)
}
