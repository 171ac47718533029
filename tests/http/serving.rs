//! A directory of files behind nginx is a store to read from.

use super::certificates::trusted_by_ca;
use super::common::nginx::Nginx;
use super::common::{Sandbox, joined, random, text};

fn sandbox() -> Sandbox {
    Sandbox::with_store(&joined(&[&random(1, 600_000), &text(400_000)]))
}

#[test]
fn everything_that_reads_reads_over_http_and_https() {
    let sandbox = sandbox();
    let servers = [
        (Nginx::new(&sandbox.path("."), "gzip on; gzip_types *; gzip_min_length 1;"), ""),
        (Nginx::with_tls(&sandbox.path("."), &trusted_by_ca(&sandbox)), " --ca-cert ca.pem"),
    ];
    let blob = sandbox.read("blob");
    for (nginx, flags) in &servers {
        let (store, index) = (nginx.url("store"), nginx.url("blob.caibx"));
        sandbox.cairn(&format!("extract {index} out -s {store}{flags}")).succeeds_silently();
        assert!(sandbox.read("out") == blob);
        // Also into a cache, and with a slash at the end.
        let cached = format!("extract {index} out -s {store}/ -c cache{flags}");
        sandbox.cairn(&cached).succeeds_silently();
        assert!(sandbox.read("out") == blob);
        assert_eq!(sandbox.files("cache"), sandbox.files("store"));
        std::fs::remove_dir_all(sandbox.path("cache")).unwrap();
        let printed = sandbox.cairn(&format!("cat {index} -s {store} -o 1000 -l 900000{flags}"));
        assert!(printed.succeeds().stdout == blob[1000..901_000]);
        sandbox.cairn(&format!("info {index} -s {store} --check{flags}")).succeeds();
        sandbox.cairn(&format!("cache {index} -s {store} -c copy{flags}")).succeeds_silently();
        assert_eq!(sandbox.files("copy"), sandbox.files("store"));
        std::fs::remove_dir_all(sandbox.path("copy")).unwrap();
        for line in nginx.seen().lines() {
            assert!(line.contains(" accept-encoding=- "), "{line}");
            assert!(line.contains(" authorization=- cookie=- referer=- "), "{line}");
            assert!(line.contains(concat!(" agent=cairn/", env!("CARGO_PKG_VERSION"))), "{line}");
            let is_tls = !flags.is_empty();
            assert_eq!(line.contains(" HTTP/2.0 "), is_tls, "{line}");
        }
    }
}

#[test]
fn what_needs_the_files_themselves_is_refused() {
    let sandbox = sandbox();
    let nginx = Nginx::new(&sandbox.path("."), "");
    let store = nginx.url("store");
    let refused = [
        (format!("verify -s {store}"), "not a store on this machine"),
        (format!("inspect-chunks blob.caibx -s {store}"), "not a store on this machine"),
        (
            format!("prune --yes blob.caibx -s {store}"),
            "this kind of store does not support pruning",
        ),
        (
            format!("extract blob.caibx out -s store -c {store} --cache-size 10M"),
            "only a cache on this machine can be given a size",
        ),
    ];
    for (words, why) in refused {
        let failed = sandbox.cairn(&words).fails(&[]);
        assert_eq!(failed.stderr, format!("error: {store}: {why}\n"), "{words}");
    }
    assert_eq!(nginx.seen(), "");
}

#[test]
fn a_missing_chunk_is_named_and_the_next_store_asked() {
    let sandbox = sandbox();
    let ids = sandbox.ids("blob.caibx");
    let id = &ids[1];
    let path = format!("store/{}/{id}.cacnk", &id[..4]);
    std::fs::copy(sandbox.path(&path), sandbox.path("chunk")).unwrap();
    std::fs::remove_file(sandbox.path(&path)).unwrap();
    let nginx = Nginx::new(&sandbox.path("."), "");
    let store = nginx.url("store");
    let failed = sandbox.cairn(&format!("extract blob.caibx out -s {store}")).fails(&[]);
    let error = failed.stderr.lines().next().unwrap();
    assert_eq!(error, format!("error: chunk {id} is missing from store {store}"));
    assert!(failed.stderr.contains("\nhint: add the store that has the chunk"));
    sandbox.cairn(&format!("info blob.caibx -s {store} --check")).code.unwrap();
    std::fs::create_dir_all(sandbox.path(&format!("rest/{}", &id[..4]))).unwrap();
    let rest = format!("rest/{}/{id}.cacnk", &id[..4]);
    std::fs::rename(sandbox.path("chunk"), sandbox.path(&rest)).unwrap();
    for stores in [format!("-s {store} -s {}", nginx.url("rest")), format!("-s {store}|rest")] {
        sandbox.cairn(&format!("extract blob.caibx out {stores}")).succeeds_silently();
        assert!(sandbox.read("out") == sandbox.read("blob"));
    }
}
