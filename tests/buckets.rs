//! Stores and indexes in buckets, through the commands, and what is said when a bucket refuses.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use common::moto::Moto;
use common::rclone::Rclone;
use common::{Outcome, Sandbox, random, run};

const ACCESS: &str = "access-of-the-tests";
const SECRET: &str = "secret-of-the-tests";

/// What the environment of whoever runs the tests may say of buckets.
const VARIABLES: [&str; 14] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "S3_SESSION_TOKEN",
    "S3_REGION",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "STORAGE_EMULATOR_HOST",
];

/// A blob, and a server with an empty bucket `bucket`, a directory of the sandbox.
struct Scene {
    sandbox: Sandbox,
    rclone: Rclone,
}

impl Scene {
    fn new() -> Self {
        let sandbox = Sandbox::with_blob(&random(1, 1_000_000));
        fs::create_dir_all(sandbox.path("buckets/bucket")).unwrap();
        let rclone = Rclone::s3(&sandbox.path("buckets"), Some((ACCESS, SECRET)));
        Self { sandbox, rclone }
    }

    fn place(&self, path: &str) -> String {
        format!("s3+{}/{path}", self.rclone.url())
    }

    /// With the right key.
    fn cairn(&self, words: &str) -> Outcome {
        self.cairn_as(ACCESS, SECRET, words)
    }

    fn cairn_as(&self, access: &str, secret: &str, words: &str) -> Outcome {
        let mut command = command(&self.sandbox, words);
        command.env("S3_ACCESS_KEY", access).env("S3_SECRET_KEY", secret);
        run(command, None)
    }
}

fn command(sandbox: &Sandbox, words: &str) -> Command {
    let mut command = sandbox.command(words);
    VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command
}

#[test]
fn a_blob_goes_into_a_bucket_and_comes_back_with_its_index() {
    let scene = Scene::new();
    let (store, index) = (scene.place("bucket/a/b"), scene.place("bucket/images/blob.caibx"));
    scene.cairn(&format!("make {index} blob -s {store}")).succeeds();
    // Names and contents are those of a store on this machine.
    scene.sandbox.cairn("make blob.caibx blob -s local").succeeds();
    assert_eq!(scene.sandbox.files("buckets/bucket/a/b"), scene.sandbox.files("local"));
    let written = scene.sandbox.read("buckets/bucket/images/blob.caibx");
    assert_eq!(written, scene.sandbox.read("blob.caibx"));
    scene.cairn(&format!("extract {index} out -s {store}/?lookup=path")).succeeds();
    assert_eq!(scene.sandbox.read("out"), scene.sandbox.read("blob"));
    // As a cache, and as what is cached.
    let cache = scene.place("bucket/cache");
    scene.cairn(&format!("cache {index} -s {store} -c {cache}")).succeeds();
    assert_eq!(scene.sandbox.files("buckets/bucket/cache"), scene.sandbox.files("local"));
    scene.cairn(&format!("cat {index} second -s none -c {cache}")).fails(&["none"]);
    fs::create_dir(scene.sandbox.path("none")).unwrap();
    scene.cairn(&format!("extract {index} second -s none -c {cache}")).succeeds();
    assert_eq!(scene.sandbox.read("second"), scene.sandbox.read("blob"));
}

#[test]
fn prune_removes_what_no_index_refers_to_from_a_bucket() {
    let scene = Scene::new();
    let store = scene.place("bucket/s");
    scene.sandbox.write("other", &random(2, 3_000_000));
    scene.cairn(&format!("make blob.caibx blob -s {store}")).succeeds();
    let before = scene.sandbox.files("buckets/bucket/s");
    scene.cairn(&format!("make other.caibx other -s {store}")).succeeds();
    assert!(scene.sandbox.files("buckets/bucket/s").len() > before.len() + 10);
    // Something else is in the bucket, too.
    let index = scene.place("bucket/s/index.caibx");
    scene.cairn(&format!("make {index} blob -s {store}")).succeeds();
    scene.cairn(&format!("prune -y -s {store} {index}")).succeeds();
    let after = scene.sandbox.files("buckets/bucket/s");
    let chunks: Vec<&String> = after.iter().filter(|name| *name != "index.caibx").collect();
    assert_eq!(chunks, before.iter().collect::<Vec<_>>());
    assert_eq!(after.len(), before.len() + 1);
    scene.cairn(&format!("extract blob.caibx out -s {store}")).succeeds();
}

