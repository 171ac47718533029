//! A server in front of stores that are far away: how often they are asked, and what is told of their
//! failures.

#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cairn_formats::coding::Encoder;
use cairn_formats::{Chunk, ChunkId, CodedChunk, Coding, Digest, Form, WriteCoding};
use cairn_store::combine::Cache;
use cairn_store::serve::{
    Backend, ChunkService, Limits, Reader, Server, ServerOptions, Stopper, StoreNames, WireOptions,
};
use cairn_store::{Again, Error, MemoryStore, Result, Store, WriteStore};

/// A store that is far away: it takes its time.
#[derive(Default)]
struct Far {
    store: MemoryStore,
    gets: AtomicUsize,
    takes: Duration,
    is_dead: bool,
}

impl Store for &'static Far {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        thread::sleep(self.takes);
        if self.is_dead {
            let (place, why) = ("far away".to_owned(), "secret cause".to_owned());
            return Err(Error::Unreachable { place, why, again: Again::Yes });
        }
        self.store.get(id)
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        Ok((*self).get(id)?.is_some())
    }

    fn in_flight(&self) -> usize {
        10
    }

    fn name(&self) -> String {
        "far away".to_owned()
    }
}

/// It lives as long as its server, which may have requests on their way when the test ends.
fn far(takes: Duration, is_dead: bool) -> &'static Far {
    Box::leak(Box::new(Far { takes, is_dead, ..Far::default() }))
}

fn chunk(n: u8) -> Chunk<'static> {
    Chunk::name(Digest::default(), vec![n; 5000])
}

fn coded(chunk: &Chunk<'_>) -> CodedChunk {
    Encoder::new(3).encode(chunk, WriteCoding::Zstd)
}

/// A server, and what it reported.
struct Serving {
    address: SocketAddr,
    stopper: Stopper,
    reported: Arc<Mutex<Vec<String>>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

/// Serves what `open` makes of a reader.
fn serve(open: impl FnOnce(&Reader) -> (Box<dyn Store>, StoreNames)) -> Serving {
    serve_backend(|reader| {
        let (store, names) = open(reader);
        reader.backend(store, names)
    })
}

fn serve_backend(open: impl FnOnce(&Reader) -> Backend) -> Serving {
    let reader = Reader::new(Form::default(), Digest::default(), false);
    let backend = open(&reader);
    let wire =
        WireOptions { form: Form::default(), digest: Digest::default(), skip_verify_write: false };
    let reported = Arc::new(Mutex::new(Vec::new()));
    let reports = reported.clone();
    let options = ServerOptions {
        listen: vec!["127.0.0.1:0".to_owned()],
        tls: None,
        authorization: None,
        prefix: String::new(),
        pages: true,
        log: None,
        report: Arc::new(move |line| reports.lock().unwrap().push(line.to_owned())),
        limits: Limits::default(),
    };
    let service = Arc::new(ChunkService::new(reader, backend, wire));
    let server = Server::of_chunks(options, service).unwrap();
    let (address, stopper) = (server.addresses()[0], server.stopper());
    thread::spawn(move || server.run().unwrap());
    Serving { address, stopper, reported }
}

/// The header and the body of an answer.
fn ask(address: SocketAddr, method: &str, id: &ChunkId) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let path = Form::default().path(id);
    let request = format!("{method} /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), body)
}

#[test]
fn many_who_want_the_same_cost_the_source_one_request() {
    let source = far(Duration::from_millis(300), false);
    source.store.put(&coded(&chunk(1))).unwrap();
    let server = serve(|_| (Box::new(source), StoreNames::default()));
    let barrier = Barrier::new(50);
    let ask_at_once = |n: u8| {
        thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    barrier.wait();
                    let (head, body) = ask(server.address, "GET", &chunk(n).id());
                    match n {
                        1 => assert_eq!(body, coded(&chunk(1)).bytes(), "{head}"),
                        _ => assert!(head.starts_with("HTTP/1.1 404 "), "{head}"),
                    }
                });
            }
        });
        source.gets.swap(0, Ordering::Relaxed)
    };
    assert_eq!(ask_at_once(1), 1);
    assert_eq!(ask_at_once(2), 1);
}

