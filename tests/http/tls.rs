//! Whom we trust, and who we are.

use super::certificates::{Authority, shown, trusted_by_ca};
use super::common::Sandbox;
use super::common::fault_proxy::{Fault, FaultProxy, Which};
use super::common::nginx::Nginx;
use super::common::random;

fn sandbox() -> Sandbox {
    Sandbox::with_store(&random(1, 200_000))
}

#[test]
fn certificates_must_be_good_unless_any_will_do() {
    let sandbox = sandbox();
    let ca = Authority::new(&sandbox, "ca");
    ca.issue_expired(&sandbox, "expired", "localhost");
    ca.issue(&sandbox, "elsewhere", "example.com");
    ca.issue(&sandbox, "good", "localhost");
    for (file, flags, why) in [
        ("good", "", "invalid peer certificate: UnknownIssuer"),
        ("ca", "", "invalid peer certificate"),
        ("expired", " --ca-cert ca.pem", "invalid peer certificate: certificate expired"),
        (
            "elsewhere",
            " --ca-cert ca.pem",
            "invalid peer certificate: certificate not valid for name \"localhost\"",
        ),
        ("good", " --ca-cert ca.pem", ""),
    ] {
        if file == "ca" {
            // Signed by itself.
            let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            sandbox.write("self.pem", signed.cert.pem().as_bytes());
            sandbox.write("self.key", signed.signing_key.serialize_pem().as_bytes());
        }
        let file = if file == "ca" { "self" } else { file };
        let nginx = Nginx::with_tls(&sandbox.path("."), &shown(&sandbox, file));
        let store = nginx.url("store");
        let words = format!("extract blob.caibx out -s {store}");
        if why.is_empty() {
            sandbox.cairn(&format!("{words}{flags}")).succeeds_silently();
        } else {
            // No use in waiting an hour.
            let failed = sandbox.cairn(&format!("{words}{flags} -b 1h")).fails(&[]);
            assert!(failed.stderr.starts_with(&format!("error: {store}/")), "{}", failed.stderr);
            assert!(failed.stderr.contains(&format!(".cacnk: {why}")), "{}", failed.stderr);
            assert!(failed.stderr.contains("\nhint: --ca-cert names"), "{}", failed.stderr);
        }
        sandbox.cairn(&format!("{words} -t")).succeeds_silently();
        assert!(sandbox.read("out") == sandbox.read("blob"));
        std::fs::remove_file(sandbox.path("out")).unwrap();
    }
}

#[test]
fn the_authorities_of_the_system_are_asked_when_a_certificate_is_shown() {
    let sandbox = sandbox();
    let ca = Authority::new(&sandbox, "ca");
    ca.issue(&sandbox, "good", "localhost");
    let nginx = Nginx::with_tls(&sandbox.path("."), &shown(&sandbox, "good"));
    let authorities = sandbox.path("ca.pem");
    let words = format!("extract blob.caibx out -s {}", nginx.url("store"));
    sandbox
        .cairn_with_env(&words, "SSL_CERT_FILE", authorities.to_str().unwrap())
        .succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    // A file without any stands for a system that has none, which matters to nobody without TLS.
    sandbox.write("none.pem", b"");
    let nothing = sandbox.path("none.pem");
    let failed = sandbox.cairn_with_env(&words, "SSL_CERT_FILE", nothing.to_str().unwrap());
    assert!(failed.fails(&[]).stderr.contains("certificate"));
    let plain = Nginx::new(&sandbox.path("."), "");
    let words = format!("extract blob.caibx out -s {}", plain.url("store"));
    sandbox.cairn_with_env(&words, "SSL_CERT_FILE", nothing.to_str().unwrap()).succeeds_silently();
}

#[test]
fn a_certificate_signed_by_itself_can_be_trusted_by_name() {
    let sandbox = sandbox();
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    sandbox.write("self.pem", signed.cert.pem().as_bytes());
    sandbox.write("self.key", signed.signing_key.serialize_pem().as_bytes());
    let nginx = Nginx::with_tls(&sandbox.path("."), &shown(&sandbox, "self"));
    let words = format!("extract blob.caibx out -s {} --ca-cert self.pem", nginx.url("store"));
    sandbox.cairn(&words).succeeds_silently();
}

