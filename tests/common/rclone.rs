//! rclone as a server of buckets, on a free port of its choice.
//!
//! ```no_run
//! let server = Rclone::s3(&directory, Some(("access", "secret")));
//! let store = format!("s3+{}/bucket/prefix", server.url());
//! ```
//! A directory in `directory` is a bucket, and the files in it are its objects.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

/// A server that is ended when it goes out of scope.
pub struct Rclone {
    child: Child,
    url: String,
}

impl Rclone {
    /// Serves the directories in a directory as buckets, to those who have this key and its secret.
    pub fn s3(directory: &Path, key: Option<(&str, &str)>) -> Self {
        let mut command = Command::new(installed("rclone"));
        command
            .args(["serve", "s3", "--addr", "127.0.0.1:0", "--config", ""])
            // What is written on one connection is at once there for all.
            .args(["--vfs-cache-mode", "off"])
            .arg(directory)
            .env_remove("RCLONE_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some((access, secret)) = key {
            command.args(["--auth-key", &format!("{access},{secret}")]);
        }
        let mut child = command.spawn().unwrap_or_else(|e| {
            panic!("these tests need rclone ({e}), which scripts/install-servers installs")
        });
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut printed = String::new();
        let url = loop {
            let from = printed.len();
            let len = stderr.read_line(&mut printed).unwrap();
            assert!(len > 0, "rclone does not listen: {printed}");
            if let Some((_, rest)) = printed[from..].split_once("server on [") {
                break rest.split(['/', ']']).take(3).collect::<Vec<_>>().join("/");
            }
        };
        // It waits for whoever reads what it prints.
        thread::spawn(move || stderr.lines().for_each(drop));
        Self { child, url }
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server where the script has put it, seen from whichever crate; or that of the system.
pub fn installed(program: &str) -> PathBuf {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut ours =
        crate_directory.ancestors().map(|root| root.join("target/venv/bin").join(program));
    ours.find(|program| program.is_file()).unwrap_or_else(|| program.into())
}
