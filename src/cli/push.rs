//! `cairn push`

use std::io::BufReader;
use std::path::PathBuf;

use cairn_store::ssh::Patient;
use cairn_store::ssh::server::{Push, Throttle, refuse, serve_push};
use cairn_store::{Location, Store, WriteStore};
use clap::Parser;

use super::access::Access;
use super::store_flags::Given;
use super::{Context, options, pipes};

/// Take an index and its chunks on standard input, by casync's protocol
///
/// This is what cairn and casync start on the machine with the store to write to it over ssh, if
/// CASYNC_REMOTE_PATH=cairn is set where they run. `-` stands for nothing. Every chunk is verified before
/// it is stored, and the index appears when all of them are there.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Always `-`
    #[arg(value_name = "BASE", value_parser = pipes::nothing)]
    _base: pipes::Nothing,

    /// Always `-`: archives are not taken
    #[arg(value_name = "ARCHIVE", value_parser = pipes::nothing)]
    _archive: pipes::Nothing,

    /// Where the index goes
    #[arg(value_parser = pipes::something::<PathBuf>)]
    index: pipes::Maybe<PathBuf>,

    /// Store to put chunks into
    #[arg(value_parser = pipes::something::<Location>)]
    store: pipes::Maybe<Location>,

    /// Stores whose chunks need not be sent
    #[arg(value_parser = pipes::something::<Location>)]
    others: Vec<pipes::Maybe<Location>>,

    #[command(flatten)]
    write: Given<options::WriteOptions>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let (input, output) = pipes::standard()?;
    let mut output = Throttle::new(Patient::new(output), context.global.rate_limit_bps);
    let opened = open(args, context).inspect_err(|e| refuse(&mut output, &format!("{e:#}")));
    let (store, others) = opened?;
    let (index, flush) = (args.index.0.as_deref(), args.write.flush());
    let push = Push { store: store.as_deref(), others: &others, index, flush };
    Ok(serve_push(BufReader::new(Patient::new(input)), output, &push)?)
}

/// The store to write to, if any, and those to look into.
type Opened = (Option<Box<dyn WriteStore>>, Vec<Box<dyn Store>>);

fn open(args: &Args, context: &Context) -> anyhow::Result<Opened> {
    let access = Access::without_flags(context);
    let store =
        args.store.0.as_ref().map(|store| access.writable(store, &args.write)).transpose()?;
    anyhow::ensure!(store.is_some() || args.index.0.is_some(), "neither store nor index to write");
    let others = args.others.iter().flat_map(|store| store.0.clone());
    let others = others.map(|store| access.stores(&[store])).collect::<anyhow::Result<_>>()?;
    Ok((store, others))
}
