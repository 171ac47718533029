//! `cairn pull`

use std::io::BufReader;
use std::path::PathBuf;

use cairn_store::Location;
use cairn_store::ssh::Patient;
use cairn_store::ssh::server::{Pull, Throttle, serve_pull};
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
    let stores: Vec<Location> = args.store.iter().flat_map(|store| store.0.clone()).collect();
    let index = args.index.0.as_deref();
    anyhow::ensure!(index.is_some() || !stores.is_empty(), "neither store nor index to serve");
    let access = Access::without_flags(context);
    let store = if stores.is_empty() { None } else { Some(access.stores(&stores)?) };
    let pull = Pull { store: store.as_deref(), index, digest: context.digest, warn: &warn };
    let (input, output) = pipes::standard()?;
    let output = Throttle::new(Patient::new(output), context.global.rate_limit_bps);
    Ok(serve_pull(BufReader::new(Patient::new(input)), output, &pull)?)
}
