//! Stores on servers that can be written to: nginx with DAV, and the real desync.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::common::fault_proxy::{Fault, FaultProxy, Which};
use super::common::nginx::Nginx;
use super::common::server::DesyncServer;
use super::common::{Sandbox, desync_is_here, random, text};

const PUT: &str = "dav_methods PUT; create_full_put_path on;";

/// A server in front of which somebody asks for a password on a page of its own: what is sent there is
/// kept by nobody.
#[test]
fn a_page_elsewhere_is_no_answer_to_what_was_sent() {
    let sandbox = Sandbox::with_store(&text(300_000));
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    thread::spawn(move || {
        for client in server.incoming().map_while(Result::ok) {
            thread::spawn(move || answer_with_a_page(client));
        }
    });
    let before = sandbox.snapshot();
    for words in
        [format!("make new.caibx blob -s {url}"), format!("make {url}new.caibx blob -s store")]
    {
        let failed = sandbox.cairn(&words).fails(&[&url, "303 See Other"]);
        assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.stderr);
        sandbox.is_as(&before, &words);
    }
}

/// Answers each request of a connection: nothing is here, put it elsewhere, here is a page.
fn answer_with_a_page(client: TcpStream) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    loop {
        let (mut request, mut len, mut is_chunked) = (String::new(), 0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_ascii_lowercase();
            match line.split_once(": ") {
                _ if line.is_empty() => break,
                Some(("content-length", number)) => len = number.parse().unwrap(),
                Some(("transfer-encoding", _)) => is_chunked = true,
                _ if request.is_empty() => request = line,
                _ => {}
            }
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body).unwrap();
        while is_chunked && !body.ends_with(b"\r\n0\r\n\r\n") {
            reader.read_until(b'\n', &mut body).unwrap();
        }
        let answer = match request.split_once(' ') {
            Some(("head", _)) => "404 Not Found\r\nContent-Length: 0\r\n\r\n",
            Some(("put", _)) => "303 See Other\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
            _ => "200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
        };
        (&client).write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
    }
}

#[test]
fn an_empty_file_on_a_server_is_no_chunk() {
    let sandbox = Sandbox::with_store(&text(700_000));
    let nginx = Nginx::new(&sandbox.path("."), PUT);
    let url = nginx.url("made");
    sandbox.cairn(&format!("make new.caibx blob -s {url}")).succeeds_silently();
    // As it is left where a disk was full.
    let name = format!("made/{}", sandbox.files("made")[0]);
    sandbox.write(&name, b"");
    sandbox.cairn(&format!("make new.caibx blob -s {url}")).succeeds_silently();
    assert!(!sandbox.read(&name).is_empty());
    sandbox.cairn(&format!("extract new.caibx out -s {url}")).succeeds_silently();
}

#[test]
fn jobs_write_what_they_write_to_a_directory() {
    let sandbox = Sandbox::with_store(&[random(1, 700_000), text(700_000)].concat());
    let nginx = Nginx::new(&sandbox.path("."), PUT);
    let url = |path: &str| nginx.url(path);
    sandbox.cairn(&format!("make new.caibx blob -s {}", url("made"))).succeeds_silently();
    assert!(sandbox.read("new.caibx") == sandbox.read("blob.caibx"));
    sandbox.cairn(&format!("chop blob.caibx blob -s {}", url("chopped"))).succeeds_silently();
    sandbox.cairn(&format!("cache blob.caibx -s store -c {}", url("cached"))).succeeds_silently();
    let fetched = format!("extract blob.caibx out -s store -c {}", url("kept"));
    sandbox.cairn(&fetched).succeeds_silently();
    for made in ["made", "chopped", "cached", "kept"] {
        assert_eq!(sandbox.files(made), sandbox.files("store"), "{made}");
        for name in sandbox.files(made) {
            let (ours, theirs) = (format!("{made}/{name}"), format!("store/{name}"));
            assert!(sandbox.read(&ours) == sandbox.read(&theirs), "{ours}");
        }
    }
    // What is there is not sent again, unless it is damaged and that is looked for.
    let puts = || nginx.seen().lines().filter(|line| line.starts_with("PUT ")).count();
    let before = puts();
    sandbox.cairn(&format!("make new.caibx blob -s {}", url("made"))).succeeds_silently();
    assert_eq!(puts(), before);
    let names = sandbox.files("made");
    sandbox.patch(&format!("made/{}", names[0]), 30, b"damage");
    sandbox.write(&format!("made/{}", names[1]), b"");
    sandbox.cairn(&format!("make new.caibx blob -s {} --repair", url("made"))).succeeds_silently();
    assert_eq!(puts(), before + 2);
    for name in &names[..2] {
        assert!(sandbox.read(&format!("made/{name}")) == sandbox.read(&format!("store/{name}")));
    }
}

#[test]
fn what_is_sent_is_sent_beside_each_other() {
    let sandbox = Sandbox::with_store(&random(1, 4_000_000));
    let nginx = Nginx::new(&sandbox.path("."), PUT);
    let delay = Fault::Delay(Duration::from_millis(20));
    let words = [
        "make new.caibx blob -s STORE -n 16",
        "chop blob.caibx blob -s STORE -n 16",
        "cache blob.caibx -s store -c STORE -n 16",
    ];
    for (number, words) in words.iter().enumerate() {
        let proxy = FaultProxy::new(nginx.address(), delay.clone(), Which::All);
        let store = proxy.url(&format!("put{number}"));
        sandbox.cairn(&words.replace("STORE", &store)).succeeds_silently();
        assert_eq!(sandbox.files(&format!("put{number}")), sandbox.files("store"), "{words}");
        let most = proxy.most_at_once();
        assert!((9..=16).contains(&most), "{words}: {most} requests at once");
    }
}

#[test]
fn the_real_desync_serves_us() {
    if !desync_is_here("the_real_desync_serves_us") {
        return;
    }
    let sandbox = Sandbox::with_store(&[random(1, 500_000), text(700_000)].concat());
    for directory in ["theirs", "indexes"] {
        std::fs::create_dir(sandbox.path(directory)).unwrap();
    }
    let chunks = DesyncServer::start(&sandbox, "chunk-server -w -s theirs");
    let indexes = DesyncServer::start(&sandbox, "index-server -w -s indexes");
    let [chunks, indexes] = [&chunks, &indexes].map(|server| format!("http://{}/", server.address));
    let index = format!("{}new.caibx", indexes);
    sandbox.cairn(&format!("make {index} blob -s {}", chunks)).succeeds_silently();
    assert_eq!(sandbox.files("theirs"), sandbox.files("store"));
    assert!(sandbox.read("indexes/new.caibx") == sandbox.read("blob.caibx"));
    sandbox.cairn(&format!("extract {index} out -s {}", chunks)).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    sandbox.cairn(&format!("info {index} -s {} --check", chunks)).succeeds();
    let missing = format!("{}none.caibx", indexes);
    let failed = sandbox.cairn(&format!("list-chunks {missing}")).fails(&[]);
    assert_eq!(failed.error(), format!("cannot read index {missing}: there is no such index"));
    sandbox.desync("extract -s theirs indexes/new.caibx out2").succeeds();
    assert!(sandbox.read("out2") == sandbox.read("blob"));
}
