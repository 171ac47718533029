//! Directories that have chunks of an archive as well as the store.

use std::path::{Path, PathBuf};

use cairn::archive::seed::TreeSeed;
use cairn_formats::Index;
use cairn_store::Store;
use cairn_store::combine::Router;

use super::{Context, failure};

/// The store, behind the directories that may have chunks of an index, and behind the target if that may have
/// some, too.
pub(super) fn in_front_of(
    store: Box<dyn Store>,
    seeds: &[PathBuf],
    target: Option<&Path>,
    index: &Index,
    workers: usize,
    context: &Context,
) -> anyhow::Result<Box<dyn Store>> {
    let mut stores: Vec<Box<dyn Store>> = Vec::new();
    for root in seeds.iter().map(PathBuf::as_path).chain(target) {
        let progress = context.progress.without_lines();
        match TreeSeed::scan(root, index, workers, &progress) {
            Ok(seed) => {
                let (common, all) = (seed.common(index), index.len());
                tracing::info!(seed = %root.display(), "has {common} of {all} chunks");
                stores.push(Box::new(seed));
            }
            // Nobody asked for it, and it is done without.
            Err(e) if Some(root) == target && !matches!(e, cairn::Error::Interrupted) => {
                failure::warn(&format!("no chunks are taken from the target: {e}"));
            }
            Err(e) => return Err(e.into()),
        }
    }
    if stores.is_empty() {
        return Ok(store);
    }
    stores.push(store);
    Ok(Box::new(Router::<Box<dyn Store>>::new(stores)))
}
