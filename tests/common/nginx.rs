//! The real nginx as a server of the files in a directory.
//!
//! ```no_run
//! let nginx = Nginx::new(&sandbox.path("."), "");
//! sandbox.cairn(&format!("extract blob.caibx out -s {}", nginx.url("store"))).succeeds();
//! ```

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What is logged of each request.
const LOG: &str = "log_format seen '$request_method $request_uri $server_protocol \
     host=$http_host accept-encoding=$http_accept_encoding authorization=$http_authorization \
     cookie=$http_cookie referer=$http_referer user=$remote_user type=$content_type \
     agent=$http_user_agent status=$status';";

/// A server, which ends with the test.
pub struct Nginx {
    server: Child,
    directory: TempDir,
    address: SocketAddr,
    scheme: &'static str,
}

impl Nginx {
    /// Serves the files in a directory; `settings` go into its `server` section.
    pub fn new(root: &Path, settings: &str) -> Self {
        Self::start(root, "http", "", settings)
    }

    /// The same over TLS. The certificate is in `settings`.
    pub fn with_tls(root: &Path, settings: &str) -> Self {
        Self::start(root, "https", "ssl http2", settings)
    }

    fn start(root: &Path, scheme: &'static str, listen: &str, settings: &str) -> Self {
        let mut errors = String::new();
        // Somebody else may take the port before nginx does: then it ends at once.
        for _ in 0..10 {
            let directory = tempfile::tempdir().unwrap();
            for name in ["body", "proxy", "fastcgi", "scgi", "uwsgi"] {
                fs::create_dir(directory.path().join(name)).unwrap();
            }
            let address = free_address();
            let (place, root) = (directory.path().display(), root.display());
            let config = format!(
                "daemon off; master_process off; pid {place}/pid; error_log {place}/errors;
                 events {{}}
                 http {{
                     {LOG}
                     access_log {place}/seen seen;
                     client_max_body_size 0; client_body_temp_path {place}/body;
                     proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
                     scgi_temp_path {place}/scgi; uwsgi_temp_path {place}/uwsgi;
                     keepalive_requests 100000;
                     server {{ listen {address} {listen}; root {root}; {settings} }}
                 }}"
            );
            let file = |name: &str| directory.path().join(name);
            fs::write(file("config"), config).unwrap();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(directory.path()).arg("-c").arg(file("config"));
            command.arg("-e").arg(file("errors"));
            let started = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
            let server = started.unwrap_or_else(|e| {
                panic!("these tests run the real nginx, and it does not start ({e}): scripts/test")
            });
            let mut nginx = Self { server, directory, address, scheme };
            if nginx.is_up() {
                return nginx;
            }
            errors = fs::read_to_string(nginx.directory.path().join("errors")).unwrap_or_default();
        }
        panic!("nginx does not start: {errors}");
    }

    /// Waits until connections are taken. Whether they ever are.
    fn is_up(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if self.server.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path, by a name that certificates of the tests have.
    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}/{path}", self.scheme, self.address.port())
    }

    /// What was asked for so far, a line each.
    pub fn seen(&self) -> String {
        fs::read_to_string(self.directory.path().join("seen")).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// An address that nobody listens on at the moment.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
