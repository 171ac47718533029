//! How well does `extract` make up for the distance to a store? `cargo bench --bench latency`
//!
//! nginx serves a store of random bytes, and a proxy adds 20 ms to every request, of which there are 64
//! at a time. Best of some runs. The least possible is the latency of all chunks, 64 beside each other,
//! and what an extract takes from a directory; the goal is 1.3 times that.

#[allow(dead_code, clippy::unwrap_used, reason = "made for tests, and a part of it is enough")]
#[path = "../tests/common/fault_proxy.rs"]
mod fault_proxy;
#[allow(dead_code, clippy::unwrap_used, reason = "made for tests, and a part of it is enough")]
#[path = "../tests/common/nginx.rs"]
mod nginx;

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fault_proxy::{Fault, FaultProxy, Which};
use nginx::Nginx;

const LEN: usize = 60 << 20;
const LATENCY: Duration = Duration::from_millis(20);
const AT_ONCE: u32 = 64;
const RUNS: usize = 7;
const GOAL: f64 = 1.3;

#[allow(clippy::print_stdout, reason = "what it measures")]
fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = directory.path();
    fs::write(place.join("blob"), common::noise(LEN)).expect("it is written");
    cairn(place, "make blob.caibx blob -s store");
    let index_len = fs::metadata(place.join("blob.caibx")).expect("it was made").len();
    let chunks = u32::try_from((index_len - 104) / 40).expect("there are not so many");
    let local = best(place, "store");
    let nginx = Nginx::new(place, "");
    let near = best(place, &nginx.url("store"));
    let proxy = FaultProxy::new(nginx.address(), Fault::Delay(LATENCY), Which::All);
    let far = best(place, &proxy.url("store"));
    let least = LATENCY * chunks / AT_ONCE + local;
    let ratio = far.as_secs_f64() / least.as_secs_f64();
    println!("## A store far away\n");
    println!(
        "Extracts {chunks} chunks of random bytes, {} MiB; a proxy adds {LATENCY:?} to every",
        LEN >> 20
    );
    println!("request, of which `-n {AT_ONCE}` allows so many at once. Best of {RUNS} runs.\n");
    println!("| extract from | seconds | to the least possible | goal | outcome |");
    println!("|---|--:|--:|--:|---|");
    println!("| a directory | {:.3} | | | |", local.as_secs_f64());
    println!("| nginx on this machine | {:.3} | | | |", near.as_secs_f64());
    let outcome = if ratio <= GOAL { "reached" } else { "**missed**" };
    let far = far.as_secs_f64();
    println!("| nginx {LATENCY:?} away | {far:.3} | {ratio:.2} | at most {GOAL} | {outcome} |");
    println!("\nThe least possible is {:.3} s: the latency of all chunks,", least.as_secs_f64());
    println!("{AT_ONCE} beside each other, and the extract from a directory.");
    println!("There were up to {} requests at once.", proxy.most_at_once());
}

fn best(place: &Path, store: &str) -> Duration {
    let run = |_| {
        let began = Instant::now();
        cairn(place, &format!("extract blob.caibx out -s {store} -n {AT_ONCE}"));
        let took = began.elapsed();
        fs::remove_file(place.join("out")).expect("it was written");
        took
    };
    (0..RUNS).map(run).min().expect("it runs at least once")
}

fn cairn(place: &Path, words: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    let command = command.args(words.split_whitespace()).current_dir(place).env("HOME", place);
    assert!(command.status().expect("cairn starts").success(), "{words}");
}
