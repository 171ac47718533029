//! What a chunk server answers: desync's statuses and words, and more where desync says nothing.

use std::fs;

use crate::common::desync_is_here;
use crate::common::server::{Answer, DesyncServer, Server, ask};
use crate::{as_desync, path, store};

const NO_EXTENSION: &str = "invalid chunk extension, verify compression and encryption settings\n";
const OTHER_EXTENSION: &str = "requested chunk with an unexpected file extension, this server expects \
                               '<chunkid>.cacnk', verify compression and encryption settings\n";
const NO_PATH: &str = "expected format '/<prefix>/<chunkid>.cacnk\n";
const READ_ONLY: &str = "writing to upstream chunk store is not enabled\n";
const NO_METHOD: &str = "only GET, PUT and HEAD are supported";

/// The requests of a client that makes mistakes, and what desync answers, with its body where that is text.
fn table(id: &str) -> Vec<(&'static str, String, u16, Option<String>)> {
    let zero = "0".repeat(64);
    let upper = id.to_uppercase();
    let words = |text: &str| Some(text.to_owned());
    vec![
        ("GET", path(id), 200, None),
        ("HEAD", path(id), 200, words("")),
        ("GET", format!("{}?x=1", path(id)), 200, None),
        ("GET", format!("/{}/{upper}.cacnk", &upper[..4]), 200, None),
        ("GET", format!("/{}/{upper}.cacnk", &id[..4]), 400, words(NO_PATH)),
        ("GET", format!("/{}%2F{id}.cacnk", &id[..4]), 200, None),
        ("GET", format!("/{}/{id}%2Ecacnk", &id[..4]), 200, None),
        ("GET", path(&zero), 404, Some(format!("chunk {zero} not found"))),
        ("HEAD", path(&zero), 404, words("")),
        ("GET", format!("/{}/{zero}.cacnk", &id[..4]), 400, words(NO_PATH)),
        ("GET", "/".to_owned(), 400, words(NO_EXTENSION)),
        ("PUT", "/".to_owned(), 400, words(NO_EXTENSION)),
        ("POST", "/".to_owned(), 400, words(NO_EXTENSION)),
        ("GET", "/metrics".to_owned(), 400, words(NO_EXTENSION)),
        ("GET", "/healthz".to_owned(), 400, words(NO_EXTENSION)),
        ("GET", "/events".to_owned(), 400, words(NO_EXTENSION)),
        ("GET", format!("/{}/{id}", &id[..4]), 400, words(NO_EXTENSION)),
        ("GET", format!("{}/", path(id)), 400, words(NO_EXTENSION)),
        ("GET", format!("{}.cacnk", path(id)), 400, words(OTHER_EXTENSION)),
        ("GET", format!("/{}/{id}.x.cacnk", &id[..4]), 400, words(OTHER_EXTENSION)),
        ("GET", format!("/a{}", path(id)), 400, words(NO_PATH)),
        ("GET", "/.cacnk".to_owned(), 400, words(NO_PATH)),
        ("GET", "/0000/.cacnk".to_owned(), 400, words(NO_PATH)),
        ("PUT", path(id), 400, words(READ_ONLY)),
        ("POST", path(id), 405, words(NO_METHOD)),
        ("DELETE", path(id), 405, words(NO_METHOD)),
        ("BREW", path(id), 405, words(NO_METHOD)),
    ]
}

#[track_caller]
fn check(what: &str, answer: &Answer, status: u16, body: Option<&str>) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    if let Some(body) = body {
        assert_eq!(answer.text(), body, "{what}");
        let is_error = body.ends_with('\n');
        let nosniff = is_error.then_some("nosniff");
        assert_eq!(answer.header("x-content-type-options"), nosniff, "{what}");
        if !body.is_empty() {
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{what}");
        }
    }
}

#[test]
fn answers_are_those_of_desync() {
    let (sandbox, ids) = store();
    let server = as_desync(&sandbox, "chunk-server -s store");
    let real = desync_is_here("answers_are_those_of_desync")
        .then(|| DesyncServer::start(&sandbox, "chunk-server -s store"));
    // One whose directory differs in upper case.
    let id = ids.iter().find(|id| id[..4].contains(char::is_alphabetic)).unwrap();
    for (method, path, status, body) in table(id) {
        let what = format!("{method} {path}");
        let answer = server.ask(method, &path, &[], b"");
        check(&what, &answer, status, body.as_deref());
        if let Some(real) = &real {
            let theirs = ask(real.address, method, &path, &[], b"");
            check(&format!("desync, {what}"), &theirs, status, body.as_deref());
            assert_eq!(theirs.body, answer.body, "{what}");
        }
    }
    let stored = fs::read(sandbox.path(&format!("store{}", path(&ids[0])))).unwrap();
    assert_eq!(server.get(&path(&ids[0])).body, stored);
}

