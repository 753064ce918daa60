//! Keeps strangers out of the gossip swarm.
//!
//! Gossipsub tells its topics to every peer as soon as a connection is up, and takes messages
//! from anyone. [`Gated`] wraps it: towards gossipsub a connection does not exist until the peer
//! has proved membership of a folder ([`Gated::admit`]). Until then the connection's handler
//! speaks no gossip protocol in either direction, and gossipsub keeps no state for the peer.
//!
//! Opening takes two steps, because a device that opens a gossip stream before the other side
//! listens for it would be told "not supported" and would never try again: `admit` makes this
//! side listen and ends in [`GateEvent::Opened`], which the owner tells the peer over the member
//! stream; [`Gated::release`], called when the peer has said the same, makes this side speak.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::connection::ConnectedPoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::DeniedUpgrade;
use libp2p::swarm::derive_prelude::Either;
use libp2p::swarm::handler::ConnectionEvent;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId,
    FromSwarm, NetworkBehaviour, NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, gossipsub};

use gossipsub::Behaviour as Inner;
type InnerHandler = THandler<Inner>;

/// What happens at the gate.
#[derive(Debug)]
pub(crate) enum GateEvent {
    /// This side now listens for gossip from the peer.
    Opened(PeerId),
    /// Gossipsub says something.
    Gossip(gossipsub::Event),
}

/// How far a connection has been let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Gossipsub does not know of it.
    Held,
    /// Gossip is listened for, but not spoken.
    Opened,
    /// Gossip flows.
    Started,
}

#[derive(Debug)]
struct Connection {
    endpoint: ConnectedPoint,
    stage: Stage,
}

/// Gossipsub behind a gate that only proved members pass.
pub(crate) struct Gated {
    inner: Inner,
    peers: HashMap<PeerId, HashMap<ConnectionId, Connection>>,
    actions: VecDeque<ToSwarm<GateEvent, ToHandler>>,
}

impl Gated {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner, peers: HashMap::new(), actions: VecDeque::new() }
    }

    /// Gives access to gossipsub itself.
    pub(crate) fn gossip(&mut self) -> &mut Inner {
        &mut self.inner
    }

    /// Lets a proved peer in: gossipsub learns of its connections, and listens on them.
    pub(crate) fn admit(&mut self, peer: PeerId) {
        let Some(connections) = self.peers.get_mut(&peer) else { return };
        let mut known = connections.values().filter(|c| c.stage != Stage::Held).count();
        if known > 0 {
            // The peer's session was made anew over a connection that has been let in already.
            self.actions.push_back(ToSwarm::GenerateEvent(GateEvent::Opened(peer)));
        }
        for (id, connection) in connections.iter_mut().filter(|(_, c)| c.stage == Stage::Held) {
            let handler = match build(&mut self.inner, *id, peer, &connection.endpoint) {
                Ok(handler) => handler,
                Err(reason) => {
                    tracing::debug!(%peer, %reason, "gossipsub refused a connection");
                    continue;
                }
            };
            self.actions.push_back(ToSwarm::NotifyHandler {
                peer_id: peer,
                handler: NotifyHandler::One(*id),
                event: ToHandler::Open(Box::new(handler)),
            });
            self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(
                libp2p::swarm::behaviour::ConnectionEstablished {
                    peer_id: peer,
                    connection_id: *id,
                    endpoint: &connection.endpoint,
                    failed_addresses: &[],
                    other_established: known,
                },
            ));
            connection.stage = Stage::Opened;
            known += 1;
        }
    }

    /// Starts to speak gossip with an admitted peer that has said that it listens.
    pub(crate) fn release(&mut self, peer: PeerId) {
        let Some(connections) = self.peers.get_mut(&peer) else { return };
        for (id, connection) in connections.iter_mut().filter(|(_, c)| c.stage == Stage::Opened) {
            connection.stage = Stage::Started;
            self.actions.push_back(ToSwarm::NotifyHandler {
                peer_id: peer,
                handler: NotifyHandler::One(*id),
                event: ToHandler::Start,
            });
        }
    }

    fn closed(&mut self, event: ConnectionClosed<'_>) {
        let Some(connections) = self.peers.get_mut(&event.peer_id) else { return };
        let removed = connections.remove(&event.connection_id);
        let remaining = connections.values().filter(|c| c.stage != Stage::Held).count();
        if connections.is_empty() {
            self.peers.remove(&event.peer_id);
        }
        // Gossipsub must not hear of the end of what it never heard the beginning of.
        if removed.is_some_and(|c| c.stage != Stage::Held) {
            self.inner.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                remaining_established: remaining,
                ..event
            }));
        }
    }
}

