//! Addresses to listen on, as Go's programs take them.
//!
//! ```text
//! :8080             every address of this machine         [::1]:8080   one of them
//! 127.0.0.1:https   a port by its name                    :            any free port
//! ```

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// Ports whose names need no list of the system.
const WELL_KNOWN: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// The list of the system.
const SERVICES: &str = "/etc/services";

/// The addresses that the text may mean, best first: the first on which one can listen is it.
pub(super) fn resolve(text: &str) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = text.rsplit_once(':').ok_or("missing port, as in `:8080`")?;
    let port = port_of(port).ok_or_else(|| format!("unknown port `{port}`"))?;
    if host.is_empty() {
        // The first serves IPv4 as well; the second is for machines without IPv6.
        let all: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        return Ok(all.map(|address| (address, port).into()).to_vec());
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Err("an IPv6 address must stand in brackets, as in `[::1]:8080`".to_owned());
    }
    let found = (bare.unwrap_or(host), port).to_socket_addrs().map_err(|e| e.to_string())?;
    let mut found: Vec<SocketAddr> = found.collect();
    // As Go does it: of a name with both kinds the IPv4 address is taken.
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found)
}

/// A port by its number or its name; nothing is any free port.
fn port_of(text: &str) -> Option<u16> {
    if text.is_empty() {
        return Some(0);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let known = WELL_KNOWN.iter().find(|(name, _)| *name == text).map(|&(_, port)| port);
    known.or_else(|| listed(&fs::read_to_string(SERVICES).ok()?, text))
}

/// The TCP port of a name or alias in a list such as `/etc/services`.
fn listed(services: &str, wanted: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (name, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        (name == wanted || words.any(|alias| alias == wanted)).then(|| port.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for (text, first) in [
            (":8080", "[::]:8080"),
            (":http", "[::]:80"),
            (":", "[::]:0"),
            ("127.0.0.1:https", "127.0.0.1:443"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:81", "127.0.0.1:81"),
        ] {
            assert_eq!(resolve(text).unwrap()[0], first.parse().unwrap(), "{text}");
        }
        for bad in ["", "8080", "localhost", ":nosuchport", ":65536", ":-1", "::1:80"] {
            assert!(resolve(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_are_found_by_name_and_alias() {
        let services = "# list\nssh 22/tcp\ndomain 53/udp\ndomain 53/tcp # names\nwww 80/tcp web\n";
        for (name, port) in
            [("ssh", Some(22)), ("domain", Some(53)), ("web", Some(80)), ("x", None)]
        {
            assert_eq!(listed(services, name), port, "{name}");
        }
    }
}
