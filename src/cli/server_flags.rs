//! The flags of servers: where they listen, who may ask, what is written down.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cairn::Error;
use cairn_store::Secret;
use cairn_store::serve::{AccessLog, Limits, LogStyle, Server, ServerOptions, TlsOptions};
use clap::Args;

use super::duration;
use super::failure::{self, printable};
use super::list::{self, List};
use super::program::Program;

/// The variable that may hold the authorization.
const AUTHORIZATION: &str = "DESYNC_HTTP_AUTH";

/// How a server is run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for servers")]
pub(super) struct ServerFlags {
    /// Address to listen on, such as :8080, 127.0.0.1:https or [::1]:0; can be given several times
    #[arg(short, long, value_name = "ADDRESS", default_value = ":http", value_parser = list::parse::<String>)]
    listen: Vec<List<String>>,

    /// Let clients write
    #[arg(short, long)]
    writable: bool,

    #[arg(long, hide = true)]
    writeable: bool,

    /// Serve below this path instead of at the root
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    prefix: String,

    /// Certificate of the server, a PEM file; goes with --key and makes it speak HTTPS
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// Key of the certificate, a PEM file
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Let only those in who show a certificate of an authority in --client-ca
    #[arg(long)]
    mutual_tls: bool,

    /// The authorities of clients' certificates, a PEM file
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,

    /// `Authorization` header that clients must send, word for word; better set in $DESYNC_HTTP_AUTH,
    /// where other users of the machine do not see it
    #[arg(long, value_name = "VALUE", default_value = "", hide_default_value = true)]
    authorization: String,

    /// File to which a line for every request is appended, - for standard error
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// Form of those lines: common, json or desync
    #[arg(long, value_name = "FORM")]
    access_log_format: Option<LogStyle>,

    /// Connections at a time; others wait
    #[arg(long, value_name = "N", default_value = "4096", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,

    /// How long the header of a request may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_limit)]
    header_timeout: Duration,

    /// How long a connection may lie idle
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_limit)]
    idle_timeout: Duration,

    /// How long a body may stand still; less than a KiB a second on average counts as that
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_limit)]
    stall_timeout: Duration,
}

impl ServerFlags {
    /// Whether clients may write. Says so if that was asked for by the old name.
    pub(super) fn is_writable(&self) -> bool {
        if self.writeable {
            note("Flag --writeable has been deprecated, use --writable instead");
        }
        self.writable || self.writeable
    }

    /// The options of the library.
    pub(super) fn options(&self, program: Program) -> anyhow::Result<ServerOptions> {
        let tls = self.tls()?;
        let from_environment = || env::var(AUTHORIZATION).unwrap_or_default();
        let authorization = match &self.authorization[..] {
            "" => from_environment(),
            given => given.to_owned(),
        };
        anyhow::ensure!(
            self.prefix.is_empty() || self.prefix.starts_with('/'),
            "--prefix must begin with a slash"
        );
        let listen: Vec<String> = list::all(&self.listen).cloned().collect();
        anyhow::ensure!(!listen.is_empty(), "no address to listen on");
        Ok(ServerOptions {
            listen,
            tls,
            authorization: Some(authorization).filter(|value| !value.is_empty()).map(Secret::new),
            prefix: self.prefix.clone(),
            // Scripts for desync may rely on what it answers there.
            pages: program == Program::Cairn,
            log: self.log.as_deref().map(|path| self.open_log(path, program)).transpose()?,
            report: Arc::new(note),
            limits: Limits {
                header: self.header_timeout,
                idle: self.idle_timeout,
                stall: self.stall_timeout,
                connections: self.max_connections as usize,
                ..Limits::default()
            },
        })
    }

    fn tls(&self) -> anyhow::Result<Option<TlsOptions>> {
        let is_tls = self.cert.is_some();
        anyhow::ensure!(
            is_tls == self.key.is_some(),
            "--key and --cert options need to be provided together"
        );
        let given = [("mutual-tls", self.mutual_tls), ("client-ca", self.client_ca.is_some())];
        if let Some((flag, _)) = given.into_iter().find(|&(_, is_given)| is_given && !is_tls) {
            anyhow::bail!("--{flag} requires --cert and --key (TLS must be enabled)");
        }
        anyhow::ensure!(
            !self.mutual_tls || self.client_ca.is_some(),
            "--mutual-tls requires --client-ca (otherwise any certificate trusted by the system CA \
             pool would be accepted)"
        );
        anyhow::ensure!(
            self.mutual_tls || self.client_ca.is_none(),
            "--client-ca requires --mutual-tls (otherwise client certificates are not verified)"
        );
        let (Some(cert), Some(key)) = (self.cert.clone(), self.key.clone()) else {
            return Ok(None);
        };
        Ok(Some(TlsOptions { cert, key, client_ca: self.client_ca.clone() }))
    }

    fn open_log(&self, path: &Path, program: Program) -> anyhow::Result<AccessLog> {
        let usual = match program {
            Program::Cairn | Program::Casync => LogStyle::Common,
            Program::Desync => LogStyle::Desync,
        };
        let style = self.access_log_format.unwrap_or(usual);
        if path == Path::new("-") {
            return Ok(AccessLog::new(style, None));
        }
        let file = File::options().append(true).create(true).open(path);
        Ok(AccessLog::new(style, Some(file.map_err(Error::io("open", path))?)))
    }

    /// Says where the server listens. desync does not, but a port that was picked must be told.
    pub(super) fn announce(&self, server: &Server, program: Program) {
        let scheme = if self.cert.is_some() { "https" } else { "http" };
        for (address, asked) in server.addresses().iter().zip(list::all(&self.listen)) {
            if program == Program::Cairn || asked.ends_with(":0") {
                note(&format!("listening on {}", url(scheme, address, &self.prefix)));
            }
        }
    }
}

fn url(scheme: &str, address: &SocketAddr, prefix: &str) -> String {
    format!("{scheme}://{address}{}", prefix.trim_end_matches('/'))
}

/// Prints a line about what the server does. Where standard error is closed or full, it goes on without.
pub(super) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// A failed reload leaves all as it is.
pub(super) fn not_reloaded(error: &anyhow::Error) {
    note(&format!("failed to reload configuration: {}", failure::one_line(error)));
}

fn parse_limit(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        limit => Ok(limit),
    }
}
