//! Whom to dial, where and when: a state machine without any input or output.
//!
//! A target is a peer with its addresses, or an address whose peer is not known yet. A target
//! that is not connected is dialled after a delay that doubles from [`RETRY_FIRST`] to
//! [`RETRY_LAST`], with a quarter of jitter either way, so that many devices that lost the same
//! peer do not come back in step. A peer that has just gone is dialled again after the first
//! delay. QUIC addresses are tried first, alone; the next attempt takes the others.
//!
//! # Limits
//!
//! [`TARGETS_MAX`] targets, [`ADDRS_MAX`] addresses each; named targets are never pushed out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use crate::addr;

/// The delay before the first retry.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(200);
/// The longest delay between two attempts.
pub(crate) const RETRY_LAST: Duration = Duration::from_secs(60);
/// Targets that are kept.
pub(crate) const TARGETS_MAX: usize = 2048;
/// Addresses that are kept for one target.
pub(crate) const ADDRS_MAX: usize = 16;
/// Failures in a row after which a target that nobody vouches for is dropped.
const FOUND_ATTEMPTS_MAX: u32 = 6;
/// Delay before another look when a dial was refused because one is under way already.
const BUSY_DELAY: Duration = Duration::from_secs(1);

/// Why a target is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Keep {
    /// It was found, by mDNS or the DHT: given up after some failures.
    Found,
    /// It is a member, or its address worked before: kept while there is room.
    Known,
    /// The user named it: kept for good.
    Named,
}

/// What a target is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Peer(PeerId),
    Addr(Multiaddr),
}

/// A dial to make now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dial {
    pub(crate) key: Key,
    /// Empty means: wherever the DHT says.
    pub(crate) addrs: Vec<Multiaddr>,
}

#[derive(Debug)]
struct Target {
    addrs: Vec<Multiaddr>,
    keep: Keep,
    /// The peer that answered, for a target known by its address.
    answered: Option<PeerId>,
    attempts: u32,
    /// When to dial; `None` while connected or while a dial is under way.
    due: Option<Instant>,
}

/// The table of targets.
#[derive(Debug)]
pub(crate) struct Dialer {
    me: PeerId,
    targets: BTreeMap<Key, Target>,
    connected: std::collections::HashSet<PeerId>,
    random: u64,
}

impl Dialer {
    /// Makes an empty table; `seed` drives the jitter.
    pub(crate) fn new(me: PeerId, seed: u64) -> Self {
        let connected = std::collections::HashSet::new();
        Self { me, targets: BTreeMap::new(), connected, random: seed | 1 }
    }

    /// Adds an address, with or without the peer at its end, to be dialled after `delay`.
    pub(crate) fn add(&mut self, addr: Multiaddr, keep: Keep, now: Instant, delay: Duration) {
        match addr::split_peer(addr) {
            (addr, Some(peer)) => self.add_peer(peer, vec![addr], keep, now, delay),
            (addr, None) => self.insert(Key::Addr(addr.clone()), vec![addr], keep, now + delay),
        }
    }

    /// Adds addresses of a peer. Without any, the DHT is asked when it is dialled.
    pub(crate) fn add_peer(
        &mut self,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        keep: Keep,
        now: Instant,
        delay: Duration,
    ) {
        if peer != self.me {
            self.insert(Key::Peer(peer), addrs, keep, now + delay);
        }
    }

    fn insert(&mut self, key: Key, addrs: Vec<Multiaddr>, keep: Keep, due: Instant) {
        if !self.targets.contains_key(&key) && !self.make_room(keep) {
            return;
        }
        let connected = matches!(&key, Key::Peer(peer) if self.connected.contains(peer));
        let target = self.targets.entry(key).or_insert_with(|| Target {
            addrs: Vec::new(),
            keep,
            answered: None,
            attempts: 0,
            due: (!connected).then_some(due),
        });
        target.keep = target.keep.max(keep);
        let mut fresh = false;
        for addr in addrs {
            let addr = addr::split_peer(addr).0;
            if !addr.is_empty() && !target.addrs.contains(&addr) {
                // The newest address comes first, and pushes the oldest out.
                target.addrs.insert(0, addr);
                target.addrs.truncate(ADDRS_MAX);
                fresh = true;
            }
        }
        // News of a peer that is waited for is a reason to try at once.
        if fresh && let Some(waiting) = &mut target.due {
            target.attempts = 0;
            *waiting = due.min(*waiting);
        }
    }

