//! What is sent to whom: credentials, signed URLs, proxies.

use super::common::fault_proxy::{Fault, FaultProxy, Which};
use super::common::nginx::Nginx;
use super::common::{Outcome, Sandbox, random, run};

/// A text that must be seen by nobody but the server.
const SECRET: &str = "hunter2";

fn sandbox() -> Sandbox {
    Sandbox::with_store(&random(1, 300_000))
}

/// Runs cairn with all that it has to say. The secret is not in it.
#[track_caller]
fn quietly(sandbox: &Sandbox, words: &str) -> Outcome {
    let done = sandbox.cairn(&format!("{words} --verbose"));
    assert!(!done.stderr.contains(SECRET), "{}", done.stderr);
    let log = sandbox.cairn(&format!("{words} --verbose --log-format json"));
    assert!(!log.stderr.contains(SECRET), "{}", log.stderr);
    done
}

#[test]
fn configured_headers_go_to_the_server_and_nobody_else() {
    let sandbox = sandbox();
    let other = Nginx::new(&sandbox.path("."), "");
    let away = format!(
        "location /away/ {{ rewrite ^/away/(.*) http://{}/$1 redirect; }}",
        other.address()
    );
    let nginx =
        Nginx::new(&sandbox.path("."), &format!("{away} location /closed/ {{ return 403; }}"));
    let options = r#"{"http-auth": "Bearer hunter2", "http-cookie": "session=hunter2"}"#;
    let entries = ["store", "away/store", "closed", "*"]
        .map(|path| format!("\"{}\": {options}", nginx.url(path)));
    sandbox.configure(&format!("{{\"store-options\": {{{}}}}}", entries[..3].join(", ")));
    for path in ["store", "away/store"] {
        let words = format!("extract blob.caibx out -s {}", nginx.url(path));
        assert_eq!(quietly(&sandbox, &words).code, Some(0), "{path}");
        assert!(sandbox.read("out") == sandbox.read("blob"));
    }
    for line in nginx.seen().lines() {
        assert!(line.contains(" authorization=Bearer hunter2 cookie=session=hunter2 "), "{line}");
    }
    assert!(!other.seen().is_empty());
    for line in other.seen().lines() {
        assert!(line.contains(" authorization=- cookie=- referer=- "), "{line}");
    }
    let closed = nginx.url("closed");
    let failed = quietly(&sandbox, &format!("extract blob.caibx out -s {closed}"));
    assert!(failed.stderr.contains(&format!("error: {closed}/")), "{}", failed.stderr);
    assert!(failed.stderr.contains(": 403 Forbidden\n"), "{}", failed.stderr);
}

#[test]
fn a_header_that_cannot_be_one_is_refused_unseen() {
    let sandbox = sandbox();
    sandbox.configure("{\"store-options\": {\"http://h/s\": {\"http-auth\": \"hunter2\\nx\"}}}");
    let failed = sandbox.cairn("extract blob.caibx out -s http://h/s").fails(&[]);
    let why = "the configured authorization is not possible in a header";
    assert_eq!(failed.stderr, format!("error: http://h/s: {why}\n"));
}

#[test]
fn a_password_in_the_url_is_sent_and_never_shown() {
    let sandbox = sandbox();
    sandbox.write("users", b"me:{PLAIN}hunter2\n");
    let users = sandbox.path("users");
    let nginx = Nginx::new(
        &sandbox.path("."),
        &format!("auth_basic all; auth_basic_user_file {};", users.display()),
    );
    let url = |user: &str, path: &str| nginx.url(path).replace("://", &format!("://{user}@"));
    let words = |user| format!("extract {} out -s {}", url(user, "blob.caibx"), url(user, "store"));
    let done = quietly(&sandbox, &words("me:hunter2"));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(sandbox.read("out") == sandbox.read("blob"));
    assert!(nginx.seen().lines().all(|line| line.contains(" user=me ")), "{}", nginx.seen());
    // The password of somebody else.
    let failed = quietly(&sandbox, &words("you:hunter2x"));
    let masked = url("you:***", "blob.caibx");
    assert!(
        failed.stderr.contains(&format!("error: {masked}: 401 Unauthorized\n")),
        "{}",
        failed.stderr
    );
    let failed =
        quietly(&sandbox, &format!("make x.caibx blob -s {}", url("me:hunter2", "store/x")));
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains(&format!("error: {}/", url("me:***", "store/x"))));
}

