//! Azurite, Azure's own stand-in for its storage, on a free port of its choice, with an empty
//! container `images`.
//!
//! ```no_run
//! let Some(server) = Azurite::start("name_of_the_test") else { return };
//! let store = format!("az+{}/images/prefix", server.url());
//! ```

use std::process::Command;

use super::announced::{Announced, installed};

/// The only account, and its key: every Azurite has them.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A server that is ended when it goes out of scope.
pub struct Azurite {
    _server: Announced,
    url: String,
}

impl Azurite {
    /// `None` where it is not installed: then says which test is left out.
    #[allow(clippy::print_stderr, reason = "a test that was left out must be seen")]
    pub fn start(test: &str) -> Option<Self> {
        let mut command = Command::new(installed("node"));
        command
            .arg(installed("azurite-blob"))
            .args(["--inMemoryPersistence", "--blobPort", "0", "--disableTelemetry"])
            .arg("--skipApiVersionCheck");
        if !installed("azurite-blob").is_file() {
            eprintln!("NOT RUN: {test} needs azurite, which scripts/install-servers installs");
            return None;
        }
        let server = Announced::start(command, "successfully listens on ").unwrap();
        let url = format!("{}/{ACCOUNT}", server.at);
        make_container(&url);
        Some(Self { _server: server, url })
    }

    /// `http://127.0.0.1:port/account`
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn make_container(url: &str) {
    let made = Command::new(installed("rclone"))
        .args(["mkdir", ":azureblob:images", "--config", "", "--azureblob-account", ACCOUNT])
        .args(["--azureblob-key", KEY, "--azureblob-endpoint", url])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