#[test]
fn servers_may_want_to_know_who_we_are() {
    let sandbox = sandbox();
    let ca = Authority::new(&sandbox, "ca");
    ca.issue(&sandbox, "server", "localhost");
    ca.issue(&sandbox, "client", "me");
    Authority::new(&sandbox, "other-ca").issue(&sandbox, "stranger", "me");
    let settings = format!(
        "{} ssl_verify_client on; ssl_client_certificate {};",
        shown(&sandbox, "server"),
        sandbox.path("ca.pem").display()
    );
    let nginx = Nginx::with_tls(&sandbox.path("."), &settings);
    let store = nginx.url("store");
    let words = format!("extract blob.caibx out -s {store} --ca-cert ca.pem");
    let with = |file: &str| format!("{words} --client-cert {file}.pem --client-key {file}.key");
    sandbox.cairn(&with("client")).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    for words in [words.clone(), with("stranger")] {
        sandbox.cairn(&words).fails(&[&format!("error: {store}/"), ".cacnk: 400 Bad Request"]);
    }
    for (words, expected) in [
        (
            format!("{words} --client-cert client.pem"),
            "--client-key and --client-cert options need to be provided together".to_owned(),
        ),
        (
            format!("{words} --client-cert client.pem --client-key blob"),
            "client.pem: no certificate with its key in blob".to_owned(),
        ),
        (
            format!("{words} --client-cert client.pem --client-key stranger.key"),
            "client.pem: no certificate with its key in stranger.key".to_owned(),
        ),
        (
            format!("{words} --client-cert none.pem --client-key client.key"),
            "cannot read none.pem: No such file or directory (os error 2)".to_owned(),
        ),
        (
            words.replace("ca.pem", "none.pem"),
            "cannot read none.pem: No such file or directory (os error 2)".to_owned(),
        ),
        (words.replace("ca.pem", "blob"), "blob: no certificate in it".to_owned()),
    ] {
        let failed = sandbox.cairn(&words).fails(&[]);
        assert_eq!(failed.stderr, format!("error: {expected}\n"), "{words}");
    }
}

#[test]
fn a_broken_handshake_is_tried_again_or_said() {
    let sandbox = sandbox();
    let nginx = Nginx::with_tls(&sandbox.path("."), &trusted_by_ca(&sandbox));
    for which in [Which::All, Which::FirstOfEach] {
        let proxy = FaultProxy::new(nginx.address(), Fault::HangUp, which);
        let store = format!("https://localhost:{}/store", proxy.address().port());
        let words = format!("extract blob.caibx out -s {store} --ca-cert ca.pem -n 1 -b 1ms");
        if let Which::FirstOfEach = which {
            sandbox.cairn(&words).succeeds_silently();
        } else {
            let failed = sandbox.cairn(&words).fails(&[&format!("error: {store}/")]);
            let ends = ["Connection reset by peer (os error 104)", "tls handshake eof"];
            assert!(ends.iter().any(|end| failed.error().ends_with(end)), "{}", failed.stderr);
        }
        assert!(proxy.faults() > 0);
    }
}

#[test]
fn the_wrong_scheme_is_said() {
    let sandbox = sandbox();
    let tls = Nginx::with_tls(&sandbox.path("."), &trusted_by_ca(&sandbox));
    let plain = Nginx::new(&sandbox.path("."), "");
    let store = tls.url("store").replace("https:", "http:");
    sandbox
        .cairn(&format!("extract blob.caibx out -s {store} -b 1h"))
        .fails(&[&format!("error: {store}/"), ": 400 Bad Request"]);
    let store = plain.url("store").replace("http:", "https:");
    sandbox.cairn(&format!("extract blob.caibx out -s {store} -e 0")).fails(&[
        &format!("error: {store}/"),
        ".cacnk: received corrupt message of type InvalidContentType",
    ]);
}
