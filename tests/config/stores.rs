//! The options of a store: which entry is for it, and what beats what.

use super::common::{Sandbox, text};

/// A sandbox with a blob and this configuration.
fn configured(options: &str) -> Sandbox {
    let sandbox = Sandbox::with_blob(&text(300_000));
    let file = format!("{{\"store-options\": {options}}}");
    sandbox.write(".config/cairn/config.json", file.as_bytes());
    sandbox
}

/// Whether all chunks of a store are compressed, or none.
fn is_compressed(sandbox: &Sandbox, store: &str) -> bool {
    let files = sandbox.files(store);
    let compressed = files.iter().filter(|name| name.ends_with(".cacnk")).count();
    assert!(compressed == 0 || compressed == files.len(), "{files:?}");
    compressed > 0
}

#[test]
fn each_store_has_its_own_form() {
    let sandbox = configured(r#"{"plain*": {"uncompressed": true}, "both": {"n": 1}}"#);
    for (store, expected) in [("plain", false), ("plain2/", false), ("both", true), ("x", true)] {
        sandbox.cairn(&format!("make blob.caibx blob -s {store}")).succeeds_silently();
        assert_eq!(is_compressed(&sandbox, store), expected, "{store}");
    }
    let whole = "extract blob.caibx out -s plain,both";
    sandbox.cairn(whole).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

#[test]
fn a_flag_beats_the_file() {
    let sandbox = configured(r#"{"plain": {"uncompressed": true}}"#);
    sandbox.cairn("make a.caibx blob -s plain --uncompressed=false").succeeds_silently();
    assert!(is_compressed(&sandbox, "plain"));
    sandbox.cairn("make a.caibx blob -s other --uncompressed").succeeds_silently();
    assert!(!is_compressed(&sandbox, "other"));
}

#[test]
fn two_entries_for_one_store_are_an_error() {
    let sandbox = configured(r#"{"store": {}, "st*": {}, "dir": {}, "./dir/": {}}"#);
    let message = |location| {
        format!("error: multiple store-options entries match the location \"{location}\"\n")
    };
    for (words, location) in [
        ("make b.caibx blob -s store", "store"),
        ("make b.caibx blob -s ./store/", "./store/"),
        ("list-chunks dir/b.caibx", "dir/b.caibx"),
        ("config --origin -s store", "store"),
    ] {
        let failed = sandbox.cairn(words).fails(&[]);
        assert_eq!(failed.stderr, message(location), "{words}");
    }
    assert_eq!(sandbox.files("."), [".config/cairn/config.json", "blob"]);
    sandbox.cairn("make b.caibx blob -s other").succeeds_silently();
}

#[test]
fn an_encrypted_place_for_indexes_is_an_error() {
    let sandbox = configured(r#"{"dir": {"encryption": true}, ".": {"encryption-key": "ff"}}"#);
    sandbox.write("dir/x", b"");
    for (words, index) in [
        ("list-chunks dir/b.caibx", "dir/b.caibx"),
        ("extract b.caibx out -s store", "b.caibx"),
        ("verify-index - blob", "-"),
        ("make b.caibx blob", "b.caibx"),
    ] {
        let failed = sandbox.cairn(words).fails(&[]);
        let message = "encryption is not supported by index stores";
        assert_eq!(failed.stderr, format!("error: store options for \"{index}\": {message}\n"));
    }
    assert!(!sandbox.path("b.caibx").exists());
}

#[test]
fn half_an_identity_is_refused_even_without_a_store() {
    let sandbox = Sandbox::with_store(b"a short blob");
    for words in [
        "list-chunks blob.caibx --client-key k",
        "make new.caibx blob --client-cert c",
        "extract blob.caibx out -s store --client-cert c --client-key=",
    ] {
        let failed = sandbox.cairn(words).fails(&[]);
        let message = "--client-key and --client-cert options need to be provided together";
        assert_eq!(failed.stderr, format!("error: {message}\n"), "{words}");
    }
    assert!(!sandbox.path("new.caibx").exists());
}

#[test]
fn flags_for_servers_do_no_harm_elsewhere() {
    let sandbox = Sandbox::with_store(b"a short blob");
    let flags = "-e 5 -b 1m30s -t -r=false --ca-cert x --client-cert c --client-key k -n 3";
    for words in [
        "make new.caibx blob -s store",
        "extract blob.caibx out -s store",
        "verify-index blob.caibx blob",
    ] {
        sandbox.cairn(&format!("{words} {flags}")).succeeds_silently();
    }
    sandbox.cairn(&format!("list-chunks blob.caibx {flags}")).succeeds();
}

#[test]
fn what_is_no_duration_is_refused() {
    let sandbox = Sandbox::with_store(b"a short blob");
    for duration in ["5", "-5", "1x", ""] {
        let words = format!("list-chunks blob.caibx --error-retry-base-interval={duration}");
        sandbox.cairn(&words).misused(&["--error-retry-base-interval"]);
    }
    sandbox.cairn("list-chunks blob.caibx -e x").misused(&["x"]);
}

#[test]
fn fewer_than_no_retries_are_none_as_in_desync() {
    let sandbox = Sandbox::with_store(b"a short blob");
    for flags in
        ["-e -1", "-e=-1", "-e-1", "--error-retry=-1", "-b=-1s", "-b -1s", "-e 99999999999"]
    {
        sandbox.cairn(&format!("list-chunks blob.caibx {flags}")).succeeds();
    }
}

#[test]
fn passwords_in_locations_are_not_shown() {
    let sandbox = Sandbox::with_store(b"a short blob");
    let words = "extract blob.caibx out -e 0 -s https://me:hidden@host.invalid/?token=hidden";
    let failed = sandbox.cairn(words).fails(&[]);
    assert!(failed.stderr.starts_with("error: https://me:***@host.invalid/"), "{}", failed.stderr);
    assert!(!failed.stderr.contains("hidden"), "{}", failed.stderr);
}

#[test]
fn a_store_that_is_not_verified_is_repaired_all_the_same() {
    let sandbox = configured(r#"{"store": {"skip-verify": true}}"#);
    sandbox.cairn("make blob.caibx blob -s store").succeeds_silently();
    let ids = sandbox.ids("blob.caibx");
    let path = |id: &str| format!("store/{}/{id}.cacnk", &id[..4]);
    let good = sandbox.read(&path(&ids[0]));
    let other = sandbox.read(&path(&ids[1]));
    sandbox.write(&path(&ids[0]), &other);
    sandbox.cairn("make blob.caibx blob -s store --repair").succeeds_silently();
    assert!(sandbox.read(&path(&ids[0])) == good);
}
