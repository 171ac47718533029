//! Stands between cairn and a server on this machine, and lets things go wrong on the way.
//!
//! ```text
//! cairn --request--> FaultProxy --request--> server
//!       <--fault or answer--    <--answer---
//! ```
//! Speaks HTTP/1.1 as far as its two sides do. A connection that begins with a TLS handshake counts as
//! one request and is passed through or broken off as a whole. It counts what it did, so that a test can
//! tell that the fault really happened.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 22;

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This is answered, word for word, and the server is not asked.
    Answer(String),
    /// The request is taken and never answered.
    Silence,
    /// The request is taken and the connection ended.
    HangUp,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// The connection is reset after so many bytes of the body.
    Reset(usize),
    /// Nothing comes any more after so many bytes of the body.
    Stall(usize),
    /// The head promises so many bytes more than the body has, then the connection ends.
    Lie(usize),
    /// The body goes on for ever.
    Endless,
    /// One bit of a byte in the middle of the body is turned.
    Damage,
    /// Every answer takes this much longer.
    Delay(Duration),
}

/// Which requests it happens to.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    All,
    /// The first of each method for each path.
    FirstOfEach,
    /// One in so many.
    Every(usize),
}

/// A proxy, which ends with the test.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    fault: Fault,
    which: Which,
    seen: Mutex<HashSet<String>>,
    requests: AtomicUsize,
    faults: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    is_over: AtomicBool,
}

impl FaultProxy {
    /// In front of a server.
    pub fn new(server: SocketAddr, fault: Fault, which: Which) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            fault,
            which,
            seen: Mutex::default(),
            requests: AtomicUsize::new(0),
            faults: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = accepting.clone();
                // Ends when one of the sides does, which the test sees to.
                thread::spawn(move || shared.serve(client));
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path behind the proxy.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How often the fault happened.
    pub fn faults(&self) -> usize {
        self.shared.faults.load(Ordering::Relaxed)
    }

    /// The most requests that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.shared.most_at_once.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Whether a connection goes on after an answer.
type GoesOn = bool;

impl Shared {
    /// All requests of a connection. If one of the sides goes away it ends.
    fn serve(&self, client: TcpStream) {
        let _ = client.set_nodelay(true);
        let mut first = [0];
        if client.peek(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let _ = if first[0] == HANDSHAKE { self.pass(&client) } else { self.requests_of(&client) };
    }

    fn requests_of(&self, client: &TcpStream) -> io::Result<()> {
        let mut requests = BufReader::new(client);
        let mut server: Option<BufReader<TcpStream>> = None;
        while let Some(request) = Message::read(&mut requests, false)? {
            if !self.answer(client, &request, &mut server)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Answers a request, one way or another.
    fn answer(
        &self,
        mut client: &TcpStream,
        request: &Message,
        server: &mut Option<BufReader<TcpStream>>,
    ) -> io::Result<GoesOn> {
        let under_way = UnderWay::new(self);
        let fault = self.fault_for(request.head.lines().next().unwrap_or_default());
        match fault {
            Some(Fault::Answer(answer)) => {
                client.write_all(answer.as_bytes())?;
                return Ok(true);
            }
            Some(Fault::Silence) => return hang(client),
            Some(Fault::HangUp) => return Ok(false),
            Some(Fault::Delay(time)) => thread::sleep(*time),
            _ => {}
        }
        let server = match server {
            Some(server) => server,
            none => none.insert(connect(self.server)?),
        };
        server.get_mut().write_all(&request.bytes())?;
        let is_head = request.head.starts_with("HEAD ");
        let Some(mut answer) = Message::read(server, is_head)? else { return Ok(false) };
        drop(under_way);
        let until = |len: usize| answer.head.len() + len.min(answer.body.len());
        match fault {
            Some(Fault::Cut(len)) => client.write_all(&answer.bytes()[..until(*len)]),
            Some(Fault::Reset(len)) => {
                client.write_all(&answer.bytes()[..until(*len)])?;
                reset(client)
            }
            Some(Fault::Stall(len)) => {
                client.write_all(&answer.bytes()[..until(*len)])?;
                return hang(client);
            }
            Some(Fault::Lie(more)) => {
                let len = format!("Content-Length: {}", answer.body.len());
                let lie = format!("Content-Length: {}", answer.body.len() + more);
                assert!(answer.head.contains(&len), "{}", answer.head);
                answer.head = answer.head.replace(&len, &lie);
                client.write_all(&answer.bytes())
            }
            Some(Fault::Endless) => {
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                loop {
                    client.write_all(&answer.body)?;
                    client.write_all(&[b'x'; 1 << 16])?;
                }
            }
            Some(Fault::Damage) => {
                let middle = answer.body.len() / 2;
                answer.body.get_mut(middle).into_iter().for_each(|byte| *byte ^= 0x10);
                client.write_all(&answer.bytes())?;
                return Ok(true);
            }
            Some(Fault::Answer(_) | Fault::Silence | Fault::HangUp | Fault::Delay(_)) | None => {
                client.write_all(&answer.bytes())?;
                return Ok(true);
            }
        }?;
        Ok(false)
    }

    /// A connection of which nothing but its bytes can be seen.
    fn pass(&self, client: &TcpStream) -> io::Result<()> {
        if self.fault_for("").is_some() {
            return reset(client);
        }
        let server = TcpStream::connect(self.server)?;
        let copy = |mut from: &TcpStream, mut to: &TcpStream| {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        };
        thread::scope(|scope| {
            scope.spawn(|| copy(client, &server));
            copy(&server, client);
            let _ = client.shutdown(std::net::Shutdown::Both);
        });
        Ok(())
    }

    /// Counts a request, and tells what happens to it.
    fn fault_for(&self, request: &str) -> Option<&Fault> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let is_due = match self.which {
            Which::All => true,
            Which::FirstOfEach => self.seen.lock().unwrap().insert(request.to_owned()),
            Which::Every(so_many) => number.is_multiple_of(so_many),
        };
        if is_due {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        is_due.then_some(&self.fault)
    }
}

/// A request that has not been answered.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn new(shared: &'a Shared) -> Self {
        let count = shared.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_at_once.fetch_max(count, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}

fn connect(server: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// Does nothing until the other side has gone.
fn hang(mut client: &TcpStream) -> io::Result<GoesOn> {
    while client.read(&mut [0; 1024])? > 0 {}
    Ok(false)
}

/// Ends a connection as a crash does.
fn reset(client: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO))?)
}

/// A request or an answer.
pub struct Message {
    /// Everything before the body.
    pub head: String,
    /// As it travels.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads a message; `None` at the end of the connection.
    pub fn read(reader: &mut impl BufRead, is_without_body: bool) -> io::Result<Option<Self>> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(None);
            }
        }
        let mut message = Self { head, body: Vec::new() };
        if is_without_body {
            return Ok(Some(message));
        }
        if message.header("transfer-encoding").is_some() {
            message.read_parts(reader)?;
        } else {
            let len = message.header("content-length").map_or(0, |len| len.parse().unwrap());
            message.body.resize(len, 0);
            reader.read_exact(&mut message.body)?;
        }
        Ok(Some(message))
    }

    /// Reads the parts of a chunked body, each behind its length.
    fn read_parts(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            self.body.extend_from_slice(line.as_bytes());
            let len = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let start = self.body.len();
            self.body.resize(start + len + 2, 0);
            reader.read_exact(&mut self.body[start..])?;
            if len == 0 {
                return Ok(());
            }
        }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    /// What is asked for, in a request.
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }
}
