//! Registries that do what they should not.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use cairn_formats::Digest;
use cairn_store::{Again, Error, Stored};

use crate::web::{Request, StandIn, answer};
use crate::{chunk, options, options_of, store, tag};

fn location(server: &StandIn) -> String {
    format!("oci+http://{}/s", server.address())
}

/// The manifest of a chunk, with a blob of this digest and size.
fn manifest(digest: &str, size: &str) -> String {
    format!(
        r#"{{"artifactType": "application/vnd.desync.chunk.v1", "layers": [{{"digest": "{digest}", "size": {size}}}]}}"#
    )
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Digest::Sha256.hash(bytes).to_hex())
}

fn is_manifest(request: &Request) -> bool {
    request.path.starts_with("/v2/s/manifests/")
}

#[test]
fn blobs_may_come_from_elsewhere_which_is_told_nothing() {
    let bytes = chunk(1).bytes().to_vec();
    let elsewhere = StandIn::start({
        let bytes = bytes.clone();
        move |_| answer(200, &[], &bytes)
    });
    let target = format!("http://{}/cdn?signed=x", elsewhere.address());
    let server = StandIn::start(move |request| {
        if request.header("authorization").is_none() {
            return answer(401, &[("WWW-Authenticate", "Basic realm=x")], b"");
        }
        if is_manifest(request) {
            let json = manifest(&digest(&bytes), &bytes.len().to_string());
            return answer(200, &[], json.as_bytes());
        }
        answer(307, &[("Location", &target)], b"")
    });
    let store = store(&location(&server), &options_of("me", "hidden"));
    assert_eq!(store.fetch(&chunk(1).id()).unwrap(), chunk(1));
    let asked = elsewhere.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/cdn?signed=x");
    assert_eq!(asked[0].header("authorization"), None, "{asked:?}");
    assert_eq!(asked[0].header("referer"), None, "{asked:?}");
}

#[test]
fn a_challenge_from_elsewhere_is_not_met() {
    let elsewhere =
        StandIn::start(|_| answer(401, &[("WWW-Authenticate", "Basic realm=x")], b"pay me"));
    let target = format!("http://{}/", elsewhere.address());
    let server = StandIn::start(move |_| answer(307, &[("Location", &target)], b""));
    let store = store(&location(&server), &options_of("me", "hidden"));
    let error = store.get(&chunk(1).id()).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_eq!(elsewhere.requests().len(), 1);
    let asked = [server.requests(), elsewhere.requests()].concat();
    assert!(asked.iter().all(|request| request.header("authorization").is_none()), "{asked:?}");
}

#[test]
fn uploads_go_where_the_registry_says_and_only_it_learns_who_we_are() {
    let elsewhere = StandIn::start(|_| answer(201, &[], b""));
    let target = format!("http://{}/up?state=a%2Fb", elsewhere.address());
    let server = StandIn::start(move |request| {
        if request.header("authorization").is_none() {
            return answer(401, &[("WWW-Authenticate", "Basic realm=x")], b"");
        }
        match request.method.as_str() {
            "HEAD" => answer(404, &[], b""),
            "POST" => answer(202, &[("Location", &target)], b""),
            _ => answer(201, &[], b""),
        }
    });
    let store = store(&location(&server), &options_of("me", "hidden"));
    store.put(&chunk(1)).unwrap();
    let asked = elsewhere.requests();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].body, b"{}");
    let asked = &asked[1..];
    let digest = digest(chunk(1).bytes()).replace(':', "%3A");
    assert_eq!(asked[0].path, format!("/up?state=a%2Fb&digest={digest}"));
    assert_eq!((asked[0].method.as_str(), asked[0].body.as_slice()), ("PUT", chunk(1).bytes()));
    assert_eq!(asked[0].header("authorization"), None, "{asked:?}");
}

