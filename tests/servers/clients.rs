//! The real casync and desync as clients of cairn's servers.

use crate::common::server::Server;
use crate::common::{Sandbox, desync_is_here, random};
use crate::store;

#[test]
fn desync_reads_and_writes_through_both_servers() {
    if !desync_is_here("desync_reads_and_writes_through_both_servers") {
        return;
    }
    let sandbox = Sandbox::with_blob(&random(2, 1_500_000));
    std::fs::create_dir(sandbox.path("indexes")).unwrap();
    let chunks = Server::start(&sandbox, "chunk-server -w -s new");
    let indexes = Server::start(&sandbox, "index-server -w -s indexes");
    let (chunks, indexes) = (chunks.url(), indexes.url());
    sandbox.desync(&format!("make -s {chunks}/ {indexes}/blob.caibx blob")).succeeds();
    sandbox.cairn("verify -s new").succeeds();
    sandbox.cairn("make mine.caibx blob").succeeds();
    assert_eq!(sandbox.ids("indexes/blob.caibx"), sandbox.ids("mine.caibx"));
    sandbox.desync(&format!("extract -s {chunks}/ {indexes}/blob.caibx out")).succeeds();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    // A second time nothing is sent.
    sandbox.desync(&format!("make -s {chunks}/ {indexes}/blob.caibx blob")).succeeds();
    let missing = sandbox.desync(&format!("extract -s {chunks} {indexes}/none.caibx out2"));
    assert!(missing.code == Some(1) && missing.stderr.contains("none.caibx"), "{missing:?}");
}

#[test]
fn casync_extracts_over_http() {
    let (sandbox, _) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    sandbox.casync(&format!("extract --store={}/ blob.caibx out", server.url())).succeeds();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

#[test]
fn desync_is_told_when_chunks_are_missing() {
    if !desync_is_here("desync_is_told_when_chunks_are_missing") {
        return;
    }
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    std::fs::remove_file(sandbox.path(&format!("store{}", crate::path(&ids[1])))).unwrap();
    let failed = sandbox.desync(&format!("extract -s {} blob.caibx out", server.url()));
    assert!(failed.stderr.contains(&format!("chunk {} missing", ids[1])), "{failed:?}");
    // Another store has it.
    sandbox.cairn("chop blob.caibx blob -s other").succeeds();
    let both = format!("extract -s {} -s other blob.caibx out", server.url());
    sandbox.desync(&both).succeeds();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}
