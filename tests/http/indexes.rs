//! Indexes on web servers.

use super::common::Sandbox;
use super::common::fault_proxy::{Fault, FaultProxy, Which};
use super::common::nginx::{Nginx, free_address};
use super::common::random;

fn served() -> (Sandbox, Nginx) {
    let sandbox = Sandbox::with_store(&random(1, 1_000_000));
    sandbox.configure(
        r#"{"store-options": {"http://127.0.0.1:*/": {"timeout": 300000000},
                                           "http://127.0.0.1:*/put/": {"timeout": 300000000}}}"#,
    );
    let settings = "location /put/ { dav_methods PUT; create_full_put_path on; }";
    let nginx = Nginx::new(&sandbox.path("."), settings);
    (sandbox, nginx)
}

#[test]
fn an_index_is_written_and_read_back() {
    let (sandbox, nginx) = served();
    let index = nginx.url("put/new.caibx");
    sandbox.cairn(&format!("make {index} blob -s store")).succeeds_silently();
    assert!(sandbox.read("put/new.caibx") == sandbox.read("blob.caibx"));
    sandbox.cairn(&format!("extract {index} out -s store")).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    // In place of the one that is there.
    sandbox.write("blob", &random(2, 500_000));
    sandbox.cairn(&format!("make {index} blob -s store")).succeeds_silently();
    sandbox.cairn(&format!("extract {index} out -s store")).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

#[test]
fn what_is_no_index_is_said() {
    let (sandbox, nginx) = served();
    let index = sandbox.read("blob.caibx");
    sandbox.write("page.caibx", b"<html>no such index, but always a 200</html>");
    sandbox.write("short.caibx", &index[..424]);
    sandbox.write("empty.caibx", b"");
    let index = nginx.url("nowhere.caibx");
    let failed = sandbox.cairn(&format!("list-chunks {index} -b 1h")).fails(&[]);
    assert_eq!(failed.error(), format!("cannot read index {index}: there is no such index"));
    for (name, why) in [
        ("page.caibx", "not an index: it does not begin with an index header"),
        ("short.caibx", "damaged index at byte 424: it is cut off: the tail is missing"),
        ("empty.caibx", "not an index: it is empty"),
        ("store/", "the URL does not end in the name of an index"),
    ] {
        let index = nginx.url(name);
        let failed = sandbox.cairn(&format!("list-chunks {index} -b 1h")).fails(&[]);
        assert_eq!(failed.error(), format!("{index}: {why}"));
    }
}

#[test]
fn what_goes_wrong_with_an_index_is_tried_again_or_said() {
    let (sandbox, nginx) = served();
    let ids = sandbox.ids("blob.caibx").join("\n") + "\n";
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy".to_owned();
    for (fault, why) in [
        (Fault::Cut(200), "end of file before message length reached"),
        (Fault::Reset(200), "Connection reset by peer (os error 104)"),
        (Fault::Lie(1000), "end of file before message length reached"),
        (Fault::Silence, "no answer within 300ms"),
        (Fault::Stall(200), "no answer within 300ms"),
        (Fault::Answer(busy), "503 Service Unavailable: busy"),
    ] {
        let what = format!("{fault:?}");
        let always = FaultProxy::new(nginx.address(), fault.clone(), Which::All);
        let index = always.url("blob.caibx");
        let failed = sandbox.cairn(&format!("list-chunks {index} -e 1 -b 1ms")).fails(&[]);
        assert_eq!(failed.error(), format!("{index}: {why}"), "{what}");
        assert_eq!(always.faults(), 2, "{what}");
        let once = FaultProxy::new(nginx.address(), fault, Which::FirstOfEach);
        let index = once.url("blob.caibx");
        let listed = sandbox.cairn(&format!("list-chunks {index} -e 1 -b 1ms")).succeeds();
        assert_eq!((listed.text(), once.faults()), (&*ids, 1), "{what}");
    }
}

#[test]
fn an_index_without_end_is_not_taken_in() {
    let (sandbox, nginx) = served();
    let proxy = FaultProxy::new(nginx.address(), Fault::Endless, Which::All);
    // Junk behind a good index, and nothing but junk.
    for name in ["blob.caibx", "blob"] {
        let index = proxy.url(name);
        let words = format!("list-chunks {index}");
        let failed = sandbox.cairn_with_memory(1 << 20, &words).fails(&[]);
        assert!(failed.stderr.starts_with(&format!("error: {index}: ")), "{}", failed.stderr);
    }
    assert_eq!(proxy.faults(), 2);
}

#[test]
fn an_index_that_cannot_be_written_fails_the_make() {
    let (sandbox, nginx) = served();
    let nobody = format!("http://{}/new.caibx", free_address());
    let refused = sandbox.cairn(&format!("make {nobody} blob -s store -e 0")).fails(&[]);
    assert_eq!(refused.error(), format!("{nobody}: Connection refused (os error 111)"));
    let forbidden = nginx.url("new.caibx");
    let refused = sandbox.cairn(&format!("make {forbidden} blob -s store")).fails(&[]);
    assert_eq!(refused.error(), format!("{forbidden}: 405 Method Not Allowed"));
    let silent = FaultProxy::new(nginx.address(), Fault::Silence, Which::FirstOfEach);
    let index = silent.url("put/new.caibx");
    let refused = sandbox.cairn(&format!("make {index} blob -s store -e 0")).fails(&[]);
    assert_eq!(refused.error(), format!("{index}: no answer within 300ms"));
    let once = FaultProxy::new(nginx.address(), Fault::Silence, Which::FirstOfEach);
    let index = once.url("put/new.caibx");
    sandbox.cairn(&format!("make {index} blob -s store -b 1ms")).succeeds_silently();
    assert!(sandbox.read("put/new.caibx") == sandbox.read("blob.caibx"));
}
