//! `casync gc`

use std::ffi::OsString;
use std::path::PathBuf;

use cairn::ids::IdSet;
use cairn::upkeep::add_index;
use cairn::upkeep::prune::{PruneOptions, prune_told};
use cairn_formats::ChunkId;
use cairn_store::Location;

use super::options::Options;
use super::{place, print};
use crate::cli::Context;

pub(super) fn run(words: &[OsString], options: &Options, context: &Context) -> anyhow::Result<()> {
    anyhow::ensure!(!words.is_empty(), "`gc` takes the indexes whose chunks are kept");
    let indexes: Vec<Location> =
        words.iter().map(|word| place::parse(word)).collect::<anyhow::Result<_>>()?;
    let access = options.access(context);
    let location = place::store(options, &indexes[0])?;
    // Before the indexes are read: no writer can come in between.
    let store = access.prunable(&location)?;
    let mut keep = IdSet::default();
    let mut references = 0;
    for index in &indexes {
        let index = access.any_index(index)?;
        references += index.len();
        add_index(&mut keep, &index);
    }
    context.signals.catch()?;
    let is_told = options.is_verbose();
    if is_told {
        let chunks = keep.ids().len();
        print(&format!("Chunk store usage: {references} references, {chunks} chunks\n"))?;
    }
    let doing = if options.dry_run { "Would remove" } else { "Removing" };
    let mut told = Ok(());
    let mut tell = |id: &ChunkId| {
        if is_told && told.is_ok() {
            told = print(&format!("{doing} chunk {id}.cacnk.\n"));
        }
    };
    let had = if is_told { directories(&location) } else { Vec::new() };
    let prune_options = PruneOptions { dry_run: options.dry_run, ..PruneOptions::default() };
    let progress = context.progress.without_lines();
    let stats = prune_told(store.as_ref(), &keep, &prune_options, &mut tell, &progress)?;
    told?;
    let (removed, left) = (stats.removed, stats.kept + stats.young);
    if options.dry_run {
        return print(&format!("Would remove {removed} chunks, {left} chunks remaining.\n"));
    }
    if is_told {
        let gone = had.iter().filter(|path| !path.exists()).count();
        print(&format!(
            "Removed {removed} chunks, {gone} directories, {left} chunks remaining.\n"
        ))?;
    }
    Ok(())
}

/// The directories that a store on this machine has.
fn directories(store: &Location) -> Vec<PathBuf> {
    let Location::Local(path) = store else { return Vec::new() };
    let entries = path.read_dir().into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
