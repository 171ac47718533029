//! `--cache-size`, through the program.

use std::collections::HashSet;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::common::{Sandbox, random};

/// What the files of a cache take, in bytes.
fn size(sandbox: &Sandbox, cache: &str) -> u64 {
    let len = |name: &String| fs::metadata(sandbox.path(cache).join(name)).unwrap().len();
    sandbox.files(cache).iter().map(|name| len(name).next_multiple_of(4096)).sum()
}

/// Sandbox with blobs `0` to `3` of 3 MiB each, of which neighbours share a half.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let parts: Vec<Vec<u8>> = (0..5).map(|n| random(n, 3 << 19)).collect();
    for n in 0..4 {
        sandbox.write(&n.to_string(), &parts[n..n + 2].concat());
        sandbox.cairn(&format!("make {n}.caibx {n} -s store")).succeeds_silently();
    }
    sandbox
}

#[test]
fn a_cache_stays_below_its_size() {
    let sandbox = sandbox();
    for n in [0, 1, 2, 3, 0, 3] {
        let words = format!("extract {n}.caibx out -s store -c cache --cache-size 2M");
        sandbox.cairn(&words).succeeds_silently();
        assert!(sandbox.read("out") == sandbox.read(&n.to_string()));
        let size = size(&sandbox, "cache");
        // Nor is it emptied.
        assert!((1 << 20..=2 << 20).contains(&size), "{size}");
    }
}

#[test]
fn a_large_enough_cache_loses_nothing() {
    let sandbox = sandbox();
    for n in 0..4 {
        let words = format!("extract {n}.caibx out -s store -c cache --cache-size 10M");
        sandbox.cairn(&words).succeeds_silently();
    }
    assert_eq!(sandbox.files("cache"), sandbox.files("store"));
}

#[test]
fn many_processes_share_a_small_cache() {
    let sandbox = sandbox();
    for round in 0..3 {
        let children: Vec<_> = (0..8)
            .map(|n| {
                let words = match n % 4 {
                    // Some do not care for the size.
                    0 => format!("extract {0}.caibx out{n} -s store -c cache", n % 4),
                    _ => format!(
                        "extract {}.caibx out{n} -s store -c cache --cache-size 2M",
                        (n + round) % 4
                    ),
                };
                sandbox.command(&words).spawn().unwrap()
            })
            .collect();
        for (n, mut child) in children.into_iter().enumerate() {
            assert!(child.wait().unwrap().success());
            let blob = if n % 4 == 0 { 0 } else { (n + round) % 4 };
            assert!(sandbox.read(&format!("out{n}")) == sandbox.read(&blob.to_string()));
        }
        // Whoever puts something last and does care sets things right.
        sandbox.write("last", &random(10 + round as u64, 100_000));
        sandbox.cairn("make last.caibx last -s store").succeeds();
        sandbox.cairn("cat last.caibx out -s store -c cache --cache-size 2M").succeeds_silently();
        let size = size(&sandbox, "cache");
        assert!(size <= 2 << 20, "{size}");
        let names = sandbox.files("cache");
        assert!(names.iter().all(|name| name.ends_with(".cacnk")), "{names:?}");
    }
}

#[test]
fn processes_that_all_care_leave_a_cache_below_its_size() {
    let sandbox = sandbox();
    for _ in 0..3 {
        let children: Vec<_> = (0..6)
            .map(|n| {
                let blob = n % 4;
                let words =
                    format!("extract {blob}.caibx out{n} -s store -c cache --cache-size 2M");
                sandbox.command(&words).spawn().unwrap()
            })
            .collect();
        for (n, mut child) in children.into_iter().enumerate() {
            assert!(child.wait().unwrap().success());
            assert!(sandbox.read(&format!("out{n}")) == sandbox.read(&(n % 4).to_string()));
        }
        let size = size(&sandbox, "cache");
        assert!(size <= 2 << 20, "{size}");
    }
}

#[test]
fn what_was_unused_for_longest_goes() {
    let sandbox = sandbox();
    sandbox.cairn("extract 0.caibx out -s store -c cache").succeeds_silently();
    let all: HashSet<String> = sandbox.files("cache").into_iter().collect();
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    for name in &all {
        let file = File::open(sandbox.path("cache").join(name)).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    // Uses the second half, and one without a limit tells of it all the same.
    sandbox.cairn("cat 0.caibx out -s store -c cache -o 1572864").succeeds_silently();
    sandbox
        .cairn("cat 2.caibx out -s store -c cache -l 300000 --cache-size 2M")
        .succeeds_silently();
    let left: HashSet<String> = sandbox.files("cache").into_iter().collect();
    let ids = sandbox.ids("0.caibx");
    let name = |id: &String| format!("{}/{id}.cacnk", &id[..4]);
    assert!(!left.contains(&name(&ids[0])), "the first is old");
    let second: Vec<&String> = ids.iter().rev().take(ids.len() / 2 - 2).collect();
    assert!(second.iter().all(|id| left.contains(&name(id))), "the second half is in use");
}
