//! Listeners, the workers that serve what they accept, and an orderly end.
//!
//! ```text
//! listeners -> connections -> worker 0, 1, … in turn      one thread and one reactor a worker, so that
//!                                                         no two processors pass a request around
//! ```
//! A connection stays with its worker. When the server is told to end it accepts nothing more,
//! requests on their way are answered, and what is not done in time is cut off.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, io};

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::access_log::AccessLog;
use super::address;
use super::chunks::ChunkService;
use super::connection;
use super::indexes::IndexService;
use super::memory::Memory;
use super::metrics::Counters;
use super::pages::Pages;
use super::site::{Service, Site};
use super::tls::TlsOptions;
use crate::open_files::allow_files;
use crate::{Error, Result, Secret};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Threads of a worker for stores that must be waited for.
const WAITING: usize = 256;

/// How long an ending server waits for what is on its way.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// A pause where nothing can be accepted, as when there are no more file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Files that are open besides connections: chunks, libraries, logs.
const OTHER_FILES: u64 = 256;

/// Told in a line of what a client must not know.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// What a server grants its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For a request's header, from its first byte, and for a TLS handshake.
    pub header: Duration,
    /// Between requests.
    pub idle: Duration,
    /// How long a body may stand still. In as much time at least a KiB for each second must pass.
    pub stall: Duration,
    /// Connections at a time; others wait to be accepted.
    pub connections: usize,
    /// Bytes of bodies in memory; beyond that clients are told to come again.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(30),
            idle: Duration::from_secs(120),
            stall: Duration::from_secs(30),
            connections: 4096,
            memory: 512 << 20,
        }
    }
}

/// How a server is run.
pub struct ServerOptions {
    /// Where to listen, as Go's programs take it: `:8080`, `127.0.0.1:https`.
    pub listen: Vec<String>,
    /// The certificates, to speak TLS.
    pub tls: Option<TlsOptions>,
    /// The `Authorization` header that clients must send, word for word.
    pub authorization: Option<Secret>,
    /// What all paths begin with, `/like/this`; empty for nothing.
    pub prefix: String,
    /// Whether there are pages for people and programs that look after the server.
    pub pages: bool,
    /// A line for each request.
    pub log: Option<AccessLog>,
    /// Told of failures.
    pub report: Report,
    /// What clients are granted.
    pub limits: Limits,
}

/// A server that listens, but accepts nothing yet.
pub struct Server {
    /// What the listeners run in.
    runtime: Runtime,
    listeners: Vec<TcpListener>,
    tls: Option<TlsAcceptor>,
    site: Arc<Site>,
    stop: Arc<watch::Sender<bool>>,
}

/// Ends a server.
#[derive(Clone)]
pub struct Stopper(Arc<watch::Sender<bool>>);

impl Stopper {
    /// Tells the server to end, and returns at once.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Listens for requests for chunks.
    pub fn of_chunks(options: ServerOptions, service: Arc<ChunkService>) -> Result<Self> {
        Self::new(options, Service::Chunks(service))
    }

    /// Listens for requests for indexes.
    pub fn of_indexes(options: ServerOptions, service: Arc<IndexService>) -> Result<Self> {
        Self::new(options, Service::Indexes(service))
    }

