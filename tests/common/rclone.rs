//! rclone as a server of buckets, on a free port of its choice.
//!
//! ```no_run
//! let server = Rclone::s3(&directory, Some(("access", "secret")));
//! let store = format!("s3+{}/bucket/prefix", server.url());
//! ```
//! A directory in `directory` is a bucket, and the files in it are its objects.

use std::path::Path;
use std::process::Command;

use super::announced::{Announced, installed};

/// A server that is ended when it goes out of scope.
pub struct Rclone(Announced);

impl Rclone {
    /// Serves the directories in a directory as buckets, to those who have this key and its secret.
    pub fn s3(directory: &Path, key: Option<(&str, &str)>) -> Self {
        let mut command = Command::new(installed("rclone"));
        command
            .args(["serve", "s3", "--addr", "127.0.0.1:0", "--config", ""])
            // What is written on one connection is at once there for all.
            .args(["--vfs-cache-mode", "off"])
            .arg(directory)
            .env_remove("RCLONE_CONFIG");
        if let Some((access, secret)) = key {
            command.args(["--auth-key", &format!("{access},{secret}")]);
        }
        let mut server = Announced::start(command, "server on [").unwrap_or_else(|e| {
            panic!("these tests need rclone ({e}), which scripts/install-servers installs")
        });
        // The address ends in a slash and a bracket.
        server.at.truncate(server.at.rfind("/]").unwrap());
        Self(server)
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> &str {
        &self.0.at
    }
}
