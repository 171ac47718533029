//! moto as a server of buckets, on a free port of its choice, with an empty bucket `bucket`.
//!
//! ```no_run
//! let server = Moto::start();
//! let store = format!("s3+{}/bucket/prefix", server.url());
//! ```
//! It believes every key. Of those who write an object at once it answers some with status 500, but the
//! object is always whole there, which rclone does not see to. It also stands for Google, whose servers
//! speak the same words.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use super::announced::{Announced, installed};

/// A server that is ended when it goes out of scope.
pub struct Moto(Announced);

impl Moto {
    pub fn start() -> Self {
        let mut command = Command::new(installed("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        let server = Announced::start(command, "Running on ").unwrap_or_else(|e| {
            panic!("these tests need moto ({e}), which scripts/install-servers installs")
        });
        let server = Self(server);
        server.make_bucket();
        server
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> &str {
        &self.0.at
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
        let host = self.url().strip_prefix("http://").unwrap();
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
