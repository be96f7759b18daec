//! Which Host headers are ours.

use std::net::{IpAddr, Ipv6Addr};

/// Is this the name of loopback, the address that the connection came in on, or a configured name? Ports do not count.
pub fn is_ours(host: &str, local: Option<IpAddr>, names: &[String]) -> bool {
    let host = name(host);
    if let Some(ip) = address(host) {
        return ip.is_loopback() || local.is_some_and(|local| local.to_canonical() == ip);
    }
    host.eq_ignore_ascii_case("localhost") || names.iter().any(|ours| name(ours).eq_ignore_ascii_case(host))
}

/// Without the port and a final dot.
fn name(host: &str) -> &str {
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']').map_or(host.len(), |at| at + 2),
        None => host.find(':').unwrap_or(host.len()),
    };
    let name = &host[..end];
    name.strip_suffix('.').unwrap_or(name)
}

fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical()),
        None => host.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_our_own_address_and_configured_names_are_ours() {
        let local = Some("10.0.0.5".parse().unwrap());
        let names = ["deploy.example.org".to_owned(), "box:9318".to_owned()];
        for ours in [
            "localhost",
            "LOCALHOST:9318",
            "localhost.:1",
            "127.0.0.1",
            "127.1.2.3:9318",
            "[::1]",
            "[::1]:9318",
            "[::ffff:127.0.0.1]:1",
            "10.0.0.5:9318",
            "Deploy.Example.org:80",
            "box",
        ] {
            assert!(is_ours(ours, local, &names), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9318",
            "10.0.0.6",
            "[::2]",
            "[::1",
            "evil.example:127.0.0.1",
            "localhost@evil.example",
            "0.0.0.0",
            "2130706433",
            "deploy.example.org.evil.example",
        ] {
            assert!(!is_ours(foreign, local, &names), "{foreign}");
        }
    }
}