#[test]
fn an_id_that_is_none_is_refused() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    for id in [&ids[0][..63], &ids[0].replace(&ids[0][60..], "xyz!"), &format!("{}0", ids[0])] {
        check(id, &server.get(&path(id)), 400, Some(NO_PATH));
    }
}

#[test]
fn paths_that_are_not_clean_are_redirected_before_anything_else() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store --authorization secret");
    let chunk = path(&ids[0]);
    for (asked, location) in [
        (format!("/{chunk}"), chunk.clone()),
        (format!("/a/..{chunk}?x=../y"), format!("{chunk}?x=../y")),
        (format!("/.{chunk}"), chunk),
        ("//example.org/%2e%2e/".to_owned(), "/example.org/%2e%2e/".to_owned()),
        ("/../../etc/passwd".to_owned(), "/etc/passwd".to_owned()),
    ] {
        for method in ["GET", "PUT"] {
            let answer = server.ask(method, &asked, &[], b"");
            assert_eq!((answer.status, answer.header("location")), (307, Some(&location[..])));
        }
    }
}

#[test]
fn chunks_may_be_kept_for_ever_and_are_not_sent_twice() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    let chunk = path(&ids[0]);
    let whole = server.get(&chunk);
    assert_eq!(whole.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(whole.header("content-type"), Some("application/octet-stream"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let len = whole.body.len();
    assert_eq!(whole.header("content-length"), Some(&len.to_string()[..]));
    let etag = whole.header("etag").unwrap();
    assert!(etag.starts_with('"') && etag.len() > 10, "{etag}");
    assert_ne!(server.get(&path(&ids[1])).header("etag"), Some(etag));

    let head = server.ask("HEAD", &chunk, &[], b"");
    let kept = |answer: &Answer| -> Vec<(String, String)> {
        let mut headers = answer.headers.clone();
        headers.retain(|(name, _)| name != "date");
        headers.sort();
        headers
    };
    assert_eq!(kept(&head), kept(&whole));

    let again = server.ask("GET", &chunk, &[&format!("If-None-Match: {etag}")], b"");
    assert_eq!((again.status, &again.body[..], again.header("etag")), (304, &b""[..], Some(etag)));
    assert_eq!(server.ask("GET", &chunk, &["If-None-Match: \"x\""], b"").status, 200);
}

#[test]
fn parts_of_chunks_can_be_had() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    let chunk = path(&ids[0]);
    let whole = server.get(&chunk).body;
    let len = whole.len();
    for (range, start, end) in [
        ("0-0".to_owned(), 0, 1),
        ("100-199".to_owned(), 100, 200),
        ("100-".to_owned(), 100, len),
        ("-100".to_owned(), len - 100, len),
        (format!("100-{}", len + 100), 100, len),
    ] {
        let part = server.ask("GET", &chunk, &[&format!("Range: bytes={range}")], b"");
        assert_eq!((part.status, &part.body[..]), (206, &whole[start..end]), "{range}");
        let place = format!("bytes {start}-{}/{len}", end - 1);
        assert_eq!(part.header("content-range"), Some(&place[..]));
        assert_eq!(part.header("content-length"), Some(&(end - start).to_string()[..]));
    }
    let behind = server.ask("GET", &chunk, &[&format!("Range: bytes={len}-")], b"");
    assert_eq!(behind.status, 416);
    assert_eq!(behind.header("content-range"), Some(&format!("bytes */{len}")[..]));
    for nonsense in ["bytes=2-1", "bytes=a-b", "bytes=0-1,3-4", "x"] {
        let answer = server.ask("GET", &chunk, &[&format!("Range: {nonsense}")], b"");
        assert_eq!((answer.status, answer.body.len()), (200, len), "{nonsense}");
    }
}

#[test]
fn what_is_put_is_verified_unless_that_is_switched_off() {
    let (sandbox, ids) = store();
    fs::create_dir(sandbox.path("new")).unwrap();
    let good = fs::read(sandbox.path(&format!("store{}", path(&ids[0])))).unwrap();
    let other = fs::read(sandbox.path(&format!("store{}", path(&ids[1])))).unwrap();
    let zero = "0".repeat(64);
    for flags in ["", " --skip-verify-write"] {
        let server = Server::start(&sandbox, &format!("chunk-server -w -s new{flags}"));
        let put = |id: &str, body: &[u8]| server.ask("PUT", &path(id), &[], body);
        assert_eq!(put(&ids[0], &good), Answer { body: vec![], ..put(&ids[0], &good) });
        assert_eq!(put(&ids[0], &good).status, 200);
        assert_eq!(server.get(&path(&ids[0])).body, good);
        let junk = put(&zero, b"junk");
        let why = format!("invalid chunk {zero}: it begins with no known compression's magic\n");
        check("junk", &junk, 400, Some(&why));
        check(
            "nothing",
            &put(&zero, b""),
            400,
            Some(&format!("invalid chunk {zero}: the file is empty\n")),
        );
        let wrong = put(&zero, &other);
        if flags.is_empty() {
            let why = format!("chunk id {zero} does not match its hash {}\n", ids[1]);
            check("a wrong id", &wrong, 400, Some(&why));
            let mut cut = good.clone();
            cut.truncate(good.len() / 2);
            let cut = put(&zero, &cut);
            assert!(cut.status == 400 && cut.text().starts_with("invalid chunk "), "{cut:?}");
            assert_eq!(server.get(&path(&zero)).status, 404);
            assert_eq!(sandbox.files("new").len(), 1);
        } else {
            assert_eq!(wrong.status, 200);
        }
    }
}

#[test]
fn the_old_name_of_a_flag_is_understood() {
    let (sandbox, _) = store();
    let server = Server::start(&sandbox, "chunk-server --writeable -s store");
    server.prints("Flag --writeable has been deprecated, use --writable instead");
    assert_eq!(server.ask("PUT", &path(&"0".repeat(64)), &[], b"x").status, 400);
    assert!(!server.ask("PUT", &path(&"0".repeat(64)), &[], b"x").text().contains("not enabled"));
}

#[test]
fn chunks_can_be_served_below_a_path() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store --prefix /a/b/");
    assert_eq!(server.get(&format!("/a/b{}", path(&ids[0]))).status, 200);
    assert_eq!(server.get("/a/b/healthz").status, 200);
    for outside in [path(&ids[0]), format!("/a{}", path(&ids[0])), "/a/bc".into(), "/a/b".into()] {
        assert_eq!(server.get(&outside).status, 404, "{outside}");
    }
    server.prints("/a/b");
}

