//! Stores far away: slow, gone for a moment, and asked no more than is needed.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Sandbox;
use crate::common::fault_proxy::{Fault, FaultProxy, Which};
use crate::common::mounted::{Mounted, is_fuse_here, wait_until};
use crate::common::server::Server;
use crate::common::web::{Request, StandIn, forward};
use crate::{Placed, forget, read_at, scene, some_chunk};

/// A chunk server for a store, which is to be kept, and the words that begin a mount through something before it.
fn server(sandbox: &Sandbox) -> Server {
    Server::start(sandbox, "chunk-server -s store")
}

/// Whether it is the chunk of zeros, which is known without a store: of the greatest length.
fn is_zeros(content: &[u8], chunk: &Placed) -> bool {
    chunk.len == 256 << 10 && content[chunk.start..][..chunk.len].iter().all(|&byte| byte == 0)
}

/// How often a chunk was asked for, by itself or with others.
fn asked_for(store: &StandIn, chunk: &Placed) -> usize {
    let is_in = |request: &Request| {
        request.path.contains(&chunk.id)
            || String::from_utf8_lossy(&request.body).contains(&chunk.id)
    };
    store.requests().iter().filter(|request| is_in(request)).count()
}

/// A gate that is closed at first.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    /// Waits until it is open, but not for ever.
    fn pass(&self) {
        let open = self.0.lock().unwrap();
        drop(self.1.wait_timeout_while(open, Duration::from_secs(20), |open| !*open).unwrap());
    }
}

#[test]
fn a_slow_chunk_keeps_nobody_else() {
    if !is_fuse_here("a_slow_chunk_keeps_nobody_else") {
        return;
    }
    let (sandbox, content) = scene();
    let server = server(&sandbox);
    let (slow, other) = (some_chunk(&sandbox, 4), some_chunk(&sandbox, 20));
    let (gate, address) = (Arc::new(Gate::default()), server.address.to_string());
    let (closed, id) = (Arc::clone(&gate), slow.id.clone());
    let store = StandIn::start(move |request| {
        if request.path.contains(&id) || String::from_utf8_lossy(&request.body).contains(&id) {
            closed.pass();
        }
        forward(request, &address)
    });
    let words = format!("mount-index -s http://{}/ image.raw.caibx", store.address());
    let mounted = Mounted::start(&sandbox, &words);
    let file = mounted.path("image.raw");
    thread::scope(|scope| {
        // More of them than there are threads that talk to the kernel.
        let waiting: Vec<_> = (0..20)
            .map(|n| {
                let (file, at) = (&file, slow.start + n * 50);
                scope.spawn(move || read_at(file, at, 50).unwrap())
            })
            .collect();
        wait_until("the request", || asked_for(&store, &slow) > 0);
        // What comes from elsewhere does not wait, be it new or known.
        for _ in 0..2 {
            let found = read_at(&file, other.start, other.len).unwrap();
            assert!(found == content[other.start..][..other.len]);
            assert_eq!(fs::metadata(&file).unwrap().len(), content.len() as u64);
            assert_eq!(fs::read_dir(mounted.path("")).unwrap().count(), 1);
        }
        assert!(waiting.iter().all(|reader| !reader.is_finished()));
        gate.open();
        for (n, reader) in waiting.into_iter().enumerate() {
            assert!(reader.join().unwrap() == content[slow.start + n * 50..][..50]);
        }
    });
    assert_eq!(asked_for(&store, &slow), 1);
    mounted.stop();
}

#[test]
fn readers_of_one_cold_chunk_ask_the_store_once() {
    if !is_fuse_here("readers_of_one_cold_chunk_ask_the_store_once") {
        return;
    }
    let (sandbox, content) = scene();
    let server = server(&sandbox);
    let chunk = some_chunk(&sandbox, 10);
    let address = server.address.to_string();
    let store = StandIn::start(move |request| {
        // Long enough for all of them to come while it is under way.
        thread::sleep(Duration::from_millis(300));
        forward(request, &address)
    });
    let words = format!("mount-index -s http://{}/ image.raw.caibx", store.address());
    let mounted = Mounted::start(&sandbox, &words);
    let (file, start) = (mounted.path("image.raw"), Barrier::new(32));
    thread::scope(|scope| {
        for n in 0..32 {
            let (file, start, content, at) = (&file, &start, &content, chunk.start + n * 100);
            scope.spawn(move || {
                start.wait();
                assert!(read_at(file, at, 100).unwrap() == content[at..at + 100]);
            });
        }
    });
    assert_eq!(asked_for(&store, &chunk), 1);
    mounted.stop();
}

