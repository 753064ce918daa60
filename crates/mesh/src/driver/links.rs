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
            self.settle(id, device, now);
        }
        // The lower id opens the member stream, so that there is but one.
        if self.shared.me < device && self.peers[&id].opener.is_none() {
            self.open_links(id, device);
        }
    }

    /// Leaves one connection of several to a peer.
    ///
    /// A connection that is some seconds older than its successor is dead, since nobody dials a
    /// peer that is connected: both sides close it. Of two that crossed each other the lower
    /// device closes the later one.
    fn settle(&mut self, id: PeerId, device: DeviceId, now: Instant) {
        let Some(peer) = self.peers.get(&id) else { return };
        let Some((new, old)) = peer.connections.split_last() else { return };
        let relayed = addr::is_relayed(&new.addr);
        let mut close = Vec::new();
        for other in old {
            let stale = now.duration_since(other.since) >= STALE_AGE;
            let worse = addr::is_relayed(&other.addr);
            if !relayed && (stale || worse) {
                close.push(other.id);
            } else if self.shared.me < device && (crossed(other, new) || new.dialled) {
                close.push(new.id);
            }
        }
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
