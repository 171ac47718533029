//! Clients that take their time: they are cut off, and cost little until then.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::Sandbox;
use crate::common::random;
use crate::common::server::{Answer, Server, request};
use crate::{path, store};

/// So short that a test need not wait long, and so long that nobody else is cut off.
const SHORT: &str = "--header-timeout 700ms --idle-timeout 1s --stall-timeout 700ms";

/// Waits until the server ends the connection; it must do so within this time.
#[track_caller]
fn is_cut_off(mut stream: &TcpStream, what: &str) {
    let began = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(e) => {
            assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{what}: {e}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{what}");
}

#[test]
fn clients_that_stand_still_are_cut_off() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, &format!("chunk-server -w -s store {SHORT}"));
    let put =
        format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", path(&ids[0]));
    let begun: Vec<(&str, TcpStream)> = [
        ("says nothing", String::new()),
        ("half a header", "GET / HTTP/1.1\r\nHost:".to_owned()),
        ("half a body", format!("{put}only this")),
        ("an idle one", format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path(&ids[0]))),
    ]
    .into_iter()
    .map(|(what, bytes)| {
        let mut stream = server.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        (what, stream)
    })
    .collect();
    // They are cut off although a byte comes now and then.
    let (mut header, mut body) = (server.connect(), server.connect());
    header.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    body.write_all(put.as_bytes()).unwrap();
    for (what, stream) in [("a header", &mut header), ("a body", &mut body)] {
        let began = Instant::now();
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
            assert!(began.elapsed() < Duration::from_secs(8), "{what} that trickles");
        }
    }
    for (what, stream) in &begun {
        is_cut_off(stream, what);
    }
    assert_eq!(server.get(&path(&ids[0])).status, 200);
    let metrics = server.get("/metrics");
    let cut = metrics.text().lines().find_map(|line| {
        line.strip_prefix("cairn_http_connections_cut_total ")?.parse::<u32>().ok()
    });
    assert_eq!(cut, Some(6));
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let sandbox = Sandbox::with_blob(&random(6, 24 << 20));
    sandbox.cairn("make blob.caibx blob -s store -m 8M:16M:24M").succeeds();
    let id = &sandbox.ids("blob.caibx")[0];
    let server = Server::start(&sandbox, &format!("chunk-server -s store {SHORT}"));
    let mut stream = server.connect();
    // More than the system keeps for it.
    stream.write_all(&request("GET", &path(id), &[], b"").repeat(4)).unwrap();
    let begun = Instant::now();
    loop {
        let text = server.get("/metrics").text().to_owned();
        if text.contains("cairn_http_connections_cut_total 1\n") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // One that reads slowly but steadily gets all of it.
    let mut stream = server.connect();
    stream.write_all(&request("GET", &path(id), &[], b"")).unwrap();
    let mut steady = Steady(stream);
    let answer = Answer::read(&mut BufReader::with_capacity(1 << 20, &mut steady), false).unwrap();
    assert!(answer.body == sandbox.read(&format!("store{}", path(id))));
}

/// Reads a MiB at a time, with rests.
struct Steady(TcpStream);

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(Duration::from_millis(10));
        let len = buffer.len().min(1 << 20);
        self.0.read(&mut buffer[..len])
    }
}

#[test]
fn a_thousand_slow_clients_cost_little_memory() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -w -s store");
    let put =
        format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", path(&ids[0]));
    let body = vec![7; 20_000];
    let mut streams = Vec::new();
    for n in 0..1000 {
        let mut stream = server.connect();
        match n % 4 {
            0 => stream.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap(),
            1 => {
                stream.write_all(put.as_bytes()).unwrap();
                stream.write_all(&body).unwrap();
            }
            2 => stream.write_all(&request("GET", &path(&ids[n % ids.len()]), &[], b"")).unwrap(),
            _ => {}
        }
        streams.push(stream);
    }
    let open = || {
        let metrics = server.get("/metrics");
        let lines = metrics.text().lines();
        let mut lines = lines.filter_map(|line| line.strip_prefix("cairn_http_open_connections "));
        lines.next().unwrap().parse::<u32>().unwrap()
    };
    let begun = Instant::now();
    while open() < 1000 {
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(server.get(&path(&ids[0])).status, 200);
    assert!(server.resident() < 200 << 10, "{} KiB", server.resident());
}

#[test]
fn no_more_connections_are_served_than_allowed() {
    let (sandbox, ids) = store();
    let server =
        Server::start(&sandbox, &format!("chunk-server -s store --max-connections 3 {SHORT}"));
    let idle: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    let began = Instant::now();
    // It waits for one of them to be cut off.
    assert_eq!(server.get(&path(&ids[0])).status, 200);
    assert!(began.elapsed() > Duration::from_millis(200), "{:?}", began.elapsed());
    drop(idle);
}
