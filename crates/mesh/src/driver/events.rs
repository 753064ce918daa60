//! What the swarm reports, and what follows from it.

use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{identify, kad, mdns, ping};

use super::*;
use crate::behaviour::KAD_PROTOCOL;
use crate::dialer::ADDRS_MAX;
use crate::gate::GateEvent;
use crate::shared::Received;

impl Driver {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.on_closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_failed(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.on_listening(listener_id, Some(address));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listen.retain(|known| *known != address);
                self.tell_listening();
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.listen.retain(|known| !addresses.contains(known));
                if let Err(reason) = reason {
                    self.on_listener_failed(listener_id, &reason.to_string());
                }
                self.on_listening(listener_id, None);
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener reports an error");
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(GateEvent::Opened(peer)) => {
                if let Some(device) = addr::device(&peer) {
                    self.shared.send_ready(&device);
                }
            }
            BehaviourEvent::Gossip(GateEvent::Gossip(event)) => self.on_gossip(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, info);
            }
            BehaviourEvent::Kad(kad::Event::RoutingUpdated { is_new_peer: true, .. }) => {
                self.discovery.news(Instant::now());
            }
            BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                id, result, step, ..
            }) => {
                for peer in self.discovery.on_result(id, result, step.last) {
                    if !self.swarm.is_connected(&peer) {
                        let (now, delay) = (Instant::now(), Duration::ZERO);
                        self.dialer.add_peer(peer, Vec::new(), Keep::Found, now, delay);
                    }
                }
                // While the query lasts its addresses are known, so that it must not wait.
                self.on_timer();
            }
            // A dead TCP connection is not noticed otherwise before the system gives it up.
            BehaviourEvent::Ping(ping::Event {
                connection,
                result: Err(ping::Failure::Timeout),
                ..
            }) => {
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, addr) in found {
                    self.on_lan.insert(peer);
                    let delay = self.courtesy(&peer);
                    self.dialer.add_peer(peer, vec![addr], Keep::Found, Instant::now(), delay);
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Expired(gone)) => {
                for (peer, _) in gone {
                    self.on_lan.remove(&peer);
                    self.dialer.expired(peer);
                }
            }
            _ => {}
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let folder = self.subscribed.get(&message.topic).copied();
                let received = match &folder {
                    Some(folder) => self.shared.receive(folder, &message.data),
                    None => Received::Unknown,
                };
                let acceptance = match &received {
                    Received::New(_) | Received::Old => gossipsub::MessageAcceptance::Accept,
                    Received::Forged => gossipsub::MessageAcceptance::Reject,
                    Received::Unknown => gossipsub::MessageAcceptance::Ignore,
                };
                let gossip = self.swarm.behaviour_mut().gossip.gossip();
                gossip.report_message_validation_result(
                    &message_id,
                    &propagation_source,
                    acceptance,
                );
                if let (Some(folder), Received::New(opened)) = (folder, received) {
                    let from = opened.author;
                    let source = addr::device(&propagation_source).unwrap_or(from);
                    let except = [from, source];
                    let spread = Spread::Unreached;
                    self.shared.hand_on(&folder, &message.data, &[], &except, spread);
                    self.tell(MeshEvent::Gossip { folder, from, message: opened.body });
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                self.set_topic(peer_id, topic, true);
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                self.set_topic(peer_id, topic, false);
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                // Broadcasts got lost on the way to this peer: it gets them directly from now on.
                tracing::debug!(peer = %peer_id, "too slow for gossip");
                self.topics_of.remove(&peer_id);
                if let Some(device) = addr::device(&peer_id) {
                    self.shared.unreached(&device);
                }
            }
            gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    fn set_topic(&mut self, peer: PeerId, topic: gossipsub::TopicHash, on: bool) {
        let Some(device) = addr::device(&peer) else { return };
        if let Some(folder) = self.subscribed.get(&topic) {
            self.shared.set_reached(device, *folder, on);
        }
        let topics = self.topics_of.entry(peer).or_default();
        if !on {
            topics.remove(&topic);
        } else if topics.len() < crate::limits::FOLDERS_MAX {
            topics.insert(topic);
        }
    }

    fn on_identified(&mut self, id: PeerId, info: identify::Info) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let seen = peer.connections.first().and_then(|connection| addr::ip(&connection.addr));
        let speaks_kad = info.protocols.contains(&KAD_PROTOCOL);
        let mut claims: Vec<Multiaddr> = info
            .listen_addrs
            .into_iter()
            .map(|addr| addr::split_peer(addr).0)
            .filter(|addr| addr::is_plausible(addr, seen))
            .collect();
        claims.truncate(ADDRS_MAX);
        peer.claims.clone_from(&claims);
        let member = peer.member > 0;
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut()
            && speaks_kad
        {
            for addr in &claims {
                kad.add_address(&id, addr.clone());
            }
        }
        if member {
            let delay = self.courtesy(&id);
            self.dialer.add_peer(id, claims, Keep::Known, Instant::now(), delay);
            self.learn(id);
        }
    }

    fn on_dial_failed(&mut self, connection: ConnectionId, error: &DialError) {
        let Some(key) = self.dials.remove(&connection) else { return };
        tracing::debug!(?key, %error, "dial failed");
        match error {
            DialError::LocalPeerId { .. } => self.dialer.forget(&key),
            DialError::DialPeerConditionFalse(_) => self.dialer.busy(&key, Instant::now()),
            _ => self.dialer.failed(&key, Instant::now()),
        }
    }

    fn on_listening(&mut self, listener: ListenerId, address: Option<Multiaddr>) {
        if let Some(address) = address {
            // A link-local IPv6 address says nothing without the interface's name.
            let linked = matches!(addr::ip(&address), Some(std::net::IpAddr::V6(ip)) if ip.is_unicast_link_local());
            if !linked && !self.listen.contains(&address) {
                if addr::ip(&address).is_some_and(|ip| !addr::is_local(ip)) {
                    self.swarm.add_external_address(address.clone());
                }
                self.listen.push(address);
            }
        }
        if let Some(starting) = &mut self.starting {
            starting.waiting.remove(&listener);
            if !starting.waiting.is_empty() {
                publish_listen(&self.shared, *self.swarm.local_peer_id(), &self.listen);
                return;
            }
        }
        self.tell_listening();
        if let Some(starting) = self.starting.take() {
            // The start may have been given up meanwhile.
            let _ = starting.done.send(Ok(()));
        }
    }

    fn on_listener_failed(&mut self, listener: ListenerId, reason: &str) {
        tracing::warn!(%reason, "a listener has failed");
        let named = self.starting.as_ref().and_then(|s| s.named.get(&listener)).cloned();
        if let (Some(addr), Some(starting)) = (named, self.starting.take()) {
            let error = MeshError::Listen { addr, reason: reason.to_owned() };
            // The start may have been given up meanwhile.
            let _ = starting.done.send(Err(error));
        }
    }

    fn tell_listening(&mut self) {
        let texts = publish_listen(&self.shared, *self.swarm.local_peer_id(), &self.listen);
        self.tell(MeshEvent::Listening(texts));
    }
}
