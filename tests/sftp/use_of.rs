//! What works on a store here works on one over there.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use crate::common::{Sandbox, desync_is_here, random};
use crate::sftp_server::{SftpServer, has_gone};

#[test]
fn a_store_is_made_read_copied_and_pruned() {
    let server = SftpServer::start();
    let sandbox = Sandbox::with_blob(&random(1, 3_000_000));
    let url = |name: &str| server.url(&sandbox, name);
    let (store, other) = (url("store"), url("other"));
    let cairn = |words: &str| server.cairn(&sandbox, words);

    let index = url("indexes/blob.caibx");
    cairn(&format!("make {index} blob -s {store}")).succeeds_silently();
    sandbox.cairn("make here.caibx blob -s here").succeeds();
    assert!(sandbox.read("indexes/blob.caibx") == sandbox.read("here.caibx"));
    assert_eq!(sandbox.files("store"), sandbox.files("here"));
    // What is there is not written again.
    let first = sandbox.path("store").join(&sandbox.files("store")[0]);
    let written = fs::metadata(&first).unwrap().modified().unwrap();
    cairn(&format!("make {index} blob -s {store}")).succeeds_silently();
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written);

    cairn(&format!("extract {index} out -s {store}")).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    cairn(&format!("cache {index} -s {store} -c {other}")).succeeds();
    assert_eq!(sandbox.files("other"), sandbox.files("here"));
    fs::remove_file(sandbox.path("out")).unwrap();
    cairn(&format!("extract {index} out -s {store} -c {}", url("cached"))).succeeds_silently();
    assert_eq!(sandbox.files("cached"), sandbox.files("here"));

    sandbox.write("blob", &random(1, 1_000_000));
    cairn(&format!("make {index} blob -s {store}")).succeeds_silently();
    let leftovers = ["abcd/.tmp-cacnk.old", "abcd/.tmp-cacnk.new"];
    leftovers.iter().for_each(|name| sandbox.write(&format!("store/{name}"), b"half"));
    let old = File::options().write(true).open(sandbox.path("store/abcd/.tmp-cacnk.old")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    cairn(&format!("prune -y {index} -s {store}")).succeeds();
    let mut kept: Vec<String> = sandbox
        .ids("indexes/blob.caibx")
        .iter()
        .map(|id| format!("{}/{id}.cacnk", &id[..4]))
        .collect();
    kept.push(leftovers[1].to_owned());
    kept.sort();
    kept.dedup();
    assert_eq!(sandbox.files("store"), kept);
    assert!(kept.len() < sandbox.files("here").len());
}

#[test]
fn encrypted_chunks_and_odd_names_are_kept_too() {
    let server = SftpServer::start();
    let sandbox = Sandbox::with_blob(&random(2, 500_000));
    let url = server.url(&sandbox, "a%20store");
    let key = "6368616e676520746869732070617373776f726420746f206120736563726574";
    sandbox.configure(&format!(
        r#"{{"store-options": {{"{url}": {{"encryption": true, "encryption-key": "{key}", "uncompressed": true}}}}}}"#
    ));
    server.cairn(&sandbox, &format!("make blob.caibx blob -s {url}")).succeeds_silently();
    let files = sandbox.files("a store");
    assert!(files.len() > 2);
    assert!(files.iter().all(|name| name.ends_with(".xchacha20-poly1305-50d64035")), "{files:?}");
    server.cairn(&sandbox, &format!("extract blob.caibx out -s {url}")).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

#[test]
fn desync_and_cairn_read_and_write_the_same_store() {
    if !desync_is_here("desync_and_cairn_read_and_write_the_same_store") {
        return;
    }
    let server = SftpServer::start();
    let sandbox = Sandbox::with_blob(&random(3, 500_000));
    let url = |name: &str| server.plain_url(&sandbox, name);
    sandbox.write("home/x", b"");
    fs::create_dir(sandbox.path("theirs")).unwrap();
    let (ours, theirs) = (url("ours"), url("theirs"));

    server.cairn(&sandbox, &format!("make {ours}/blob.caibx blob -s {ours}")).succeeds_silently();
    server.desync(&sandbox, &format!("extract -n 3 {ours}/blob.caibx out -s {ours}")).succeeds();
    assert!(sandbox.read("out") == sandbox.read("blob"));

    server.desync(&sandbox, &format!("make -n 3 {theirs}/blob.caibx blob -s {theirs}")).succeeds();
    assert_eq!(sandbox.files("ours"), sandbox.files("theirs"));
    assert_eq!(sandbox.ids("ours/blob.caibx"), sandbox.ids("theirs/blob.caibx"));
    fs::remove_file(sandbox.path("out")).unwrap();
    server
        .cairn(&sandbox, &format!("extract {theirs}/blob.caibx out -s {theirs}"))
        .succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));

    // Each removes what the other has written.
    sandbox.write("blob", b"little");
    sandbox.cairn("make little.caibx blob -s ours").succeeds();
    sandbox.cairn("make little.caibx blob -s theirs").succeeds();
    server.desync(&sandbox, &format!("prune -y little.caibx -s {ours}")).succeeds();
    server.cairn(&sandbox, &format!("prune -y little.caibx -s {theirs}")).succeeds();
    for store in ["ours", "theirs"] {
        let files = sandbox.files(store);
        let chunks = files.iter().filter(|name| name.ends_with(".cacnk"));
        assert_eq!(chunks.count(), 1, "{files:?}");
    }
}

#[test]
fn one_ssh_is_enough_and_none_is_left() {
    let server = SftpServer::start();
    server.use_client("echo $$ >>started; exec $SSH \"$@\"");
    let sandbox = Sandbox::with_store(&random(4, 3_000_000));
    let url = server.url(&sandbox, "store");
    server.cairn(&sandbox, &format!("extract blob.caibx out -s {url}")).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    let started = server.notes("started");
    assert_eq!(started.len(), 1, "{started:?}");
    has_gone(&started[0]);
    // A seed that has all: nobody is asked.
    fs::rename(sandbox.path("out"), sandbox.path("seed")).unwrap();
    sandbox.cairn("make seed.caibx seed").succeeds();
    let words = format!("extract blob.caibx out -s {url} --seed seed.caibx");
    server.cairn(&sandbox, &words).succeeds_silently();
    assert_eq!(server.notes("started").len(), 1);
}