#[test]
fn a_store_that_is_gone_for_a_moment_is_waited_for() {
    if !is_fuse_here("a_store_that_is_gone_for_a_moment_is_waited_for") {
        return;
    }
    let (sandbox, content) = scene();
    let server = server(&sandbox);
    for fault in [Fault::HangUp, Fault::Reset(100)] {
        let store = FaultProxy::new(server.address, fault, Which::FirstOfEach);
        let words = format!("mount-index -s {} -b 10ms image.raw.caibx", store.url(""));
        let mounted = Mounted::start(&sandbox, &words);
        assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
        assert!(store.faults() >= 10, "{}", store.faults());
        mounted.stop();
    }
}

#[test]
fn a_store_that_is_gone_for_longer_is_there_again_later() {
    if !is_fuse_here("a_store_that_is_gone_for_longer_is_there_again_later") {
        return;
    }
    let (sandbox, content) = scene();
    let server = server(&sandbox);
    let (address, is_away) = (server.address.to_string(), Arc::new(AtomicBool::new(false)));
    let away = Arc::clone(&is_away);
    let store = StandIn::start(move |request| match away.load(Ordering::SeqCst) {
        // It hangs up.
        true => Vec::new(),
        false => forward(request, &address),
    });
    let words = format!("mount-index -s http://{}/ -e 1 -b 10ms image.raw.caibx", store.address());
    let mounted = Mounted::start(&sandbox, &words);
    let file = mounted.path("image.raw");
    let (known, unknown) = (some_chunk(&sandbox, 0), some_chunk(&sandbox, 20));
    assert!(read_at(&file, known.start, known.len).is_ok());
    is_away.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = read_at(&file, unknown.start, unknown.len).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    }
    // What was read is still there, also if the kernel has forgotten it.
    forget(&file);
    assert!(read_at(&file, known.start, known.len).unwrap() == content[known.start..][..known.len]);
    // Whichever of the chunks is named that the kernel asked for together, none is twice.
    let printed = mounted.prints("cannot be read");
    let mut named: Vec<&str> =
        printed.lines().map(|line| line.split_once("error=").unwrap().1).collect();
    let lines = named.len();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named.len(), lines, "{printed}");
    is_away.store(false, Ordering::SeqCst);
    assert!(fs::read(&file).unwrap() == content);
    mounted.stop();
}

#[test]
fn reading_in_order_asks_for_each_chunk_once_and_several_at_once() {
    if !is_fuse_here("reading_in_order_asks_for_each_chunk_once_and_several_at_once") {
        return;
    }
    let (sandbox, content) = scene();
    let server = server(&sandbox);
    let address = server.address.to_string();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (under_way, greatest) = (Arc::clone(&now), Arc::clone(&most));
    let store = StandIn::start(move |request| {
        greatest.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(30));
        under_way.fetch_sub(1, Ordering::SeqCst);
        forward(request, &address)
    });
    let words = format!("mount-index -s http://{}/ image.raw.caibx", store.address());
    let mounted = Mounted::start(&sandbox, &words);
    let begun = Instant::now();
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    let took = begun.elapsed();
    let (mut chunks, mut asked) = (crate::chunks(&sandbox), 0);
    chunks.sort_by(|one, other| one.id.cmp(&other.id));
    chunks.dedup_by(|one, other| one.id == other.id);
    for chunk in &chunks {
        let times = asked_for(&store, chunk);
        assert_eq!(times, usize::from(!is_zeros(&content, chunk)), "{chunk:?}");
        asked += times;
    }
    // One after the other would take so long at least.
    let in_turn = Duration::from_millis(30) * u32::try_from(asked).unwrap();
    assert!(most.load(Ordering::SeqCst) >= 4 && took < in_turn, "{most:?} {took:?} {in_turn:?}");
    mounted.stop();
}

#[test]
fn prefetching_into_memory_needs_the_store_no_more() {
    if !is_fuse_here("prefetching_into_memory_needs_the_store_no_more") {
        return;
    }
    let (sandbox, content) = scene();
    let server = server(&sandbox);
    let address = server.address.to_string();
    let store = StandIn::start(move |request| forward(request, &address));
    let words = format!("mount-index -s http://{}/ image.raw.caibx --prefetch", store.address());
    let mounted = Mounted::start(&sandbox, &words);
    let mut chunks = crate::chunks(&sandbox);
    chunks.retain(|chunk| !is_zeros(&content, chunk));
    wait_until("the last chunk", || chunks.iter().all(|chunk| asked_for(&store, chunk) > 0));
    let asked = store.requests().len();
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    assert_eq!(store.requests().len(), asked);
    mounted.stop();
}
