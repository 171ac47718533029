//! The examples of docs/stores.md do what they say: each is run as it stands, with servers of the tests
//! in the places of those it names.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::azurite::{self, Azurite};
use common::moto::Moto;
use common::nginx::Nginx;
use common::rclone::Rclone;
use common::registry::{Registry, Setup};
use common::sshd::Sshd;
use common::{Sandbox, random, run, text};

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

/// What the user is told to have, by heading, and the examples below it.
fn examples(heading: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/stores.md");
    let page = fs::read_to_string(page).unwrap();
    let section = page.split(&format!("\n## {heading}\n")).nth(1);
    let section = section.unwrap_or_else(|| panic!("there is nothing about {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("disk.img", &[random(1, 600_000), text(500_000)].concat());
    fs::create_dir(sandbox.path("srv")).unwrap();
    sandbox
}

/// Runs an example with other places than it names, and checks that the image comes back.
#[track_caller]
fn works(sandbox: &Sandbox, example: &str, places: &[(&str, &str)], variables: &[(&str, &str)]) {
    let mut script = example.to_owned();
    for (named, ours) in places {
        assert!(script.contains(named), "there is no {named} in\n{example}");
        script = script.replace(named, ours);
    }
    let _ = fs::remove_file(sandbox.path("copy.img"));
    let programs = Path::new(CAIRN).parent().unwrap().display();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-euc", &script]).current_dir(sandbox.path(".")).env_clear();
    command.env("PATH", path).env("HOME", sandbox.path(".")).envs(variables.iter().copied());
    let done = run(command, None).succeeds();
    assert_eq!((done.text(), &done.stderr[..]), ("", ""), "{script}");
    assert!(sandbox.read("copy.img") == sandbox.read("disk.img"), "{script}");
}

/// The only example below a heading works.
#[track_caller]
fn one_works(sandbox: &Sandbox, heading: &str, places: &[(&str, &str)], vars: &[(&str, &str)]) {
    let [example] = &examples(heading)[..] else { panic!("{heading}: not one example") };
    works(sandbox, example, places, vars);
}

/// Where `/srv/` is in the sandbox.
fn srv(sandbox: &Sandbox) -> String {
    format!("{}/", sandbox.path("srv").display())
}

#[test]
fn directories() {
    let sandbox = sandbox();
    one_works(&sandbox, "Directories", &[("/srv/", &srv(&sandbox))], &[]);
    assert!(!sandbox.files("srv/images.castr").is_empty());
}

#[test]
fn web_servers() {
    let sandbox = sandbox();
    let nginx = Nginx::new(&sandbox.path("srv"), "dav_methods PUT; create_full_put_path on;");
    let url = nginx.url("");
    let places = [("https://images.example.org", url.trim_end_matches('/'))];
    one_works(&sandbox, "Web servers", &places, &[]);
    assert!(sandbox.path("srv/indexes/disk.caibx").exists());
}

#[test]
fn several_stores() {
    let sandbox = sandbox();
    let nginx = Nginx::new(&sandbox.path("srv"), "");
    let (url, srv) = (nginx.url(""), srv(&sandbox));
    let url = url.trim_end_matches('/');
    let places = [("/srv/", &srv[..]), ("https://images.example.org", url)];
    one_works(&sandbox, "Several stores", &places, &[]);
    assert_eq!(sandbox.files("srv/near"), sandbox.files("srv/images.castr"));
}

/// What ssh needs to know of the sshd of a test.
fn ssh_variables(sshd: &Sshd) -> [(&'static str, String); 2] {
    let client = sshd.client().display().to_string();
    [("CASYNC_SSH_PATH", client), ("CASYNC_REMOTE_PATH", CAIRN.to_owned())]
}

#[test]
fn ssh() {
    let (sandbox, sshd) = (sandbox(), Sshd::start());
    let variables = ssh_variables(&sshd);
    let variables = variables.each_ref().map(|(name, value)| (*name, &value[..]));
    let host = format!("ssh://localhost{}", srv(&sandbox));
    one_works(&sandbox, "SSH", &[("ssh://me@host/srv/", &host)], &variables);
    assert!(!sandbox.files("srv/images.castr").is_empty());
}

#[test]
fn sftp() {
    let (sandbox, sshd) = (sandbox(), Sshd::start());
    let variables = ssh_variables(&sshd);
    let variables = variables.each_ref().map(|(name, value)| (*name, &value[..]));
    let host = format!("sftp://localhost{}", srv(&sandbox));
    one_works(&sandbox, "SFTP", &[("sftp://me@host/srv/", &host)], &variables);
    assert!(sandbox.path("srv/disk.caibx").exists());
}

#[test]
fn buckets_of_s3() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.path("srv/images")).unwrap();
    let server = Rclone::s3(&sandbox.path("srv"), Some(("mykeyid", "mysecretkey")));
    let host = format!("s3+{}/", server.url());
    works(&sandbox, &examples("Buckets")[0], &[("s3+https://s3.example.org/", &host)], &[]);
    assert!(sandbox.path("srv/images/disk.caibx").exists());
}

#[test]
fn buckets_of_google() {
    let (sandbox, server) = (sandbox(), Moto::start());
    let variables = [("STORAGE_EMULATOR_HOST", server.url())];
    works(&sandbox, &examples("Buckets")[1], &[("gs://images/", "gs://bucket/")], &variables);
}

#[test]
fn containers_of_azure() {
    let sandbox = sandbox();
    let Some(server) = Azurite::start("containers_of_azure") else { return };
    let place = format!("az+{}/images/", server.url());
    let variables = [("AZURE_STORAGE_ACCOUNT_KEY", azurite::KEY)];
    works(&sandbox, &examples("Buckets")[2], &[("az://myaccount/images/", &place)], &variables);
}

#[test]
fn container_registries() {
    let (sandbox, registry) = (sandbox(), Registry::start(Setup::default()));
    let place = registry.store("me/images");
    let heading = "Container registries";
    one_works(&sandbox, heading, &[("oci+https://ghcr.io/me/images", &place)], &[]);
}

#[test]
fn every_kind_of_store_has_an_example() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/stores.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', ' ']).next());
    let kinds: Vec<&str> =
        rows.filter_map(|place| place.split_once("://").map(|(scheme, _)| scheme)).collect();
    assert_eq!(kinds.len(), 8, "{kinds:?}");
    let examples: String = page.split("```sh\n").skip(1).collect();
    for kind in kinds {
        // Those that differ from another in where the server is have theirs.
        let (kind, same) = (format!(" {kind}"), kind == "s3");
        let other = kind.replace("http", "https") + "://";
        assert!(same || examples.contains(&other) || examples.contains(&(kind + "://")));
    }
}
