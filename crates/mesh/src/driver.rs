//! The swarm's task: it alone holds the swarm, and never waits for anyone.
//!
//! # Who waits for whom
//!
//! The owner of the mesh takes events from a bounded channel. Member streams wait for it when it
//! is slow, each by itself. This task does not: what it has to tell waits in an outbox, from
//! which gossip is dropped first when it grows too long (repair makes up for it).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin_identity::{DeviceId, FolderId, Role};
use futures::StreamExt as _;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::IdentTopic;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, Swarm, gossipsub};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::dialer::{Dial, Dialer, Keep, Key};
use crate::discovery::{self, Discovery};
use crate::limits::OUTBOX_MAX;
use crate::peering::Folders;
use crate::session::Session;
use crate::shared::{Command, Shared, Spread, lock};
use crate::{MeshError, MeshEvent, addr};

mod events;
mod links;

/// Dials made at once; the rest follow a moment later.
const DIALS_AT_ONCE: usize = 32;
/// How long the higher of two devices lets the lower one dial first, when both know each other.
const YIELD: Duration = Duration::from_millis(1500);
/// How far apart dials of one device to two addresses of another are at most.
const MOMENT: Duration = Duration::from_millis(300);
/// How much older a connection must be than one that was dialled from the other side, to be
/// taken for dead.
const STALE_AGE: Duration = Duration::from_secs(3);
/// How long an orderly end may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(800);

/// A connection of the swarm.
#[derive(Debug, Clone)]
struct Connection {
    id: ConnectionId,
    since: Instant,
    dialled: bool,
    addr: Multiaddr,
}

/// What the task knows of a connected peer.
#[derive(Debug, Default)]
struct Peer {
    connections: Vec<Connection>,
    /// Addresses that the peer gives for itself, checked for plausibility.
    claims: Vec<Multiaddr>,
    /// Folders in which the peer is up.
    member: usize,
    /// Ends the task that opens member streams.
    opener: Option<CancellationToken>,
    /// The member stream that the peer opened, and the end of its task.
    session: Option<(CancellationToken, oneshot::Receiver<()>)>,
}

/// Addresses that were told to the owner, for each member that was ever up.
type Learned = HashMap<PeerId, HashSet<Multiaddr>>;

/// Members whose addresses are remembered.
const LEARNED_MAX: usize = 4096;

/// What the start waits for: every listener's first address, or its failure.
pub(crate) struct Starting {
    pub(crate) waiting: HashSet<ListenerId>,
    pub(crate) named: HashMap<ListenerId, String>,
    pub(crate) done: oneshot::Sender<Result<(), MeshError>>,
}

/// The swarm and all that only its task touches.
pub(crate) struct Driver {
    swarm: Swarm<Behaviour>,
    control: libp2p_stream::Control,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    folders: watch::Receiver<Folders>,
    subscribed: HashMap<gossipsub::TopicHash, FolderId>,
    /// Subscriptions of admitted peers, by topic: a folder may be opened here after them.
    topics_of: HashMap<PeerId, HashSet<gossipsub::TopicHash>>,
    outbox: VecDeque<MeshEvent>,
    dialer: Dialer,
    dials: HashMap<ConnectionId, Key>,
    discovery: Discovery,
    peers: HashMap<PeerId, Peer>,
    on_lan: HashSet<PeerId>,
    learned: Learned,
    listen: Vec<Multiaddr>,
    starting: Option<Starting>,
    tasks: TaskTracker,
    next_session: u64,
}

