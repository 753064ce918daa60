//! Connections and the member streams on them.

use libp2p::Stream;
use tokio::time::sleep;

use super::*;
use crate::behaviour::MEMBER_PROTOCOL;

/// Delays between attempts to open a member stream on a living connection.
const REOPEN_FIRST: Duration = Duration::from_millis(100);
const REOPEN_LAST: Duration = Duration::from_secs(30);
/// How long opening a stream may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream that lasted this long was a good one.
const LASTED: Duration = Duration::from_secs(10);

impl Driver {
    pub(super) fn on_connected(
        &mut self,
        id: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let now = Instant::now();
        let key = self.dials.remove(&connection);
        self.dialer.connected(id, key.as_ref());
        let new = Connection {
            id: connection,
            since: now,
            dialled: endpoint.is_dialer(),
            addr: endpoint_addr(endpoint),
        };
        tracing::debug!(peer = %id, addr = %new.addr, dialled = new.dialled, "connected");
        let on_lan = self.on_lan.contains(&id);
        let peer = self.peers.entry(id).or_default();
        peer.connections.push(new.clone());
        let first = peer.connections.len() == 1;
        let Some(device) = addr::device(&id) else { return };
        if first {
            self.shared.set_remote(device, Some((new.addr, on_lan)));
        } else {
            self.settle(id, device);
        }
        // The lower id opens the member stream, so that there is but one.
        if self.shared.me < device && self.peers[&id].opener.is_none() {
            self.open_links(id, device);
        }
    }

    /// Leaves one connection of several to a peer; see [`superfluous`].
    fn settle(&mut self, id: PeerId, device: DeviceId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let Some((new, old)) = peer.connections.split_last() else { return };
        let lower = self.shared.me < device;
        let close: Vec<_> =
            old.iter().filter_map(|old| superfluous(old, new, lower)).map(|c| c.id).collect();
        for connection in close {
            self.swarm.close_connection(connection);
        }
    }

    pub(super) fn on_closed(&mut self, id: PeerId, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.connections.retain(|known| known.id != connection);
        let device = addr::device(&id);
        if let (Some(device), Some(left)) = (device, peer.connections.first()) {
            let on_lan = self.on_lan.contains(&id);
            self.shared.set_remote(device, Some((left.addr.clone(), on_lan)));
            return;
        }
        if let Some(peer) = self.peers.remove(&id) {
            if let Some(opener) = peer.opener {
                opener.cancel();
            }
            if let Some((cancel, _)) = peer.session {
                cancel.cancel();
            }
        }
        self.topics_of.remove(&id);
        if let Some(device) = device {
            self.shared.set_remote(device, None);
            self.shared.unreached(&device);
        }
        self.dialer.disconnected(id, Instant::now());
    }

    /// Starts the task that keeps a member stream to a connected peer.
    fn open_links(&mut self, id: PeerId, device: DeviceId) {
        let cancel = self.shared.stop.child_token();
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.opener = Some(cancel.clone());
        }
        let (shared, mut control) = (Arc::clone(&self.shared), self.control.clone());
        // Each stream of the task gets an id of its own from this range.
        let mut session_id = self.session(device, Role::Initiator, cancel.clone()).id << 32;
        self.tasks.spawn(async move {
            let mut delay = REOPEN_FIRST;
            while !cancel.is_cancelled() {
                let open = control.open_stream(id, MEMBER_PROTOCOL);
                let opened = tokio::select! {
                    opened = tokio::time::timeout(OPEN_TIMEOUT, open) => opened,
                    () = cancel.cancelled() => return,
                };
                match opened {
                    Ok(Ok(stream)) => {
                        let since = Instant::now();
                        session_id += 1;
                        let role = Role::Initiator;
                        session(&shared, device, role, cancel.clone(), session_id)
                            .run(stream)
                            .await;
                        if since.elapsed() >= LASTED {
                            delay = REOPEN_FIRST;
                        }
                    }
                    Ok(Err(libp2p_stream::OpenStreamError::UnsupportedProtocol(_))) => return,
                    Ok(Err(reason)) => tracing::debug!(peer = %id, %reason, "no member stream"),
                    Err(_) => tracing::debug!(peer = %id, "no member stream in time"),
                }
                tokio::select! {
                    () = sleep(delay) => delay = (delay * 2).min(REOPEN_LAST),
                    () = cancel.cancelled() => return,
                }
            }
        });
    }

    /// Takes a member stream that a peer opened, in place of the one before.
    pub(super) fn on_inbound(&mut self, id: PeerId, stream: Stream) {
        let Some(device) = addr::device(&id) else { return };
        if self.shared.me < device || !self.peers.contains_key(&id) {
            // Opening is our part, or the peer has gone already.
            return;
        }
        let cancel = self.shared.stop.child_token();
        let session = self.session(device, Role::Responder, cancel.clone());
        let (done, ended) = oneshot::channel();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let before = peer.session.replace((cancel, ended));
        self.tasks.spawn(async move {
            // The old stream tells that its folders are down before this one tells they are up.
            if let Some((cancel, ended)) = before {
                cancel.cancel();
                let _ = ended.await;
            }
            session.run(stream).await;
            // Nobody waits for the end of the last stream.
            let _ = done.send(());
        });
    }

    /// Tells the owner where a member can be dialled again.
    pub(super) fn learn(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id).filter(|peer| peer.member > 0) else { return };
        let Some(device) = addr::device(&id) else { return };
        let dialled = peer.connections.iter().filter(|c| c.dialled).map(|c| c.addr.clone());
        let seen: Vec<_> = peer.connections.iter().filter_map(|c| addr::ip(&c.addr)).collect();
        // What the peer claims counts where it is seen at that very IP.
        let claimed =
            peer.claims.iter().filter(|a| addr::ip(a).is_some_and(|ip| seen.contains(&ip)));
        let addrs: Vec<Multiaddr> = dialled.chain(claimed.cloned()).collect();
        if self.learned.len() >= LEARNED_MAX && !self.learned.contains_key(&id) {
            return;
        }
        let now = Instant::now();
        for addr in addrs {
            let known = self.learned.entry(id).or_default();
            if known.len() >= 64 || !known.insert(addr.clone()) {
                continue;
            }
            self.dialer.add_peer(id, vec![addr.clone()], Keep::Known, now, Duration::ZERO);
            let addr = addr.with_p2p(id).unwrap_or_else(|addr| addr).to_string();
            self.tell(MeshEvent::AddressLearned { peer: device, addr });
        }
    }
}

