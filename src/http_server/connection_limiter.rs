//! Counts the connections of one listener and decides which one is closed when there are too many.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::ConnectionLimits;

/// How often a flood is logged.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The connections of one listener.
#[derive(Debug)]
pub struct ConnectionLimiter {
    name: &'static str,
    limits: ConnectionLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Untrusted connections by peer and by number, oldest first.
    untrusted: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
    untrusted_count: usize,
    trusted_count: usize,
    next_number: u64,
    last_logged: Option<Instant>,
}

/// One connection among those of its listener; no longer counted when it is dropped.
#[derive(Debug)]
pub struct TrackedConnection {
    limiter: Arc<ConnectionLimiter>,
    peer: IpAddr,
    number: u64,
    closed: CancellationToken,
    is_trusted: Mutex<bool>,
}

impl ConnectionLimiter {
    /// A limiter without connections. `name` is the listener's, for logs.
    pub fn new(name: &'static str, limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            name,
            limits,
            state: Mutex::default(),
        })
    }

    /// Counts a connection that was accepted. If it is one too many, another one is closed, and the result says so.
    pub(crate) fn track(self: &Arc<Self>, peer: IpAddr) -> (TrackedConnection, bool) {
        let peer = peer_network(peer);
        let closed = CancellationToken::new();
        let mut state = self.state.lock();
        let closes_for_it = state.peer_to_close(peer, self.limits);
        if let Some(crowded) = closes_for_it {
            state.close_oldest(crowded);
            self.log_flood(&mut state, crowded);
        }
        let number = state.next_number;
        state.next_number += 1;
        state.untrusted_count += 1;
        let connections = state.untrusted.entry(peer).or_default();
        connections.insert(number, closed.clone());
        let connection = TrackedConnection {
            limiter: self.clone(),
            peer,
            number,
            closed,
            is_trusted: Mutex::new(false),
        };
        (connection, closes_for_it.is_some())
    }

    fn log_flood(&self, state: &mut State, peer: IpAddr) {
        if state
            .last_logged
            .is_some_and(|at| at.elapsed() < LOG_INTERVAL)
        {
            return;
        }
        state.last_logged = Some(Instant::now());
        tracing::warn!(
            listener = self.name,
            %peer,
            connections = state.untrusted_count,
            "too many connections without a valid request; old ones are closed"
        );
    }
}

impl State {
    /// The peer whose oldest connection is closed for a further one of `peer`; `None` if there is room.
    fn peer_to_close(&self, peer: IpAddr, limits: ConnectionLimits) -> Option<IpAddr> {
        let own = self.untrusted.get(&peer).map_or(0, BTreeMap::len);
        if own >= limits.untrusted_per_peer {
            return Some(peer);
        }
        if self.untrusted_count < limits.untrusted {
            return None;
        }
        // A flood from many peers has few connections of each: the peer with most may then be a right one.
        let crowded = |connections: &BTreeMap<_, _>| match connections.len() {
            count if count > limits.crowd => count,
            _ => 0,
        };
        self.untrusted
            .iter()
            .max_by_key(|(_, connections)| {
                let oldest = connections.keys().next().copied();
                (crowded(connections), Reverse(oldest))
            })
            .map(|(peer, _)| *peer)
    }

    fn close_oldest(&mut self, peer: IpAddr) {
        let oldest = self.untrusted.get(&peer).and_then(|c| c.keys().next());
        if let Some(number) = oldest.copied()
            && let Some(closed) = self.remove_untrusted(peer, number)
        {
            closed.cancel();
        }
    }

    fn remove_untrusted(&mut self, peer: IpAddr, number: u64) -> Option<CancellationToken> {
        let connections = self.untrusted.get_mut(&peer)?;
        let removed = connections.remove(&number)?;
        if connections.is_empty() {
            self.untrusted.remove(&peer);
        }
        self.untrusted_count -= 1;
        Some(removed)
    }
}

impl TrackedConnection {
    /// Its client has shown that it is a right one: the connection is not closed for another one any more.
    pub fn trust(&self) {
        let mut is_trusted = self.is_trusted.lock();
        if *is_trusted {
            return;
        }
        let mut state = self.limiter.state.lock();
        if state.trusted_count < self.limiter.limits.trusted
            && state.remove_untrusted(self.peer, self.number).is_some()
        {
            state.trusted_count += 1;
            *is_trusted = true;
        }
    }