#[test]
fn a_damaged_or_missing_object_is_named() {
    let scene = Scene::new();
    let store = scene.place("bucket/s");
    scene.sandbox.cairn("make blob.caibx blob -s buckets/bucket/s").succeeds();
    let names = scene.sandbox.files("buckets/bucket/s");
    let id = |name: &str| name[5..69].to_owned();
    let words = format!("extract blob.caibx out -e 0 -s {store}");
    let good = scene.sandbox.read(&format!("buckets/bucket/s/{}", names[0]));
    for bad in [&b"no chunk at all"[..], &scene.sandbox.read("blob.caibx")] {
        scene.sandbox.write(&format!("buckets/bucket/s/{}", names[0]), bad);
        scene.cairn(&words).fails(&[&store, &id(&names[0])]);
    }
    scene.sandbox.write(&format!("buckets/bucket/s/{}", names[0]), &good);
    fs::remove_file(scene.sandbox.path(&format!("buckets/bucket/s/{}", names[1]))).unwrap();
    // A server that is new, as the other may remember what was there.
    let fresh = Rclone::s3(&scene.sandbox.path("buckets"), Some((ACCESS, SECRET)));
    let scene = Scene { rclone: fresh, ..scene };
    let store = scene.place("bucket/s");
    let words = format!("extract blob.caibx out -e 0 -s {store}");
    scene.cairn(&words).fails(&[&store, &id(&names[1]), "missing"]);
    assert!(!scene.sandbox.path("out").exists());
    let index = scene.place("bucket/none.caibx");
    scene.cairn(&format!("extract {index} out -s {store}")).fails(&[&index]);
}

#[test]
fn who_is_refused_is_told_so_and_no_key_is_shown() {
    let scene = Scene::new();
    let store = scene.place("bucket/s");
    scene.sandbox.cairn("make blob.caibx blob -s buckets/bucket/s").succeeds();
    let hidden = "wrong-secret-of-the-tests";
    for words in [
        format!("make new.caibx blob -s {store}"),
        format!("extract blob.caibx out -s {store}"),
        format!("prune -y -s {store} blob.caibx"),
        format!("extract {} out -s {store}", scene.place("bucket/s/blob.caibx")),
    ] {
        let outcome = scene.cairn_as(ACCESS, hidden, &words).fails(&[&store, "403"]);
        assert!(!outcome.stderr.contains(hidden), "{}", outcome.stderr);
    }
    assert!(!scene.sandbox.path("out").exists());
    // Nobody is refused, too, which is this server's way to say so.
    let nobody = command(&scene.sandbox, &format!("extract blob.caibx out -s {store}"));
    run(nobody, None).fails(&[&store, "UnsupportedAlgorithm"]);
    // Half a key is no key.
    let mut half = command(&scene.sandbox, &format!("extract blob.caibx out -s {store}"));
    half.env("S3_ACCESS_KEY", ACCESS);
    run(half, None).fails(&["S3_ACCESS_KEY is set, but S3_SECRET_KEY is not"]);
}

#[test]
fn a_missing_bucket_and_a_dead_host_are_no_empty_store() {
    let scene = Scene::new();
    let store = scene.place("nothing/s");
    scene.sandbox.cairn("make blob.caibx blob -s local").succeeds();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dead = format!("s3+http://127.0.0.1:{port}/bucket");
    for words in ["make new.caibx blob", "extract blob.caibx out", "prune -y"] {
        let index = if words == "prune -y" { "blob.caibx" } else { "" };
        let missing = scene.cairn(&format!("{words} -s {store} {index}"));
        missing.fails(&[&store, "bucket 'nothing' does not exist"]);
    }
    scene.cairn(&format!("make new.caibx blob -e 0 -s {dead}")).fails(&[&dead]);
    scene.cairn(&format!("extract blob.caibx out -e 0 -s {dead}")).fails(&[&dead]);
    assert!(!scene.sandbox.path("out").exists());
    let no_bucket = "s3+http://127.0.0.1:1";
    scene
        .cairn(&format!("extract blob.caibx out -s {no_bucket}"))
        .fails(&[no_bucket, "expected bucket name in path"]);
}

