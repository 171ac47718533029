use std::fs;

use super::common::{Sandbox, desync_is_here, joined, random};
use super::stores::place;

/// A blob in a store, a part of it in a cache, another part as a seed. Some chunks are repeated.
fn parts() -> Sandbox {
    let (one, two) = (random(1, 1_500_000), random(2, 1_000_000));
    let sandbox = Sandbox::with_store(&joined(&[&one, &two, &[0; 1_000_000], &one]));
    sandbox.write("seed", &one[200_000..700_000]);
    sandbox.write("cached", &two);
    sandbox.write("nothing", b"");
    for (name, store) in [("seed", "seeds"), ("cached", "cache"), ("nothing", "cache")] {
        sandbox.cairn(&format!("make {name}.caibx {name} -s {store}")).succeeds();
    }
    sandbox
}

#[test]
fn it_is_counted_what_is_where() {
    let sandbox = parts();
    let index = sandbox.ids("blob.caibx");
    let mut unique = index.clone();
    unique.sort();
    unique.dedup();
    let done = sandbox.cairn("info blob.caibx").succeeds();
    let expected = format!(
        "{{\n  \"total\": {},\n  \"unique\": {},\n  \"in-store\": 0,\n  \"in-seed\": 0,\n  \
         \"in-cache\": 0,\n  \"not-in-seed-nor-cache\": {1},\n  \"size\": 5000000,\n  \
         \"dedup-size-not-in-seed\": {size},\n  \"dedup-size-not-in-seed-nor-cache\": {size},\n  \
         \"dedup-size-not-in-seed-nor-cache-compressed\": 0,\n  \"chunk-size-min\": 16384,\n  \
         \"chunk-size-avg\": 65536,\n  \"chunk-size-max\": 262144\n}}\n",
        index.len(),
        unique.len(),
        size = unique_size(&sandbox),
    );
    assert_eq!((done.text(), &done.stderr[..]), (&expected[..], ""));
}

/// Bytes in the distinct chunks of the blob.
fn unique_size(sandbox: &Sandbox) -> u64 {
    let chunks = sandbox.cairn("chunk blob").succeeds();
    let mut seen = std::collections::BTreeSet::new();
    let mut size = 0;
    for line in chunks.text().lines() {
        let words: Vec<&str> = line.split('\t').collect();
        if seen.insert(words[2].to_owned()) {
            size += words[1].parse::<u64>().unwrap();
        }
    }
    size
}

#[test]
fn every_figure_is_desyncs() {
    if !desync_is_here("every_figure_is_desyncs") {
        return;
    }
    let sandbox = parts();
    sandbox.cairn("inspect-chunks blob.caibx sizes.json -s store").succeeds_silently();
    sandbox.cairn("inspect-chunks seed.caibx few.json -s seeds").succeeds_silently();
    let mut upper = String::from_utf8(sandbox.read("sizes.json")).unwrap();
    for id in sandbox.ids("blob.caibx") {
        upper = upper.replace(&id, &id.to_uppercase());
    }
    sandbox.write("upper.json", upper.as_bytes());
    for form in ["", "-f json", "--format plain"] {
        for sources in [
            "",
            "-s store",
            "-s store,cache",
            "-s seeds -s cache -c cache",
            "--seed seed.caibx",
            "--seed seed.caibx --seed cached.caibx -c cache -s store",
            "--seed seed.caibx,cached.caibx,nothing.caibx",
            "--seed blob.caibx",
            "-c store",
            "--chunks-info sizes.json -c cache --seed seed.caibx",
            "--chunks-info few.json",
            "--chunks-info upper.json",
        ] {
            for index in ["blob.caibx", "seed.caibx", "nothing.caibx"] {
                let words = format!("info {index} {sources} {form}");
                let theirs = sandbox.desync(&words);
                let ours = sandbox.cairn(&words);
                let theirs = (theirs.code, theirs.text().to_owned(), &theirs.stderr[..]);
                assert_eq!(
                    (ours.code, ours.text().to_owned(), &ours.stderr[..]),
                    theirs,
                    "{words}"
                );
            }
        }
    }
}

#[test]
fn a_script_can_ask_whether_all_is_there() {
    let sandbox = parts();
    let unique = {
        let mut ids = sandbox.ids("blob.caibx");
        ids.sort();
        ids.dedup();
        ids
    };
    sandbox.cairn("info blob.caibx -s store --check").succeeds();
    sandbox.cairn("info blob.caibx -c store --check").succeeds();
    sandbox.cairn("info blob.caibx --seed blob.caibx --check").succeeds();
    sandbox.cairn("info nothing.caibx --check").succeeds();
    fs::remove_file(sandbox.path(&place("store", &unique[0]))).unwrap();
    sandbox.cairn("info blob.caibx -s store").succeeds();
    let done = sandbox.cairn("info blob.caibx -s store --check");
    assert_eq!(done.code, Some(1));
    assert!(done.text().contains(&format!("\"in-store\": {}", unique.len() - 1)));
    let expected = format!(
        "error: blob.caibx: 1 of {} chunks are neither in a store nor in the cache nor in a seed\n",
        unique.len()
    );
    assert_eq!(done.stderr, expected);
    sandbox.write("one", &sandbox.read("blob")[..1_500_000]);
    assert_eq!(sandbox.cairn("info blob.caibx --check").code, Some(1));
}

#[test]
fn what_cannot_be_read_is_refused() {
    let sandbox = parts();
    sandbox.refuses("info missing.caibx", &["missing.caibx"]);
    sandbox.refuses("info blob", &["blob: not an index"]);
    sandbox.refuses("info blob.caibx --seed blob", &["blob: not an index"]);
    sandbox.refuses("info blob.caibx -s nowhere", &["cannot open store nowhere"]);
    sandbox.refuses("info blob.caibx -c nowhere", &["cannot open store nowhere"]);
    sandbox.refuses("info blob.caibx --digest sha256", &["sha512-256"]);
    sandbox.refuses("info blob.caibx --chunks-info missing", &["cannot open missing"]);
    sandbox.cairn("info blob.caibx -f xml").misused(&["xml", "json", "plain"]);
    let id = sandbox.ids("blob.caibx").remove(0);
    for (list, why) in [
        ("", "sizes: not a list of chunk sizes"),
        ("[", "sizes: not a list of chunk sizes"),
        ("[] x", "sizes: not a list of chunk sizes"),
        ("{}", "sizes: not a list of chunk sizes"),
        ("[{\"id\": 5}]", "sizes: not a list of chunk sizes"),
        ("[{\"id\": \"5\"}]", "sizes: `5` is not a chunk id"),
        ("[{\"id\": \"", "sizes: not a list of chunk sizes"),
    ] {
        sandbox.write("sizes", list.as_bytes());
        sandbox.refuses("info blob.caibx --chunks-info sizes", &[why]);
    }
    let wrong = format!("[{{\"id\": \"{id}\", \"uncompressed_size\": 7}}]");
    sandbox.write("sizes", wrong.as_bytes());
    sandbox.refuses("info blob.caibx --chunks-info sizes", &[&id, "7 bytes instead of"]);
    sandbox.write("sizes", b"null");
    sandbox.cairn("info blob.caibx --chunks-info sizes").succeeds();
}