    /// Cancelled when the connection is to be closed for another one.
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }
}

impl Drop for TrackedConnection {
    fn drop(&mut self) {
        let mut state = self.limiter.state.lock();
        if *self.is_trusted.get_mut() {
            state.trusted_count -= 1;
        } else {
            // None: it was closed for another one.
            let _ = state.remove_untrusted(self.peer, self.number);
        }
    }
}

/// What counts as one peer: an IPv4 address, or a /64 of IPv6, which one host can use up.
fn peer_network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        untrusted: 6,
        untrusted_per_peer: 4,
        crowd: 2,
        trusted: 2,
    };

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn limiter() -> Arc<ConnectionLimiter> {
        ConnectionLimiter::new("test", LIMITS)
    }

    fn track(limiter: &Arc<ConnectionLimiter>, peer: IpAddr) -> TrackedConnection {
        limiter.track(peer).0
    }

    fn closed(connections: &[TrackedConnection]) -> Vec<bool> {
        let is_closed = |c: &TrackedConnection| c.closed.is_cancelled();
        connections.iter().map(is_closed).collect()
    }

    #[test]
    fn peer_beyond_its_share_loses_its_own_oldest() {
        let limiter = limiter();
        let other = track(&limiter, peer(2));
        let connections: Vec<_> = (0..6).map(|_| track(&limiter, peer(1))).collect();
        assert_eq!(
            closed(&connections),
            [true, true, false, false, false, false]
        );
        assert!(!other.closed.is_cancelled());
    }

    #[test]
    fn full_listener_closes_the_oldest_of_the_most_crowded_peer() {
        let limiter = limiter();
        let telegram = track(&limiter, peer(9));
        let connections: Vec<_> = (0..3).map(|_| track(&limiter, peer(1))).collect();
        let second: Vec<_> = (0..2).map(|_| track(&limiter, peer(2))).collect();
        let newest = track(&limiter, peer(3));
        assert_eq!(closed(&connections), [true, false, false]);
        assert_eq!(closed(&second), [false, false]);
        assert!(!telegram.closed.is_cancelled() && !newest.closed.is_cancelled());
    }

    #[test]
    fn full_listener_without_a_crowded_peer_closes_the_oldest() {
        let limiter = limiter();
        let connections: Vec<_> = (1..=4).map(|n| track(&limiter, peer(n))).collect();
        // More than any other peer, but none of them has waited for long.
        let right: Vec<_> = (0..2).map(|_| track(&limiter, peer(9))).collect();
        let newest = track(&limiter, peer(5));
        assert_eq!(closed(&connections), [true, false, false, false]);
        assert_eq!(closed(&right), [false, false]);
        assert!(!newest.closed.is_cancelled());
    }

    #[test]
    fn trusted_connection_is_never_closed() {
        let limiter = limiter();
        let trusted = track(&limiter, peer(1));
        trusted.trust();
        trusted.trust();
        let connections: Vec<_> = (0..100).map(|_| track(&limiter, peer(1))).collect();
        assert!(!trusted.closed.is_cancelled());
        let open = closed(&connections)
            .iter()
            .filter(|closed| !**closed)
            .count();
        assert_eq!(open, LIMITS.untrusted_per_peer);
    }

    #[test]
    fn connections_beyond_the_trusted_ones_stay_untrusted() {
        let limiter = limiter();
        let all: Vec<_> = (0..3).map(|n| track(&limiter, peer(n))).collect();
        all.iter().for_each(TrackedConnection::trust);
        assert_eq!(limiter.state.lock().trusted_count, LIMITS.trusted);
        assert_eq!(limiter.state.lock().untrusted_count, 1);
    }

    #[test]
    fn ended_connections_leave_no_trace() {
        let limiter = limiter();
        let connections: Vec<_> = (0..9).map(|n| track(&limiter, peer(n % 3))).collect();
        connections[8].trust();
        drop(connections);
        let state = limiter.state.lock();
        assert_eq!((state.untrusted_count, state.trusted_count), (0, 0));
        assert!(state.untrusted.is_empty());
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one_peer() {
        let network = |text: &str| peer_network(text.parse().expect("an address"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:0:0:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), peer(1));
    }
}
