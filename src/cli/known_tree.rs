//! What is known of a tree, from one run to the next.

use cairn::archive::encoder_cache::EncoderCache;
use cairn::archive::pack::PackStats;

use super::failure;

/// Keeps what was found out about a tree that was archived, if that is wanted and nothing changed meanwhile. The
/// archive is good without it.
pub(super) fn keep(cache: Option<&EncoderCache>, stats: &PackStats) {
    if let Some(cache) = cache
        && stats.changed == 0
        && let Err(e) = cache.save()
    {
        failure::warn(&format!("what is known of the tree is not kept: {e}"));
    }
}
