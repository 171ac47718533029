//! Servers of cairn that run for as long as a test needs them, and plain words to talk to them.
//!
//! ```no_run
//! let server = Server::start(&sandbox, "chunk-server -s store");
//! assert_eq!(server.get("/healthz").status, 200);
//! sandbox.cairn(&format!("extract blob.caibx out -s {}", server.url())).succeeds();
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Sandbox;

/// Nothing a test waits for takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that is ended when it goes out of scope.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// What it printed on standard error, as far as it has.
    errors: Arc<(Mutex<String>, Condvar)>,
}

/// What a server said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Server {
    /// Starts a server on a free port, and waits until it listens.
    pub fn start(sandbox: &Sandbox, words: &str) -> Self {
        Self::of(sandbox.command(&format!("{words} -l 127.0.0.1:0")))
    }

    /// The same of a command, which listens on a port of its choice.
    pub fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut printed = String::new();
        let address = loop {
            let from = printed.len();
            let len = stderr.read_line(&mut printed).unwrap();
            assert!(len > 0, "{command:?} does not listen: {printed}");
            if let Some(url) = printed[from..].strip_prefix("listening on http") {
                let address = url.trim_start_matches('s').trim_start_matches("://");
                break address.trim_end().split('/').next().unwrap().parse().unwrap();
            }
        };
        let errors = Arc::new((Mutex::new(printed), Condvar::new()));
        let shared = errors.clone();
        thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|len| len > 0) {
                shared.0.lock().unwrap().push_str(&line);
                shared.1.notify_all();
                line.clear();
            }
        });
        Self { child, address, errors }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn process(&self) -> &Child {
        &self.child
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has printed this, and returns all that it has printed.
    #[track_caller]
    pub fn prints(&self, part: &str) -> String {
        let (printed, more) = &*self.errors;
        let printed = printed.lock().unwrap();
        let (printed, _) =
            more.wait_timeout_while(printed, PATIENCE, |printed| !printed.contains(part)).unwrap();
        assert!(printed.contains(part), "no `{part}` in\n{printed}");
        printed.clone()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.errors.0.lock().unwrap().clone()
    }

    /// Waits for its end, and returns its exit code.
    pub fn ends(mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// Makes a request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        ask(self.address, method, path, headers, body)
    }

    /// A connection on which nothing takes for ever.
    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends bytes as they are, and returns all that comes back.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // Whether it takes them all is its affair.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// Its memory now, in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &value[..])
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Reads the next answer from a connection. `None` at its end.
    pub fn read(stream: &mut impl BufRead, is_head: bool) -> Option<Self> {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Self { status, headers, body: Vec::new() };
        if is_head || status == 304 {
            return Some(answer);
        }
        match answer.header("content-length").map(|len| len.parse().unwrap()) {
            Some(len) => {
                answer.body = vec![0; len];
                stream.read_exact(&mut answer.body).ok()?;
            }
            None if answer.header("transfer-encoding") == Some("chunked") => {
                answer.body = read_chunked(stream)?;
            }
            None => drop(stream.read_to_end(&mut answer.body).ok()?),
        }
        Some(answer)
    }
}

fn read_chunked(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let len = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut piece = vec![0; len + 2];
        stream.read_exact(&mut piece).ok()?;
        if len == 0 {
            return Some(body);
        }
        body.extend_from_slice(&piece[..len]);
    }
}

/// A connection to whatever listens there.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Makes a request on a connection of its own.
pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut stream = connect(address);
    stream.write_all(&request(method, path, headers, body)).unwrap();
    let answer = Answer::read(&mut BufReader::new(&stream), method == "HEAD");
    answer.unwrap_or_else(|| panic!("{method} {path}: no answer"))
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
    if !body.is_empty() || method == "PUT" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    [format!("{text}\r\n").as_bytes(), body].concat()
}

/// The real desync as a server, on a port that was free a moment ago.
pub struct DesyncServer {
    child: Child,
    pub address: SocketAddr,
}

impl DesyncServer {
    pub fn start(sandbox: &Sandbox, words: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut command = Command::new("desync");
        command
            .args(words.split_whitespace())
            .args(["-l", &address.to_string()])
            .current_dir(sandbox.path("."))
            .env("HOME", sandbox.path("home"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "desync does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        Self { child, address }
    }
}

impl Drop for DesyncServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
