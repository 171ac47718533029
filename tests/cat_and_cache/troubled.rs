//! Caches that are damaged, full, read-only, or being damaged right now.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::common::system::{Mount, is_root};
use super::common::{Sandbox, random};
use super::content;

const FILL: &str = "extract blob.caibx out -s store -c cache";

/// A filled cache, and the names of the chunk files in it.
fn filled() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::with_store(&content());
    sandbox.cairn(FILL).succeeds_silently();
    let names = sandbox.files("cache").iter().map(|name| format!("cache/{name}")).collect();
    (sandbox, names)
}

/// Damages the chunks of a cache, each in another way.
fn damage(sandbox: &Sandbox, names: &[String]) {
    for (n, name) in names.iter().enumerate() {
        let good = sandbox.read(name);
        let bad = match n % 5 {
            0 => Vec::new(),
            1 => good[..good.len() / 2].to_vec(),
            2 => random(9, 3000),
            3 => sandbox.read(&names[(n + 1) % names.len()]),
            _ => [&good[..], b"more"].concat(),
        };
        sandbox.write(name, &bad);
    }
}

#[test]
fn a_damaged_cache_is_repaired() {
    for flags in ["", "-r", "-r=true", "--cache-repair", "--cache-repair=true"] {
        let (sandbox, names) = filled();
        let good: Vec<Vec<u8>> = names.iter().map(|name| sandbox.read(name)).collect();
        damage(&sandbox, &names);
        sandbox.cairn(&format!("{FILL} {flags}")).succeeds_silently();
        assert!(sandbox.read("out") == content());
        for (name, good) in names.iter().zip(good) {
            assert!(sandbox.read(name) == good, "{name}");
        }
    }
}

#[test]
fn without_repair_damage_is_an_error_that_names_the_cache() {
    let (sandbox, names) = filled();
    let good: Vec<Vec<u8>> = names.iter().map(|name| sandbox.read(name)).collect();
    for bad in [Vec::new(), good[7][..9].to_vec(), good[8].clone(), random(5, 4000)] {
        sandbox.write(&names[7], &bad);
        let id = &names[7]["cache/1234/".len()..].trim_end_matches(".cacnk").to_owned();
        for flags in ["-r=false", "--cache-repair=false"] {
            for command in [FILL, "cat blob.caibx out -s store -c cache"] {
                sandbox.refuses(&format!("{command} {flags}"), &["error: cache", id]);
            }
        }
    }
    sandbox.cairn(FILL).succeeds_silently();
    assert!(sandbox.read(&names[7]) == good[7]);
}

#[test]
fn damage_that_nobody_can_mend_is_an_error_that_names_the_cache() {
    let (sandbox, names) = filled();
    sandbox.write(&names[7], b"(\xb5/\xfd damaged");
    fs::remove_file(sandbox.path(&names[7].replacen("cache", "store", 1))).unwrap();
    sandbox.refuses(FILL, &["error: cache", "at offset "]);
}

#[test]
fn a_chunk_that_is_nowhere_is_missing_from_both() {
    let (sandbox, names) = filled();
    for place in ["cache", "store"] {
        fs::remove_file(sandbox.path(&names[7].replacen("cache", place, 1))).unwrap();
    }
    sandbox.refuses(FILL, &["missing", "store", "cache"]);
}

#[test]
fn damage_in_the_store_does_not_get_into_the_cache() {
    let sandbox = Sandbox::with_store(&content());
    let stored: Vec<String> =
        sandbox.files("store").iter().map(|name| format!("store/{name}")).collect();
    damage(&sandbox, &stored);
    sandbox.cairn(FILL).fails(&["store"]);
    assert_eq!(sandbox.files("cache"), [""; 0]);
}

#[test]
fn a_cache_may_be_damaged_at_any_moment() {
    let (sandbox, names) = filled();
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !end.load(Ordering::Relaxed) {
                n += 1;
                let path = sandbox.path(&names[n * 7 % names.len()]);
                // It may just be being replaced.
                let _ = match n % 3 {
                    0 => fs::remove_file(&path),
                    1 => fs::write(&path, b"(\xb5/\xfd damaged"),
                    _ => fs::File::options().write(true).open(&path).and_then(|f| f.set_len(100)),
                };
                std::thread::yield_now();
            }
        });
        for n in 0..30 {
            let command = if n % 2 == 0 { FILL } else { "cat blob.caibx out -s store -c cache" };
            let limit = if n % 3 == 0 { "--cache-size 1M" } else { "" };
            let outcome = sandbox.cairn(&format!("{command} {limit}"));
            let good = outcome.code == Some(0) && sandbox.read("out") == content();
            end.fetch_or(!good, Ordering::Relaxed);
            assert!(good, "{}", outcome.stderr);
        }
        end.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_read_only_cache_is_read_and_no_more() {
    if !is_root("a_read_only_cache_is_read_and_no_more") {
        return;
    }
    let sandbox = Sandbox::with_store(&content());
    let mount = Mount::new(&sandbox, "cache", 8 << 10);
    sandbox.cairn("cat blob.caibx part -s store -c cache -l 500000").succeeds_silently();
    let kept = sandbox.files("cache");
    assert!(!kept.is_empty());
    mount.make_read_only();
    for flags in ["", "--cache-size 1M"] {
        let done = sandbox.cairn(&format!("{FILL} {flags}")).succeeds();
        assert_eq!(done.text(), "");
        assert!(sandbox.read("out") == content());
        assert_eq!(sandbox.files("cache"), kept);
    }
    // It is of use, too.
    for name in &kept {
        fs::remove_file(sandbox.path("store").join(name)).unwrap();
    }
    sandbox.cairn(FILL).succeeds();
}

#[test]
fn a_full_cache_holds_what_it_can() {
    if !is_root("a_full_cache_holds_what_it_can") {
        return;
    }
    let sandbox = Sandbox::with_store(&content());
    let _mount = Mount::new(&sandbox, "cache", 400);
    for _ in 0..2 {
        let done = sandbox.cairn(FILL).succeeds();
        assert_eq!(done.text(), "");
        assert!(sandbox.read("out") == content());
    }
    let kept = sandbox.files("cache");
    assert!(!kept.is_empty());
    for name in kept {
        let read = |store: &str| sandbox.read(&format!("{store}/{name}"));
        assert!(read("cache") == read("store"), "{name}");
    }
}
