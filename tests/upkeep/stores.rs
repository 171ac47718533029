//! What the tests do to stores.

use super::common::Sandbox;

/// Where a compressed chunk lies.
pub fn place(store: &str, id: &str) -> String {
    format!("{store}/{}/{id}.cacnk", &id[..4])
}

/// The names of all chunks in a store, without their directories.
pub fn chunks(sandbox: &Sandbox, store: &str) -> Vec<String> {
    let files = sandbox.files(store).into_iter();
    files.filter_map(|name| Some(name.strip_suffix(".cacnk")?[5..].to_owned())).collect()
}

/// Ids in their order, each once.
pub fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids.dedup();
    ids
}
