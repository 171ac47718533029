use std::fs;

use super::common::{Sandbox, desync_is_here, joined, random, text};
use super::stores::place;

fn blob() -> Vec<u8> {
    joined(&[&random(1, 500_000), &[0; 600_000], &text(500_000)])
}

#[test]
fn every_chunk_is_listed_in_order_with_its_sizes() {
    let sandbox = Sandbox::with_store(&blob());
    let missing = sandbox.ids("blob.caibx").remove(1);
    fs::remove_file(sandbox.path(&place("store", &missing))).unwrap();
    let chunks = sandbox.cairn("chunk blob").succeeds();
    let list = |is_stored: bool| {
        let objects = chunks.text().lines().map(|line| {
            let words: Vec<&str> = line.split('\t').collect();
            let (len, id) = (words[1], words[2]);
            let stored = if is_stored && id != missing {
                let stored = sandbox.read(&place("store", id)).len();
                format!(",\n    \"compressed_size\": {stored}")
            } else {
                String::new()
            };
            format!("  {{\n    \"id\": \"{id}\",\n    \"uncompressed_size\": {len}{stored}\n  }}")
        });
        format!("[\n{}\n]\n", objects.collect::<Vec<_>>().join(",\n"))
    };
    let done = sandbox.cairn("inspect-chunks blob.caibx -s store").succeeds();
    assert_eq!((done.text(), &done.stderr[..]), (&list(true)[..], ""));
    let done = sandbox.cairn("inspect-chunks blob.caibx").succeeds();
    assert_eq!((done.text(), &done.stderr[..]), (&list(false)[..], ""));
    sandbox.write("out.json", b"old");
    sandbox.cairn("inspect-chunks blob.caibx out.json -s store").succeeds_silently();
    assert_eq!(sandbox.read("out.json"), list(true).as_bytes());
    sandbox.cairn("inspect-chunks blob.caibx /dev/null -s store").succeeds_silently();
    std::os::unix::fs::symlink("out.json", sandbox.path("link")).unwrap();
    sandbox.cairn("inspect-chunks blob.caibx link").succeeds_silently();
    assert!(sandbox.path("link").is_symlink());
    assert_eq!(sandbox.read("out.json"), list(false).as_bytes());
}

#[test]
fn the_list_is_desyncs() {
    if !desync_is_here("the_list_is_desyncs") {
        return;
    }
    let sandbox = Sandbox::with_store(&blob());
    fs::remove_file(sandbox.path(&place("store", &sandbox.ids("blob.caibx")[1]))).unwrap();
    sandbox.write("nothing", b"");
    sandbox.cairn("make nothing.caibx nothing").succeeds();
    sandbox.cairn("make plain.caibx blob -s plain --uncompressed").succeeds();
    for words in
        ["blob.caibx", "blob.caibx -s store", "nothing.caibx -s store", "blob.caibx -s plain"]
    {
        let words = format!("inspect-chunks {words}");
        let theirs = sandbox.desync(&words);
        assert_eq!(sandbox.cairn(&words).succeeds().text(), theirs.succeeds().text(), "{words}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let sandbox = Sandbox::with_store(&blob());
    let inspect = |words: &str| format!("inspect-chunks {words}");
    sandbox.refuses(&inspect("missing.caibx"), &["missing.caibx"]);
    sandbox.refuses(&inspect("blob.caibx -s nowhere"), &["cannot open store nowhere"]);
    sandbox.refuses(&inspect("blob.caibx -s blob"), &["blob: the store is not a directory"]);
    let remote = "http://host/: not a store on this machine";
    sandbox.refuses(&inspect("blob.caibx -s http://host/"), &[remote]);
    sandbox.refuses(&inspect("blob.caibx store"), &["store"]);
    sandbox.refuses(&inspect("blob.caibx no/where"), &["no/where"]);
    // Nothing is left of an output that failed.
    sandbox.write("cut.caibx", &sandbox.read("blob.caibx")[..300]);
    sandbox.refuses(&inspect("cut.caibx out.json"), &["cut.caibx: damaged index"]);
}
