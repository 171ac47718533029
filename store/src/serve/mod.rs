//! Servers of chunks and of indexes, over HTTP as desync speaks it.
//!
//! ```text
//! address     `:8080`, `127.0.0.1:https` -> where to listen
//! server      listeners -> connections, shared out among worker threads; an orderly end
//! tls         certificates; who may connect
//! connection  one connection, from its handshake to its end
//! watch       whether a peer makes progress; who does not is cut off
//! site        one request: redirect, authorization, path, then one of
//!   chunks      GET, HEAD, PUT of chunks        backend   the stores behind them
//!   indexes     GET, HEAD, PUT of indexes
//!   pages       status page, its live numbers, health, metrics
//! request     paths, ranges, conditions           reply      statuses, headers, bodies
//! upload      what a client sends, within limits  memory     how much of it at once
//! metrics     numbers, a set per worker           access_log a line a request
//! ```
//! Everything here is asynchronous but the stores: one on this machine is read where the request is
//! answered, as its bytes are usually in memory; all others are asked on threads that may block.
//!
//! What a client is told of a failure is its status; the cause goes to [`ServerOptions::report`].

mod access_log;
mod address;
mod backend;
mod chunks;
mod connection;
mod indexes;
mod memory;
mod metrics;
mod pages;
mod reply;
mod request;
mod server;
mod site;
mod tls;
mod upload;
mod watch;

pub use access_log::{AccessLog, LogStyle};
pub use backend::{Backend, Reader, StoreNames};
pub use chunks::{ChunkService, WireOptions};
pub use indexes::{IndexService, IndexStore};
pub use server::{Limits, Report, Server, ServerOptions, Stopper};
pub use tls::TlsOptions;
