//! Stores of encrypted chunks are looked after as others are, and beside them.

use std::fs;

use super::common::{Sandbox, desync_is_here, random};
use super::stores::sorted;

const SUFFIX: &str = ".cacnk.xchacha20-poly1305-";

/// A store `sealed` that is configured to be encrypted, with a blob in it.
fn sealed() -> Sandbox {
    let sandbox = Sandbox::with_blob(&random(1, 1_000_000));
    let key = "01".repeat(32);
    let sealed = format!("{{\"encryption\": true, \"encryption-key\": \"{key}\"}}");
    let store = sandbox.path("sealed").to_str().unwrap().to_owned();
    sandbox.configure(&format!("{{\"store-options\": {{\"{store}\": {sealed}}}}}"));
    sandbox.cairn("make blob.caibx blob -s sealed").succeeds();
    sandbox
}

/// The ids of the encrypted chunks in the store.
fn ids(sandbox: &Sandbox) -> Vec<String> {
    let files = sandbox.files("sealed").into_iter();
    files.filter(|name| name.contains(SUFFIX)).map(|name| name[5..69].to_owned()).collect()
}

fn file_of(sandbox: &Sandbox, id: &str) -> String {
    let name = sandbox.files("sealed").into_iter().find(|name| name[5..].starts_with(id));
    format!("sealed/{}", name.unwrap())
}

#[test]
fn damage_is_found_and_removed() {
    let sandbox = sealed();
    sandbox.cairn("verify -s sealed").succeeds_silently();
    let id = sandbox.ids("blob.caibx").remove(2);
    let file = file_of(&sandbox, &id);
    let len = sandbox.read(&file).len() as u64;
    sandbox.patch(&file, len - 20, b"damaged");
    // A bad chunk of another form is not this store's.
    sandbox.write(&format!("sealed/{}/{id}.cacnk", &id[..4]), b"garbage");
    let done = sandbox.cairn("verify -s sealed -r");
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.starts_with(&format!("invalid chunk {id}: ")), "{}", done.stderr);
    assert!(done.stderr.contains(": removed\nerror: sealed: 1 of "), "{}", done.stderr);
    assert!(!ids(&sandbox).contains(&id));
    assert_eq!(sandbox.read(&file_of(&sandbox, &id)), b"garbage");
}

#[test]
fn only_chunks_of_the_configured_form_are_pruned() {
    let sandbox = sealed();
    sandbox.write("other", &random(2, 500_000));
    sandbox.cairn("make other.caibx other -s sealed").succeeds();
    // The same directory by a name that is not configured: chunks that are not encrypted.
    fs::create_dir(sandbox.path("work")).unwrap();
    std::os::unix::fs::symlink("../sealed", sandbox.path("work/plain")).unwrap();
    sandbox.cairn("make blob.caibx blob -s work/plain").succeeds();
    sandbox.cairn("prune -y -s sealed other.caibx").succeeds_silently();
    assert_eq!(ids(&sandbox), sorted(sandbox.ids("other.caibx")));
    sandbox.cairn("extract blob.caibx out -s work/plain").succeeds();
    sandbox.cairn("prune -y -s work/plain other.caibx").succeeds_silently();
    assert_eq!(ids(&sandbox), sorted(sandbox.ids("other.caibx")));
    assert!(sandbox.files("sealed").iter().all(|name| name.contains(SUFFIX)));
}

#[test]
fn a_cache_may_be_sealed_and_its_sizes_are_those_in_the_store() {
    let sandbox = sealed();
    sandbox.cairn("cache blob.caibx -s sealed -c plain").succeeds_silently();
    sandbox.cairn("verify -s plain").succeeds_silently();
    fs::remove_dir_all(sandbox.path("sealed")).unwrap();
    sandbox.cairn("cache blob.caibx -s plain -c sealed").succeeds_silently();
    sandbox.cairn("verify -s sealed").succeeds_silently();
    let listed = sandbox.cairn("inspect-chunks blob.caibx -s sealed").succeeds();
    for id in sandbox.ids("blob.caibx") {
        let len = sandbox.read(&file_of(&sandbox, &id)).len();
        assert!(listed.text().contains(&format!("\"compressed_size\": {len}")));
    }
    if desync_is_here("a_cache_may_be_sealed_and_its_sizes_are_those_in_the_store") {
        let config = sandbox.path(".config/desync/config.json");
        let words = "inspect-chunks blob.caibx -s sealed";
        let theirs = sandbox.desync(&format!("--config {} {words}", config.display()));
        assert_eq!(theirs.succeeds().text(), listed.text());
    }
}
