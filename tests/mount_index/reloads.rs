//! Stores that are exchanged while they are used, and what a service manager is told.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::mounted::{Mounted, is_fuse_here, wait_until};
use crate::{chunk_file, forget, read_at, scene, some_chunk};

const MOUNT: &str = "mount-index --store-file stores.json image.raw.caibx --memory 1M";

#[test]
fn stores_are_exchanged_under_load() {
    if !is_fuse_here("stores_are_exchanged_under_load") {
        return;
    }
    let (sandbox, content) = scene();
    sandbox.cairn("make other.caibx image.raw -s other").succeeds();
    let (lost, found) = (some_chunk(&sandbox, 20), some_chunk(&sandbox, 2));
    fs::remove_file(sandbox.path(&chunk_file("store", &lost.id))).unwrap();
    sandbox.write("stores.json", br#"{"stores": ["store"]}"#);
    let mounted = Mounted::start(&sandbox, MOUNT);
    let file = mounted.path("image.raw");
    assert!(read_at(&file, lost.start, lost.len).is_err());
    let (stop, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // To the last page that does not need the chunk that is lost.
                    let end = lost.start / 4096 * 4096;
                    assert!(
                        read_at(&file, found.start, end - found.start).unwrap()
                            == content[found.start..end]
                    );
                    forget(&file);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        wait_until("some reads", || reads.load(Ordering::Relaxed) > 10);
        sandbox.write("stores.json", br#"{"stores": ["other"], "cache": ""}"#);
        mounted.reload();
        fs::remove_dir_all(sandbox.path("store")).unwrap();
        let before = reads.load(Ordering::Relaxed);
        wait_until("more reads", || reads.load(Ordering::Relaxed) > before + 20);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(fs::read(&file).unwrap() == content);
    mounted.stop();
}

#[test]
fn a_broken_store_file_changes_nothing() {
    if !is_fuse_here("a_broken_store_file_changes_nothing") {
        return;
    }
    let (sandbox, content) = scene();
    sandbox.write("stores.json", br#"{"stores": ["store"]}"#);
    let mounted = Mounted::start(&sandbox, MOUNT);
    for (broken, why) in [
        (r#"{"stores": ["sto"#, "failed to read store-file 'stores.json': EOF"),
        (r#"{"stores": ["nowhere"]}"#, "nowhere"),
        (r#"{"stores": []}"#, "no store provided"),
    ] {
        sandbox.write("stores.json", broken.as_bytes());
        mounted.reload();
        mounted.prints(why);
        forget(&mounted.path("image.raw"));
        assert!(fs::read(mounted.path("image.raw")).unwrap() == content, "{why}");
    }
    let printed = mounted.printed();
    assert_eq!(printed.lines().count(), 3, "{printed}");
    fs::remove_file(sandbox.path("stores.json")).unwrap();
    mounted.reload();
    mounted.prints("No such file");
    mounted.stop();
}

#[test]
fn a_cache_of_a_store_file_is_filled() {
    if !is_fuse_here("a_cache_of_a_store_file_is_filled") {
        return;
    }
    let (sandbox, content) = scene();
    sandbox.write("stores.json", br#"{"stores": ["store"], "cache": "cache"}"#);
    let mounted = Mounted::start(&sandbox, MOUNT);
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
    assert!(sandbox.path(&chunk_file("cache", &some_chunk(&sandbox, 0).id)).exists());
}

#[test]
fn a_service_manager_is_told_of_each_step() {
    if !is_fuse_here("a_service_manager_is_told_of_each_step") {
        return;
    }
    let (sandbox, _) = scene();
    // Ready is what the test waited for.
    let mut mounted = Mounted::start(&sandbox, "mount-index -s store image.raw.caibx");
    let before = monotonic();
    mounted.signal(Signal::HUP);
    let said = mounted.hears(Duration::from_secs(20)).unwrap();
    let when = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!((before..=monotonic()).contains(&when.parse().unwrap()), "{said}");
    mounted.tells("READY=1");
    mounted.signal(Signal::TERM);
    mounted.tells("STOPPING=1");
    assert_eq!(mounted.ends(), Some(0));
    assert_eq!(mounted.hears(Duration::from_millis(10)), None);
}

/// Microseconds of the clock that service managers go by.
fn monotonic() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
