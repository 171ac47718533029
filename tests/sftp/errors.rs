//! What cannot work is told in one line that names the place.

use std::fs;

use crate::common::system::{Mount, is_root};
use crate::common::{Sandbox, random};
use crate::sftp_server::SftpServer;

#[test]
fn what_is_not_there_is_told_of() {
    let server = SftpServer::start();
    let sandbox = Sandbox::with_store(&random(1, 300_000));
    let url = |name: &str| server.url(&sandbox, name);
    let fails = |words: String, parts: &[&str]| {
        let before = sandbox.snapshot();
        server.cairn(&sandbox, &words).fails(parts);
        sandbox.is_as(&before, &words);
    };
    let none = url("none");
    let missing = &[&format!("{none}/: the directory does not exist")[..]];
    fails(format!("extract blob.caibx out -s {none}"), missing);
    fails(format!("info blob.caibx -s {none}"), missing);
    fails(format!("prune -y blob.caibx -s {none}"), missing);
    let index = url("store/none.caibx");
    fails(
        format!("list-chunks {index}"),
        &[&format!("cannot read index {index}: there is no such index")],
    );
    let below = url("none/store");
    fails(
        format!("make new.caibx blob -s {below}"),
        &[&format!("{below}/: neither the directory nor the one above it exists")],
    );
    fails(format!("make new.caibx blob -s {}", url("blob")), &["/: the store is not a directory"]);
    fails(format!("list-chunks {}", url("blob")), &["blob"]);
    fails(format!("list-chunks {}", url("store")), &["store: it is a directory"]);
    // One missing chunk is that, and no other error.
    fs::remove_file(sandbox.path("store").join(&sandbox.files("store")[0])).unwrap();
    let words = format!("extract blob.caibx out -s {}", url("store"));
    server.cairn(&sandbox, &words).fails(&["is missing from store sftp://"]);
}

#[test]
fn what_is_forbidden_is_told_of() {
    let sandbox = Sandbox::with_store(&random(2, 300_000));
    let server = SftpServer::with_script("exec $SERVER -P open");
    let url = server.url(&sandbox, "store");
    let words = format!("extract blob.caibx out -s {url}");
    server.cairn(&sandbox, &words).fails(&[&url, ".cacnk: permission denied"]);
    let server = SftpServer::with_script("exec $SERVER -R");
    let url = server.url(&sandbox, "new");
    let words = format!("make new.caibx blob -s {url}");
    server.cairn(&sandbox, &words).fails(&[&format!("{url}/: permission denied")]);
    assert!(!sandbox.path("new").exists());
}

#[test]
fn who_does_not_get_in_is_told_by_ssh() {
    let server = SftpServer::start();
    let sandbox = Sandbox::with_store(&random(3, 100_000));
    let extract = |url: &str| {
        let words = format!("extract blob.caibx out -s {url} -e 0");
        let outcome = server.cairn(&sandbox, &words);
        assert_eq!(outcome.code, Some(1));
        outcome.stderr
    };
    let said = extract("sftp://nowhere.invalid/store");
    assert!(said.contains("nowhere.invalid"), "{said}");
    let ours = "error: sftp://nowhere.invalid/store/";
    let line = said.lines().find(|line| line.starts_with(ours)).unwrap_or_default();
    assert!(line.ends_with(" has not connected (exit status: 255)"), "{said}");
    // Another key than the server knows.
    server.sshd.forget_users();
    let said = extract(&server.url(&sandbox, "store"));
    assert!(said.contains("Permission denied (publickey)"), "{said}");
    assert!(said.contains("has not connected (exit status: 255)"), "{said}");
}

#[test]
fn a_host_that_ssh_would_take_for_an_option_is_refused() {
    let sandbox = Sandbox::with_store(&random(4, 100_000));
    let server = SftpServer::start();
    server.use_client("echo >>started; exec $SSH \"$@\"");
    let text = "invalid ssh destination \"-oProxyCommand=x\": must not begin with '-'";
    for words in ["extract blob.caibx out -s", "make new.caibx blob -s", "prune -y blob.caibx -s"] {
        let words = format!("{words} sftp://-oProxyCommand=x/store");
        server.cairn(&sandbox, &words).fails(&[text]);
    }
    server.cairn(&sandbox, "list-chunks sftp://-oProxyCommand=x/blob.caibx").fails(&[text]);
    assert!(server.notes("started").is_empty());
}

#[test]
fn a_login_that_prints_is_told_of() {
    let server = SftpServer::with_script("echo 'Welcome to the machine'; exec $SERVER");
    let sandbox = Sandbox::with_store(&random(5, 100_000));
    let url = server.url(&sandbox, "store");
    let words = format!("extract blob.caibx out -s {url}");
    server
        .cairn(&sandbox, &words)
        .fails(&[&url, "no SFTP server has answered, but \"Welcome to the machine\""]);
}

#[test]
fn a_full_disk_leaves_no_half_of_a_chunk() {
    if !is_root("a_full_disk_leaves_no_half_of_a_chunk") {
        return;
    }
    let server = SftpServer::start();
    let sandbox = Sandbox::with_blob(&random(6, 3_000_000));
    let mount = Mount::new(&sandbox, "small", 1000);
    let url = server.url(&sandbox, "small/store");
    let words = format!("make new.caibx blob -s {url}");
    server.cairn(&sandbox, &words).fails(&[&url, "the server has failed to do it"]);
    assert!(!sandbox.path("new.caibx").exists());
    let files = sandbox.files("small/store");
    assert!(!files.is_empty());
    assert!(files.iter().all(|name| name.ends_with(".cacnk")), "{files:?}");
    sandbox.cairn("verify -s small/store").succeeds();
    drop(mount);
}