/// Tells which of two connections to a peer this side has to close, if any.
///
/// Nobody dials a peer that is connected, so that a second connection means one of these:
/// - The peer has dialled before and dials again: it has been started anew, and the old
///   connection is dead. Two dials within a moment went to two addresses of one device; then the
///   dialler closes the later connection.
/// - Both dialled at once: the device with the lower id closes the later connection. If the
///   first one is some seconds old, however, it is dead, and both sides close it.
fn superfluous<'a>(
    old: &'a Connection,
    new: &'a Connection,
    lower: bool,
) -> Option<&'a Connection> {
    let apart = new.since.duration_since(old.since);
    match (addr::is_relayed(&old.addr), addr::is_relayed(&new.addr)) {
        (true, false) => return Some(old),
        (false, true) => return None,
        _ => {}
    }
    match (old.dialled, new.dialled) {
        (true, true) => (apart < MOMENT).then_some(new),
        (false, false) => (apart >= MOMENT).then_some(old),
        _ if apart >= STALE_AGE => Some(old),
        _ => lower.then_some(new),
    }
}

/// Makes a member stream's session with fresh randomness.
pub(super) fn session(
    shared: &Arc<Shared>,
    peer: DeviceId,
    role: Role,
    cancel: CancellationToken,
    id: u64,
) -> Session {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the system's randomness is available once it has started");
    Session { shared: Arc::clone(shared), peer, role, id, seed, cancel }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(id: usize, millis: u64, dialled: bool, start: Instant) -> Connection {
        Connection {
            id: ConnectionId::new_unchecked(id),
            since: start + Duration::from_millis(millis),
            dialled,
            addr: "/ip4/10.0.0.1/udp/1/quic-v1".parse().unwrap(),
        }
    }

    /// However two connections came to be, the two sides never close both of them.
    #[test]
    fn two_sides_never_close_both_connections() {
        let start = Instant::now();
        for apart in [0, 100, 400, 2_900, 3_100, 60_000] {
            for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
                for lower in [true, false] {
                    let close = |flip: bool| {
                        let old = connection(1, 0, first != flip, start);
                        let new = connection(2, apart, second != flip, start);
                        superfluous(&old, &new, lower != flip).map(|c| c.id)
                    };
                    let (here, there) = (close(false), close(true));
                    assert!(here.is_some() || there.is_some(), "both stay, {apart} ms apart");
                    assert!(here.is_none() || there.is_none() || here == there);
                }
            }
        }
    }

    #[test]
    fn a_direct_connection_takes_the_place_of_a_relayed_one() {
        let start = Instant::now();
        let mut old = connection(1, 0, true, start);
        let new = connection(2, 50, true, start);
        old.addr.push(libp2p::multiaddr::Protocol::P2pCircuit);
        assert_eq!(superfluous(&old, &new, false).map(|c| c.id), Some(old.id));
        assert!(superfluous(&new, &old, true).is_none());
    }
}
