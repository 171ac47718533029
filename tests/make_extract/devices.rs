//! Block devices as inputs and outputs. As root, with files behind loop devices.

use std::fs::File;
use std::io::Read;

use super::common::system::{Device, is_root};
use super::common::{Outcome, Sandbox, joined, random};

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
fn a_device_as_standard_input_is_read_from_where_it_stands() {
    if !is_root("a_device_as_standard_input") {
        return;
    }
    let sandbox = Sandbox::with_store(&content());
    let device = Device::new(&sandbox.path("blob"));
    for start in [0, 1, 4096, 1_000_001, LEN - 1, LEN] {
        let mut file = File::open(device.path()).unwrap();
        // Read, not sought: as `head -c` leaves it.
        file.read_exact(&mut vec![0; start]).unwrap();
        let mut command = sandbox.command("make piped.caibx - -s piped");
        let done = command.stdin(file).output().unwrap();
        Outcome::new("make from a device".to_owned(), done).succeeds_silently();
        sandbox.write("rest", &content()[start..]);
        sandbox.cairn("make rest.caibx rest").succeeds();
        assert!(sandbox.read("piped.caibx") == sandbox.read("rest.caibx"), "from {start}");
    }
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

/// How many sectors were written to a device or discarded there.
fn sectors_changed(device: &Device) -> u64 {
    device.flush();
    let name = device.path().rsplit('/').next().unwrap();
    let counts = std::fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
    let counts: Vec<u64> = counts.split_whitespace().map(|word| word.parse().unwrap()).collect();
    counts[6] + counts.get(13).unwrap_or(&0)
}

#[test]
fn a_device_that_holds_everything_is_not_written() {
    if !is_root("a_device_that_holds_everything_is_not_written") {
        return;
    }
    let sandbox = Sandbox::with_store(&content());
    let total = sandbox.ids("blob.caibx").len();
    sandbox.write("disk", &content());
    let device = Device::new(&sandbox.path("disk"));
    let before = sectors_changed(&device);
    for option in ["", "-k"] {
        let words = format!("extract {option} blob.caibx {} -s store --print-stats", device.path());
        let done = sandbox.cairn(&words).succeeds();
        let in_place = format!("\"chunks-in-place\": {total},");
        assert!(done.text().contains(&in_place), "{}", done.text());
        assert!(done.text().contains("\"chunks-from-seeds\": 0,"), "{}", done.text());
    }
    assert_eq!(sectors_changed(&device), before);
}

#[test]
fn zeros_on_a_device_replace_what_is_not_zero_and_nothing_beside_it() {
    if !is_root("zeros_on_a_device") {
        return;
    }
    // Zeros shorter and longer than blocks, at places that are none of a block.
    let mut content = Vec::new();
    for (number, zeros) in [1, 3, 5, 40, 1, 12, 300].into_iter().enumerate() {
        content.extend(random(10 + number as u64, 1000 * (1 + number % 3)));
        content.extend(vec![0; 1000 * zeros]);
    }
    content.extend(random(20, 1000));
    let sandbox = Sandbox::with_blob(&content);
    sandbox.cairn("make blob.caibx blob -s store -m 1000B:1000B:1000B").succeeds();
    for option in ["", "-k"] {
        let before = random(21, 1 << 19);
        sandbox.write("disk", &before);
        let device = Device::new(&sandbox.path("disk"));
        sandbox
            .cairn(&format!("extract {option} blob.caibx {} -s store", device.path()))
            .succeeds_silently();
        device.flush();
        assert!(sandbox.read("disk") == joined(&[&content, &before[content.len()..]]));
    }
}
