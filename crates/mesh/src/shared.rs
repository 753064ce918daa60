//! What the handle, the swarm's task and the member streams share.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_identity::{DeviceId, DeviceKey, FolderId, FolderKeys};
use libp2p::{Multiaddr, PeerId, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::envelope::{Opened, Seen, open_broadcast};
use crate::limits::{MESSAGE_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX};
use crate::peering::{Folders, Up};
use crate::wire::{self, Short, Tag};
use crate::{MeshConfig, MeshEvent, PathKind, SendError, addr};

/// What others ask of the swarm's task.
pub(crate) enum Command {
    /// Dial an address and keep it connected.
    Dial(Multiaddr),
    /// Gossip a sealed broadcast.
    Publish { folder: FolderId, envelope: Vec<u8> },
    /// A peer opened a member stream.
    Inbound(PeerId, Stream),
    /// A peer proved membership of one more folder.
    Up(DeviceId),
    /// A peer is up in one folder less.
    Down(DeviceId),
    /// A peer listens for gossip.
    Ready(DeviceId),
}

/// A frame that waits to be written, and the room that it takes up until then.
pub(crate) struct Outbound {
    pub(crate) bytes: Vec<u8>,
    pub(crate) room: OwnedSemaphorePermit,
}

/// How one folder is named on a member stream.
#[derive(Debug, Clone, Copy)]
struct Channel {
    number: u32,
    ours: Tag,
    theirs: Tag,
}

/// The way to a peer whose member stream is up.
pub(crate) struct Link {
    session: u64,
    control: mpsc::Sender<Vec<u8>>,
    queue: mpsc::Sender<Outbound>,
    room: Arc<Semaphore>,
    channels: HashMap<FolderId, Channel>,
}

impl Link {
    pub(crate) fn new(
        session: u64,
        control: mpsc::Sender<Vec<u8>>,
    ) -> (Self, mpsc::Receiver<Outbound>) {
        let (queue, outbound) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        (Self { session, control, queue, room, channels: HashMap::new() }, outbound)
    }

    fn has_room(&self, size: usize) -> bool {
        self.queue.capacity() > 0 && self.room.available_permits() >= size
    }

    /// Queues a frame that takes `size` bytes of room; `None` when there is no room.
    fn push(&self, size: usize, frame: impl FnOnce() -> Vec<u8>) -> Option<()> {
        let slot = self.queue.try_reserve().ok()?;
        let size = u32::try_from(size).ok()?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(size).ok()?;
        slot.send(Outbound { bytes: frame(), room });
        Some(())
    }
}

/// Where a connected peer is.
#[derive(Debug, Clone)]
struct Remote {
    addr: Multiaddr,
    found_by_mdns: bool,
}

#[derive(Default)]
struct Gossip {
    seen: Seen,
    /// The folders whose broadcasts reach a peer through gossip.
    reached: HashMap<DeviceId, HashSet<FolderId>>,
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) key: DeviceKey,
    pub(crate) me: DeviceId,
    pub(crate) transfer_port: u16,
    direct_members_max: usize,
    pub(crate) folders: watch::Sender<Folders>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) events: mpsc::Sender<MeshEvent>,
    pub(crate) stop: CancellationToken,
    pub(crate) listen: Mutex<Vec<String>>,
    links: Mutex<HashMap<DeviceId, Link>>,
    remotes: Mutex<HashMap<DeviceId, Remote>>,
    gossip: Mutex<Gossip>,
}

