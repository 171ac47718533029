//! The real `docker-registry` of Debian, on a port of its own, gone when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

/// The user it knows if it asks for one, and the password.
pub const USER: (&str, &str) = ("me", "hidden");

/// As `htpasswd -B` writes it, with few rounds.
const HTPASSWD: &str = "me:$2a$04$cairncairncairncairncutgNFDv1VuoMIrQT2ejCM3bxShuiDF5W\n";

/// How a registry is set up.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// Whether nothing can be removed.
    pub keeps_all: bool,
    /// Whether it asks for [`USER`].
    pub asks: bool,
}

/// A registry that runs.
pub struct Registry {
    child: Child,
    address: String,
    _directory: TempDir,
}

impl Registry {
    pub fn start(setup: Setup) -> Self {
        Self::with(setup, "")
    }

    /// One that speaks https, with this certificate and its key.
    pub fn with_tls(setup: Setup, certificate: &Path, key: &Path) -> Self {
        let (certificate, key) = (certificate.display(), key.display());
        Self::with(setup, &format!(", tls: {{certificate: '{certificate}', key: '{key}'}}"))
    }

    fn with(setup: Setup, http: &str) -> Self {
        // It waits for the disk with every blob, and the disk has nothing to do with these tests.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::tempdir_in(place).unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nhttp: {{addr: '127.0.0.1:0', secret: x{http}}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}, delete: {{enabled: {}}}}}\n",
            path("data"),
            !setup.keeps_all
        );
        if setup.asks {
            fs::write(path("htpasswd"), HTPASSWD).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: x, path: '{}'}}}}\n", path("htpasswd"));
        }
        fs::write(path("config.yml"), config).unwrap();
        let mut child = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("docker-registry does not start ({e}): run scripts/test"));
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        // Read to its end, so that the registry never waits for room.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let address: String = rest
                        .chars()
                        .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
                        .collect();
                    let _ = sender.send(address);
                }
            }
        });
        let address = receiver.recv_timeout(Duration::from_secs(30));
        let registry = Self { child, address: address.unwrap_or_default(), _directory: directory };
        assert!(!registry.address.is_empty(), "docker-registry has not begun to listen");
        registry
    }

    /// `127.0.0.1` and its port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The location of a store in it.
    pub fn store(&self, name: &str) -> String {
        format!("oci+http://{}/{name}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