#[test]
fn the_query_of_a_signed_url_goes_with_every_request() {
    let sandbox = sandbox();
    let settings = "if ($args != 'sig=hunter2&x=%2F') { return 403; }
        location /put/ { dav_methods PUT; create_full_put_path on; }";
    let nginx = Nginx::new(&sandbox.path("."), settings);
    let url = |path: &str| nginx.url(&format!("{path}?sig=hunter2&x=%2F"));
    for words in [
        format!("extract {} out -s {}", url("blob.caibx"), url("store")),
        format!("info {} -s {} --check", url("blob.caibx"), url("store/")),
        format!("make {} blob -s {}", url("put/new.caibx"), url("put/store")),
    ] {
        let done = quietly(&sandbox, &words);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    assert_eq!(sandbox.files("put/store"), sandbox.files("store"));
    for line in nginx.seen().lines() {
        assert!(line.contains("?sig=hunter2&x=%2F HTTP/1.1 "), "{line}");
    }
    let wrong = format!("extract blob.caibx out -s {}?sig=hunter2x", nginx.url("store"));
    let failed = quietly(&sandbox, &wrong);
    assert!(failed.stderr.contains(&format!("error: {}/", nginx.url("store"))));
    assert!(failed.stderr.contains(".cacnk: 403 Forbidden\n"));
}

#[test]
fn names_on_the_way_to_an_index_are_escaped() {
    let sandbox = sandbox();
    let nginx = Nginx::new(&sandbox.path("."), "");
    for name in ["a%20b:c.caibx", "ä.caibx", "x/../up.caibx"] {
        let plain = name.replace("%20", " ").replace("x/../", "");
        std::fs::copy(sandbox.path("blob.caibx"), sandbox.path(&plain)).unwrap();
        sandbox.cairn(&format!("list-chunks {}", nginx.url(name))).succeeds();
    }
}

#[test]
fn proxies_are_those_of_the_environment() {
    let sandbox = sandbox();
    let nginx = Nginx::new(&sandbox.path("."), "");
    let proxy = FaultProxy::new(nginx.address(), Fault::HangUp, Which::Every(usize::MAX));
    let through = |words: &str, variables: &[(&str, &str)]| {
        let mut command = sandbox.command(words);
        command.envs(variables.iter().copied());
        run(command, None)
    };
    // Nobody but the proxy knows that host.
    let words =
        "extract http://nonexistent.invalid/blob.caibx out -s http://nonexistent.invalid/store";
    let address = format!("http://{}", proxy.address());
    through(words, &[("HTTP_PROXY", &address)]).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    assert!(proxy.requests() > 1);
    assert!(nginx.seen().contains(" host=nonexistent.invalid "), "{}", nginx.seen());
    let (before, near) = (proxy.requests(), nginx.url("store"));
    let direct = [("http_proxy", &*address), ("no_proxy", "localhost")];
    through(&format!("extract blob.caibx out -s {near}"), &direct).succeeds_silently();
    assert_eq!(proxy.requests(), before);

    let refusing = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let refusing = Fault::Answer(refusing.to_owned());
    let proxy = FaultProxy::new(nginx.address(), refusing, Which::All);
    let address = format!("http://me:{SECRET}@{}", proxy.address());
    let failed = through(
        "list-chunks http://nonexistent.invalid/blob.caibx --verbose",
        &[("HTTP_PROXY", &address)],
    );
    let why = "407 Proxy Authentication Required";
    let expected = format!("error: http://nonexistent.invalid/blob.caibx: {why}\n");
    assert!(failed.stderr.contains(&expected), "{}", failed.stderr);
    assert!(!failed.stderr.contains(SECRET), "{}", failed.stderr);
}
