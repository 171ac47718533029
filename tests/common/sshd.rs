//! A real sshd of our own: its keys, its port, its configuration, gone when the test ends.
//!
//! ```no_run
//! let sshd = Sshd::start();
//! command.env("CASYNC_SSH_PATH", sshd.client());
//! ```
//! Any host name leads to it. It has `Subsystem sftp internal-sftp`.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where Debian has it; it insists on being started by its whole path.
const SSHD: &str = "/usr/sbin/sshd";

/// Tries to find a free port.
const TRIES: usize = 5;

/// An sshd that listens on this machine only.
pub struct Sshd {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Sshd {
    pub fn start() -> Self {
        for _ in 0..TRIES {
            let directory = tempfile::tempdir().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            configure(directory.path(), port);
            let mut child = Command::new(SSHD)
                .args(["-D", "-e", "-f"])
                .arg(directory.path().join("sshd_config"))
                .stdin(Stdio::null())
                .stderr(fs::File::create(directory.path().join("log")).unwrap())
                .spawn()
                .unwrap_or_else(|e| {
                    panic!("{SSHD} does not start ({e}): run scripts/test (package openssh-server)")
                });
            if is_up(&mut child, port) {
                return Self { child, port, directory };
            }
        }
        panic!("{SSHD} does not come up");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// An ssh that knows the way: to be called as ssh is.
    pub fn client(&self) -> PathBuf {
        self.directory.path().join("ssh")
    }

    /// Where its users are at home.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// What it has to say.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configure(directory: &Path, port: u16) {
    for name in ["host", "user"] {
        let file = directory.join(name);
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file);
        let made = keygen.status().unwrap_or_else(|e| {
            panic!("ssh-keygen does not start ({e}): run scripts/test (package openssh-client)")
        });
        assert!(made.success());
    }
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").unwrap();
    }
    fs::create_dir(directory.join("home")).unwrap();
    let host = fs::read_to_string(directory.join("host.pub")).unwrap();
    let place = directory.display();
    let write = |name: &str, text: String| fs::write(directory.join(name), text).unwrap();
    write("known_hosts", format!("[127.0.0.1]:{port} {host}"));
    write(
        "sshd_config",
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\n\
             AuthorizedKeysFile {place}/user.pub\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nMaxStartups 100\nSetEnv HOME={place}/home\n\
             Subsystem sftp internal-sftp\n"
        ),
    );
    // Tests that name an unknown host mean it.
    write(
        "ssh_config",
        format!(
            "Host !*.invalid *\nHostName 127.0.0.1\nHostKeyAlias [127.0.0.1]:{port}\nPort {port}\n\
             Host *\nIdentityFile {place}/user\nIdentitiesOnly yes\nBatchMode yes\n\
             UserKnownHostsFile {place}/known_hosts\nGlobalKnownHostsFile /dev/null\n\
             StrictHostKeyChecking yes\nControlPath none\n"
        ),
    );
    write("ssh", format!("#!/bin/sh\nexec ssh -F '{place}/ssh_config' \"$@\"\n"));
    fs::set_permissions(directory.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits until it greets; `false` if it ends, as it does when somebody else has taken the port.
fn is_up(child: &mut Child, port: u16) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut greeting = [0; 4];
            if stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-" {
                let _ = stream.write_all(b"SSH-2.0-test\r\n");
                return child.try_wait().unwrap().is_none();
            }
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    false
}
