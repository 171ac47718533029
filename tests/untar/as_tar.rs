//! Archives written as tars: from wherever they come, GNU tar unpacks the same tree.

use std::fs;
use std::process::Command;

use super::common::starved::interrupted;
use super::common::{Sandbox, random};

/// A tree, its archive and its index with `store`, made by casync.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("tree/empty", b"");
    sandbox.write("tree/large", &random(1, 3_000_000));
    sandbox.write("tree/sub/deep/file", b"deep");
    std::os::unix::fs::symlink("large", sandbox.path("tree/link")).unwrap();
    sandbox.casync("make tree.catar tree").succeeds();
    sandbox.casync("make --store=store tree.caidx tree").succeeds();
    sandbox
}

/// What GNU tar makes of a tar.
fn unpacked(sandbox: &Sandbox, tar: &str) -> Vec<(String, Vec<u8>)> {
    let _ = fs::remove_dir_all(sandbox.path("back"));
    fs::create_dir(sandbox.path("back")).unwrap();
    let mut command = Command::new("tar");
    let done = command.args(["-xf", tar, "-C", "back"]).current_dir(sandbox.path(".")).output();
    let done = done.unwrap_or_else(|e| panic!("tar does not start ({e}): run scripts/test"));
    assert!(done.status.success(), "{done:?}");
    files(sandbox, "back")
}

fn files(sandbox: &Sandbox, directory: &str) -> Vec<(String, Vec<u8>)> {
    let names = sandbox.files(directory).into_iter();
    names.map(|name| (name.clone(), sandbox.read(&format!("{directory}/{name}")))).collect()
}

#[test]
fn wherever_an_archive_comes_from_the_tar_is_the_same() {
    let sandbox = sandbox();
    let to_tar = "untar --output-format=gnu-tar";
    sandbox.cairn(&format!("{to_tar} tree.catar out.tar")).succeeds_silently();
    assert!(unpacked(&sandbox, "out.tar") == files(&sandbox, "tree"));
    let link = fs::read_link(sandbox.path("back/link")).unwrap();
    assert_eq!(link.to_str(), Some("large"));
    let tar = sandbox.read("out.tar");
    for words in ["-s store tree.caidx", "-i -s store tree.caidx"] {
        sandbox.cairn(&format!("{to_tar} {words} index.tar")).succeeds_silently();
        assert!(sandbox.read("index.tar") == tar, "{words}");
    }
    let piped = sandbox.cairn_with_input(&format!("{to_tar} - -"), sandbox.read("tree.catar"));
    assert!(piped.succeeds().stdout == tar);
    let made = Command::new("mkfifo").arg(sandbox.path("fifo")).status().unwrap();
    assert!(made.success());
    let mut writer = Command::new("sh");
    let mut writer = writer
        .args(["-c", "cat tree.catar > fifo"])
        .current_dir(sandbox.path("."))
        .spawn()
        .unwrap();
    sandbox.cairn(&format!("{to_tar} fifo fifo.tar")).succeeds_silently();
    assert!(writer.wait().unwrap().success());
    assert!(sandbox.read("fifo.tar") == tar);
}

#[test]
fn what_is_wrong_is_told_with_the_archive_and_leaves_no_tar() {
    let sandbox = sandbox();
    let archive = sandbox.read("tree.catar");
    sandbox.write("cut.catar", &archive[..archive.len() / 2]);
    sandbox.write("noise.catar", &random(9, 5000));
    let id = sandbox.ids("tree.caidx").swap_remove(1);
    fs::remove_file(sandbox.path(&format!("store/{}/{id}.cacnk", &id[..4]))).unwrap();
    for (words, parts) in [
        ("cut.catar", &["cut.catar"][..]),
        ("noise.catar", &["noise.catar", "not an archive"]),
        ("absent.catar", &["absent.catar", "No such file"]),
        ("-s store tree.caidx", &[&id]),
        ("tree.caidx", &["-s"]),
    ] {
        sandbox.refuses(&format!("untar --output-format=gnu-tar {words} out.tar"), parts);
    }
    let piped =
        sandbox.cairn_with_input("untar --output-format=gnu-tar - out.tar", &archive[..500]);
    piped.fails(&["standard input"]);
    assert!(!sandbox.path("out.tar").exists());
}

#[test]
fn what_is_for_directories_is_refused() {
    let sandbox = sandbox();
    for flag in [
        "--delete",
        "--undo-immutable",
        "--numeric-owner",
        "--no-same-owner",
        "--no-same-permissions",
        "--no-same-xattrs",
        "--with=symlinks",
        "--without=symlinks",
        "--seed=tree",
        "--seed-output",
        "--seed-output=no",
    ] {
        let words = format!("untar --output-format=gnu-tar {flag} tree.catar out.tar");
        sandbox.refuses(&words, &["for directories"]);
    }
    let part = "untar --output-format=gnu-tar tree.catar out.tar sub";
    sandbox.refuses(part, &["for directories"]);
    for flag in ["--seed=tree", "--seed-output", "--seed-output=no"] {
        sandbox.refuses(&format!("untar {flag} tree.catar out"), &["--seed", "for an index"]);
    }
}

/// Whoever feeds the pipe has stopped halfway.
#[test]
fn an_interrupt_ends_the_wait_for_a_pipe() {
    let sandbox = sandbox();
    let archive = sandbox.read("tree.catar");
    let mut command = sandbox.command("untar --output-format=gnu-tar - out.tar");
    let done = interrupted(&mut command, &archive[..2_000_000]);
    assert_eq!(done.status.code(), Some(130), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(sandbox.files(".").iter().all(|name| !name.contains("out.tar")));
}
