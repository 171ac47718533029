//! What an index server answers.

use std::fs;

use crate::common::desync_is_here;
use crate::common::server::{DesyncServer, Server, ask};
use crate::{as_desync, store};

const NO_NAME: &str = "invalid index name\n";

/// A directory with an index and a file that is none.
fn indexes() -> crate::common::Sandbox {
    let (sandbox, _) = store();
    fs::create_dir(sandbox.path("indexes")).unwrap();
    fs::rename(sandbox.path("blob.caibx"), sandbox.path("indexes/x.caibx")).unwrap();
    sandbox.write("indexes/junk", b"this is no index");
    sandbox
}

#[test]
fn answers_are_those_of_desync() {
    let sandbox = indexes();
    let server = as_desync(&sandbox, "index-server -s indexes");
    let real = desync_is_here("indexes::answers_are_those_of_desync")
        .then(|| DesyncServer::start(&sandbox, "index-server -s indexes"));
    let words = |text: &'static str| Some(text);
    for (method, path, status, body) in [
        ("GET", "/x.caibx", 200, None),
        ("HEAD", "/x.caibx", 200, None),
        ("GET", "/dir/x.caibx", 200, None),
        ("GET", "/a%2Fx.caibx", 200, None),
        ("GET", "/x.caibx/", 200, None),
        ("GET", "/none", 404, words("index not found\n")),
        ("HEAD", "/none", 404, words("")),
        ("GET", "/junk", 400, words("failed to retrieve index\n")),
        ("HEAD", "/junk", 200, words("")),
        ("GET", "/", 400, words(NO_NAME)),
        ("POST", "/", 400, words(NO_NAME)),
        ("GET", "/x%5Cy", 400, words(NO_NAME)),
        ("GET", "/metrics", 404, words("index not found\n")),
        ("PUT", "/new", 400, words("writing to upstream index store is not enabled\n")),
        ("POST", "/x.caibx", 405, words("only GET, PUT and HEAD are supported")),
    ] {
        let mut answers = vec![server.ask(method, path, &[], b"")];
        answers.extend(real.as_ref().map(|real| ask(real.address, method, path, &[], b"")));
        for answer in answers {
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            if let Some(body) = body {
                assert_eq!(answer.text(), body, "{method} {path}");
                let nosniff = body.ends_with('\n').then_some("nosniff");
                assert_eq!(answer.header("x-content-type-options"), nosniff, "{method} {path}");
            } else if method == "GET" {
                assert_eq!(answer.body, sandbox.read("indexes/x.caibx"), "{path}");
            }
        }
    }
    server.prints("failed to retrieve index");
}

#[test]
fn names_do_not_lead_out_of_the_store() {
    let sandbox = indexes();
    let server = Server::start(&sandbox, "index-server -w -s indexes");
    let index = sandbox.read("indexes/x.caibx");
    let before = sandbox.files(".");
    for path in ["/%2e%2e", "/%2e", "/a/%2e%2e", "/%00", "/a%0ab", "/..%5cx", "/%2e%2e%2f", "/%ff"]
    {
        for method in ["GET", "PUT"] {
            let answer = server.ask(method, path, &[], if method == "PUT" { &index } else { b"" });
            assert_eq!(answer.status, 400, "{method} {path}: {answer:?}");
        }
    }
    assert_eq!(sandbox.files("."), before);
    // All before the last slash is of no matter, wherever it seems to lead.
    assert_eq!(server.ask("PUT", "/%2e%2e%2fy", &[], &index).status, 200);
    assert_eq!(sandbox.read("indexes/y"), index);
    assert!(!sandbox.path("y").exists());
}

#[test]
fn only_indexes_get_in() {
    let sandbox = indexes();
    let server = Server::start(&sandbox, "index-server -w -s indexes");
    let mut index = sandbox.read("indexes/x.caibx");
    let put = |name: &str, body: &[u8]| server.ask("PUT", name, &[], body);
    let done = put("/y.caibx", &index);
    assert_eq!((done.status, &done.body[..]), (200, &b""[..]));
    assert_eq!(sandbox.read("indexes/y.caibx"), index);
    assert_eq!(server.get("/y.caibx").body, index);
    for bad in [&b""[..], b"junk", &index[..index.len() / 2]] {
        let refused = put("/z.caibx", bad);
        assert_eq!(refused.status, 415);
        assert!(refused.text().starts_with("invalid index: "), "{refused:?}");
    }
    // Made with the other digest.
    sandbox.cairn("make other.caibx blob -s store2 --digest sha256").succeeds();
    let refused = put("/z.caibx", &sandbox.read("other.caibx"));
    assert_eq!(refused.status, 415);
    index.extend_from_slice(b"trailing");
    let trailing = put("/t.caibx", &index);
    assert!(trailing.status == 415 || sandbox.read("indexes/t.caibx").len() < index.len());
    assert!(!sandbox.path("indexes/z.caibx").exists());
    // What has a page has no index.
    assert_eq!(put("/metrics", &sandbox.read("indexes/x.caibx")).status, 405);
    assert!(!sandbox.path("indexes/metrics").exists());
}

#[test]
fn indexes_are_asked_for_anew() {
    let sandbox = indexes();
    let server = Server::start(&sandbox, "index-server -s indexes");
    let whole = server.get("/x.caibx");
    assert_eq!(whole.header("cache-control"), Some("no-cache"));
    let etag = whole.header("etag").unwrap();
    let same = server.ask("GET", "/x.caibx", &[&format!("If-None-Match: {etag}")], b"");
    assert_eq!(same.status, 304);
    assert_eq!(server.ask("GET", "/x.caibx", &["Range: bytes=0-47"], b"").body, whole.body[..48]);
    let head = server.ask("HEAD", "/x.caibx", &[], b"");
    assert_eq!(head.header("content-length"), whole.header("content-length"));
}

#[test]
fn a_store_that_is_not_there_is_an_error_at_once() {
    let sandbox = indexes();
    sandbox.refuses("index-server -s nowhere -l 127.0.0.1:0", &["cannot open store nowhere"]);
    sandbox.refuses("index-server -s blob -l 127.0.0.1:0", &["blob: it is not a directory"]);
}
