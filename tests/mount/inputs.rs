//! What can be mounted.

use std::fs;

use crate::common::mounted::{Mounted, is_fuse_here};
use crate::common::server::Server;
use crate::{pack, scene, system};
use std::process::Command;

#[test]
fn archives_and_indexes_of_archives_are_trees() {
    if !is_fuse_here("archives_and_indexes_of_archives_are_trees") {
        return;
    }
    let sandbox = scene();
    pack(&sandbox);
    sandbox.cairn("tar tree.catar tree").succeeds_silently();
    sandbox.cairn("make -s store blob.caibx tree.catar").succeeds();
    for words in [
        "mount tree.catar",
        "mount -s store tree.caidx",
        "mount -s store tree.caidx --as tree",
        "mount -s store blob.caibx --as tree",
    ] {
        let mounted = Mounted::start(&sandbox, words);
        system(Command::new("diff").arg("-r").args([&sandbox.path("tree"), &mounted.path("")]));
        mounted.stop();
    }
}

#[test]
fn blobs_are_files() {
    if !is_fuse_here("blobs_are_files") {
        return;
    }
    let sandbox = scene();
    sandbox.cairn("tar tree.catar tree").succeeds_silently();
    sandbox.cairn("make -s store image.raw.caibx tree/a/large").succeeds();
    sandbox.cairn("make -s store archive.caibx tree.catar").succeeds();
    pack(&sandbox);
    for (words, name, content) in [
        ("mount -s store image.raw.caibx", "image.raw", "tree/a/large"),
        ("mount -s store archive.caibx", "archive", "tree.catar"),
        ("mount -s store archive.caibx --as file", "archive", "tree.catar"),
        ("mount -s store tree.caidx --as file", "tree", "tree.catar"),
    ] {
        let mounted = Mounted::start(&sandbox, words);
        assert_eq!(fs::read_dir(mounted.path("")).unwrap().count(), 1, "{words}");
        assert!(fs::read(mounted.path(name)).unwrap() == sandbox.read(content), "{words}");
        mounted.stop();
    }
    let refused = sandbox.cairn("mount -s store image.raw.caibx --as tree mnt");
    refused.fails(&["image.raw.caibx"]);
    sandbox.cairn("mount tree.catar --as file mnt").fails(&["tree.catar: is a file as it is"]);
    sandbox.cairn("mount tree.caidx mnt").fails(&["tree.caidx", "-s"]);
}

#[test]
fn an_index_and_its_chunks_come_from_servers() {
    if !is_fuse_here("an_index_and_its_chunks_come_from_servers") {
        return;
    }
    let sandbox = scene();
    pack(&sandbox);
    let indexes = Server::start(&sandbox, "index-server -s .");
    let store = Server::start(&sandbox, "chunk-server -s store");
    let words = format!("mount -s {} {}/tree.caidx", store.url(), indexes.url());
    let mounted = Mounted::start(&sandbox, &words);
    system(Command::new("diff").arg("-r").args([&sandbox.path("tree"), &mounted.path("")]));
    mounted.stop();
}
