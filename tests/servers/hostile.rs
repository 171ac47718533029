//! Clients that mean no good: the server goes on, nothing is written, nothing gets out.

use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

use crate::common::server::{Answer, Server, request};
use crate::{path, store};

/// Checks that it still serves, and has written nothing but what was there before.
#[track_caller]
fn is_unharmed(server: &Server, id: &str, what: &str) {
    assert_eq!(server.get(&path(id)).status, 200, "after {what}");
}

#[test]
fn no_path_leads_out_of_the_store() {
    let (sandbox, ids) = store();
    sandbox.write("secret.cacnk", b"secret");
    sandbox.write("abcd", b"secret");
    for flags in ["", " -u"] {
        let server = Server::start(&sandbox, &format!("chunk-server -w -s store{flags}"));
        let before = sandbox.files(".");
        for path in [
            "/../secret.cacnk",
            "/%2e%2e/secret.cacnk",
            "/..%2fsecret.cacnk",
            "/....//secret.cacnk",
            "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "/..;/secret.cacnk",
            "/..\\secret.cacnk",
            "/%c0%ae%c0%ae/secret.cacnk",
            "/%252e%252e/secret.cacnk",
            "/\u{fe}\u{ff}/x.cacnk",
            "/secr/secret.cacnk",
            "/../abcd",
            "/%2e%2e/abcd",
            "/.tmp-cacnk.1",
            "/.lock",
            "/%00.cacnk",
            "/x\0.cacnk",
        ] {
            for method in ["GET", "HEAD", "PUT"] {
                let bytes = request(method, path, &["Connection: close"], b"secret");
                let answer = server.raw(&bytes);
                let answer = Answer::read(&mut &answer[..], method == "HEAD");
                let answer = answer.unwrap_or_else(|| panic!("{method} {path}: no answer"));
                assert!([400, 307].contains(&answer.status), "{method} {path}: {answer:?}");
                assert!(!String::from_utf8_lossy(&answer.body).contains("secret"), "{path}");
            }
        }
        assert_eq!(sandbox.files("."), before);
        if flags.is_empty() {
            is_unharmed(&server, &ids[0], "all these paths");
        }
    }
}

