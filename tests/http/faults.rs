//! Whatever goes wrong on the way is either made good by asking again or elsewhere, or said in one line,
//! with nothing half done left behind.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::common::fault_proxy::{Fault, FaultProxy, Which};
use super::common::nginx::{Nginx, free_address};
use super::common::{Sandbox, joined, random, text};

/// The bodies of all chunks are longer.
const SOME: usize = 20;

fn answer(head: &str, body: &str) -> Fault {
    let len = body.len();
    Fault::Answer(format!("HTTP/1.1 {head}\r\nContent-Length: {len}\r\n\r\n{body}"))
}

/// A store behind nginx, with so short a patience for servers as a test has.
fn served() -> (Sandbox, Nginx) {
    let sandbox = Sandbox::with_store(&joined(&[&random(1, 300_000), &text(200_000)]));
    sandbox.configure(r#"{"store-options": {"http://127.0.0.1:*/*": {"timeout": 300000000}}}"#);
    let nginx = Nginx::new(&sandbox.path("."), PUT);
    (sandbox, nginx)
}

/// Settings of nginx with which it can be written to.
const PUT: &str = "location /put/ { dav_methods PUT; create_full_put_path on; }";

/// What is wrong with the error `error: STORE/hhhh/ID.cacnk: WHY`, if anything.
#[track_caller]
fn names_a_chunk(stderr: &str, store: &str, ids: &[String], why: &str) {
    let line = stderr.lines().next().unwrap_or_default();
    let rest = line.strip_prefix(&format!("error: {store}/"));
    let rest = rest.unwrap_or_else(|| panic!("no `{store}` first in {stderr}"));
    let (name, said) = rest.split_once(": ").unwrap();
    let is_chunk = |id: &String| name == format!("{}/{id}.cacnk", &id[..4]);
    assert!(ids.iter().any(is_chunk), "{name}");
    assert_eq!(said, why);
}

/// What happens, and what is said of it.
fn faults() -> Vec<(Fault, &'static str)> {
    let closed = "connection closed before message completed";
    let short = "end of file before message length reached";
    vec![
        (Fault::Cut(SOME), short),
        (Fault::Lie(1000), short),
        (Fault::Reset(SOME), "Connection reset by peer (os error 104)"),
        (Fault::HangUp, closed),
        (Fault::Silence, "no answer within 300ms"),
        (Fault::Stall(SOME), "no answer within 300ms"),
        (Fault::Stall(0), "no answer within 300ms"),
        (
            answer("500 Internal Server Error", "it broke\nall of it"),
            "500 Internal Server Error: it broke",
        ),
        (answer("503 Service Unavailable\r\nRetry-After: 0", "<html>"), "503 Service Unavailable"),
        (answer("429 Too Many Requests\r\nRetry-After: 0", ""), "429 Too Many Requests"),
        (answer("408 Request Timeout", ""), "408 Request Timeout"),
    ]
}

#[test]
fn what_may_pass_is_said_or_tried_again_or_had_elsewhere() {
    let (sandbox, nginx) = served();
    let (ids, blob) = (sandbox.ids("blob.caibx"), sandbox.read("blob"));
    for (fault, why) in faults() {
        let what = format!("{fault:?}");
        let always = FaultProxy::new(nginx.address(), fault.clone(), Which::All);
        let bad = always.url("store");
        sandbox.write("out", b"as it was");
        let before = sandbox.snapshot();
        let failed = sandbox.cairn(&format!("extract blob.caibx out -s {bad} -e 0")).fails(&[]);
        names_a_chunk(&failed.stderr, &bad, &ids, why);
        sandbox.is_as(&before, &what);
        let faults = always.faults();
        assert!(faults > 0, "{what}");
        let others = [
            format!("-s {bad} -s {}", nginx.url("store")),
            format!("-s {bad}|{}", nginx.url("store")),
        ];
        for stores in others {
            let words = format!("extract blob.caibx out {stores} -e 0");
            sandbox.cairn(&words).succeeds_silently();
            assert!(sandbox.read("out") == blob, "{what}");
        }
        assert!(always.faults() > faults, "{what}");
        let once = FaultProxy::new(nginx.address(), fault, Which::FirstOfEach);
        let words = format!("extract blob.caibx again -s {} -b 1ms", once.url("store"));
        sandbox.cairn(&words).succeeds_silently();
        assert!(sandbox.read("again") == blob, "{what}");
        assert!(once.faults() >= ids.len(), "{what}");
        std::fs::remove_file(sandbox.path("again")).unwrap();
    }
}

#[test]
fn what_cannot_pass_is_not_tried_again() {
    let (sandbox, nginx) = served();
    let (ids, blob) = (sandbox.ids("blob.caibx"), sandbox.read("blob"));
    let again = |to: &str| answer(&format!("302 Found\r\nLocation: {to}"), "");
    for (fault, why) in [
        (again("/store/x"), "redirected without end: too many redirects"),
        (again("http://[/"), "302 Found"),
        (answer("403 Forbidden", "not for\x07 you"), "403 Forbidden: not for you"),
        (answer("401 Unauthorized", ""), "401 Unauthorized"),
        (answer("400 Bad Request", "<h1>no</h1>"), "400 Bad Request"),
        (answer("501 Not Implemented", "no"), "501 Not Implemented: no"),
        (answer("304 Not Modified", ""), "304 Not Modified"),
        (answer("206 Partial Content", "x"), "206 Partial Content: x"),
    ] {
        let what = format!("{fault:?}");
        let proxy = FaultProxy::new(nginx.address(), fault, Which::All);
        let bad = proxy.url("store");
        let before = sandbox.snapshot();
        let failed = sandbox.cairn(&format!("extract blob.caibx out -s {bad} -b 1h")).fails(&[]);
        names_a_chunk(&failed.stderr, &bad, &ids, why);
        sandbox.is_as(&before, &what);
        assert!(proxy.faults() > 0, "{what}");
        let mirrored = format!("extract blob.caibx out -s {bad}|store -b 1h");
        sandbox.cairn(&mirrored).succeeds_silently();
        assert!(sandbox.read("out") == blob, "{what}");
        std::fs::remove_file(sandbox.path("out")).unwrap();
    }
}

#[test]
fn damage_on_the_way_is_got_again_or_elsewhere() {
    let (sandbox, nginx) = served();
    let blob = sandbox.read("blob");
    let page = answer("200 OK", "<html>no such page, but it is always a 200</html>");
    for (fault, why) in [(Fault::Damage, ""), (page, "it begins with no known compression's magic")]
    {
        let what = format!("{fault:?}");
        let always = FaultProxy::new(nginx.address(), fault.clone(), Which::All);
        let bad = always.url("store");
        let before = sandbox.snapshot();
        let words = format!("extract blob.caibx out -s {bad} -e 1 -b 1ms");
        let failed = sandbox.cairn(&words).fails(&[&format!("error: {bad}"), why]);
        assert!(failed.stderr.contains("\nhint: the chunk is damaged in the store"), "{what}");
        sandbox.is_as(&before, &what);
        for stores in [format!("-s {bad} -s store"), format!("-s {bad}|store")] {
            let words = format!("extract blob.caibx out {stores} -e 1 -b 1ms");
            sandbox.cairn(&words).succeeds_silently();
            assert!(sandbox.read("out") == blob, "{what}");
            std::fs::remove_file(sandbox.path("out")).unwrap();
        }
        let once = FaultProxy::new(nginx.address(), fault, Which::FirstOfEach);
        let words = format!("extract blob.caibx out -s {} -e 1 -b 1ms", once.url("store"));
        sandbox.cairn(&words).succeeds_silently();
        assert!(sandbox.read("out") == blob, "{what}");
        std::fs::remove_file(sandbox.path("out")).unwrap();
    }
    let some = FaultProxy::new(nginx.address(), Fault::Damage, Which::Every(3));
    let words = format!("extract blob.caibx out -s {} -b 1ms", some.url("store"));
    sandbox.cairn(&words).succeeds_silently();
    assert!(sandbox.read("out") == blob && some.faults() > 1);
}

#[test]
fn a_body_without_end_is_not_taken_in() {
    let (sandbox, nginx) = served();
    let proxy = FaultProxy::new(nginx.address(), Fault::Endless, Which::All);
    let bad = proxy.url("store");
    let before = sandbox.snapshot();
    let words = format!("extract blob.caibx out -s {bad} -n 1 -e 0");
    let failed = sandbox.cairn_with_memory(1 << 21, &words).fails(&[]);
    assert!(failed.stderr.starts_with(&format!("error: {bad}/")), "{}", failed.stderr);
    let ends = ["bytes, which is too long", "no answer within 300ms"];
    assert!(ends.iter().any(|end| failed.error().ends_with(end)), "{}", failed.stderr);
    sandbox.is_as(&before, &words);
}

fn http_date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut date = Command::new("date");
    date.args(["-u", "+%a, %d %b %Y %H:%M:%S GMT", "-d", &format!("@{seconds}")]);
    let output = date.env("LC_ALL", "C").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_server_that_asks_for_time_gets_it() {
    let (sandbox, nginx) = served();
    for (status, is_date) in [("429 Too Many Requests", false), ("503 Busy", true)] {
        let began = Instant::now();
        // Dates have whole seconds: this one is between one and two from now.
        let then = SystemTime::now() + Duration::from_secs(2);
        let when = if is_date { http_date(then) } else { "1".to_owned() };
        let fault = answer(&format!("{status}\r\nRetry-After: {when}"), "");
        let proxy = FaultProxy::new(nginx.address(), fault, Which::FirstOfEach);
        let words = format!("extract blob.caibx out -s {} -e 1 -b 0", proxy.url("store"));
        sandbox.cairn(&words).succeeds_silently();
        assert!(began.elapsed() > Duration::from_millis(900), "{status}: {:?}", began.elapsed());
        assert!(proxy.faults() > 1);
    }
}

#[test]
fn what_is_not_there_at_all_is_said() {
    let sandbox = Sandbox::with_store(&random(1, 100_000));
    let ids = sandbox.ids("blob.caibx");
    let nobody = format!("http://{}/store", free_address());
    let unknown = "http://nonexistent.invalid/store".to_owned();
    for (store, why) in [
        (&nobody, "Connection refused (os error 111)"),
        (&unknown, "failed to lookup address information: Name or service not known"),
    ] {
        let failed = sandbox.cairn(&format!("extract blob.caibx out -s {store} -e 0")).fails(&[]);
        names_a_chunk(&failed.stderr, store, &ids, why);
        let other = format!("extract blob.caibx out -s {store}|store -e 1 -b 1ms");
        sandbox.cairn(&other).succeeds_silently();
        std::fs::remove_file(sandbox.path("out")).unwrap();
    }
    for (url, why) in [
        ("http://", "not a proper URL: empty host"),
        ("http://[::1/store", "not a proper URL: invalid IPv6 address"),
        ("http://h:99999/store", "not a proper URL: invalid port number"),
        ("http://h:port/store", "not a proper URL: invalid port number"),
    ] {
        let failed = sandbox.cairn(&format!("extract blob.caibx out -s {url}")).fails(&[]);
        assert_eq!(failed.stderr, format!("error: {url}: {why}\n"));
    }
    assert!(!sandbox.path("out").exists());
}

#[test]
fn a_failed_make_leaves_no_index() {
    let (sandbox, nginx) = served();
    let ids = sandbox.ids("blob.caibx");
    let full = "507 Insufficient Storage: disk full";
    for (fault, why) in [
        (Fault::HangUp, "connection closed before message completed"),
        (Fault::Silence, "no answer within 300ms"),
        (answer("507 Insufficient Storage", "disk full"), full),
        (answer("403 Forbidden", ""), "403 Forbidden"),
        (answer("405 Not Allowed", ""), "405 Method Not Allowed"),
    ] {
        let proxy = FaultProxy::new(nginx.address(), fault.clone(), Which::All);
        let (bad, before) = (proxy.url("put"), sandbox.snapshot());
        let failed = sandbox.cairn(&format!("make new.caibx blob -s {bad} -e 0")).fails(&[]);
        // An answer to a HEAD has no body.
        let why = if why == full { "507 Insufficient Storage" } else { why };
        names_a_chunk(&failed.stderr, &bad, &ids, why);
        sandbox.is_as(&before, why);
        let mirrored = format!("make new.caibx blob -s {bad}|elsewhere -e 0");
        sandbox.cairn(&mirrored).succeeds_silently();
        assert_eq!(sandbox.files("elsewhere"), sandbox.files("store"));
        std::fs::remove_dir_all(sandbox.path("elsewhere")).unwrap();
        std::fs::remove_file(sandbox.path("new.caibx")).unwrap();
        if why.contains("no answer") || why.contains("closed") {
            let once = FaultProxy::new(nginx.address(), fault, Which::FirstOfEach);
            let store = once.url("put");
            sandbox.cairn(&format!("make new.caibx blob -s {store} -b 1ms")).succeeds_silently();
            assert_eq!(sandbox.files("put"), sandbox.files("store"));
            // Each was asked for and sent.
            assert_eq!(once.faults(), 2 * ids.len());
            std::fs::remove_dir_all(sandbox.path("put")).unwrap();
            std::fs::remove_file(sandbox.path("new.caibx")).unwrap();
        }
    }
}