/// Makes gossipsub's handler for a connection that has been up for a while.
fn build(
    inner: &mut Inner,
    id: ConnectionId,
    peer: PeerId,
    endpoint: &ConnectedPoint,
) -> Result<InnerHandler, ConnectionDenied> {
    match endpoint {
        ConnectedPoint::Dialer { address, role_override, port_use } => inner
            .handle_established_outbound_connection(id, peer, address, *role_override, *port_use),
        ConnectedPoint::Listener { local_addr, send_back_addr } => {
            inner.handle_established_inbound_connection(id, peer, local_addr, send_back_addr)
        }
    }
}

impl NetworkBehaviour for Gated {
    type ConnectionHandler = GateHandler;
    type ToSwarm = GateEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(GateHandler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(GateHandler::default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                let connection = Connection { endpoint: e.endpoint.clone(), stage: Stage::Held };
                self.peers.entry(e.peer_id).or_default().insert(e.connection_id, connection);
            }
            FromSwarm::ConnectionClosed(e) => self.closed(e),
            FromSwarm::AddressChange(e) => {
                let connections = self.peers.get_mut(&e.peer_id);
                if let Some(c) = connections.and_then(|c| c.get_mut(&e.connection_id)) {
                    c.endpoint = e.new.clone();
                    if c.stage != Stage::Held {
                        self.inner.on_swarm_event(FromSwarm::AddressChange(e));
                    }
                }
            }
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            FromHandler::Opened => {
                self.actions.push_back(ToSwarm::GenerateEvent(GateEvent::Opened(peer)));
            }
            FromHandler::Gossip(event) => {
                self.inner.on_connection_handler_event(peer, connection, event);
            }
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.inner
            .poll(cx)
            .map(|action| action.map_out(GateEvent::Gossip).map_in(ToHandler::Gossip))
    }
}

/// What the gate tells a connection's handler.
pub(crate) enum ToHandler {
    /// Listen for gossip with this handler.
    Open(Box<InnerHandler>),
    /// Speak gossip.
    Start,
    /// For gossipsub's own handler.
    Gossip(THandlerInEvent<Inner>),
}

impl fmt::Debug for ToHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(_) => f.write_str("Open"),
            Self::Start => f.write_str("Start"),
            Self::Gossip(event) => f.debug_tuple("Gossip").field(event).finish(),
        }
    }
}

/// What a connection's handler tells the gate.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are the large one, and a box would cost an allocation a message"
)]
pub(crate) enum FromHandler {
    /// The handler now listens for gossip.
    Opened,
    /// From gossipsub's own handler.
    Gossip(THandlerOutEvent<Inner>),
}

/// A connection's handler: nothing at first, gossipsub's once the peer has been admitted.
#[derive(Default)]
pub(crate) struct GateHandler {
    inner: Option<InnerHandler>,
    started: bool,
    announce: bool,
}

impl ConnectionHandler for GateHandler {
    type FromBehaviour = ToHandler;
    type ToBehaviour = FromHandler;
    type InboundProtocol = <InnerHandler as ConnectionHandler>::InboundProtocol;
    type OutboundProtocol = <InnerHandler as ConnectionHandler>::OutboundProtocol;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        match &self.inner {
            Some(inner) => inner.listen_protocol(),
            None => SubstreamProtocol::new(Either::Right(DeniedUpgrade), ()),
        }
    }

    fn connection_keep_alive(&self) -> bool {
        // Members stay connected; strangers go when nothing happens for a while.
        self.inner.is_some()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if std::mem::take(&mut self.announce) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(FromHandler::Opened));
        }
        match &mut self.inner {
            Some(inner) if self.started => {
                inner.poll(cx).map(|event| event.map_custom(FromHandler::Gossip))
            }
            _ => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {
            ToHandler::Open(handler) => {
                self.inner = Some(*handler);
                self.announce = true;
            }
            ToHandler::Start => self.started = true,
            ToHandler::Gossip(event) => {
                if let Some(inner) = &mut self.inner {
                    inner.on_behaviour_event(event);
                }
            }
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        // Events before the opening concern protocols that were not spoken yet.
        if let Some(inner) = &mut self.inner {
            inner.on_connection_event(event);
        }
    }
}
