//! What a service manager is told: that we are ready, that we read our configuration anew, that we end.
//!
//! As `sd_notify` has it: a datagram to the socket that `NOTIFY_SOCKET` names, if it does.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

const VARIABLE: &str = "NOTIFY_SOCKET";

/// Everything works now.
pub(in crate::cli) fn ready() {
    tell("READY=1");
}

/// The configuration is being read anew; [`ready`] says that this is done.
pub(super) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
}

/// We are about to end.
pub(super) fn stopping() {
    tell("STOPPING=1");
}

/// Tells it if anybody wants to know. Who does not listen misses it.
fn tell(text: &str) {
    let Some(name) = env::var_os(VARIABLE) else { return };
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
    };
    let socket = UnixDatagram::unbound();
    if let (Ok(address), Ok(socket)) = (address, socket) {
        let _ = socket.send_to_addr(text.as_bytes(), &address);
    }
}
