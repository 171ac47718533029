//! Many chunks with one request: what is answered, to whom it is offered, and that it is worth it.

use std::io::{BufReader, Write};

use cairn_formats::batch::{CONTENT_TYPE, Frame, Frames, MOST};

use crate::common::server::{Answer, Server, request};
use crate::{as_desync, path, store};

fn frames(mut body: &[u8]) -> Vec<Frame> {
    let mut reader = Frames::new(1 << 30);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next(&mut body).unwrap() {
        frames.push(frame);
    }
    assert!(reader.is_at_end() && body.is_empty());
    frames
}

/// A line each, as they are called in a store.
fn names(ids: &[String]) -> String {
    ids.iter().map(|id| path(id)[1..].to_owned() + "\n").collect()
}

#[test]
fn all_chunks_come_in_the_order_they_were_asked_for() {
    let (sandbox, mut ids) = store();
    for prefix in ["", "/some/where"] {
        let words = match prefix {
            "" => "chunk-server -s store".to_owned(),
            prefix => format!("chunk-server -s store --prefix {prefix}"),
        };
        let server = Server::start(&sandbox, &words);
        ids.reverse();
        ids.insert(2, "0".repeat(64));
        let answer = server.ask("POST", &format!("{prefix}/"), &[], names(&ids).as_bytes());
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(CONTENT_TYPE)));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let expected = ids.iter().map(|id| match sandbox.path("store").join(&path(id)[1..]) {
            path if path.exists() => Frame::Chunk(std::fs::read(path).unwrap()),
            _ => Frame::Missing,
        });
        assert!(frames(&answer.body) == expected.collect::<Vec<_>>());
        ids.remove(2);
        let sent = ids.len();
        let metrics = server.get(&format!("{prefix}/metrics"));
        assert!(metrics.text().contains(&format!("cairn_objects_sent_total {sent}\n")));
        let bytes = format!("cairn_http_sent_bytes_total {}\n", answer.body.len());
        assert!(metrics.text().contains(&bytes), "{bytes}{}", metrics.text());
    }
}

#[test]
fn none_is_an_answer_and_too_many_are_refused() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    let empty = server.ask("POST", "/", &["Content-Length: 0"], b"");
    assert_eq!((empty.status, &empty.body[..]), (200, &b""[..]));
    let many = vec![ids[0].clone(); MOST];
    let answer = server.ask("POST", "/", &[], names(&many).as_bytes());
    assert_eq!(frames(&answer.body).len(), MOST);
    for (names, status) in [
        (names(&many) + &names(&ids[..1]), 400),
        (names(&ids) + "../../etc/passwd\n", 400),
        (names(&ids) + "\n", 400),
        (names(&ids).replace(".cacnk", ""), 400),
        (names(&vec![ids[0].clone(); 2 * MOST]), 413),
    ] {
        let refused = server.ask("POST", "/", &[], names.as_bytes());
        assert_eq!(refused.status, status, "{}", refused.text());
    }
}

#[test]
fn they_are_for_those_who_may_ask_for_one() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store --authorization secret");
    let names = names(&ids);
    assert_eq!(server.ask("POST", "/", &[], names.as_bytes()).status, 401);
    let answer = server.ask("POST", "/", &["Authorization: secret"], names.as_bytes());
    assert_eq!(frames(&answer.body).len(), ids.len());
}

#[test]
fn a_chunk_that_cannot_be_read_does_not_hide_the_others() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    // Longer than any chunk.
    let broken = sandbox.path("store").join(&path(&ids[1])[1..]);
    std::fs::File::create(&broken).unwrap().set_len(1 << 40).unwrap();
    let answer = server.ask("POST", "/", &[], names(&ids).as_bytes());
    for (at, frame) in frames(&answer.body).into_iter().enumerate() {
        assert_eq!(frame == Frame::Failed, at == 1, "{at}");
    }
    server.prints(&format!("failed to retrieve chunk {}", ids[1]));
}

#[test]
fn they_are_offered_only_where_chunks_are_near_and_to_neighbours() {
    let (sandbox, ids) = store();
    let upstream = Server::start(&sandbox, "chunk-server -s store");
    let url = upstream.url();
    for (words, is_offered) in [
        ("chunk-server -s store".to_owned(), true),
        ("chunk-server -w -s store".to_owned(), true),
        (format!("chunk-server -s {url}"), false),
        (format!("chunk-server -s {url} -c cache"), false),
    ] {
        let server = Server::start(&sandbox, &words);
        let answer = server.get(&path(&ids[0]));
        assert_eq!(answer.header("connection"), is_offered.then_some("cairn-batch"), "{words}");
        assert_eq!(server.get("/").header("connection"), None);
    }
    let server = as_desync(&sandbox, "chunk-server -s store");
    assert_eq!(server.get(&path(&ids[0])).header("connection"), None);
    assert_eq!(server.ask("POST", "/", &[], names(&ids).as_bytes()).status, 400);
}

#[test]
fn whoever_does_not_read_the_answer_is_cut_off() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store --stall-timeout 300ms");
    let names = names(&vec![ids.clone(); MOST / ids.len()].concat());
    let mut slow = server.connect();
    slow.write_all(&request("POST", "/", &[], names.as_bytes())).unwrap();
    let begun = std::time::Instant::now();
    while !server.get("/metrics").text().contains("cairn_http_connections_cut_total 1") {
        assert!(begun.elapsed().as_secs() < 20);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // It was not sent to its end.
    assert_eq!(Answer::read(&mut BufReader::new(&slow), false), None);
}

#[test]
fn an_extract_asks_for_many_at_once() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store --log log");
    sandbox.cairn(&format!("extract blob.caibx out -n 1 -s {}", server.url())).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    drop(server);
    let log = String::from_utf8(sandbox.read("log")).unwrap();
    let posts = log.lines().filter(|line| line.contains("\"POST / HTTP/1.1\" 200 ")).count();
    let gets = log.lines().filter(|line| line.contains("\"GET /")).count();
    assert!(posts > 0 && posts + gets < ids.len(), "{log}");
}
