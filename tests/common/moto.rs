//! moto as a server of buckets, on a free port of its choice, with an empty bucket `bucket`.
//!
//! ```no_run
//! let server = Moto::start();
//! let store = format!("s3+{}/bucket/prefix", server.url());
//! ```
//! It believes every key. Of those who write an object at once it answers some with status 500, but the
//! object is always whole there, which rclone does not see to. It also stands for Google, whose servers
//! speak the same words.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::rclone::installed;

/// A server that is ended when it goes out of scope.
pub struct Moto {
    child: Child,
    url: String,
}

impl Moto {
    pub fn start() -> Self {
        let mut child = Command::new(installed("moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| {
                panic!("these tests need moto ({e}), which scripts/install-servers installs")
            });
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut printed = String::new();
        let url = loop {
            let from = printed.len();
            let len = stderr.read_line(&mut printed).unwrap();
            assert!(len > 0, "moto does not listen: {printed}");
            if let Some((_, url)) = printed[from..].split_once("Running on ") {
                break url.trim().to_owned();
            }
        };
        // It waits for whoever reads what it prints.
        thread::spawn(move || stderr.lines().for_each(drop));
        let server = Self { child, url };
        server.make_bucket();
        server
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> &str {
        &self.url
    }

    fn make_bucket(&self) {
        self.ask("PUT /bucket", "");
        // Those without keys, as in place of Google, may not read else what they have written.
        self.ask(
            "PUT /bucket?policy",
            r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*",
                "Action": "s3:*", "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]}]}"#,
        );
    }

    fn ask(&self, request: &str, body: &str) {
        let host = self.url.strip_prefix("http://").unwrap();
        let mut server = TcpStream::connect(host).unwrap();
        let len = body.len();
        let request = format!(
            "{request} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
        );
        server.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        server.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
