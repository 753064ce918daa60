//! The handle to a running mesh.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use dunlin_identity::{DeviceId, FolderId};
use libp2p::TransportError;
use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, Swarm};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::behaviour::{self, BLOCKS_PROTOCOL, Behaviour, MEMBER_PROTOCOL};
use crate::dialer::Keep;
use crate::driver::{Driver, Starting};
use crate::envelope::{Randomness, seal_broadcast};
use crate::limits::{BROADCAST_BYTES_MAX, COMMANDS_MAX, EVENTS_MAX};
use crate::shared::{Command, Shared, Spread, lock};
use crate::{BlockStream, FolderAccess, MeshConfig, MeshError, MeshEvent, SendError, blocks};

/// Where to listen when nothing is named.
const LISTEN_DEFAULT: [&str; 4] =
    ["/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/udp/0/quic-v1", "/ip6/::/tcp/0"];

/// How long the start waits for the listeners' addresses.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(2);

/// How often, and how long apart, an address that the system refuses is tried.
const LISTEN_ATTEMPTS_MAX: u32 = 15;
const LISTEN_RETRY_DELAY: Duration = Duration::from_millis(100);

/// How long the end waits for tasks.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// A handle to a running mesh; clones are cheap and mean the same mesh.
///
/// The mesh runs until [`Mesh::shutdown`], or until all handles and the receiver of its events
/// are gone.
#[derive(Clone)]
pub struct Mesh {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    control: libp2p_stream::Control,
    tasks: TaskTracker,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The tasks hold `Shared`, not this: without a handle they would never be told to end.
        self.shared.stop.cancel();
    }
}

impl Mesh {
    /// Starts a mesh, and returns when it listens.
    ///
    /// Events come through a channel of [`EVENTS_MAX`] places. A slow consumer slows down the
    /// members' streams, and with them in the end the members that send; it never stops the
    /// network itself, and what it loses, should it be very slow, is gossip.
    ///
    /// # Errors
    ///
    /// An address that cannot be read or, when it was named, not be listened on.
    pub async fn start(
        config: MeshConfig<'_>,
    ) -> Result<(Self, mpsc::Receiver<MeshEvent>), MeshError> {
        let peers = parse(config.peers)?;
        // An address book may hold what an older version wrote: what cannot be read is skipped.
        let book: Vec<Multiaddr> =
            config.address_book.iter().filter_map(|text| text.parse().ok()).collect();
        let mut swarm = behaviour::build(&config)?;
        let (done, listening) = oneshot::channel();
        let starting = listen(&mut swarm, config.listen, done).await?;

        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let key = config.key.clone();
        let shared = Arc::new(Shared::new(key, &config, commands, events));
        let mut control = swarm.behaviour().streams.new_control();
        let accept = "nothing else has registered this protocol on a new swarm";
        let members = control.accept(MEMBER_PROTOCOL).expect(accept);
        let block_streams = control.accept(BLOCKS_PROTOCOL).expect(accept);

        let tasks = TaskTracker::new();
        let jitter = u64::from_le_bytes(random()?);
        let alone = config.dht && peers.is_empty() && book.is_empty();
        let mut driver =
            Driver::new(swarm, Arc::clone(&shared), inbox, tasks.clone(), starting, jitter);
        driver.know(peers, Keep::Named);
        driver.know(book, Keep::Known);
        if alone {
            driver.dht_alone();
        }
        tasks.spawn(driver.run());
        tasks.spawn(blocks::accept_members(Arc::clone(&shared), members));
        tasks.spawn(blocks::accept(Arc::clone(&shared), block_streams));
        let mesh = Self { inner: Arc::new(Inner { shared, control, tasks }) };
        match tokio::time::timeout(LISTEN_TIMEOUT, listening).await {
            Ok(Ok(Err(reason))) => Err(reason),
            Ok(Err(_)) => Err(MeshError::Closed),
            // A listener without any address yet, such as one on an interface that is down.
            Ok(Ok(Ok(()))) | Err(_) => Ok((mesh, receiver)),
        }
    }

    /// Opens a folder: its members among the connected peers come up. A folder that is open
    /// already is opened again if the keys differ; who is refused now goes down.
    pub fn add_folder(&self, access: impl Into<FolderAccess>) {
        let access = access.into();
        self.inner.shared.folders.send_modify(|folders| {
            folders.insert(access.keys.folder(), access);
        });
    }

    /// Closes a folder: its members go down.
    pub fn remove_folder(&self, folder: FolderId) {
        self.inner.shared.folders.send_modify(|folders| {
            folders.remove(&folder);
        });
    }

    /// Dials an address now, and keeps dialling whenever it is not connected. An address that
    /// cannot be read is ignored with a warning.
    pub fn add_peer_addr(&self, addr: impl Into<String>) {
        let addr = addr.into();
        match addr.parse() {
            Ok(parsed) => {
                if self.inner.shared.commands.try_send(Command::Dial(parsed)).is_err() {
                    tracing::warn!(%addr, "too busy to dial");
                }
            }
            Err(reason) => tracing::warn!(%addr, %reason, "not a network address"),
        }
    }