    fn make_room(&mut self, keep: Keep) -> bool {
        if self.targets.len() < TARGETS_MAX {
            return true;
        }
        let victim = self
            .targets
            .iter()
            .filter(|(_, t)| t.keep <= keep && t.keep != Keep::Named && t.due.is_some())
            .max_by_key(|(_, t)| (std::cmp::Reverse(t.keep), t.attempts))
            .map(|(key, _)| key.clone());
        victim.is_some_and(|key| self.targets.remove(&key).is_some())
    }

    /// Forgets what mDNS no longer sees, unless it is kept for another reason.
    pub(crate) fn expired(&mut self, peer: PeerId) {
        let key = Key::Peer(peer);
        if self.targets.get(&key).is_some_and(|t| t.keep == Keep::Found && t.due.is_some()) {
            self.targets.remove(&key);
        }
    }

    /// Notes that a peer is connected, by way of a dial of this table or otherwise.
    pub(crate) fn connected(&mut self, peer: PeerId, dialled: Option<&Key>) {
        self.connected.insert(peer);
        if let Some(target) = dialled.and_then(|key| self.targets.get_mut(key)) {
            target.answered = Some(peer);
        }
        for (key, target) in &mut self.targets {
            if *key == Key::Peer(peer) || target.answered == Some(peer) {
                target.due = None;
                target.attempts = 0;
            }
        }
    }

