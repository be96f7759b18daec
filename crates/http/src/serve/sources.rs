//! How many connections one source has: a host that opens all that it can must not keep the others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Peer;
use crate::rate::network;

/// How many connections one source may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLimit {
    /// At once.
    pub most: usize,
    /// Also where it is this host itself. Else loopback is not counted, for a proxy may sit there, and behind it
    /// everybody.
    pub loopback_too: bool,
}

impl Default for SourceLimit {
    fn default() -> Self {
        Self { most: 16, loopback_too: false }
    }
}

/// The connections of each source. As many entries as there are connections at most.
#[derive(Debug)]
pub struct Sources {
    limit: Option<SourceLimit>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct Entry(Option<(IpAddr, Arc<Sources>)>);

impl Sources {
    /// No limit where there is none.
    pub fn new(limit: Option<SourceLimit>) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default() })
    }

    /// Counts a connection; none where its source has as many as it may.
    pub fn enter(self: &Arc<Self>, peer: &Peer) -> Option<Entry> {
        let (Some(limit), Peer::Tcp { remote, .. }) = (self.limit, peer) else { return Some(Entry(None)) };
        let address = remote.ip().to_canonical();
        if address.is_loopback() && !limit.loopback_too {
            return Some(Entry(None));
        }
        let source = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let here = open.get(&source).copied().unwrap_or(0);
        (here < limit.most).then(|| {
            open.insert(source, here + 1);
            Entry(Some((source, Arc::clone(self))))
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some((source, sources)) = &self.0 else { return };
        let mut open = sources.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = open.get_mut(source) {
            *here -= 1;
            if *here == 0 {
                open.remove(source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(remote: &str) -> Peer {
        Peer::Tcp { remote: format!("{remote}:1").parse().unwrap(), local: "192.0.2.9:2".parse().unwrap() }
    }

    #[test]
    fn each_source_has_its_share_and_gets_it_back() {
        let sources = Sources::new(Some(SourceLimit { most: 2, loopback_too: false }));
        let first = sources.enter(&peer("192.0.2.1")).unwrap();
        let _second = sources.enter(&peer("[::ffff:192.0.2.1]")).unwrap();
        assert!(sources.enter(&peer("192.0.2.1")).is_none());
        let _other = sources.enter(&peer("192.0.2.2")).unwrap();
        drop(first);
        let _third = sources.enter(&peer("192.0.2.1")).unwrap();
        let six = [(); 2].map(|()| sources.enter(&peer("[2001:db8::1]")).unwrap());
        assert!(sources.enter(&peer("[2001:db8::2]")).is_none(), "a /64 is one source");
        drop(six);
        assert_eq!(sources.open.lock().unwrap().len(), 2, "who is gone is forgotten");
    }

    #[test]
    fn a_proxy_on_this_host_and_the_control_socket_are_not_counted() {
        let sources = Sources::new(Some(SourceLimit::default()));
        let local = ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"].map(peer);
        for peer in local.iter().chain(&[Peer::Unix { uid: 1, pid: None }]) {
            let many: Vec<_> = (0..100).map(|_| sources.enter(peer)).collect();
            assert!(many.iter().all(Option::is_some), "{peer:?}");
        }
        assert!(sources.open.lock().unwrap().is_empty());
    }
}
