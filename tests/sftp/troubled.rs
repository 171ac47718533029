//! Connections that break and servers that fall silent, while a blob is being extracted.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Sandbox, random};
use crate::sftp_server::{SftpServer, has_gone, is_stopped};

/// Passes on so many bytes of a program, and then does something to it or to itself.
fn relay(bytes: usize, program: &str, then: &str) -> String {
    format!(
        "exec perl -e '$| = 1; my $n = {bytes}; my $pid = open(S, \"-|\", {program}); \
         while ($n > 0 && sysread(S, $b, $n)) {{ $n -= length $b; print $b }} {then}' -- \"$@\""
    )
}

/// As a script: the first `count` times one thing, from then on another.
fn at_first(count: usize, first: &str, then: &str) -> String {
    format!(
        "echo $$ >>started; if [ $(wc -l <started) -le {count} ]; then {first}; else {then}; fi"
    )
}

fn configure(sandbox: &Sandbox, url: &str, timeout: Duration) {
    let options =
        format!(r#"{{"timeout": {}, "error-retry-base-interval": 20000000}}"#, timeout.as_nanos());
    sandbox.configure(&format!(r#"{{"store-options": {{"{url}": {options}}}}}"#));
}

#[test]
fn an_ssh_that_is_killed_is_made_good() {
    let server = SftpServer::start();
    let sandbox = Sandbox::with_store(&random(1, 3_000_000));
    let url = server.url(&sandbox, "store");
    configure(&sandbox, &url, Duration::from_secs(30));
    let killed = relay(700_000, "split(\" \", $ENV{SSH}), @ARGV", "kill 9, $pid");
    server.use_client(&at_first(2, &killed, "exec $SSH \"$@\""));
    server.cairn(&sandbox, &format!("extract blob.caibx out -s {url}")).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    assert_eq!(server.notes("started").len(), 3);
}

#[test]
fn connections_that_never_last_are_an_error() {
    let server = SftpServer::start();
    let sandbox = Sandbox::with_store(&random(2, 2_000_000));
    let url = server.url(&sandbox, "store");
    configure(&sandbox, &url, Duration::from_secs(30));
    server.use_client(&relay(100_000, "split(\" \", $ENV{SSH}), @ARGV", "kill 9, $pid"));
    let words = format!("extract blob.caibx out -s {url} -e 1");
    server.cairn(&sandbox, &words).fails(&[&url, "the connection was lost"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn a_server_that_stands_still_is_made_good() {
    let stopped = relay(700_000, "$ENV{SERVER}", "kill \"STOP\", $$");
    let server = SftpServer::with_script(&at_first(1, &stopped, "exec $SERVER"));
    server.use_client("echo $$ >>clients; exec $SSH \"$@\"");
    let sandbox = Sandbox::with_store(&random(3, 3_000_000));
    let url = server.url(&sandbox, "store");
    let timeout = Duration::from_secs(3);
    configure(&sandbox, &url, timeout);
    let began = Instant::now();
    server.cairn(&sandbox, &format!("extract blob.caibx out -s {url}")).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
    assert!(began.elapsed() > timeout / 2, "it did not stand still");
    let clients = server.notes("clients");
    assert_eq!(clients.len(), 2, "{clients:?}");
    clients.iter().for_each(|client| has_gone(client));
}

#[test]
fn a_server_that_only_stands_still_is_an_error_in_time() {
    let server = SftpServer::with_script("echo $$ >>started; kill -STOP $$");
    server.use_client("echo $$ >>clients; exec $SSH \"$@\"");
    let sandbox = Sandbox::with_store(&random(4, 300_000));
    let url = server.url(&sandbox, "store");
    let options = r#"{"timeout": 1000000000, "error-retry": 0}"#;
    sandbox.configure(&format!(r#"{{"store-options": {{"{url}": {options}}}}}"#));
    for words in ["extract blob.caibx out -s", "make new.caibx blob -s", "prune -y blob.caibx -s"] {
        let words = format!("{words} {url}");
        server.cairn(&sandbox, &words).fails(&[&url, "within 1s"]);
    }
    server.notes("clients").iter().for_each(|client| has_gone(client));
}

#[test]
fn nobody_waits_for_a_silent_server_after_an_interrupt() {
    // At the beginning, and in the middle of the work.
    for script in ["echo $$ >>started; kill -STOP $$".to_owned(), {
        let relay = relay(200_000, "$ENV{SERVER}", "kill \"STOP\", $$");
        format!("echo $$ >>started; {relay}")
    }] {
        let server = SftpServer::with_script(&script);
        let sandbox = Sandbox::with_store(&random(5, 2_000_000));
        let url = server.url(&sandbox, "store");
        let words = format!("extract blob.caibx out -s {url}");
        let mut command = server.command(&sandbox, &words);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while !server.notes("started").iter().any(|process| is_stopped(process)) {
            assert!(began.elapsed() < Duration::from_secs(20), "it does not come to a stand");
            sleep(Duration::from_millis(5));
        }
        let began = Instant::now();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "error: interrupted\n");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(!sandbox.path("out").exists());
    }
}
