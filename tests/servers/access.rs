//! Who is let in: authorization and certificates.

use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::common::server::Server;
use crate::common::{Sandbox, run};
use crate::{path, store};

#[test]
fn only_who_knows_the_secret_is_let_in() {
    let (sandbox, ids) = store();
    let chunk = path(&ids[0]);
    let mut command = sandbox.command("chunk-server -w -s store -l 127.0.0.1:0");
    command.env("DESYNC_HTTP_AUTH", "Bearer secret");
    let servers = [
        Server::of(command),
        Server::start(&sandbox, "index-server -w -s . --authorization=secret"),
    ];
    for (server, secret, path) in
        [(&servers[0], "Bearer secret", &chunk[..]), (&servers[1], "secret", "/blob.caibx")]
    {
        let ask = |header: &str, path: &str| server.ask("GET", path, &[header], b"").status;
        assert_eq!(ask(&format!("Authorization: {secret}"), path), 200);
        for wrong in ["", "secre", "secrets", "Bearer  secret", "bearer secret", "Bearer secretx"] {
            for path in [path, "/nonsense", "/", "/metrics", "/events"] {
                assert_eq!(ask(&format!("Authorization: {wrong}"), path), 401, "{wrong} {path}");
                assert_eq!(ask("X: y", path), 401, "{path}");
            }
        }
        let refused = server.ask("PUT", path, &[], b"body");
        assert_eq!((refused.status, refused.text()), (401, "Unauthorized\n"));
        assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(ask("X: y", "/healthz"), 200);
        assert!(!server.printed().contains("secret"));
    }
}

#[test]
fn a_flag_beats_the_variable_and_nothing_is_no_secret() {
    let (sandbox, ids) = store();
    let mut command = sandbox.command("chunk-server -s store --authorization flag -l 127.0.0.1:0");
    command.env("DESYNC_HTTP_AUTH", "variable");
    let server = Server::of(command);
    let ask = |header: &str| server.ask("GET", &path(&ids[0]), &[header], b"").status;
    assert_eq!((ask("Authorization: flag"), ask("Authorization: variable")), (200, 401));
    let mut command = sandbox.command("chunk-server -s store -l 127.0.0.1:0");
    command.env("DESYNC_HTTP_AUTH", "");
    assert_eq!(Server::of(command).get(&path(&ids[0])).status, 200);
}

#[test]
fn a_browser_is_asked_for_a_password_if_that_is_what_lets_in() {
    let (sandbox, _) = store();
    let mut command = sandbox.command("chunk-server -s store -l 127.0.0.1:0");
    command.env("DESYNC_HTTP_AUTH", "Basic dXNlcjpwYXNz");
    let refused = Server::of(command).get("/");
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"cairn\""));
}

/// Writes an authority, a certificate of it for 127.0.0.1, and its key.
fn write_certificates(sandbox: &Sandbox, name: &str) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("{name} authority"));
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    sandbox.write(&format!("{name}.ca"), authority.pem().as_bytes());
    sandbox.write(&format!("{name}.pem"), certificate.pem().as_bytes());
    sandbox.write(&format!("{name}.key"), key.serialize_pem().as_bytes());
}

/// The status and the version of HTTP that curl sees, or its exit code.
fn curl(sandbox: &Sandbox, url: &str, flags: &str) -> Result<String, Option<i32>> {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code} %{http_version}"])
        .args(flags.split_whitespace())
        .arg(url)
        .current_dir(sandbox.path("."));
    let done = run(command, None);
    if done.code == Some(0) { Ok(done.text().to_owned()) } else { Err(done.code) }
}

#[test]
fn tls_is_spoken_with_the_certificate_that_was_given() {
    let (sandbox, ids) = store();
    write_certificates(&sandbox, "server");
    write_certificates(&sandbox, "other");
    let server =
        Server::start(&sandbox, "chunk-server -s store --cert server.pem --key server.key");
    server.prints("listening on https://");
    let url = format!("https://{}{}", server.address, path(&ids[0]));
    let ask = |flags: &str| curl(&sandbox, &url, flags);
    assert_eq!(ask("--cacert server.ca"), Ok("200 2".to_owned()));
    assert_eq!(ask("--cacert server.ca --http1.1"), Ok("200 1.1".to_owned()));
    assert_eq!(ask("--cacert other.ca"), Err(Some(60)));
    // Who does not speak TLS gets no chunk, and the server goes on.
    assert!(!server.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with(b"HTTP"));
    if crate::common::desync_is_here("tls_is_spoken_with_the_certificate_that_was_given") {
        let extract =
            format!("extract -s https://{} --ca-cert server.ca blob.caibx out", server.address);
        sandbox.desync(&extract).succeeds();
    }
}

#[test]
fn mutual_tls_takes_certificates_of_its_authority_alone() {
    let (sandbox, ids) = store();
    for name in ["server", "client", "other"] {
        write_certificates(&sandbox, name);
    }
    let server = Server::start(
        &sandbox,
        "chunk-server -s store --cert server.pem --key server.key --mutual-tls --client-ca client.ca",
    );
    let url = format!("https://{}{}", server.address, path(&ids[0]));
    let ask = |flags: &str| curl(&sandbox, &url, &format!("--cacert server.ca {flags}"));
    assert_eq!(ask("--cert client.pem --key client.key"), Ok("200 2".to_owned()));
    for bad in ["", "--cert other.pem --key other.key", "--cert server.pem --key server.key"] {
        assert!(ask(bad).is_err(), "{bad}");
    }
    assert!(ask("--cert client.pem --key client.key").is_ok());
}

#[test]
fn flags_that_do_not_go_together_are_refused() {
    let (sandbox, _) = store();
    write_certificates(&sandbox, "server");
    let tls = "--cert server.pem --key server.key";
    for (flags, why) in [
        ("--cert server.pem", "--key and --cert options need to be provided together"),
        ("--key server.key", "--key and --cert options need to be provided together"),
        ("--mutual-tls", "--mutual-tls requires --cert and --key"),
        ("--client-ca server.ca", "--client-ca requires --cert and --key"),
        (&format!("{tls} --mutual-tls"), "--mutual-tls requires --client-ca"),
        (&format!("{tls} --client-ca server.ca"), "--client-ca requires --mutual-tls"),
        ("--cert nowhere --key server.key", "nowhere"),
        ("--cert blob --key server.key", "blob"),
        ("--cert server.pem --key server.pem", "server.pem"),
        (&format!("{tls} --mutual-tls --client-ca blob"), "blob"),
        ("--prefix x", "--prefix must begin with a slash"),
    ] {
        for command in ["chunk-server -s store", "index-server -s ."] {
            sandbox.refuses(&format!("{command} -l 127.0.0.1:0 {flags}"), &[why]);
        }
    }
}
