//! The forms in which chunks go over the wire, whatever the form in which they are stored.

use crate::common::server::Server;
use crate::common::{Sandbox, desync_is_here, random};
use crate::store;

const KEY: &str = "6368616e676520746869732070617373776f726420746f206120736563726574";

/// What names end in with that key.
const SEALED: &str = ".xchacha20-poly1305-50d64035";

#[test]
fn chunks_are_served_and_taken_as_they_are() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -u -s store");
    let path = format!("/{}/{}", &ids[0][..4], ids[0]);
    let plain = server.get(&path);
    assert_eq!((plain.status, &plain.body[..]), (200, &sandbox.read("blob")[..plain.body.len()]));
    let head = server.ask("HEAD", &path, &[], b"");
    assert_eq!(head.header("content-length"), plain.header("content-length"));
    let part = server.ask("GET", &path, &["Range: bytes=5-9"], b"");
    assert_eq!((part.status, &part.body[..]), (206, &plain.body[5..10]));
    let refused = server.get(&crate::path(&ids[0]));
    assert!(refused.status == 400 && refused.text().contains("this server expects '<chunkid>'"));

    let writable = Server::start(&sandbox, "chunk-server -u -w -s new");
    let put = |id: &str, body: &[u8]| {
        writable.ask("PUT", &format!("/{}/{id}", &id[..4]), &[], body).status
    };
    assert_eq!(put(&ids[0], &plain.body), 200);
    assert_eq!(put(&ids[1], &plain.body), 400);
    assert_eq!(put(&ids[1], b""), 400);
    sandbox.cairn("verify -s new").succeeds();
    assert!(sandbox.path(&format!("new{}", crate::path(&ids[0]))).exists(), "not compressed");
}

#[test]
fn plain_chunks_are_compressed_for_the_wire() {
    let sandbox = Sandbox::with_blob(&random(3, 300_000));
    sandbox.cairn("make blob.caibx blob -s store --uncompressed").succeeds();
    let id = &sandbox.ids("blob.caibx")[0];
    let server = Server::start(&sandbox, "chunk-server -s store");
    let answer = server.get(&crate::path(id));
    assert_eq!((answer.status, &answer.body[..4]), (200, &[0x28, 0xb5, 0x2f, 0xfd][..]));
}

#[test]
fn desync_reads_and_writes_sealed_chunks() {
    if !desync_is_here("desync_reads_and_writes_sealed_chunks") {
        return;
    }
    for (algorithm, flags) in [
        ("xchacha20-poly1305", format!("--encryption-key {KEY}")),
        ("aes-256-gcm", format!("--encryption-algorithm aes-256-gcm --encryption-key {KEY} -u")),
    ] {
        let (sandbox, _) = store();
        let server = Server::start(&sandbox, &format!("chunk-server -w -s store {flags}"));
        let uncompressed = flags.ends_with("-u");
        let config = format!(
            r#"{{"store-options": {{"{}": {{"encryption": true, "encryption-key": "{KEY}",
                "encryption-algorithm": "{algorithm}", "uncompressed": {uncompressed}}}}}}}"#,
            server.url()
        );
        sandbox.write("home/.config/desync/config.json", config.as_bytes());
        let url = server.url();
        sandbox.desync(&format!("extract -s {url} blob.caibx out")).succeeds();
        assert!(sandbox.read("out") == sandbox.read("blob"), "{algorithm}");
        sandbox.write("blob2", &random(4, 300_000));
        sandbox.desync(&format!("make -s {url} blob2.caibx blob2")).succeeds();
        sandbox.cairn("extract blob2.caibx out2 -s store").succeeds();
        assert!(sandbox.read("out2") == sandbox.read("blob2"), "{algorithm}");
    }
}

#[test]
fn sealed_chunks_are_no_two_times_the_same_so_parts_of_them_are_not_sent() {
    let (sandbox, ids) = store();
    let mut command = sandbox.command("chunk-server -s store --encryption -l 127.0.0.1:0");
    let server = Server::of(std::mem::replace(
        command.env("DESYNC_ENCRYPTION_KEY", KEY),
        std::process::Command::new("true"),
    ));
    let path = format!("{}{SEALED}", crate::path(&ids[0]));
    let whole = server.ask("GET", &path, &["Range: bytes=0-9", "If-None-Match: *"], b"");
    assert_eq!(
        (whole.status, whole.header("etag"), whole.header("accept-ranges")),
        (200, None, None)
    );
    assert_ne!(server.get(&path).body, whole.body);
    assert_eq!(server.get(&crate::path(&ids[0])).status, 400);
}

#[test]
fn half_wishes_for_encryption_are_refused() {
    let (sandbox, _) = store();
    let refuses = |flags: &str, part: &str| {
        sandbox.refuses(&format!("chunk-server -s store -l 127.0.0.1:0 {flags}"), &[part]);
    };
    refuses("--encryption", "no encryption key configured");
    refuses("--encryption-algorithm aes-256-gcm", "no encryption key configured");
    refuses("--encryption-key aabb", "encryption key must be 32 bytes");
    refuses(&format!("--encryption-key {KEY} --encryption-algorithm x"), "unsupported encryption");
    // The variable alone encrypts nothing.
    let mut command = sandbox.command("chunk-server -s store -l 127.0.0.1:0");
    command.env("DESYNC_ENCRYPTION_KEY", "nonsense");
    Server::of(command);
}
