//! The threads that wait for the network, shared by all stores of the process.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// Connections are driven by as many threads. The bytes are worked on elsewhere, by those who asked.
const THREADS: usize = 2;

/// Runs something asynchronous and waits for it. Not to be called from asynchronous code.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// The runtime, which is started when it is first needed.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        let built = builder.worker_threads(THREADS).thread_name("cairn-net").enable_all().build();
        // Without threads nothing can be done at all.
        built.expect("the system starts threads")
    })
}