#[test]
fn a_body_too_long_is_refused_before_it_is_read() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -w -s store");
    let mut stream = server.connect();
    let header =
        format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: 300000000\r\n\r\n", path(&ids[0]));
    stream.write_all(header.as_bytes()).unwrap();
    // Not a byte of the body is sent.
    let answer = Answer::read(&mut BufReader::new(&stream), false).unwrap();
    assert_eq!(answer.status, 413);
    is_unharmed(&server, &ids[0], "a length");

    // One that does not say how long it is gets as far as the limit.
    let mut stream = server.connect();
    let header =
        format!("PUT {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", path(&ids[0]));
    stream.write_all(header.as_bytes()).unwrap();
    let piece = [b"100000\r\n", &vec![7; 1 << 20][..], b"\r\n"].concat();
    let sent = (0..300).take_while(|_| stream.write_all(&piece).is_ok()).count();
    assert!(sent < 200, "{sent} MiB were taken");
    if let Some(answer) = Answer::read(&mut BufReader::new(&stream), false) {
        assert_eq!(answer.status, 413);
    }
    is_unharmed(&server, &ids[0], "a body without end");
    // Such lengths make no sense, or are two.
    for length in ["-1", "1e9", "99999999999999999999999", "5\r\nContent-Length: 6"] {
        let bytes = format!(
            "PUT {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\nhello",
            path(&ids[0])
        );
        let answer = server.raw(bytes.as_bytes());
        assert!(
            answer.starts_with(b"HTTP/1.1 4"),
            "{length}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    is_unharmed(&server, &ids[0], "odd lengths");
}

#[test]
fn a_bomb_is_not_unpacked() {
    let (sandbox, ids) = store();
    let zeros = zstd_of_zeros(400 << 20);
    let server = Server::start(&sandbox, "chunk-server -w -s new");
    let zero = "0".repeat(64);
    let answer = server.ask("PUT", &path(&zero), &[], &zeros);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(server.resident() < 300 << 10, "{} KiB", server.resident());
    assert_eq!(server.get(&path(&ids[0])).status, 404);
}

/// A zstd frame of so many zeros: a raw header without size, and blocks that each repeat one byte.
fn zstd_of_zeros(len: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    // Magic; no checksum, no size, no single segment; a window of 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    let blocks = len / BLOCK;
    for block in 1..=blocks {
        let header = (BLOCK << 3 | 1 << 1 | usize::from(block == blocks)) as u32;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn what_is_no_http_ends_its_own_connection_alone() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    let long = vec![b'a'; 200_000];
    let many: String = (0..5000).map(|n| format!("X-{n}: y\r\n")).collect();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("zeros", vec![0; 10_000]),
        ("random bytes", crate::common::random(9, 100_000)),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(50)),
        ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a long path", [b"GET /", &long[..], b" HTTP/1.1\r\n\r\n"].concat()),
        ("a long header", [b"GET / HTTP/1.1\r\nX: ", &long[..]].concat()),
        ("many headers", format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n").into_bytes()),
        ("no host", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("another version", b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        ("line breaks", b"\r\n".repeat(10_000)),
    ] {
        let mut stream = server.connect();
        let _ = stream.write_all(&bytes);
        stream.shutdown(std::net::Shutdown::Write).unwrap_or_default();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let is_refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 4");
        assert!(is_refused, "{what}: {}", String::from_utf8_lossy(&answer));
        is_unharmed(&server, &ids[0], what);
    }
}

#[test]
fn many_requests_at_once_on_one_connection_are_all_answered() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    let stream = server.connect();
    let mut sending = stream.try_clone().unwrap();
    let requests: Vec<u8> =
        (0..500).flat_map(|n| request("GET", &path(&ids[n % ids.len()]), &[], b"")).collect();
    let sender = std::thread::spawn(move || sending.write_all(&requests));
    let mut stream = BufReader::new(stream);
    for n in 0..500 {
        let answer = Answer::read(&mut stream, false).unwrap();
        let stored = sandbox.read(&format!("store{}", path(&ids[n % ids.len()])));
        assert!(answer.status == 200 && answer.body == stored, "request {n}");
    }
    sender.join().unwrap().unwrap();
}

#[test]
fn who_is_refused_can_go_on_with_the_connection() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    let stream = server.connect();
    let mut sending = stream.try_clone().unwrap();
    let mut stream = BufReader::new(stream);
    for _ in 0..3 {
        sending.write_all(&request("PUT", &path(&ids[0]), &[], &vec![1; 100_000])).unwrap();
        assert_eq!(Answer::read(&mut stream, false).unwrap().status, 400);
    }
    sending.write_all(&request("GET", &path(&ids[0]), &[], b"")).unwrap();
    assert_eq!(Answer::read(&mut stream, false).unwrap().status, 200);
}

#[test]
fn what_is_wrong_inside_does_not_get_out() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -w -s store");
    // A directory where a chunk should be, and a place that cannot be written.
    let file = sandbox.path(&format!("store{}", path(&ids[0])));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let body = sandbox.read(&format!("store{}", path(&ids[1])));
    let zero = "0".repeat(64);
    sandbox.write("store/0000", b"a file where a directory should be");
    let skipping = Server::start(&sandbox, "chunk-server -w -s store --skip-verify-write");
    let put = skipping.ask("PUT", &path(&zero), &[], &body);
    assert_eq!((put.status, put.text()), (500, "internal server error\n"));
    skipping.prints(&format!("failed to store chunk {zero}: "));
    let metrics = skipping.get("/metrics");
    assert!(metrics.text().contains("cairn_store_failures_total 1\n"), "{}", metrics.text());
    let began = Instant::now();
    let got = server.get(&path(&ids[0]));
    assert!([404, 500].contains(&got.status) && !got.text().contains("store"), "{got:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
    is_unharmed(&server, &ids[1], "a damaged store");
}
