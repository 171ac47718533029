//! `--cache`, when all goes well.

use std::fs;

use super::common::{Sandbox, joined, random, text};
use super::content;

/// Takes all chunks out of a store, which stays.
fn empty(sandbox: &Sandbox, store: &str) {
    fs::remove_dir_all(sandbox.path(store)).unwrap();
    fs::create_dir(sandbox.path(store)).unwrap();
}

#[test]
fn what_was_read_once_needs_no_store() {
    for command in ["extract blob.caibx out", "cat blob.caibx out"] {
        let sandbox = Sandbox::with_store(&content());
        let words = format!("{command} -s store -c cache");
        sandbox.cairn(&words).succeeds_silently();
        // All but the zeros, which nobody fetches.
        let (kept, stored) = (sandbox.files("cache"), sandbox.files("store"));
        assert_eq!(kept.len() + 1, stored.len());
        assert!(kept.iter().all(|name| stored.contains(name)));
        for name in &kept {
            let read = |store: &str| sandbox.read(&format!("{store}/{name}"));
            assert!(read("cache") == read("store"));
        }
        empty(&sandbox, "store");
        for again in ["extract blob.caibx out", "cat blob.caibx out"] {
            fs::remove_file(sandbox.path("out")).unwrap();
            sandbox.cairn(&format!("{again} -s store --cache cache")).succeeds_silently();
            assert!(sandbox.read("out") == content());
        }
        assert_eq!(sandbox.files("cache"), kept);
    }
}

#[test]
fn a_range_leaves_only_its_chunks_in_the_cache() {
    let sandbox = Sandbox::with_store(&random(1, 2_000_000));
    sandbox.cairn("cat blob.caibx out -s store -c cache -o 1000000 -l 1").succeeds_silently();
    assert_eq!(sandbox.files("cache").len(), 1);
}

#[test]
fn cache_and_store_may_differ_in_their_coding() {
    let sandbox = Sandbox::with_blob(&joined(&[&text(600_000), &random(2, 600_000)]));
    sandbox.cairn("make blob.caibx blob -s store --uncompressed").succeeds();
    sandbox.cairn("extract blob.caibx out -s store -c cache").succeeds_silently();
    let compressed: Vec<String> =
        sandbox.files("store").iter().map(|name| format!("{name}.cacnk")).collect();
    assert_eq!(sandbox.files("cache"), compressed);
    // The same chunks as from the first: desync and casync read these.
    sandbox.cairn("make again.caibx blob -s compressed").succeeds();
    for name in compressed {
        let read = |store: &str| sandbox.read(&format!("{store}/{name}"));
        assert!(read("cache") == read("compressed"));
    }
    // A cache that holds plain chunks is read, and not filled a second time.
    let plain = sandbox.files("store");
    fs::rename(sandbox.path("store"), sandbox.path("plain")).unwrap();
    fs::create_dir(sandbox.path("store")).unwrap();
    sandbox.cairn("extract blob.caibx out -s store -c plain").succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    assert_eq!(sandbox.files("plain"), plain);
}

#[test]
fn a_cache_serves_several_stores() {
    let (one, other) = (random(3, 500_000), random(4, 500_000));
    let sandbox = Sandbox::new();
    for (name, content) in
        [("one", &one), ("other", &other), ("both", &[one.clone(), other.clone()].concat())]
    {
        sandbox.write(name, content);
    }
    sandbox.cairn("make one.caibx one -s first").succeeds();
    sandbox.cairn("make both.caibx both -s second").succeeds();
    sandbox.cairn("extract both.caibx out -s first -s second -c cache").succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("both"));
    let ids = sandbox.ids("both.caibx").len();
    assert_eq!(sandbox.files("cache").len(), ids);
}

#[test]
fn a_store_may_be_its_own_cache() {
    let sandbox = Sandbox::with_store(&content());
    let before = sandbox.files("store");
    sandbox.cairn("extract blob.caibx out -s store -c store").succeeds_silently();
    assert!(sandbox.read("out") == content());
    assert_eq!(sandbox.files("store"), before);
    // But never one from which chunks are removed.
    for same in ["store", "./store/", "link"] {
        let _ = std::os::unix::fs::symlink("store", sandbox.path("link"));
        let words = format!("extract blob.caibx out -s store -c {same} --cache-size 1M");
        sandbox.cairn(&words).fails(&[same, "removed"]);
    }
    assert_eq!(sandbox.files("store"), before);
}

#[test]
fn several_processes_fill_one_cache() {
    let sandbox = Sandbox::with_store(&content());
    let outputs = ["out0", "out1", "out2", "out3"];
    let children = outputs.map(|output| {
        let words = format!("extract blob.caibx {output} -s store -c cache");
        sandbox.command(&words).spawn().unwrap()
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    for output in outputs {
        assert!(sandbox.read(output) == content());
    }
    assert_eq!(sandbox.files("cache").len() + 1, sandbox.files("store").len());
}

#[test]
fn wrong_words_about_a_cache_are_misuse() {
    let sandbox = Sandbox::with_store(b"short");
    for command in ["extract blob.caibx out -s store", "cat blob.caibx -s store"] {
        for (flags, part) in [
            ("--cache-size 1G", "--cache"),
            ("-c cache --cache-size 10", "at least 1M"),
            ("-c cache --cache-size much", "500M or 10G"),
            ("-c cache -r=perhaps", "perhaps"),
        ] {
            sandbox.cairn(&format!("{command} {flags}")).misused(&[part]);
        }
    }
    assert!(!sandbox.path("cache").exists());
}

#[test]
fn a_cache_that_cannot_be_made_is_refused_at_once() {
    let sandbox = Sandbox::with_store(&content());
    sandbox.refuses("extract blob.caibx out -s store -c no/cache", &["no/cache"]);
    sandbox.refuses("extract blob.caibx out -s store -c blob", &["blob", "not a directory"]);
    sandbox.refuses("cat blob.caibx -s store -c ftp://x/y", &["ftp://x/y", "not supported"]);
    let words = "cat blob.caibx -s store -c https://x/y --cache-size 1G";
    sandbox.refuses(words, &["https://x/y", "on this machine"]);
    sandbox.refuses("extract blob.caibx out -s nowhere -c cache", &["nowhere"]);
}