#[test]
fn what_is_damaged_is_found_when_reads_are_verified() {
    let (sandbox, ids) = store();
    let file = format!("store{}", path(&ids[0]));
    let len = sandbox.read(&file).len();
    sandbox.patch(&file, len as u64 / 2, b"damaged!");
    let unseen = Server::start(&sandbox, "chunk-server -s store");
    assert_eq!(unseen.get(&path(&ids[0])).status, 200);
    let seen = Server::start(&sandbox, "chunk-server -s store --skip-verify-read=false");
    check("damaged", &seen.get(&path(&ids[0])), 500, Some("internal server error\n"));
    let printed = seen.prints(&format!("failed to retrieve chunk {}: ", ids[0]));
    assert!(printed.contains("store"), "{printed}");
    // A whole copy elsewhere is taken instead.
    sandbox.cairn("make other.caibx blob -s other").succeeds();
    let both = Server::start(&sandbox, "chunk-server -s store -s other --skip-verify-read=false");
    assert_eq!(both.get(&path(&ids[0])).body, sandbox.read(&format!("other{}", path(&ids[0]))));
}

#[test]
fn a_cache_is_filled_with_what_was_verified_alone() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store -c cache");
    assert_eq!(server.get(&path(&ids[0])).status, 200);
    let file = |place: &str, id: &str| sandbox.path(&format!("{place}{}", path(id)));
    assert_eq!(
        fs::read(file("cache", &ids[0])).unwrap(),
        fs::read(file("store", &ids[0])).unwrap()
    );
    fs::write(file("store", &ids[1]), fs::read(file("store", &ids[2])).unwrap()).unwrap();
    assert_eq!(server.get(&path(&ids[1])).status, 500);
    assert!(!file("cache", &ids[1]).exists());
    // From now on the store is not needed for what was asked for before.
    fs::remove_file(file("store", &ids[0])).unwrap();
    assert_eq!(server.get(&path(&ids[0])).status, 200);
}