    fn new(options: ServerOptions, service: Service) -> Result<Self> {
        let ServerOptions { listen, tls, authorization, prefix, pages, log, report, limits } =
            options;
        let tls = tls.map(|tls| tls.config()).transpose()?;
        // If the system gives fewer, fewer connections are accepted at a time.
        allow_files(limits.connections as u64 + OTHER_FILES);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("start", "server"))?;
        let listeners = listen.iter().map(|text| runtime.block_on(async { bind(text) }));
        let listeners = listeners.collect::<Result<_>>()?;
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let site = Site {
            pages: pages.then(Pages::new),
            service,
            authorization: authorization.filter(|value| !value.reveal().is_empty()),
            prefix: prefix.trim_end_matches('/').to_owned(),
            log,
            report,
            memory: Memory::new(limits.memory),
            limits,
            counters: (0..workers).map(|_| Counters::default()).collect(),
            began: Instant::now(),
        };
        Ok(Self {
            runtime,
            listeners,
            tls: tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            site: Arc::new(site),
            stop: Arc::new(watch::Sender::new(false)),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Serves until it is told to end.
    pub fn run(self) -> Result<()> {
        let open = Arc::new(Semaphore::new(self.site.limits.connections));
        let workers = (0..self.site.counters.len()).map(|_| Worker::start());
        let workers: Vec<Worker> =
            workers.collect::<io::Result<_>>().map_err(Error::io("start", "server"))?;
        let shared = Arc::new(Accepting {
            handles: workers.iter().map(|worker| worker.handle.clone()).collect(),
            next: AtomicUsize::new(0),
            site: self.site,
            tls: self.tls,
            open: open.clone(),
            stop: self.stop.clone(),
        });
        let mut stop = self.stop.subscribe();
        let most = shared.site.limits.connections;
        self.runtime.block_on(async {
            for listener in self.listeners {
                tokio::spawn(shared.clone().accept(listener));
            }
            let _ = stop.wait_for(|&stop| stop).await;
            // All permits are back when the last connection is closed.
            let all = open.acquire_many(u32::try_from(most).unwrap_or(u32::MAX));
            if tokio::time::timeout(LAST_REQUESTS, all).await.is_err() {
                tracing::warn!("requests that took too long are cut off");
            }
        });
        // What still waits for a store must not keep the program alive.
        self.runtime.shutdown_background();
        workers.into_iter().for_each(Worker::end);
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

/// A thread with a reactor.
struct Worker {
    handle: Handle,
    end: watch::Sender<bool>,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().max_blocking_threads(WAITING).build()?;
        let handle = runtime.handle().clone();
        let (end, mut ended) = watch::channel(false);
        let thread = thread::Builder::new().name("worker".to_owned()).spawn(move || {
            let _ = runtime.block_on(ended.wait_for(|&end| end));
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, end, thread })
    }

    fn end(self) {
        self.end.send_replace(true);
        // A worker that panicked has ended as well.
        let _ = self.thread.join();
    }
}

/// What accepts connections.
struct Accepting {
    handles: Vec<Handle>,
    next: AtomicUsize,
    site: Arc<Site>,
    tls: Option<TlsAcceptor>,
    open: Arc<Semaphore>,
    stop: Arc<watch::Sender<bool>>,
}

impl Accepting {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut stop = self.stop.subscribe();
        let mut is_failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => return,
                accepted = self.accept_one(&listener) => accepted,
            };
            match accepted {
                Ok(()) => is_failing = false,
                Err(e) => {
                    // Once, and not for each of the clients that are waiting.
                    if !is_failing {
                        (self.site.report)(&format!("failed to accept a connection: {e}"));
                    }
                    is_failing = true;
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn accept_one(&self, listener: &TcpListener) -> io::Result<()> {
        let Ok(permit) = self.open.clone().acquire_owned().await else { return Ok(()) };
        let (stream, address) = listener.accept().await?;
        let stream = stream.into_std()?;
        let worker = self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len();
        let (site, tls, stop) = (self.site.clone(), self.tls.clone(), self.stop.subscribe());
        self.handles[worker].spawn(async move {
            let open = Open { site: site.clone(), worker };
            site.counters[worker].opened();
            connection::serve(stream, address, site, worker, tls, stop).await;
            drop((open, permit));
        });
        Ok(())
    }
}

/// An open connection, counted until it goes out of scope.
struct Open {
    site: Arc<Site>,
    worker: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.site.counters[self.worker].closed();
    }
}

/// Listens at the first of the addresses that the text may mean.
fn bind(text: &str) -> Result<TcpListener> {
    let unusable = |why: String| Error::Unsupported { place: format!("address {text}"), why };
    let mut failure = None;
    for address in address::resolve(text).map_err(unusable)? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            // Whether IPv6 is to be had turns out here. A port that is taken is taken.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                failure = Some(e);
                break;
            }
            Err(e) => failure = failure.or(Some(e)),
        }
    }
    let why = failure.map_or("no address".to_owned(), |e| e.to_string());
    Err(unusable(format!("cannot listen: {why}")))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // Or a server that was just ended could not be started anew for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