#[test]
fn keys_of_the_configuration_and_of_aws_are_found() {
    let scene = Scene::new();
    let store = scene.place("bucket/s");
    scene.sandbox.cairn("make blob.caibx blob -s buckets/bucket/s").succeeds();
    let extract = |out: &str| {
        run(command(&scene.sandbox, &format!("extract blob.caibx {out} -s {store}")), None)
    };
    extract("none").fails(&["UnsupportedAlgorithm"]);
    scene.sandbox.write(
        ".aws/credentials",
        format!("[default]\naws_access_key_id={ACCESS}\naws_secret_access_key={SECRET}\n")
            .as_bytes(),
    );
    extract("by-profile").succeeds();
    fs::remove_file(scene.sandbox.path(".aws/credentials")).unwrap();
    scene.sandbox.configure(&format!(
        r#"{{"s3-credentials": {{"{}": {{"access-key": "{ACCESS}", "secret-key": "{SECRET}"}}}}}}"#,
        scene.rclone.url()
    ));
    extract("by-configuration").succeeds();
    assert_eq!(scene.sandbox.read("by-profile"), scene.sandbox.read("blob"));
    assert_eq!(scene.sandbox.read("by-configuration"), scene.sandbox.read("blob"));
}

#[test]
fn buckets_of_google_do_the_same() {
    let sandbox = Sandbox::with_blob(&random(1, 1_000_000));
    let server = Moto::start();
    let cairn = |words: &str| {
        let mut command = command(&sandbox, words);
        command.env("STORAGE_EMULATOR_HOST", server.url());
        run(command, None)
    };
    cairn("make gs://bucket/blob.caibx blob -s gs://bucket/s").succeeds();
    sandbox.write("other", &random(2, 1_000_000));
    cairn("make other.caibx other -s gs://bucket/s").succeeds();
    cairn("prune -y -s gs://bucket/s gs://bucket/blob.caibx").succeeds();
    cairn("extract gs://bucket/blob.caibx out -s gs://bucket/s").succeeds();
    assert_eq!(sandbox.read("out"), sandbox.read("blob"));
    cairn("extract other.caibx gone -s gs://bucket/s").fails(&["gs://bucket/s", "missing"]);
    let missing = cairn("extract other.caibx gone -s gs://nothing/s");
    missing.fails(&["gs://nothing/s", "bucket 'nothing' does not exist"]);
}

#[test]
fn desync_and_cairn_share_a_bucket() {
    if !common::desync_is_here("desync_and_cairn_share_a_bucket") {
        return;
    }
    let scene = Scene::new();
    let store = scene.place("bucket/s");
    scene.cairn(&format!("make blob.caibx blob -s {store}")).succeeds();
    let configuration = format!(
        r#"{{"s3-credentials": {{"{}": {{"access-key": "{ACCESS}", "secret-key": "{SECRET}"}}}}}}"#,
        scene.rclone.url()
    );
    scene.sandbox.write("home/.config/desync/config.json", configuration.as_bytes());
    scene.sandbox.desync(&format!("extract -s {store} blob.caibx theirs")).succeeds();
    assert_eq!(scene.sandbox.read("theirs"), scene.sandbox.read("blob"));
    scene.sandbox.write("other", &random(2, 1_000_000));
    scene.sandbox.desync(&format!("make -s {store} other.caibx other")).succeeds();
    scene.cairn(&format!("extract other.caibx ours -s {store}")).succeeds();
    assert_eq!(scene.sandbox.read("ours"), scene.sandbox.read("other"));
}
