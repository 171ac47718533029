use std::fs;

use super::common::{Sandbox, joined, random, text};
use super::stores::{chunks, place, sorted};

#[test]
fn the_cache_has_what_the_source_has_as_it_is() {
    let sandbox = Sandbox::with_blob(&joined(&[&random(1, 2_000_000), &text(2_000_000)]));
    // Frames as only casync writes them: they are not compressed anew.
    sandbox.casync("make --store=source blob.caibx blob").succeeds();
    sandbox.cairn("cache blob.caibx -s source -c cache").succeeds_silently();
    assert_eq!(sandbox.files("cache"), sandbox.files("source"));
    for name in sandbox.files("cache") {
        let (ours, theirs) = (format!("cache/{name}"), format!("source/{name}"));
        assert!(sandbox.read(&ours) == sandbox.read(&theirs), "{name}");
    }
    // And nothing is fetched twice.
    fs::remove_dir_all(sandbox.path("source")).unwrap();
    fs::create_dir(sandbox.path("source")).unwrap();
    sandbox.cairn("cache blob.caibx -s source -c cache").succeeds_silently();
}

#[test]
fn chunks_in_a_coding_that_the_cache_does_not_keep_are_coded_anew() {
    let sandbox = Sandbox::with_blob(&joined(&[&random(1, 1_000_000), &text(1_000_000)]));
    sandbox.cairn("make blob.caibx blob -s plain --uncompressed").succeeds();
    sandbox.casync("make --compression=xz --store=xz blob2.caibx blob").succeeds();
    for source in ["plain", "xz"] {
        sandbox.cairn(&format!("cache blob.caibx -s {source} -c from-{source}")).succeeds();
        sandbox.cairn(&format!("verify -s from-{source}")).succeeds_silently();
        let ids = sorted(sandbox.ids("blob.caibx"));
        assert_eq!(chunks(&sandbox, &format!("from-{source}")), ids);
        for id in ids {
            let chunk = sandbox.read(&place(&format!("from-{source}"), &id));
            assert_eq!(chunk[..4], [0x28, 0xb5, 0x2f, 0xfd]);
        }
    }
    sandbox.cairn("cache blob.caibx -s xz -c back --uncompressed").succeeds();
    assert_eq!(sandbox.files("back"), sandbox.files("plain"));
    sandbox.cairn("extract blob.caibx out -s back").succeeds();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

/// Two blobs in stores of their own, and their ids.
fn two_stores() -> (Sandbox, Vec<String>, Vec<String>) {
    let sandbox = Sandbox::new();
    for (name, seed) in [("one", 1), ("two", 2)] {
        sandbox.write(name, &[random(3, 500_000), random(seed, 500_000)].concat());
        sandbox.cairn(&format!("make {name}.caibx {name} -s {name}.castr")).succeeds();
    }
    let (one, two) = (sandbox.ids("one.caibx"), sandbox.ids("two.caibx"));
    (sandbox, one, two)
}

#[test]
fn several_indexes_and_several_stores_are_one() {
    let (sandbox, one, two) = two_stores();
    let both = sorted([&one[..], &two].concat());
    for stores in ["-s one.castr -s two.castr", "-s two.castr,one.castr"] {
        sandbox.cairn(&format!("cache one.caibx two.caibx {stores} -c cache")).succeeds_silently();
        assert_eq!(chunks(&sandbox, "cache"), both);
        fs::remove_dir_all(sandbox.path("cache")).unwrap();
    }
}

#[test]
fn ignored_chunks_are_left_out() {
    let (sandbox, one, two) = two_stores();
    let only_two: Vec<String> = two.iter().filter(|id| !one.contains(id)).cloned().collect();
    let fetch = "cache two.caibx -s two.castr -c cache";
    sandbox.cairn(&format!("{fetch} --ignore one.caibx")).succeeds_silently();
    assert_eq!(chunks(&sandbox, "cache"), sorted(only_two.clone()));
    fs::remove_dir_all(sandbox.path("cache")).unwrap();
    sandbox.write("ids", format!(" {}\n\n{}\n", only_two[0], only_two[1]).as_bytes());
    let words = format!("{fetch} --ignore one.caibx,one.caibx --ignore-chunks ids");
    sandbox.cairn(&words).succeeds_silently();
    assert_eq!(chunks(&sandbox, "cache"), sorted(only_two[2..].to_vec()));
    sandbox.write("bad", b"0123\n");
    sandbox.refuses(&format!("{fetch} --ignore-chunks bad"), &["bad: line 1 is not a chunk id"]);
}

#[test]
fn a_chunk_that_no_source_has_is_named() {
    let (sandbox, one, _) = two_stores();
    fs::remove_file(sandbox.path(&place("one.castr", &one[3]))).unwrap();
    let done = sandbox.cairn("cache one.caibx -s one.castr -c cache");
    done.fails(&[&format!("chunk {} is missing from store one.castr", one[3])]);
    // Another source that has it does.
    sandbox.cairn("make again.caibx one -s more").succeeds();
    sandbox.cairn("cache one.caibx -s one.castr -s more -c cache").succeeds_silently();
}

#[test]
fn a_damaged_chunk_never_gets_into_the_cache() {
    let (sandbox, one, _) = two_stores();
    let other = sandbox.read(&place("one.castr", &one[2]));
    sandbox.write(&place("one.castr", &one[3]), &other);
    let done = sandbox.cairn("cache one.caibx -s one.castr -c cache");
    done.fails(&["one.castr", &one[3]]);
    sandbox.cairn("verify -s cache").succeeds_silently();
    sandbox.cairn("make again.caibx one -s more").succeeds();
    sandbox.cairn("cache one.caibx -s one.castr -s more -c cache").succeeds_silently();
    assert_eq!(chunks(&sandbox, "cache"), sorted(one));
    sandbox.cairn("verify -s cache").succeeds_silently();
}

#[test]
fn what_cannot_be_is_refused() {
    let (sandbox, _, _) = two_stores();
    sandbox.cairn("cache one.caibx -c cache").misused(&["--store"]);
    sandbox.cairn("cache one.caibx -s one.castr").misused(&["--cache"]);
    sandbox.cairn("cache -s one.castr -c cache").misused(&["INDEX"]);
    let fetch = "cache -s one.castr -c";
    sandbox.refuses(&format!("{fetch} cache missing.caibx"), &["missing.caibx"]);
    sandbox.refuses(&format!("{fetch} cache one.caibx one"), &["one: not an index"]);
    sandbox.refuses(&format!("{fetch} one one.caibx"), &["one"]);
    sandbox.refuses(&format!("{fetch} no/where one.caibx"), &["no/where"]);
    sandbox.refuses("cache one.caibx -s nowhere -c cache", &["cannot open store nowhere"]);
    sandbox.refuses("cache one.caibx -s one.castr -c http://host/", &["http://host/"]);
    sandbox.refuses("cache one.caibx -s one.castr -c c --digest sha256", &["sha512-256"]);
}

#[test]
fn progress_is_desyncs() {
    let (sandbox, _, _) = two_stores();
    let words = "cache one.caibx -s one.castr -c cache";
    let name = "DESYNC_ENABLE_PARSABLE_PROGRESS";
    let done = sandbox.cairn_with_env(words, name, "1").succeeds();
    assert_eq!((done.text(), &done.stderr[..]), ("", "   0.00%\n 100.00% 0s\n"));
    sandbox.write("nothing", b"");
    sandbox.cairn("make nothing.caibx nothing").succeeds();
    let words = "cache nothing.caibx -s one.castr -c cache";
    let done = sandbox.cairn_with_env(words, name, "1").succeeds();
    assert_eq!((done.text(), &done.stderr[..]), ("", ""));
}

#[test]
fn what_a_trusted_store_has_is_verified_before_it_is_copied() {
    let sandbox = Sandbox::with_blob(&random(1, 1_000_000));
    sandbox.cairn("make blob.caibx blob -s store --uncompressed").succeeds();
    let id = sandbox.ids("blob.caibx").remove(0);
    sandbox.patch(&format!("store/{}/{id}", &id[..4]), 100, b"damaged");
    let store = sandbox.path("store").to_str().unwrap().to_owned();
    let trusted = "{\"skip-verify\": true}";
    sandbox.configure(&format!("{{\"store-options\": {{\"{store}\": {trusted}}}}}"));
    for words in ["cache blob.caibx -s store -c copy", "cat blob.caibx out -s store -c copy"] {
        sandbox.cairn(words).fails(&[&id]);
        assert!(!sandbox.path(&place("copy", &id)).exists(), "{words}");
    }
}

#[test]
fn a_damaged_chunk_is_told_of_by_its_own_store() {
    let sandbox = Sandbox::with_store(&random(1, 1_000_000));
    let id = sandbox.ids("blob.caibx").remove(0);
    sandbox.write(&place("store", &id), &sandbox.read(&place("store", &id))[..40]);
    fs::create_dir(sandbox.path("empty")).unwrap();
    let done = sandbox.cairn("cache blob.caibx -s empty -s store -c copy").fails(&[&id]);
    assert!(done.stderr.starts_with("error: store: "), "{}", done.stderr);
}
