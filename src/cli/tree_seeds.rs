//! Directories that have chunks of an archive as well as the store.

use std::path::{Path, PathBuf};

use cairn::archive::seed::TreeSeed;
use cairn_formats::Index;
use cairn_store::Store;
use cairn_store::combine::Router;

use super::{Context, failure};

/// Looks through directories that may have chunks of an index, and through the target if that may have some, too; a
/// directory with what is known of the target saves reading what is known.
pub(super) fn scan(
    seeds: &[PathBuf],
    target: Option<&Path>,
    cache: Option<&Path>,
    index: &Index,
    workers: usize,
    context: &Context,
) -> anyhow::Result<Vec<TreeSeed>> {
    let mut scanned = Vec::new();
    for root in seeds.iter().map(PathBuf::as_path).chain(target) {
        let progress = context.progress.without_lines();
        let seed = match cache.filter(|_| Some(root) == target) {
            Some(cache) => TreeSeed::scan_changes(root, index, workers, cache, &progress),
            None => TreeSeed::scan(root, index, workers, &progress),
        };
        match seed {
            Ok(seed) => {
                let (common, all) = (seed.common(index), index.len());
                tracing::info!(seed = %root.display(), "has {common} of {all} chunks");
                scanned.push(seed);
            }
            // Nobody asked for it, and it is done without.
            Err(e) if Some(root) == target && !matches!(e, cairn::Error::Interrupted) => {
                failure::warn(&format!("no chunks are taken from the target: {e}"));
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(scanned)
}

/// The store, asked for what the seeds do not have.
pub(super) fn in_front_of<'a>(seeds: &'a [TreeSeed], store: Box<dyn Store>) -> Box<dyn Store + 'a> {
    if seeds.is_empty() {
        return store;
    }
    let seeds = seeds.iter().map(|seed| Box::new(seed) as Box<dyn Store + 'a>);
    Box::new(Router::<Box<dyn Store + 'a>>::new(seeds.chain([store as _]).collect()))
}