impl Driver {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        tasks: TaskTracker,
        starting: Starting,
        jitter: u64,
    ) -> Self {
        let mut folders = shared.folders.subscribe();
        folders.mark_changed();
        Self {
            control: swarm.behaviour().streams.new_control(),
            dialer: Dialer::new(*swarm.local_peer_id(), jitter),
            swarm,
            shared,
            commands,
            folders,
            subscribed: HashMap::new(),
            topics_of: HashMap::new(),
            outbox: VecDeque::new(),
            dials: HashMap::new(),
            discovery: Discovery::new(),
            peers: HashMap::new(),
            on_lan: HashSet::new(),
            learned: Learned::new(),
            listen: Vec::new(),
            starting: Some(starting),
            tasks,
            next_session: 0,
        }
    }

    /// Adds addresses from the configuration.
    pub(crate) fn know(&mut self, addrs: Vec<Multiaddr>, keep: Keep) {
        let now = Instant::now();
        for addr in addrs {
            let delay = match (keep, addr::split_peer(addr.clone()).1) {
                (Keep::Named, _) | (_, None) => Duration::ZERO,
                // The other side has this device in its book as well.
                (_, Some(peer)) => self.courtesy(&peer),
            };
            self.dialer.add(addr, keep, now, delay);
        }
    }

    /// Tells that the DHT cannot be entered.
    pub(crate) fn dht_alone(&mut self) {
        self.tell(MeshEvent::DhtAlone);
    }

    /// Runs until the mesh is shut down.
    pub(crate) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        let events = self.shared.events.clone();
        loop {
            let due = [self.dialer.next_due(), self.discovery.next_due()].into_iter().flatten();
            let due = due.min().map(tokio::time::Instant::from_std);
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                Some(command) = self.commands.recv() => self.on_command(command),
                Ok(()) = self.folders.changed() => self.on_folders(),
                Ok(room) = events.reserve(), if !self.outbox.is_empty() => {
                    if let Some(event) = self.outbox.pop_front() {
                        room.send(event);
                    }
                }
                () = timer => self.on_timer(),
            }
        }
        self.close().await;
    }

    async fn close(mut self) {
        self.commands.close();
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in &peers {
            // Fails only for a peer that has gone meanwhile.
            let _ = self.swarm.disconnect_peer_id(*peer);
        }
        let all_closed = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, all_closed).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial(addr) => {
                self.dialer.add(addr, Keep::Named, Instant::now(), Duration::ZERO);
            }
            Command::Publish { folder, envelope } => self.publish(folder, &envelope),
            Command::Inbound(peer, stream) => self.on_inbound(peer, stream),
            Command::Up(device) => self.on_up(&device),
            Command::Down(device) => {
                if let Some(peer) = addr::peer_id(&device).and_then(|p| self.peers.get_mut(&p)) {
                    peer.member = peer.member.saturating_sub(1);
                }
            }
            Command::Ready(device) => {
                if let Some(peer) = addr::peer_id(&device) {
                    self.swarm.behaviour_mut().gossip.release(peer);
                }
            }
        }
    }

    fn on_up(&mut self, device: &DeviceId) {
        let Some(id) = addr::peer_id(device) else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.member += 1;
        // Known members are looked for again when they go, at the addresses that they claim.
        let claims = peer.claims.clone();
        self.swarm.behaviour_mut().gossip.admit(id);
        let delay = self.courtesy(&id);
        self.dialer.add_peer(id, claims, Keep::Known, Instant::now(), delay);
        self.learn(id);
    }

    fn publish(&mut self, folder: FolderId, envelope: &[u8]) {
        let Some(keys) = self.shared.keys(&folder) else { return };
        let gossip = self.swarm.behaviour_mut().gossip.gossip();
        match gossip.publish(topic(&keys), envelope) {
            Ok(_) => {}
            // Those that gossip does not reach have got it directly.
            Err(
                gossipsub::PublishError::NoPeersSubscribedToTopic
                | gossipsub::PublishError::Duplicate,
            ) => {}
            Err(reason) => {
                tracing::debug!(%reason, "gossip did not take a broadcast");
                self.shared.hand_on(&folder, envelope, &[], &[], Spread::All);
            }
        }
    }

    fn on_folders(&mut self) {
        let folders = self.folders.borrow_and_update().clone();
        let wanted: HashMap<_, _> =
            folders.iter().map(|(id, open)| (topic(&open.keys).hash(), *id)).collect();
        let gossip = self.swarm.behaviour_mut().gossip.gossip();
        for gone in self.subscribed.keys().filter(|topic| !wanted.contains_key(topic)) {
            gossip.unsubscribe(&IdentTopic::new(gone.as_str()));
        }
        for (id, open) in &folders {
            let topic = topic(&open.keys);
            if !self.subscribed.contains_key(&topic.hash())
                && let Err(reason) = gossip.subscribe(&topic)
            {
                tracing::warn!(folder = %id, %reason, "cannot subscribe to the folder's gossip");
            }
        }
        for (topic, folder) in &wanted {
            for (peer, topics) in &self.topics_of {
                // With other keys a folder has another topic, of which a peer may not know yet.
                if let Some(device) = addr::device(peer) {
                    self.shared.set_reached(device, *folder, topics.contains(topic));
                }
            }
        }
        self.subscribed = wanted;
        self.discovery.news(Instant::now());
    }

    fn on_timer(&mut self) {
        let now = Instant::now();
        for dial in self.dialer.due(now, DIALS_AT_ONCE) {
            self.dial(dial, now);
        }
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
            let folders = self.shared.folders.borrow().clone();
            self.discovery.round(kad, &folders, discovery::day_now(), now);
        } else {
            self.discovery = Discovery::new();
        }
    }

    fn dial(&mut self, dial: Dial, now: Instant) {
        let options = match &dial.key {
            Key::Addr(addr) => DialOpts::unknown_peer_id().address(addr.clone()).build(),
            Key::Peer(peer) => {
                let options =
                    DialOpts::peer_id(*peer).condition(PeerCondition::DisconnectedAndNotDialing);
                if dial.addrs.is_empty() {
                    options.build()
                } else {
                    options.addresses(dial.addrs).build()
                }
            }
        };
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(id, dial.key);
            }
            Err(libp2p::swarm::DialError::DialPeerConditionFalse(_)) => {
                self.dialer.busy(&dial.key, now);
            }
            Err(reason) => {
                tracing::debug!(%reason, key = ?dial.key, "cannot dial");
                self.dialer.failed(&dial.key, now);
            }
        }
    }

    /// Returns how long this device waits before it dials a peer that knows it as well.
    fn courtesy(&self, peer: &PeerId) -> Duration {
        match addr::device(peer) {
            Some(device) if self.shared.me > device => YIELD,
            _ => Duration::ZERO,
        }
    }

    /// Queues an event for the owner.
    fn tell(&mut self, event: MeshEvent) {
        if self.outbox.len() >= OUTBOX_MAX {
            tracing::debug!("the owner of the mesh is slow: an event is dropped");
            let gossip = self.outbox.iter().position(|e| matches!(e, MeshEvent::Gossip { .. }));
            self.outbox.remove(gossip.unwrap_or(0));
        }
        self.outbox.push_back(event);
    }

    /// Adds a task that ends with the mesh.
    fn session(&mut self, peer: DeviceId, role: Role, cancel: CancellationToken) -> Session {
        self.next_session += 1;
        links::session(&self.shared, peer, role, cancel, self.next_session)
    }
}

/// Returns a folder's topic.
fn topic(keys: &dunlin_identity::FolderKeys) -> IdentTopic {
    IdentTopic::new(blake3::Hash::from_bytes(keys.topic()).to_hex().as_str())
}

fn endpoint_addr(endpoint: &ConnectedPoint) -> Multiaddr {
    addr::split_peer(endpoint.get_remote_address().clone()).0
}

fn publish_listen(shared: &Shared, me: PeerId, addrs: &[Multiaddr]) -> Vec<String> {
    let texts: Vec<String> = addrs
        .iter()
        .map(|addr| addr.clone().with_p2p(me).unwrap_or_else(|a| a).to_string())
        .collect();
    lock(&shared.listen).clone_from(&texts);
    texts
}
