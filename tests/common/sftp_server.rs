//! A real sshd that serves files, and scripts at either end of the way to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::sshd::Sshd;
use crate::common::{Outcome, Sandbox, run};

const STEP: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(20);

/// An sshd, ended when dropped, with what its scripts have noted in `started` and brought to a stand.
pub struct SftpServer {
    directory: TempDir,
    pub sshd: Sshd,
}

impl SftpServer {
    /// One that serves files by itself.
    pub fn start() -> Self {
        Self::of(tempfile::tempdir().unwrap(), Sshd::start())
    }

    /// One whose server of files is a shell script, in which `$SERVER` is the usual one. It may note
    /// things in the directory it is in.
    pub fn with_script(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let servers = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server"];
        let server = servers.into_iter().find(|path| Path::new(path).exists());
        let server = server.expect("there is no sftp-server: run scripts/test");
        let place = directory.path().display();
        let script = format!("export SERVER={server}\ncd {place}\n{script}\n");
        let path = write_script(directory.path(), "server", &script);
        Self::of(directory, Sshd::with_sftp(path.to_str().unwrap()))
    }

    fn of(directory: TempDir, sshd: Sshd) -> Self {
        let server = Self { directory, sshd };
        server.use_client("exec $SSH \"$@\"");
        server
    }

    /// What is run in place of ssh from now on: a shell script, in which `$SSH` is the real one. It
    /// may note things in the server's directory.
    pub fn use_client(&self, script: &str) {
        let place = self.directory.path().display();
        let ssh = self.sshd.client();
        let script = format!("export SSH={}\ncd {place}\n{script}\n", ssh.display());
        write_script(self.directory.path(), "ssh", &script);
    }

    /// Something in the server's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The lines that a script has noted.
    pub fn notes(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The URL of something in a sandbox, with the port.
    pub fn url(&self, sandbox: &Sandbox, name: &str) -> String {
        format!("sftp://127.0.0.1:{}{}", self.sshd.port(), sandbox.path(name).display())
    }

    /// The URL without the port, which ssh knows from its configuration.
    pub fn plain_url(&self, sandbox: &Sandbox, name: &str) -> String {
        format!("sftp://127.0.0.1{}", sandbox.path(name).display())
    }

    /// A command of cairn that gets in here.
    pub fn command(&self, sandbox: &Sandbox, words: &str) -> Command {
        let mut command = sandbox.command(words);
        command.env("CASYNC_SSH_PATH", self.path("ssh"));
        command
    }

    /// Runs cairn.
    pub fn cairn(&self, sandbox: &Sandbox, words: &str) -> Outcome {
        run(self.command(sandbox, words), None)
    }

    /// Runs the real desync.
    pub fn desync(&self, sandbox: &Sandbox, words: &str) -> Outcome {
        let mut command = Command::new("desync");
        command
            .args(words.split_whitespace())
            .current_dir(sandbox.path("."))
            .env("HOME", sandbox.path("home"))
            .env("CASYNC_SSH_PATH", self.path("ssh"));
        run(command, None)
    }
}

impl Drop for SftpServer {
    fn drop(&mut self) {
        for process in self.notes("started") {
            // What a script has brought to a stand does not end by itself.
            let pid = process.parse().ok().and_then(Pid::from_raw);
            if let (true, Some(pid)) = (is_stopped(&process), pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Whether a process has been brought to a stand.
pub fn is_stopped(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.contains(") T ")
}

/// Waits until there is no process by this number any more, dead or alive.
#[track_caller]
pub fn has_gone(process: &str) {
    let began = Instant::now();
    while Path::new("/proc").join(process).exists() {
        assert!(began.elapsed() < PATIENCE, "process {process} is still there");
        sleep(STEP);
    }
}

fn write_script(directory: &Path, name: &str, script: &str) -> PathBuf {
    let path = directory.join(name);
    // Renamed, as one that is being run cannot be written.
    let new = directory.join("new-script");
    fs::write(&new, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, &path).unwrap();
    path
}
