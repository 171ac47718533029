//! How much at once, and how fast.

use std::time::{Duration, Instant};

use super::common::fault_proxy::{Fault, FaultProxy, Which};
use super::common::nginx::Nginx;
use super::common::{Sandbox, joined, random};

#[test]
fn distance_is_made_up_for_by_many_requests_at_once() {
    let sandbox = Sandbox::with_store(&random(1, 10_000_000));
    let chunks = sandbox.ids("blob.caibx").len() as u32;
    let nginx = Nginx::new(&sandbox.path("."), "");
    let latency = Duration::from_millis(40);
    for words in ["extract blob.caibx out", "cat blob.caibx out", "cache blob.caibx -c copy"] {
        let proxy = FaultProxy::new(nginx.address(), Fault::Delay(latency), Which::All);
        let began = Instant::now();
        let words = format!("{words} -s {} -n 64", proxy.url("store"));
        sandbox.cairn(&words).succeeds_silently();
        let took = began.elapsed();
        assert!(proxy.requests() >= chunks as usize);
        let most = proxy.most_at_once();
        assert!((33..=64).contains(&most), "{words}: {most} requests at once");
        assert!(took < latency * chunks / 4, "{words}: {took:?} for {chunks} chunks");
    }
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

#[test]
fn scattered_chunks_are_fetched_at_once_too() {
    // Every other stretch is in a seed, so that the store is asked for short runs.
    let parts: Vec<Vec<u8>> = (0..80).map(|n| random(n, 100_000)).collect();
    let blob = parts.concat();
    let seed: Vec<&[u8]> = parts.iter().step_by(2).map(Vec::as_slice).collect();
    let sandbox = Sandbox::with_store(&blob);
    sandbox.write("seed", &joined(&seed));
    let nginx = Nginx::new(&sandbox.path("."), "");
    let delay = Fault::Delay(Duration::from_millis(40));
    let proxy = FaultProxy::new(nginx.address(), delay, Which::All);
    let words = format!("extract blob.caibx out --seed seed -s {} -n 32", proxy.url("store"));
    sandbox.cairn(&words).succeeds_silently();
    assert!(sandbox.read("out") == blob);
    let most = proxy.most_at_once();
    assert!((17..=32).contains(&most), "{most} requests at once");
}

#[test]
fn chunks_move_no_faster_than_they_may() {
    let sandbox = Sandbox::with_store(&random(1, 600_000));
    let nginx = Nginx::new(&sandbox.path("."), "dav_methods PUT; create_full_put_path on;");
    let words = [
        format!("extract blob.caibx out -s {}", nginx.url("store")),
        format!("make new.caibx blob -s {}", nginx.url("new")),
        // Both ways, and all stores together.
        format!("cache blob.caibx -s {} -c {} -n 20", nginx.url("store"), nginx.url("copy")),
    ];
    for (words, bytes) in words.iter().zip([600_000, 600_000, 1_200_000]) {
        let began = Instant::now();
        sandbox.cairn(&format!("{words} --limit-rate 1M")).succeeds_silently();
        let took = began.elapsed();
        // A quarter of a second may come at once.
        let least = f64::from(bytes) / f64::from(1 << 20) - 0.25;
        assert!(took.as_secs_f64() > least, "{words}: {took:?}");
    }
    sandbox.cairn("extract blob.caibx out -s store --limit-rate 0").misused(&["--limit-rate"]);
    sandbox.cairn("extract blob.caibx out -s store --limit-rate 1x").misused(&["--limit-rate"]);
    // A store on this machine is as fast as it is.
    let began = Instant::now();
    sandbox.cairn("extract blob.caibx out -s store --limit-rate 10K").succeeds_silently();
    assert!(began.elapsed() < Duration::from_secs(30));
}
