//! One connection, from its handshake to its end.

use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::site::{Peer, Site};
use super::watch::{Progress, Watch, Watched};

/// The longest header of a request, in bytes.
const LONGEST_HEADER: usize = 32 << 10;

/// What a connection may have of a request in memory besides its body, in bytes.
const READ_BUFFER: usize = 64 << 10;

/// Requests at a time on one connection.
const STREAMS: u32 = 64;

/// What is kept of a reply for a client that is not ready for it, in bytes.
const SEND_BUFFER: usize = 256 << 10;

/// Serves a connection until either side ends it.
pub(super) async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    site: Arc<Site>,
    worker: usize,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) {
    // A small reply must not wait for the client to confirm the one before.
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let progress = Arc::new(Progress::default());
    let stream = Watched::new(stream, progress.clone());
    let peer = Arc::new(Peer { site, worker, address, progress, stop });
    match tls {
        None => speak(stream, peer, false).await,
        Some(tls) => match timeout(peer.site.limits.header, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                speak(stream, peer, is_http2).await;
            }
            Ok(Err(e)) => tracing::debug!(client = %peer.address, error = %e, "no TLS handshake"),
            Err(_) => peer.counters().cut(),
        },
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Arc<Peer>,
    is_http2: bool,
) {
    let io = TokioIo::new(stream);
    let answering = peer.clone();
    let service = service_fn(move |request| answering.clone().answer(request));
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(LONGEST_HEADER as u32)
            .max_send_buf_size(SEND_BUFFER);
        let mut connection = pin!(builder.serve_connection(io, service));
        attend(&peer, connection.as_mut(), |connection| connection.graceful_shutdown()).await;
    } else {
        let mut builder = http1::Builder::new();
        builder
            .half_close(false)
            .header_read_timeout(None)
            .max_buf_size(READ_BUFFER)
            .max_header_size(LONGEST_HEADER);
        let mut connection = pin!(builder.serve_connection(io, service));
        attend(&peer, connection.as_mut(), |connection| connection.graceful_shutdown()).await;
    }
}

/// Runs a connection to its end, looks at its progress meanwhile, and tells it when the server ends.
async fn attend<C: Future<Output = hyper::Result<()>>>(
    peer: &Peer,
    mut connection: std::pin::Pin<&mut C>,
    end: impl Fn(std::pin::Pin<&mut C>),
) {
    let mut watch = Watch::new(peer.progress.clone(), peer.site.limits.clone(), Instant::now());
    let pause = watch.pause();
    let mut stop = peer.stop.clone();
    let mut is_ending = false;
    let mut look = pin!(sleep(pause));
    loop {
        tokio::select! {
            biased;
            outcome = connection.as_mut() => {
                if let Err(e) = outcome {
                    tracing::debug!(client = %peer.address, error = %e, "connection ended");
                }
                return;
            }
            () = look.as_mut() => {
                let now = Instant::now();
                if let Some(why) = watch.look(now) {
                    tracing::debug!(client = %peer.address, why, "connection cut off");
                    peer.counters().cut();
                    return;
                }
                look.as_mut().reset(tokio::time::Instant::from_std(now + pause));
            }
            _ = stop.changed(), if !is_ending => {
                is_ending = true;
                end(connection.as_mut());
            }
        }
    }
}