    /// Notes that a peer's last connection is gone.
    pub(crate) fn disconnected(&mut self, peer: PeerId, now: Instant) {
        self.connected.remove(&peer);
        let keys: Vec<Key> = self
            .targets
            .iter()
            .filter(|(key, t)| **key == Key::Peer(peer) || t.answered == Some(peer))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.retry(&key, now);
        }
    }

    /// Notes that a dial failed.
    pub(crate) fn failed(&mut self, key: &Key, now: Instant) {
        let Some(target) = self.targets.get(key) else { return };
        let answered = matches!(key, Key::Peer(peer) if self.connected.contains(peer))
            || target.answered.is_some_and(|peer| self.connected.contains(&peer));
        if answered {
            return;
        }
        if target.keep == Keep::Found && target.attempts >= FOUND_ATTEMPTS_MAX {
            self.targets.remove(key);
            return;
        }
        self.retry(key, now);
    }

    /// Notes that a dial was not made, since one to this peer is under way already.
    pub(crate) fn busy(&mut self, key: &Key, now: Instant) {
        if let Some(target) = self.targets.get_mut(key)
            && !matches!(key, Key::Peer(peer) if self.connected.contains(peer))
        {
            target.due = Some(now + BUSY_DELAY);
        }
    }

    /// Forgets a target, such as one that turned out to be this device.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.targets.remove(key);
    }

    fn retry(&mut self, key: &Key, now: Instant) {
        let jitter = self.next_random();
        let Some(target) = self.targets.get_mut(key) else { return };
        // The first two attempts are one pair, QUIC and the rest.
        let doublings = target.attempts.saturating_sub(1).min(16);
        let delay = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_LAST);
        let percent = 75 + u32::try_from(jitter % 51).unwrap_or(0);
        target.due = Some(now + delay * percent / 100);
    }

    fn next_random(&mut self) -> u64 {
        // Marsaglia's xorshift64: jitter needs no better.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Returns when the next dial is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.targets.values().filter_map(|target| target.due).min()
    }

    /// Takes the dials that are due, at most `limit`.
    pub(crate) fn due(&mut self, now: Instant, limit: usize) -> Vec<Dial> {
        self.targets
            .iter_mut()
            .filter(|(_, target)| target.due.is_some_and(|due| due <= now))
            .take(limit)
            .map(|(key, target)| {
                let (quic, rest): (Vec<_>, Vec<_>) =
                    target.addrs.iter().cloned().partition(addr::is_quic);
                let turn_of_quic = target.attempts.is_multiple_of(2);
                let addrs = match (quic.is_empty(), rest.is_empty()) {
                    (false, false) if turn_of_quic => quic,
                    (false, false) => rest,
                    (true, _) => rest,
                    (false, true) => quic,
                };
                target.attempts = target.attempts.saturating_add(1);
                target.due = None;
                Dial { key: key.clone(), addrs }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        crate::addr::peer_id(&dunlin_identity::DeviceKey::from_seed([n; 32]).device()).unwrap()
    }

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    const QUIC: &str = "/ip4/10.0.0.1/udp/1/quic-v1";
    const TCP: &str = "/ip4/10.0.0.1/tcp/1";

    fn dialer() -> (Dialer, Instant) {
        (Dialer::new(peer(1), 42), Instant::now())
    }

    #[test]
    fn quic_is_tried_before_tcp() {
        let (mut dialer, now) = dialer();
        dialer.add_peer(peer(2), vec![at(TCP), at(QUIC)], Keep::Known, now, Duration::ZERO);
        let key = Key::Peer(peer(2));
        assert_eq!(dialer.due(now, 9), [Dial { key: key.clone(), addrs: vec![at(QUIC)] }]);
        assert!(dialer.due(now, 9).is_empty(), "one dial at a time");
        dialer.failed(&key, now);
        let later = dialer.next_due().unwrap();
        assert!(later > now && later <= now + RETRY_FIRST * 2);
        assert_eq!(dialer.due(later, 9), [Dial { key, addrs: vec![at(TCP)] }]);
    }

    #[test]
    fn delays_grow_to_the_last_and_start_anew_after_a_connection() {
        let (mut dialer, mut now) = dialer();
        dialer.add(at(TCP), Keep::Named, now, Duration::ZERO);
        let key = Key::Addr(at(TCP));
        let mut longest = Duration::ZERO;
        for _ in 0..40 {
            assert_eq!(dialer.due(now, 9).len(), 1);
            dialer.failed(&key, now);
            let next = dialer.next_due().unwrap();
            assert!(next - now >= RETRY_FIRST * 3 / 4 && next - now <= RETRY_LAST * 5 / 4);
            longest = longest.max(next - now);
            now = next;
        }
        assert!(longest >= RETRY_LAST * 3 / 4);
        dialer.due(now, 9);
        dialer.connected(peer(2), Some(&key));
        assert_eq!(dialer.next_due(), None);
        dialer.disconnected(peer(2), now);
        assert!(dialer.next_due().unwrap() <= now + RETRY_FIRST * 5 / 4);
    }

    #[test]
    fn a_connected_peer_is_not_dialled() {
        let (mut dialer, now) = dialer();
        dialer.connected(peer(2), None);
        dialer.add_peer(peer(2), vec![at(QUIC)], Keep::Known, now, Duration::ZERO);
        assert_eq!(dialer.next_due(), None);
        dialer.disconnected(peer(2), now);
        assert!(dialer.next_due().is_some());
    }

    #[test]
    fn this_device_is_never_a_target() {
        let (mut dialer, now) = dialer();
        dialer.add_peer(peer(1), vec![at(QUIC)], Keep::Named, now, Duration::ZERO);
        assert_eq!(dialer.next_due(), None);
    }

    #[test]
    fn what_was_only_found_is_given_up_and_what_was_named_is_not() {
        let (mut dialer, mut now) = dialer();
        dialer.add_peer(peer(2), vec![at(QUIC)], Keep::Found, now, Duration::ZERO);
        dialer.add_peer(peer(3), vec![at(QUIC)], Keep::Named, now, Duration::ZERO);
        for _ in 0..20 {
            for dial in dialer.due(now, 9) {
                dialer.failed(&dial.key, now);
            }
            now = dialer.next_due().unwrap();
        }
        assert_eq!(dialer.targets.keys().collect::<Vec<_>>(), [&Key::Peer(peer(3))]);
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut dialer, now) = dialer();
        dialer.add(at(TCP), Keep::Named, now, Duration::ZERO);
        for port in 0..3000 {
            let addr = at(&format!("/ip4/10.0.0.2/tcp/{port}"));
            dialer.add(addr, Keep::Found, now, Duration::ZERO);
        }
        assert_eq!(dialer.targets.len(), TARGETS_MAX);
        assert!(dialer.targets.contains_key(&Key::Addr(at(TCP))));
        for port in 0..100 {
            let addr = at(&format!("/ip4/10.0.0.3/tcp/{port}"));
            dialer.add_peer(peer(9), vec![addr], Keep::Known, now, Duration::ZERO);
        }
        assert_eq!(dialer.targets[&Key::Peer(peer(9))].addrs.len(), ADDRS_MAX);
    }
}
