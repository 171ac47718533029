//! Encrypted stores, as the configuration says, and desync on the other side.

use super::common::{Sandbox, desync_is_here, random, text};

const KEY: &str = "6368616e676520746869732070617373776f726420746f206120736563726574";

fn sandbox(options: &str) -> Sandbox {
    let content = [text(300_000), random(1, 200_000)].concat();
    let sandbox = Sandbox::with_blob(&content);
    sandbox.configure(&format!(r#"{{"store-options": {{"store": {{{options}}}}}}}"#));
    sandbox
}

fn options(cipher: &str, uncompressed: bool) -> String {
    format!(
        r#""encryption": true, "encryption-key": "{KEY}", "encryption-algorithm": "{cipher}",
           "uncompressed": {uncompressed}"#
    )
}

const CIPHERS: [&str; 2] = ["xchacha20-poly1305", "aes-256-gcm"];

#[test]
fn what_is_encrypted_comes_back_with_the_key_alone() {
    for cipher in CIPHERS {
        for uncompressed in [false, true] {
            let sandbox = sandbox(&options(cipher, uncompressed));
            sandbox.cairn("make i.caibx blob -s store").succeeds_silently();
            let suffix = format!(".{cipher}-50d64035");
            assert!(sandbox.files("store").iter().all(|name| name.ends_with(&suffix)));
            sandbox.cairn("extract i.caibx out -s store").succeeds_silently();
            assert!(sandbox.read("out") == sandbox.read("blob"));
            sandbox.configure("{}");
            sandbox.cairn("extract i.caibx out -s store").fails(&["missing from store store"]);
        }
    }
}

#[test]
fn desync_reads_what_cairn_encrypts_and_the_other_way_round() {
    if !desync_is_here("desync_reads_what_cairn_encrypts") {
        return;
    }
    for cipher in CIPHERS {
        for uncompressed in [false, true] {
            let sandbox = sandbox(&options(cipher, uncompressed));
            sandbox.cairn("make i.caibx blob -s store").succeeds_silently();
            let config = "--config .config/desync/config.json";
            sandbox.desync(&format!("{config} extract i.caibx theirs -s store")).succeeds();
            assert!(sandbox.read("theirs") == sandbox.read("blob"), "{cipher}");
            std::fs::remove_dir_all(sandbox.path("store")).unwrap();
            std::fs::create_dir(sandbox.path("store")).unwrap();
            sandbox.desync(&format!("{config} make i.caibx blob -s store")).succeeds();
            sandbox.cairn("extract i.caibx ours -s store").succeeds_silently();
            assert!(sandbox.read("ours") == sandbox.read("blob"), "{cipher}");
        }
    }
}

#[test]
fn the_environment_gives_a_missing_key() {
    let sandbox = sandbox(r#""encryption": true"#);
    sandbox.refuses("make i.caibx blob -s store", &["no encryption key configured"]);
    let words = "make i.caibx blob -s store";
    sandbox.cairn_with_env(words, "DESYNC_ENCRYPTION_KEY", KEY).succeeds();
    let expected = ".cacnk.xchacha20-poly1305-50d64035";
    assert!(sandbox.files("store").iter().all(|name| name.ends_with(expected)));
}

#[test]
fn wrong_settings_are_refused_and_the_key_is_not_shown() {
    for (options, why) in [
        (format!(r#""encryption-key": "{KEY}""#), "without setting encryption to true"),
        (r#""encryption-algorithm": "aes-256-gcm""#.to_owned(), "without setting encryption"),
        (r#""encryption": true"#.to_owned(), "no encryption key configured"),
        (r#""encryption": true, "encryption-key": "5ec7e7""#.to_owned(), "must be 32 bytes, got 3"),
        (r#""encryption": true, "encryption-key": "5ec7et""#.to_owned(), "invalid encryption key"),
        (options("rot13", false), "unsupported encryption algorithm \"rot13\""),
    ] {
        let sandbox = sandbox(&options);
        let done = sandbox.cairn("make i.caibx blob -s store").fails(&["\"store\"", why]);
        assert!(!done.stderr.contains("5ec7e") && !done.stderr.contains(KEY), "{}", done.stderr);
        assert!(!sandbox.path("i.caibx").exists() && !sandbox.path("store").exists());
    }
}

#[test]
fn the_wrong_key_finds_nothing_and_opens_nothing() {
    let sandbox = sandbox(&options("aes-256-gcm", false));
    sandbox.cairn("make i.caibx blob -s store").succeeds_silently();
    let other = options("aes-256-gcm", false).replace("6368", "0000");
    sandbox.configure(&format!(r#"{{"store-options": {{"store": {{{other}}}}}}}"#));
    sandbox.cairn("extract i.caibx out -s store").fails(&["missing from store"]);
    // Under the names of the other key the chunks are found, but not opened.
    let suffix = sandbox.cairn("make o.caibx blob -s store");
    suffix.succeeds();
    for name in sandbox.files("store").iter().filter(|name| name.ends_with("-50d64035")) {
        let theirs = sandbox
            .files("store")
            .into_iter()
            .find(|other| other != name && other.split('.').next() == name.split('.').next());
        std::fs::rename(
            sandbox.path("store").join(name),
            sandbox.path("store").join(theirs.unwrap()),
        )
        .unwrap();
    }
    let done = sandbox.cairn("extract i.caibx out -s store");
    done.fails(&["store/", "encrypted with another key"]);
    assert!(!sandbox.path("out").exists());
}