#[test]
fn a_dead_source_is_an_error_and_no_secret_gets_out() {
    let server = serve(|_| (Box::new(far(Duration::ZERO, true)), StoreNames::default()));
    for (method, doing) in [("GET", "retrieve"), ("HEAD", "check")] {
        let (head, body) = ask(server.address, method, &chunk(1).id());
        assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
        let expected: &[u8] = if method == "GET" { b"internal server error\n" } else { b"" };
        assert_eq!(body, expected);
        let reported = server.reported.lock().unwrap().pop().unwrap();
        let expected = format!("failed to {doing} chunk {}: ", chunk(1).id());
        assert!(reported.starts_with(&expected), "{reported}");
        assert!(reported.ends_with("secret cause"), "{reported}");
    }
}

#[test]
fn a_source_that_takes_its_time_holds_up_nobody_else() {
    let source = far(Duration::from_secs(2), false);
    let server = serve(|_| (Box::new(source), StoreNames::default()));
    let address = server.address;
    let slow: Vec<_> =
        (0..20).map(|n| thread::spawn(move || ask(address, "GET", &chunk(n).id()))).collect();
    while source.gets.load(Ordering::Relaxed) < 20 {
        thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    slow.into_iter().for_each(|asking| drop(asking.join().unwrap()));
}

#[test]
fn a_proxy_fills_its_cache_with_what_is_good() {
    let source = far(Duration::ZERO, false);
    source.store.put(&coded(&chunk(1))).unwrap();
    let damaged = CodedChunk::new(chunk(2).id(), Coding::Zstd, coded(&chunk(3)).into_bytes());
    source.store.put(&damaged).unwrap();
    let cache: &'static MemoryStore = Box::leak(Box::default());
    let names = StoreNames { cache: Some("cache".to_owned()), ..StoreNames::default() };
    let server = serve(|reader| {
        let source = reader.behind_cache(Box::new(source));
        (Box::new(Cache::new(cache, source, true)), names)
    });
    for _ in 0..3 {
        let (_, body) = ask(server.address, "GET", &chunk(1).id());
        assert_eq!(body, coded(&chunk(1)).bytes());
    }
    assert_eq!((source.gets.load(Ordering::Relaxed), cache.len()), (1, 1));
    let (head, _) = ask(server.address, "GET", &chunk(2).id());
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    assert_eq!(cache.len(), 1);
}

/// A store that keeps nothing before it may.
struct Gated {
    store: MemoryStore,
    begun: Sender<()>,
    may_go_on: Mutex<Receiver<()>>,
}

impl Store for Gated {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.store.get(id)
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.store.has(id)
    }

    fn name(&self) -> String {
        "gated".to_owned()
    }
}

impl WriteStore for Gated {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        let _ = self.begun.send(());
        let _ = self.may_go_on.lock().unwrap().recv();
        self.store.put(chunk)
    }

    fn coding(&self) -> WriteCoding {
        self.store.coding()
    }

    fn sync(&self) -> Result<()> {
        self.store.sync()
    }
}

/// A number that the server tells of itself.
fn metric(address: SocketAddr, name: &str) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let mut values = answer.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.next().unwrap().parse().unwrap()
}

fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_is_still_being_stored_counts_also_if_its_client_has_gone() {
    let (begun, has_begun) = channel();
    let (go_on, may_go_on) = channel();
    let store = Gated { store: MemoryStore::default(), begun, may_go_on: Mutex::new(may_go_on) };
    let server =
        serve_backend(|reader| reader.writable_backend(Box::new(store), StoreNames::default()));
    let memory = || metric(server.address, "cairn_http_body_memory_bytes");
    let chunk = coded(&chunk(1));
    let mut client = TcpStream::connect(server.address).unwrap();
    let (path, len) = (Form::default().path(&chunk.id()), chunk.bytes().len());
    let head = format!("PUT /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(chunk.bytes()).unwrap();
    has_begun.recv_timeout(Duration::from_secs(20)).unwrap();
    drop(client);
    // Only who asks is still there.
    wait_until(|| metric(server.address, "cairn_http_open_connections") == 1);
    assert_eq!(memory(), len as u64);
    go_on.send(()).unwrap();
    wait_until(|| memory() == 0);
}
