//! The life of a server: how it starts, what it writes down, how it reloads and how it ends.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::server::Server;
use crate::{as_desync, path, store};

#[test]
fn servers_end_in_good_order() {
    let (sandbox, ids) = store();
    for signal in [Signal::INT, Signal::TERM] {
        for command in ["chunk-server -s store", "index-server -s ."] {
            let server = Server::start(&sandbox, command);
            // One idle connection does not hold it up.
            let _idle = server.connect();
            server.get(&path(&ids[0]));
            server.signal(signal);
            assert_eq!(server.ends(), Some(0), "{command}");
        }
    }
}

#[test]
fn a_request_on_its_way_is_answered_before_the_end() {
    use std::io::{BufReader, Write};

    use crate::common::server::Answer;

    let (sandbox, ids) = store();
    let body = sandbox.read(&format!("store{}", path(&ids[0])));
    let server = Server::start(&sandbox, "chunk-server -w -s new");
    let mut stream = server.connect();
    let header = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        path(&ids[0]),
        body.len()
    );
    stream.write_all(header.as_bytes()).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    // It has begun to read.
    assert_eq!(Answer::read(&mut answers, true).unwrap().status, 100);
    server.signal(Signal::TERM);
    // It does not listen any more.
    let address = server.address;
    while std::net::TcpStream::connect(address).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
    stream.write_all(&body).unwrap();
    assert_eq!(Answer::read(&mut answers, false).unwrap().status, 200);
    assert_eq!(server.ends(), Some(0));
    assert_eq!(sandbox.read(&format!("new{}", path(&ids[0]))), body);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let (sandbox, _) = store();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    for (words, why) in [
        (format!("-s store -l {taken}"), format!("address {taken}: cannot listen: ")),
        (format!("-s store -l 127.0.0.1:0 -l {taken}"), format!("address {taken}: ")),
        ("-s store -l 8080".into(), "address 8080: missing port".into()),
        ("-s store -l :nosuchport".into(), "unknown port `nosuchport`".into()),
        ("-l :0".into(), "no store provided".into()),
        ("-s nowhere -l :0".into(), "nowhere".into()),
        ("-s store -l :0 --log no/where".into(), "no/where".into()),
        (
            "-s store -s other -w -l :0".into(),
            "Only one upstream store supported for writing and no cache".into(),
        ),
        (
            "-s store -c other -w -l :0".into(),
            "Only one upstream store supported for writing and no cache".into(),
        ),
        (
            "-s store --store-file x".into(),
            "--store and --store-file can't be used together".into(),
        ),
        (
            "-c store --store-file x".into(),
            "--cache and --store-file can't be used together".into(),
        ),
        ("--store-file x".into(), "failed to read store-file 'x': ".into()),
    ] {
        // Whatever of it fails later has made nothing either.
        sandbox.refuses(&format!("chunk-server {words}"), &[&why]);
    }
}

#[test]
fn several_addresses_are_listened_on() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store -l localhost:0,127.0.0.1:");
    let printed = server.prints("listening on");
    let printed =
        if printed.lines().count() < 3 { server.prints("\nlistening on") } else { printed };
    let first = printed.lines().next().unwrap().strip_prefix("listening on http://").unwrap();
    for address in [first.parse().unwrap(), server.address] {
        let answer = crate::common::server::ask(address, "GET", &path(&ids[0]), &[], b"");
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn requests_are_written_down() {
    let (sandbox, ids) = store();
    let chunk = path(&ids[0]);
    let desync = as_desync(&sandbox, "chunk-server -s store --log log");
    desync.get(&chunk);
    desync.get("/x");
    desync.get("//x");
    drop(desync);
    let text = String::from_utf8(sandbox.read("log")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, end) in lines.iter().zip([
        format!(", Request: GET {chunk}, Response: 200"),
        ", Request: GET /x, Response: 400".to_owned(),
    ]) {
        let rest = line.get(19..).unwrap();
        assert!(rest.starts_with(" Client: 127.0.0.1:") && rest.ends_with(&end), "{line}");
    }
    let cairn = Server::start(&sandbox, "chunk-server -s store --log log");
    cairn.ask("GET", &chunk, &["Range: bytes=0-9"], b"");
    let json = Server::start(&sandbox, "chunk-server -s store --log - --access-log-format json");
    json.get("/%22\"");
    let text = String::from_utf8(sandbox.read("log")).unwrap();
    let line = text.lines().nth(2).unwrap();
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.ends_with(&format!("] \"GET {chunk} HTTP/1.1\" 206 10")), "{line}");
    let printed = json.prints("}");
    let object: serde_json::Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!((&object["status"], &object["uri"]), (&400.into(), &"/%22\"".into()));
}

/// Replaces the store file at once, so that nobody reads half of it.
fn write_stores(sandbox: &crate::common::Sandbox, content: &str) {
    sandbox.write("new.json", content.as_bytes());
    fs::rename(sandbox.path("new.json"), sandbox.path("stores.json")).unwrap();
}

#[test]
fn stores_are_exchanged_under_load() {
    let (sandbox, ids) = store();
    sandbox.write("small", &crate::common::random(5, 100_000));
    sandbox.cairn("make small.caibx small -s small.castr").succeeds();
    let small = sandbox.ids("small.caibx").swap_remove(0);
    write_stores(&sandbox, r#"{"stores": ["store"]}"#);
    let server = Server::start(&sandbox, "chunk-server --store-file stores.json");
    let (is_done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    assert_eq!(server.get(&path(&ids[0])).status, 200);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let wait_for = |status: u16| {
            while server.get(&path(&small)).status != status {
                thread::sleep(Duration::from_millis(2));
            }
        };
        for _ in 0..5 {
            write_stores(&sandbox, r#"{"stores": ["store", "small.castr"], "cache": "cache"}"#);
            server.signal(Signal::HUP);
            wait_for(200);
            write_stores(&sandbox, r#"{"stores": ["store"], "cache": ""}"#);
            server.signal(Signal::HUP);
            wait_for(404);
        }
        // What cannot be used changes nothing.
        for bad in ["", r#"{"stores": []}"#, r#"{"stores": ["nowhere"]}"#] {
            write_stores(&sandbox, bad);
            server.signal(Signal::HUP);
            thread::sleep(Duration::from_millis(2));
        }
        server.prints("failed to reload configuration: ");
        server.prints("failed to reload configuration: cannot open store nowhere");
        assert_eq!(server.get(&path(&ids[0])).status, 200);
        is_done.store(true, Ordering::Relaxed);
    });
    assert!(answers.load(Ordering::Relaxed) > 20);
    server.signal(Signal::TERM);
    assert_eq!(server.ends(), Some(0));
}

#[test]
fn a_hang_up_does_nothing_without_a_store_file() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    server.signal(Signal::HUP);
    assert_eq!(server.get(&path(&ids[0])).status, 200);
}

#[test]
fn a_writable_server_keeps_its_one_store() {
    let (sandbox, ids) = store();
    write_stores(&sandbox, r#"{"stores": ["store"]}"#);
    let server = Server::start(&sandbox, "chunk-server -w --store-file stores.json");
    write_stores(&sandbox, r#"{"stores": ["store", "other"]}"#);
    server.signal(Signal::HUP);
    server.prints(
        "failed to reload configuration: Only one upstream store supported for writing and no cache",
    );
    let body = sandbox.read(&format!("store{}", path(&ids[0])));
    assert_eq!(server.ask("PUT", &path(&ids[0]), &[], &body).status, 200);
}
