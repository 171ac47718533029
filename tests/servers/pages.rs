//! The pages for people and programs that look after a server.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::server::{Answer, Server, request};
use crate::{path, store};

#[test]
fn health_is_that_of_the_stores() {
    let (sandbox, _) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    assert_eq!((server.get("/healthz").status, server.get("/healthz").text()), (200, "ok\n"));
    std::fs::rename(sandbox.path("store"), sandbox.path("gone")).unwrap();
    let begun = Instant::now();
    while server.get("/healthz").status != 503 {
        assert!(begun.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn metrics_tell_what_was_done() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store -c cache");
    let mut bytes = 0;
    for id in [&ids[0], &ids[1], &ids[0]] {
        bytes += server.get(&path(id)).body.len();
    }
    server.get(&path(&"0".repeat(64)));
    let metrics = server.get("/metrics");
    assert_eq!(
        metrics.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let absent = format!("chunk {} not found", "0".repeat(64)).len();
    for line in [
        "cairn_http_requests_total{method=\"GET\",status=\"200\"} 3".to_owned(),
        "cairn_http_requests_total{method=\"GET\",status=\"404\"} 1".to_owned(),
        "cairn_http_request_duration_seconds_count 4".to_owned(),
        "cairn_objects_sent_total 3".to_owned(),
        format!("cairn_http_sent_bytes_total {}", bytes + absent),
        "cairn_cache_hits_total 1".to_owned(),
        "cairn_cache_misses_total 3".to_owned(),
        "cairn_http_connections_total 5".to_owned(),
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}\n{}", metrics.text());
    }
    assert!(metrics.text().ends_with("# EOF\n"));
}

#[test]
fn events_tell_the_numbers_without_secrets() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    server.get(&path(&ids[0]));
    let mut stream = server.connect();
    stream.write_all(&request("GET", "/events", &[], b"")).unwrap();
    let mut stream = BufReader::new(stream);
    let head = Answer::read(&mut stream, true).unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let mut next = || loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str::<Value>(data).unwrap();
        }
    };
    let first = next();
    assert_eq!((&first["sent"], &first["stores"][0]), (&1.into(), &"store".into()));
    server.get(&path(&ids[1]));
    assert_eq!(next()["sent"], 2);
    // Who only looks does not hold up the end.
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.ends(), Some(0));
}

#[test]
fn the_page_is_for_browsers_alone() {
    let (sandbox, _) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    let page = server.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(server.ask("PUT", "/metrics", &[], b"x").status, 405);
    let head = server.ask("HEAD", "/", &[], b"");
    assert_eq!(head.header("content-length"), page.header("content-length"));
}

/// A browser looks at the page for a while, and its content is read when it has changed.
#[test]
fn a_browser_shows_the_numbers_as_they_change() {
    let (sandbox, ids) = store();
    let server = Server::start(&sandbox, "chunk-server -s store");
    for id in &ids[..4] {
        server.get(&path(id));
    }
    let mut browser = Browser::start(&sandbox, &server.url());
    browser.shows("<b id=\"sent\">4</b>");
    browser.shows("live");
    for id in &ids[..3] {
        server.get(&path(id));
    }
    browser.shows("<b id=\"sent\">7</b>");
    browser.shows("<td>store</td>");
    browser.shows("chunks as zstd, read-only");
}

/// A browser without a window, told what to do over a pipe: JSON that ends with a zero byte.
struct Browser {
    child: std::process::Child,
    replies: BufReader<std::process::ChildStdout>,
    last: u32,
    session: Option<String>,
}

impl Browser {
    fn start(sandbox: &Sandbox, url: &str) -> Self {
        let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
                     --disable-background-networking --disable-component-update --disable-sync \
                     --disable-dev-shm-usage --remote-debugging-pipe";
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .args(flags.split_whitespace())
            .arg(format!("--user-data-dir={}", sandbox.path("profile").display()))
            .env("HOME", sandbox.path("."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        let mut browser = Self { child, replies, last: 0, session: None };
        let target = browser.ask("Target.createTarget", json!({ "url": url }));
        let target = target["targetId"].as_str().unwrap();
        let attached = json!({ "targetId": target, "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attached);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut question = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            question["sessionId"] = session.clone().into();
        }
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{question}\0").as_bytes()).unwrap();
        loop {
            let mut reply = Vec::new();
            let len = self.replies.read_until(0, &mut reply).unwrap();
            assert!(len > 0, "no chromium here: scripts/test installs the package chromium");
            let reply: Value = serde_json::from_slice(&reply[..len - 1]).unwrap();
            if reply["id"] == self.last {
                assert!(reply["error"].is_null(), "{method}: {reply}");
                return reply["result"].clone();
            }
        }
    }

    /// Waits until the page has this.
    #[track_caller]
    fn shows(&mut self, part: &str) {
        let begun = Instant::now();
        loop {
            let expression = json!({ "expression": "document.documentElement.outerHTML" });
            let shown = self.ask("Runtime.evaluate", expression);
            let shown = shown["result"]["value"].as_str().unwrap_or_default();
            if shown.contains(part) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "no {part} in\n{shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own processes when nobody is at the other end of the pipe.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
