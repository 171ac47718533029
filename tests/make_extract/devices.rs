//! Block devices as inputs and outputs. As root, with files behind loop devices.

use super::common::system::{Device, is_root};
use super::common::{Sandbox, joined, random};

const LEN: usize = 6 << 20;

fn content() -> Vec<u8> {
    let mut content = joined(&[&random(1, 1_500_000), &vec![0; 3 << 20]]);
    let rest = LEN - content.len();
    content.extend(random(2, rest));
    content
}

#[test]
fn a_device_is_made_like_a_file() {
    if !is_root("a_device_is_made_like_a_file") {
        return;
    }
    let sandbox = Sandbox::with_store(&content());
    let device = Device::new(&sandbox.path("blob"));
    sandbox.cairn(&format!("make device.caibx {} -s new", device.path())).succeeds_silently();
    assert!(sandbox.read("device.caibx") == sandbox.read("blob.caibx"));
    assert_eq!(sandbox.files("new"), sandbox.files("store"));
    sandbox.cairn(&format!("verify-index blob.caibx {}", device.path())).succeeds_silently();
    let of_device = sandbox.cairn(&format!("chunk {}", device.path())).succeeds();
    assert_eq!(of_device.text(), sandbox.cairn("chunk blob").succeeds().text());
}

#[test]
fn a_device_is_written_and_stays_a_device() {
    if !is_root("a_device_is_written") {
        return;
    }
    let sandbox = Sandbox::with_store(&content());
    for (number, option) in ["", "-k", "--fsync"].into_iter().enumerate() {
        // One as long as the blob, one longer; what is behind the blob stays.
        let behind = random(3, number << 20);
        let before = joined(&[&random(4, LEN), &behind]);
        sandbox.write("disk", &before);
        let device = Device::new(&sandbox.path("disk"));
        sandbox
            .cairn(&format!("extract {option} blob.caibx {} -s store", device.path()))
            .succeeds_silently();
        sandbox.cairn(&format!("verify-index blob.caibx {}", device.path())).succeeds_silently();
        device.flush();
        assert!(sandbox.read("disk") == joined(&[&content(), &behind]), "{option}");
    }
}

#[test]
fn what_a_device_holds_is_not_fetched() {
    if !is_root("what_a_device_holds_is_not_fetched") {
        return;
    }
    let sandbox = Sandbox::with_store(&content());
    let mut before = content();
    before[LEN - 1] ^= 1;
    sandbox.write("disk", &before);
    let device = Device::new(&sandbox.path("disk"));
    let words = format!("extract blob.caibx {} -s store --print-stats", device.path());
    let done = sandbox.cairn(&words).succeeds();
    assert!(done.text().contains("\"chunks-from-store\": 1,"), "{}", done.text());
}

#[test]
fn a_link_to_a_device_is_followed() {
    if !is_root("a_link_to_a_device_is_followed") {
        return;
    }
    let sandbox = Sandbox::with_store(&content());
    sandbox.write("disk", &random(5, LEN));
    let device = Device::new(&sandbox.path("disk"));
    std::os::unix::fs::symlink(device.path(), sandbox.path("link")).unwrap();
    sandbox.cairn("extract blob.caibx link -s store").succeeds();
    assert!(sandbox.path("link").is_symlink());
    device.flush();
    assert!(sandbox.read("disk") == content());
}

#[test]
fn a_device_that_is_too_small_is_refused_untouched() {
    if !is_root("a_device_that_is_too_small") {
        return;
    }
    let sandbox = Sandbox::with_store(&content());
    let before = random(6, LEN - 4096);
    sandbox.write("disk", &before);
    let device = Device::new(&sandbox.path("disk"));
    for option in ["", "-k"] {
        sandbox.cairn(&format!("extract {option} blob.caibx {} -s store", device.path())).fails(&[
            device.path(),
            &before.len().to_string(),
            &LEN.to_string(),
        ]);
    }
    sandbox
        .cairn(&format!("verify-index blob.caibx {}", device.path()))
        .fails(&[device.path(), "size"]);
    device.flush();
    assert!(sandbox.read("disk") == before);
}