#[test]
fn a_place_to_log_in_does_not_send_us_on() {
    let elsewhere = StandIn::start(|_| answer(200, &[], br#"{"token": "x"}"#));
    let target = format!("http://{}/", elsewhere.address());
    let tokens = StandIn::start(move |_| answer(307, &[("Location", &target)], b""));
    for realm in [format!("http://{}/", tokens.address()), "ftp://x/".into(), "hidden".into()] {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let server = StandIn::start(move |_| answer(401, &[("WWW-Authenticate", &challenge)], b""));
        let store = store(&location(&server), &options_of("me", "hidden"));
        let error = store.get(&chunk(1).id()).unwrap_err();
        assert_eq!(error.again(), Again::No, "{error}");
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
    }
    assert_eq!((tokens.requests().len(), elsewhere.requests().len()), (1, 0));
}

#[test]
fn an_overloaded_registry_is_asked_again_when_it_says() {
    let began = Mutex::new(None);
    let server = StandIn::start(move |_| {
        let mut began = began.lock().unwrap();
        let began: &mut Instant = began.get_or_insert_with(Instant::now);
        match began.elapsed() < Duration::from_millis(900) {
            true => answer(429, &[("Retry-After", "1")], b"slow down"),
            false => answer(404, &[], b""),
        }
    });
    let asked = store(&location(&server), &options());
    assert!(!asked.has(&chunk(1).id()).unwrap());
    assert_eq!(server.requests().len(), 2);

    let mut options = options();
    options.remote.retry.times = 0;
    let server = StandIn::start(|_| answer(429, &[("Retry-After", "1")], b"slow down"));
    let error = store(&location(&server), &options).has(&chunk(1).id()).unwrap_err();
    assert_eq!(error.again(), Again::After(Duration::from_secs(1)));
    assert!(error.to_string().ends_with("429 Too Many Requests: slow down"), "{error}");
}

#[test]
fn what_cannot_be_a_manifest_is_refused() {
    let good = digest(chunk(1).bytes());
    let endless = manifest(&good, &format!("1{}", " ".repeat(100_000)));
    for (body, expected) in [
        (endless, "more than 65536 bytes"),
        (manifest(&good, "1073741825"), "a blob of 1073741825 bytes, which cannot be"),
        (manifest(&good, "-1"), "a blob of -1 bytes, which cannot be"),
        (manifest("../../../_catalog?", "1"), "what is no digest"),
        ("<html>".to_owned(), "not a manifest"),
    ] {
        let server = StandIn::start(move |_| answer(200, &[], body.as_bytes()));
        let store = store(&location(&server), &options());
        let error = store.get(&chunk(1).id()).unwrap_err();
        assert_eq!(error.again(), Again::No);
        let shown = error.to_string();
        let place = format!("{}:{}: ", location(&server), tag(&chunk(1).id()));
        assert!(shown.starts_with(&place) && shown.contains(expected), "{shown}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_manifest_without_its_blob_is_a_missing_chunk() {
    let json = manifest(&digest(b"gone"), "4");
    let server = StandIn::start(move |request| match is_manifest(request) {
        true => answer(200, &[], json.as_bytes()),
        false => answer(404, &[], b""),
    });
    assert_eq!(store(&location(&server), &options()).get(&chunk(1).id()).unwrap(), None);
}

#[test]
fn lists_are_read_page_by_page_within_the_registry() {
    let ids: Vec<_> = (0..5).map(|n| chunk(n).id()).collect();
    let tags: Vec<String> = ids.iter().map(tag).collect();
    let server = StandIn::start(move |request| {
        let (body, link) = match request.path.as_str() {
            "/v2/s/tags/list?n=1000" => (&tags[..2], Some("</v2/s/tags/list?n=2&last=b>")),
            "/v2/s/tags/list?n=2&last=b" => (&tags[2..4], Some("<?n=2&last=d>")),
            _ => (&tags[4..], None),
        };
        let body = format!(r#"{{"tags": ["latest", "{}"]}}"#, body.join("\", \""));
        let link = link.map(|link| format!(r#"{link}; rel="next""#));
        let headers: Vec<_> = link.iter().map(|link| ("Link", link.as_str())).collect();
        answer(200, &headers, body.as_bytes())
    });
    let mut listed = Vec::new();
    let place = location(&server);
    let list = |listed: &mut Vec<Stored>| {
        store(&place, &options()).list(&mut |found, _| {
            listed.push(found);
            Ok(())
        })
    };
    list(&mut listed).unwrap();
    assert_eq!(listed, ids.iter().map(|id| Stored::Chunk(*id)).collect::<Vec<_>>());
    assert_eq!(server.requests().len(), 3);

    let elsewhere = StandIn::start(|_| answer(200, &[], b"{}"));
    for target in [format!("http://{}/", elsewhere.address()), "?n=1000".into(), "http://[".into()]
    {
        let link = format!("<{target}>; rel=next");
        let server = StandIn::start(move |_| answer(200, &[("Link", &link)], b"{\"tags\": []}"));
        let error = store(&location(&server), &options()).list(&mut |_, _| Ok(())).unwrap_err();
        assert_eq!(error.again(), Again::No, "{error}");
        assert_eq!(server.requests().len(), 1);
    }
    assert!(elsewhere.requests().is_empty());
}