/// Locks; a panic elsewhere while the lock was held leaves these tables usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        key: DeviceKey,
        config: &MeshConfig<'_>,
        commands: mpsc::Sender<Command>,
        events: mpsc::Sender<MeshEvent>,
    ) -> Self {
        Self {
            me: key.device(),
            key,
            transfer_port: config.transfer_port,
            direct_members_max: config.direct_members_max,
            folders: watch::Sender::new(Folders::new()),
            commands,
            events,
            stop: CancellationToken::new(),
            listen: Mutex::default(),
            links: Mutex::default(),
            remotes: Mutex::default(),
            gossip: Mutex::default(),
        }
    }

    pub(crate) fn keys(&self, folder: &FolderId) -> Option<FolderKeys> {
        self.folders.borrow().get(folder).map(|access| access.keys.clone())
    }

    /// Makes a link known, in place of an older one.
    pub(crate) fn link(&self, peer: DeviceId, link: Link) {
        lock(&self.links).insert(peer, link);
    }

    /// Forgets the link of a stream that has ended.
    pub(crate) fn unlink(&self, peer: &DeviceId, session: u64) {
        let mut links = lock(&self.links);
        if links.get(peer).is_some_and(|link| link.session == session) {
            links.remove(peer);
        }
    }

    /// Opens a folder's channel to a peer.
    pub(crate) fn channel_up(&self, peer: &DeviceId, up: &Up) {
        if let Some(link) = lock(&self.links).get_mut(peer) {
            let channel = Channel { number: up.channel, ours: up.ours, theirs: up.theirs };
            link.channels.insert(up.folder, channel);
        }
    }

    /// Closes a folder's channel to a peer.
    pub(crate) fn channel_down(&self, peer: &DeviceId, folder: &FolderId) {
        if let Some(link) = lock(&self.links).get_mut(peer) {
            link.channels.remove(folder);
        }
    }

    /// Queues a message; see [`Mesh::send`](crate::Mesh::send).
    pub(crate) fn send(
        &self,
        peer: &DeviceId,
        folder: &FolderId,
        message: Vec<u8>,
    ) -> Result<(), SendError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge { len: message.len(), max: MESSAGE_BYTES_MAX });
        }
        if self.stop.is_cancelled() {
            return Err(SendError::Closed);
        }
        let links = lock(&self.links);
        let link = links.get(peer).ok_or(SendError::NotMember)?;
        let channel = link.channels.get(folder).ok_or(SendError::NotMember)?;
        let size = message.len() + wire::HEADER_BYTES;
        match link.push(size, || wire::message(channel.number, &message)) {
            Some(()) => Ok(()),
            None if link.queue.is_closed() => Err(SendError::NotMember),
            None => Err(SendError::Full(message)),
        }
    }

    /// Tells a peer that this side listens for gossip.
    pub(crate) fn send_ready(&self, peer: &DeviceId) {
        if let Some(link) = lock(&self.links).get(peer) {
            // A full queue of control frames ends the stream anyway.
            let _ = link.control.try_send(wire::Frame::Ready.encode());
        }
    }

    /// Hands an envelope directly to connected members of a folder, never to those that are
    /// `covered` already or to `except`. Tells whether gossip must carry it as well.
    ///
    /// A member whose queue is full goes without: it is far behind, and repair will bring it
    /// what it lacks.
    pub(crate) fn hand_on(
        &self,
        folder: &FolderId,
        envelope: &[u8],
        covered: &[Short],
        except: &[DeviceId],
        spread: Spread,
    ) -> bool {
        let size = envelope.len() + wire::HEADER_BYTES;
        let gossip = lock(&self.gossip);
        let links = lock(&self.links);
        let members = links.values().filter(|link| link.channels.contains_key(folder)).count();
        let few = members <= self.direct_members_max;
        let wanted = |peer: &DeviceId| match spread {
            Spread::All => true,
            Spread::Usual if few => true,
            Spread::Usual | Spread::Unreached => {
                !gossip.reached.get(peer).is_some_and(|folders| folders.contains(folder))
            }
        };
        // Nobody else queues anything while the links are locked, so that room stays room.
        let targets: Vec<_> = links
            .iter()
            .filter(|(peer, link)| wanted(peer) && !except.contains(peer) && link.has_room(size))
            .filter(|(peer, _)| !covered.contains(&wire::short(peer)))
            .filter_map(|(peer, link)| Some((peer, link, link.channels.get(folder)?.number)))
            .collect();
        let mut told = covered.to_vec();
        told.extend(except.iter().chain([&self.me]).map(wire::short));
        told.extend(targets.iter().map(|(peer, ..)| wire::short(peer)));
        for (peer, link, channel) in &targets {
            if link.push(size, || wire::gossip(*channel, &told, envelope)).is_none() {
                tracing::debug!(%peer, "no room for a broadcast");
            }
        }
        matches!(spread, Spread::Usual) && !few
    }

    /// Opens an envelope, and gives it back only if it is genuine and new.
    pub(crate) fn receive(&self, folder: &FolderId, envelope: &[u8]) -> Received {
        let Some(keys) = self.keys(folder) else { return Received::Unknown };
        match open_broadcast(&keys, envelope) {
            Ok(opened) if opened.author == self.me => Received::Old,
            Ok(opened) if lock(&self.gossip).seen.insert(opened.id) => Received::New(opened),
            Ok(_) => Received::Old,
            Err(reason) => {
                tracing::debug!(%reason, "refused a broadcast");
                Received::Forged
            }
        }
    }

    /// Notes whether gossip reaches a peer in a folder.
    pub(crate) fn set_reached(&self, peer: DeviceId, folder: FolderId, reached: bool) {
        let mut gossip = lock(&self.gossip);
        let folders = gossip.reached.entry(peer).or_default();
        if reached {
            folders.insert(folder);
        } else {
            folders.remove(&folder);
        }
        if folders.is_empty() {
            gossip.reached.remove(&peer);
        }
    }

    /// Tells whether gossip reaches a peer in a folder.
    pub(crate) fn is_reached(&self, peer: &DeviceId, folder: &FolderId) -> bool {
        lock(&self.gossip).reached.get(peer).is_some_and(|folders| folders.contains(folder))
    }

    /// Notes that gossip no longer reaches a peer at all.
    pub(crate) fn unreached(&self, peer: &DeviceId) {
        lock(&self.gossip).reached.remove(peer);
    }

    /// Notes where a peer is, or that it is gone.
    pub(crate) fn set_remote(&self, peer: DeviceId, at: Option<(Multiaddr, bool)>) {
        let mut remotes = lock(&self.remotes);
        match at {
            Some((addr, found_by_mdns)) => {
                remotes.insert(peer, Remote { addr, found_by_mdns });
            }
            None => {
                remotes.remove(&peer);
            }
        }
    }

    /// Returns how a peer is reached, and where a port of it is.
    pub(crate) fn path(&self, peer: &DeviceId, port: u16) -> (PathKind, Vec<SocketAddr>) {
        let remotes = lock(&self.remotes);
        let Some(remote) = remotes.get(peer) else { return (PathKind::Direct, Vec::new()) };
        let kind = addr::path(&remote.addr, remote.found_by_mdns);
        let ip = addr::ip(&remote.addr).filter(|_| port != 0 && kind != PathKind::Relayed);
        (kind, ip.map(|ip| SocketAddr::new(ip, port)).into_iter().collect())
    }

    /// Returns the tag by which this side names a folder to a peer.
    pub(crate) fn own_tag(&self, peer: &DeviceId, folder: &FolderId) -> Option<Tag> {
        Some(lock(&self.links).get(peer)?.channels.get(folder)?.ours)
    }

    /// Returns the folder that a peer names by a tag.
    pub(crate) fn folder_of_tag(&self, peer: &DeviceId, tag: &Tag) -> Option<FolderId> {
        let links = lock(&self.links);
        let channels = &links.get(peer)?.channels;
        channels.iter().find(|(_, channel)| channel.theirs == *tag).map(|(folder, _)| *folder)
    }

    /// Gives an event to the owner, waiting while it is busy; ends when the mesh does.
    pub(crate) async fn tell(&self, event: MeshEvent) {
        tokio::select! {
            _ = self.events.send(event) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Gives a command to the swarm's task.
    pub(crate) async fn command(&self, command: Command) {
        // Fails only when the swarm's task has ended, and then nothing is left to do.
        let _ = self.commands.send(command).await;
    }
}

/// To which of the members in question an envelope goes directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// To all when they are few, otherwise as [`Spread::Unreached`], and by gossip.
    Usual,
    /// To those that gossip does not reach.
    Unreached,
    /// To all.
    All,
}

/// What became of an envelope.
pub(crate) enum Received {
    /// Genuine and not seen before.
    New(Opened),
    /// Genuine, but seen before.
    Old,
    /// Not genuine.
    Forged,
    /// Of a folder that is not open here.
    Unknown,
}