    /// Queues a message to a member, without waiting. Messages to one peer arrive in order and
    /// whole, as long as it stays up.
    ///
    /// At most [`QUEUE_MESSAGES_MAX`](crate::limits::QUEUE_MESSAGES_MAX) messages and
    /// [`QUEUE_BYTES_MAX`](crate::limits::QUEUE_BYTES_MAX) bytes wait for one peer. Beyond that
    /// the caller gets the message back and tries again a little later; meanwhile it must go on
    /// taking events, or two devices that flood each other would wait for each other for ever.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] gives the message back when too much waits for this peer.
    pub fn send(
        &self,
        peer: DeviceId,
        folder: FolderId,
        message: Vec<u8>,
    ) -> Result<(), SendError> {
        self.inner.shared.send(&peer, &folder, message)
    }

    /// Seals, signs and spreads a message to all members that can be reached: directly where
    /// few members are connected, each of whom passes it on; otherwise by gossip, and directly
    /// to those that gossip does not reach yet.
    ///
    /// # Errors
    ///
    /// The folder is not open, the message is larger than
    /// [`BROADCAST_BYTES_MAX`](crate::limits::BROADCAST_BYTES_MAX), or the mesh is too busy, and
    /// [`SendError::Full`] gives the message back.
    pub fn broadcast(&self, folder: FolderId, message: Vec<u8>) -> Result<(), SendError> {
        let shared = &self.inner.shared;
        if message.len() > BROADCAST_BYTES_MAX {
            return Err(SendError::TooLarge { len: message.len(), max: BROADCAST_BYTES_MAX });
        }
        let keys = shared.keys(&folder).ok_or(SendError::UnknownFolder)?;
        let slot = match shared.commands.try_reserve() {
            Ok(slot) => slot,
            Err(mpsc::error::TrySendError::Full(())) => return Err(SendError::Full(message)),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(SendError::Closed),
        };
        let random: Randomness = random().map_err(|_| SendError::Closed)?;
        let (envelope, _) = seal_broadcast(&keys, &shared.key, &random, &message);
        if shared.hand_on(&folder, &envelope, &[], &[], Spread::Usual) {
            slot.send(Command::Publish { folder, envelope });
        }
        Ok(())
    }

    /// Opens a stream for blocks of a folder to a member.
    ///
    /// # Errors
    ///
    /// The peer is not up in this folder, or the stream cannot be opened.
    pub async fn open_block_stream(
        &self,
        peer: DeviceId,
        folder: FolderId,
    ) -> Result<BlockStream, MeshError> {
        blocks::open(&self.inner.shared, self.inner.control.clone(), peer, folder).await
    }

    /// Tells whether gossip carries a folder's broadcasts to a peer; until it does, and the peer
    /// is up, broadcasts are handed to it directly.
    #[must_use]
    pub fn gossip_reaches(&self, peer: DeviceId, folder: FolderId) -> bool {
        self.inner.shared.is_reached(&peer, &folder)
    }

    /// Returns the multiaddrs that the mesh listens on, with `/p2p/…`.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<String> {
        lock(&self.inner.shared.listen).clone()
    }

    /// Returns this device's id.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.inner.shared.me
    }

    /// Closes all connections and ends all tasks; waits for them a few seconds at most.
    pub async fn shutdown(self) {
        self.inner.shared.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!("the network did not end in time");
        }
    }
}

fn parse(texts: &[String]) -> Result<Vec<Multiaddr>, MeshError> {
    texts
        .iter()
        .map(|text| {
            text.parse().map_err(|reason: libp2p::multiaddr::Error| MeshError::Address {
                addr: text.clone(),
                reason: reason.to_string(),
            })
        })
        .collect()
}

/// Starts the listeners.
async fn listen(
    swarm: &mut Swarm<Behaviour>,
    named: &[String],
    done: oneshot::Sender<Result<(), MeshError>>,
) -> Result<Starting, MeshError> {
    let mut waiting = HashSet::new();
    let mut names: HashMap<ListenerId, String> = HashMap::new();
    for addr in parse(named)? {
        let text = addr.to_string();
        let listener = listen_on(swarm, addr)
            .await
            .map_err(|reason| MeshError::Listen { addr: text.clone(), reason: reasons(&reason) })?;
        waiting.insert(listener);
        names.insert(listener, text);
    }
    if named.is_empty() {
        for text in LISTEN_DEFAULT {
            let addr: Multiaddr = text.parse().expect("the default addresses are well formed");
            match swarm.listen_on(addr) {
                Ok(listener) => {
                    waiting.insert(listener);
                }
                Err(reason) => {
                    tracing::warn!(addr = text, reason = reasons(&reason), "cannot listen");
                }
            }
        }
    }
    Ok(Starting { waiting, named: names, done })
}

/// Listens on an address, and tries again for a moment when the system refuses it: a node that is
/// started anew often meets its predecessor's sockets.
async fn listen_on(
    swarm: &mut Swarm<Behaviour>,
    addr: Multiaddr,
) -> Result<ListenerId, TransportError<io::Error>> {
    let mut attempts_left = LISTEN_ATTEMPTS_MAX;
    loop {
        attempts_left -= 1;
        match swarm.listen_on(addr.clone()) {
            Err(TransportError::Other(_)) if attempts_left > 0 => {
                tokio::time::sleep(LISTEN_RETRY_DELAY).await;
            }
            result => return result,
        }
    }
}

/// Says why listening failed; libp2p's own text leaves out the system's.
fn reasons(reason: &TransportError<io::Error>) -> String {
    match reason {
        TransportError::MultiaddrNotSupported(_) => "this kind of address is not supported".into(),
        TransportError::Other(reason) => reason.to_string(),
    }
}

fn random<const N: usize>() -> Result<[u8; N], MeshError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|reason| MeshError::Setup(reason.to_string()))?;
    Ok(bytes)
}
