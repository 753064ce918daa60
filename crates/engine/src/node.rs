//! A running node: the home's folders, the mesh they share, and what the outside may ask.

mod adopt;
mod conflicts;
mod find;
mod history;
mod limits;
mod members;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dunlin_identity::{DeviceId, DeviceKey, FolderId, FolderKeys, Hash, JoinCode, Tier};
use dunlin_index::storage::{SledSpace, SledStore};
use dunlin_mesh::{Mesh, MeshConfig, MeshEvent, PathKind};
use dunlin_transfer::{BlockSource, Gate, Transfer, TransferConfig};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use crate::clock::{Clock, SystemClock};
use crate::conflict::ResolverSlot;
use crate::folder::Membership;
use crate::home::{self, FolderConfig, Home, HomeError, HomeLock, VersionSettings};
use crate::keys::CurrentKeys;
use crate::network::{MeshNetwork, Network, ServeBlocks};
use crate::open::{self, OpenFolder};
use crate::runner::{Command, Request, Runner, Snapshot};
use crate::settings::{LABEL, SettingError, device_names};
use crate::types::{
    Check, DeviceStatus, Event, FolderInfo, FolderState, FolderStatus, Status, WaitOutcome,
};

use adopt::{adopt_folder, info};

pub use adopt::join_offline;
pub use history::RestoreRequest;

/// Events that wait for a slow reader before some are lost to it.
const EVENTS: usize = 4096;
/// Bytes that sled keeps in memory. The index is read through it; more helps only folders with
/// hundreds of thousands of files.
const DATABASE_CACHE_BYTES: u64 = dunlin_index::storage::DEFAULT_CACHE_BYTES;
/// The address book's size: beyond it the oldest addresses go.
const ADDRESSES_MAX: usize = 256;

/// How to start a [`Node`].
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The home directory; made if missing.
    pub home: PathBuf,
    /// A new name for this device.
    pub name: Option<String>,
    /// Multiaddrs to listen on; empty for all interfaces.
    pub listen: Vec<String>,
    /// Multiaddrs to dial and keep dialling.
    pub peers: Vec<String>,
    /// Whether to look for devices on the local network.
    pub mdns: bool,
    /// Whether to take part in the DHT.
    pub dht: bool,
}

/// Why a node, or something it was asked, failed; in words for the user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// Something about the home, its folders or names.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The join code is wrong.
    #[error("{0}")]
    Code(#[from] dunlin_identity::JoinCodeError),
    /// The database cannot be opened.
    #[error("the database in the home cannot be opened: {0}")]
    Database(#[from] dunlin_index::StorageError),
    /// The mesh did not start.
    #[error(transparent)]
    Mesh(#[from] dunlin_mesh::MeshError),
    /// The block transfer did not start.
    #[error(transparent)]
    Transfer(#[from] dunlin_transfer::TransferError),
    /// The directory is not, or not any more, this folder's.
    #[error("{}: {reason}", path.display())]
    Root {
        /// The directory.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// Limits that cannot be set.
    #[error(transparent)]
    Limit(#[from] crate::limits::LimitError),
    /// A setting cannot be changed so.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A folder answered with a refusal.
    #[error("{0}")]
    Refused(String),
    /// A conflict could not be shown or resolved.
    #[error(transparent)]
    Conflict(#[from] crate::conflict::ConflictError),
    /// Not known here.
    #[error("{0}")]
    NotFound(String),
    /// The program cannot do this yet.
    #[error("{0}")]
    Unsupported(String),
    /// The system failed.
    #[error("the system refused: {0}")]
    Io(#[from] std::io::Error),
}

/// Where blocks of all folders are read from.
#[derive(Default)]
struct Blocks(RwLock<BTreeMap<FolderId, Arc<dyn ServeBlocks>>>);

impl Blocks {
    fn folder(&self, folder: FolderId) -> Option<Arc<dyn ServeBlocks>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&folder).cloned()
    }
}

impl BlockSource for Blocks {
    fn read(&self, folder: FolderId, hash: &Hash) -> Option<Bytes> {
        self.folder(folder)?.read(hash)
    }

    fn read_many(&self, folder: FolderId, hashes: &[Hash]) -> Vec<Option<Bytes>> {
        match self.folder(folder) {
            Some(folder) => folder.read_many(hashes),
            None => vec![None; hashes.len()],
        }
    }

    fn has_many(&self, folder: FolderId, hashes: &[Hash]) -> Vec<bool> {
        self.folder(folder).map_or_else(Vec::new, |folder| folder.has_many(hashes))
    }
}

/// Who may ask for blocks: those that the index names as members, and those that have just proved
/// it to the mesh.
#[derive(Default)]
struct Doorkeeper(RwLock<BTreeMap<FolderId, (FolderKeys, BTreeSet<DeviceId>)>>);

impl Gate for Doorkeeper {
    fn keys(&self, folder: FolderId) -> Option<FolderKeys> {
        let folders = self.0.read().unwrap_or_else(PoisonError::into_inner);
        folders.get(&folder).map(|(keys, _)| keys.clone())
    }

    fn is_member(&self, folder: FolderId, device: &DeviceId) -> bool {
        let folders = self.0.read().unwrap_or_else(PoisonError::into_inner);
        folders.get(&folder).is_some_and(|(_, members)| members.contains(device))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    connected: Option<PathKind>,
    last_ms: Option<u64>,
}

struct RunningFolder {
    config: FolderConfig,
    keys: Arc<CurrentKeys>,
    /// Who takes part, as mesh and transfer were told last.
    membership: Arc<Membership>,
    /// Whether others have said that this device is not let in with its keys.
    outdated: bool,
    runner: Arc<Runner>,
    seen: BTreeMap<DeviceId, Seen>,
    own_versions: Arc<Mutex<VersionSettings>>,
}

struct Inner {
    home: Home,
    _lock: HomeLock,
    key: Arc<DeviceKey>,
    name: String,
    started: Instant,
    store: SledStore,
    mesh: Mesh,
    transfer: Transfer,
    network: Arc<dyn Network>,
    blocks: Arc<Blocks>,
    door: Arc<Doorkeeper>,
    clock: Arc<dyn Clock>,
    events: broadcast::Sender<Event>,
    changed: watch::Sender<u64>,
    folders: Mutex<BTreeMap<FolderId, RunningFolder>>,
    api: Mutex<Option<String>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    limits_changed: Notify,
    book: SledSpace,
    resolver: Arc<ResolverSlot>,
}

/// A running node; clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

impl Node {
    /// Starts a node with the folders of its home.
    ///
    /// # Errors
    /// When the home is in use, or the database, an address or a port cannot be had.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let home = Home::open(&config.home)?;
        let lock = home.lock_soon()?;
        let key = Arc::new(home.key(random())?);
        let mut settings = home.config()?;
        if let Some(name) = &config.name {
            home::check_name(name)?.clone_into(&mut settings.name);
        }
        home.save(&settings)?;
        let store = open_database(&home)?;
        let blocks = Arc::new(Blocks::default());
        let door = Arc::new(Doorkeeper::default());
        let transfer = Transfer::bind(TransferConfig {
            key: &key,
            listen: vec![
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            ],
            source: Arc::clone(&blocks) as _,
            gate: Arc::clone(&door) as _,
        })
        .await?;
        let book = store.space(b"book/");
        let mut addresses = crate::book::load(&book, ADDRESSES_MAX)?;
        addresses.extend(settings.folders.iter().flat_map(|folder| folder.hints.iter().cloned()));
        let (mesh, mesh_events) = Mesh::start(MeshConfig {
            listen: &config.listen,
            peers: &config.peers,
            address_book: &addresses,
            mdns: config.mdns,
            dht: config.dht,
            transfer_port: transfer.local_addrs().first().map_or(0, SocketAddr::port),
            ..MeshConfig::new(&key)
        })
        .await?;
        transfer.set_fallback(Arc::new(crate::network::Fallback(mesh.clone())));
        let network = Arc::new(MeshNetwork { mesh: mesh.clone(), transfer: transfer.clone() });
        let node = Self(Arc::new(Inner {
            home,
            _lock: lock,
            key,
            name: settings.name.clone(),
            started: Instant::now(),
            store,
            mesh,
            transfer,
            network,
            blocks,
            door,
            clock: Arc::new(SystemClock),
            events: broadcast::channel(EVENTS).0,
            changed: watch::channel(0).0,
            folders: Mutex::default(),
            api: Mutex::default(),
            tasks: Mutex::default(),
            limits_changed: Notify::new(),
            book,
            resolver: Arc::default(),
        }));
        for folder in settings.folders {
            node.start_folder(folder)?;
        }
        // Before the first block goes either way.
        node.apply_limits();
        let pump = tokio::spawn(node.clone().pump(mesh_events));
        let limits = tokio::spawn(node.clone().keep_limits());
        let members = tokio::spawn(node.clone().keep_members());
        lock_of(&node.0.tasks).extend([pump, limits, members]);
        node.save_listen();
        Ok(node)
    }

    /// Stops all folders and closes everything.
    pub async fn shutdown(&self) {
        let runners: Vec<_> =
            lock_of(&self.0.folders).values().map(|folder| Arc::clone(&folder.runner)).collect();
        for runner in runners {
            runner.stop().await;
        }
        self.0.transfer.shutdown().await;
        self.0.mesh.clone().shutdown().await;
        for task in lock_of(&self.0.tasks).drain(..) {
            task.abort();
        }
        lock_of(&self.0.folders).clear();
        if let Err(error) = dunlin_index::Storage::flush(&self.0.book) {
            tracing::warn!(%error, "the database could not be flushed");
        }
    }

    /// The first event of a node: what it is and has.
    ///
    /// # Errors
    /// When the settings or secrets of the home cannot be read.
    pub fn ready(&self) -> Result<Event, NodeError> {
        Ok(Event::Ready {
            device: self.0.key.device().to_string(),
            listen: self.0.mesh.listen_addrs(),
            api: lock_of(&self.0.api).clone(),
            folders: self.0.home.folders()?,
        })
    }

    /// Notes where the HTTP API listens.
    pub fn set_api(&self, url: Option<String>) {
        *lock_of(&self.0.api) = url;
    }

    /// Makes a directory a folder with a fresh sync-id; what is a folder already stays it.
    ///
    /// # Errors
    /// When the directory cannot be a folder.
    pub async fn add_folder(
        &self,
        path: &Path,
        label: Option<&str>,
    ) -> Result<FolderInfo, NodeError> {
        let label = label.map(home::check_name).transpose()?.unwrap_or_default();
        let config = self.0.home.config()?;
        let known = std::fs::canonicalize(path)
            .ok()
            .and_then(|path| config.folders.into_iter().find(|folder| folder.path == path));
        if let Some(folder) = known {
            // Said again by its user: a marker that is missing is made anew.
            let keys = self.0.home.keys(&folder)?;
            open::adopt(&folder.path, None, keys.folder(), self.0.key.device())
                .map_err(|reason| NodeError::Root { path: folder.path.clone(), reason })?;
            return info(&self.0.home, &folder);
        }
        self.take_up(&FolderKeys::create(random()), path, label, Vec::new())
    }

    /// Joins a folder at a directory.
    ///
    /// # Errors
    /// When the code is wrong or the directory cannot be a folder.
    pub async fn join(&self, code: &str, path: &Path) -> Result<FolderInfo, NodeError> {
        let code: JoinCode = code.parse()?;
        let info = self.take_up(&code.keys, path, &code.label, code.hints.clone())?;
        for hint in code.hints {
            self.0.mesh.add_peer_addr(hint);
        }
        Ok(info)
    }

    fn take_up(
        &self,
        keys: &FolderKeys,
        path: &Path,
        label: &str,
        hints: Vec<String>,
    ) -> Result<FolderInfo, NodeError> {
        let folder = adopt_folder(&self.0.home, self.0.key.device(), keys, path, label, hints)?;
        let info = info(&self.0.home, &folder)?;
        self.start_folder(folder)?;
        Ok(info)
    }

    /// The join code of a folder.
    ///
    /// # Errors
    /// When there is no such folder, or this device cannot give codes of that tier.
    pub fn share(&self, folder: &str, tier: Option<Tier>) -> Result<String, NodeError> {
        let id = self.find(folder)?;
        let config = self.0.home.config()?;
        let snapshot = lock_of(&self.0.folders).get(&id).map(|folder| folder.runner.snapshot());
        let label = snapshot.and_then(|snapshot| snapshot.settings.values.get(LABEL).cloned());
        let folder = home::find_folder(&config, folder)?;
        Ok(self.0.home.code(folder, tier, label.as_deref())?)
    }

    fn start_folder(&self, config: FolderConfig) -> Result<(), NodeError> {
        let keys = self.0.home.keys(&config)?;
        let id = keys.folder();
        let inner = &self.0;
        let serve = Arc::clone(&inner.blocks);
        let own_versions = Arc::new(Mutex::new(config.versions.clone()));
        let current = Arc::new(CurrentKeys::new(keys.clone()));
        let opener = open::opener(OpenFolder {
            keys: Arc::clone(&current),
            name: config.name.clone(),
            path: config.path.clone(),
            private: None,
            paused: config.paused,
            hold: config.hold,
            versions: Arc::clone(&own_versions),
            announce: config.announce,
            device_name: inner.name.clone(),
            key: Arc::clone(&inner.key),
            store: inner.store.clone(),
            space: Vec::new(),
            network: Arc::clone(&inner.network),
            events: inner.events.clone(),
            clock: Arc::clone(&inner.clock),
            serve: Box::new(move |blocks| {
                serve.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, blocks);
            }),
            resolver: Arc::clone(&inner.resolver),
        });
        inner.transfer.set_folder_priority(id, config.priority);
        let runner = Runner::start(opener, Arc::clone(&inner.clock), inner.changed.clone())?;
        let door = (keys.clone(), BTreeSet::new());
        inner.door.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, door);
        let running = RunningFolder {
            config,
            keys: current,
            membership: Arc::default(),
            outdated: false,
            runner: Arc::new(runner),
            seen: BTreeMap::new(),
            own_versions,
        };
        lock_of(&inner.folders).insert(id, running);
        inner.mesh.add_folder(keys);
        Ok(())
    }

    /// Stops syncing a folder; no file of it is touched.
    ///
    /// # Errors
    /// When there is no such folder.
    pub async fn remove(&self, folder: &str) -> Result<(), NodeError> {
        let id = self.find(folder)?;
        self.0.mesh.remove_folder(id);
        let running = lock_of(&self.0.folders).remove(&id);
        if let Some(running) = running {
            running.runner.stop().await;
            self.0.home.remove_folder(&running.config.name)?;
            open::release(&running.config.path);
        }
        self.0.blocks.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.0.door.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        open::erase(&self.0.store, id)?;
        Ok(())
    }

    /// Looks at the disk: of one folder, or of all. Returns when that is done.
    ///
    /// # Errors
    /// When there is no such folder, or it cannot be looked at.
    pub async fn scan(&self, folder: Option<&str>) -> Result<(), NodeError> {
        let ids = match folder {
            Some(folder) => vec![self.find(folder)?],
            None => lock_of(&self.0.folders).keys().copied().collect(),
        };
        for id in ids {
            self.ask(id, Request::Scan).await?;
        }
        Ok(())
    }

    /// Has what is lacking of a file, or below a directory, fetched before all else; given by its
    /// absolute path. Returns at once.
    ///
    /// # Errors
    /// When the path is in no folder, or nothing is known of it.
    pub async fn fetch(&self, path: &Path) -> Result<(), NodeError> {
        let located = self.locate(path)?;
        located.runner.ask(Request::Fetch(located.path)).await.map_err(NodeError::NotFound)
    }

    /// Pauses or resumes a folder, over restarts too.
    ///
    /// # Errors
    /// When there is no such folder.
    pub async fn set_paused(&self, folder: &str, paused: bool) -> Result<(), NodeError> {
        let id = self.find(folder)?;
        self.change_config(id, |folder| folder.paused = paused)?;
        self.ask(id, if paused { Request::Pause } else { Request::Resume }).await
    }

    /// Lets happen what a folder holds.
    ///
    /// # Errors
    /// When there is no such folder, or it holds none.
    pub async fn approve(&self, folder: &str) -> Result<(), NodeError> {
        let id = self.find(folder)?;
        self.ask(id, Request::Approve).await
    }

    /// Brings back what a held mass deletion would delete, or a held mass overwrite replace.
    ///
    /// # Errors
    /// When there is no such folder, or it holds none.
    pub async fn undo(&self, folder: &str) -> Result<(), NodeError> {
        let id = self.find(folder)?;
        self.ask(id, Request::Undo).await
    }

    /// What happens, from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// What the node is and does.
    pub fn status(&self) -> Status {
        let folders = lock_of(&self.0.folders);
        let mut folders: Vec<_> =
            folders.values().map(|folder| self.folder_status(folder)).collect();
        folders.sort_by(|a, b| a.name.cmp(&b.name));
        Status {
            device: self.0.key.device().to_string(),
            name: self.0.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.0.started.elapsed().as_secs(),
            listen: self.0.mesh.listen_addrs(),
            api: lock_of(&self.0.api).clone(),
            folders,
        }
    }

    fn folder_status(&self, folder: &RunningFolder) -> FolderStatus {
        let snapshot = folder.runner.snapshot();
        let keys = folder.keys.get();
        let traffic = self.0.network.traffic(keys.folder());
        // It may still be connected with others that were removed, or have not heard of it.
        let (state, error) = match folder.outdated && snapshot.error.is_none() {
            true => (FolderState::Error, Some(members::OUTDATED.to_owned())),
            false => (snapshot.state, snapshot.error.clone()),
        };
        FolderStatus {
            name: folder.config.name.clone(),
            path: folder.config.path.display().to_string(),
            tier: keys.tier().to_string(),
            state: if state == FolderState::Idle && !snapshot.settled {
                FolderState::Syncing
            } else {
                state
            },
            error,
            files: snapshot.counts.files,
            dirs: snapshot.counts.dirs,
            bytes: snapshot.counts.bytes,
            need_files: snapshot.need.0,
            need_bytes: snapshot.need.1,
            conflicts: snapshot.counts.conflicts,
            sent_bytes: traffic.sent,
            received_bytes: traffic.received,
            devices: self.device_statuses(folder, &snapshot),
            problems: snapshot.problems,
        }
    }

    fn device_statuses(&self, folder: &RunningFolder, snapshot: &Snapshot) -> Vec<DeviceStatus> {
        let me = self.0.key.device();
        let mut devices = device_names(&snapshot.members, &snapshot.settings);
        for device in folder.seen.keys() {
            devices.entry(*device).or_default();
        }
        for member in snapshot.members.iter().filter(|member| member.removed) {
            devices.remove(&member.device);
        }
        devices.remove(&me);
        devices
            .into_iter()
            .map(|(device, name)| {
                let seen = folder.seen.get(&device).copied().unwrap_or_default();
                let path = seen.connected.map(|path| match path {
                    PathKind::Lan => "lan",
                    PathKind::Direct => "direct",
                    PathKind::Relayed => "relayed",
                });
                DeviceStatus {
                    device: device.to_string(),
                    name,
                    connected: seen.connected.is_some(),
                    in_sync: snapshot.in_sync.get(&device).copied().unwrap_or(false),
                    path: path.map(str::to_owned),
                    last_seen: seen.last_ms.and_then(rfc3339),
                }
            })
            .collect()
    }

    /// Waits until every folder that is not paused is in sync with every connected device, at
    /// least one. Looks at the disks first, so that what was just written counts.
    pub async fn wait_in_sync(&self, timeout: Option<Duration>) -> WaitOutcome {
        let wait = async {
            let mut changed = self.0.changed.subscribe();
            // A folder that cannot be looked at shows its reason below.
            let _ = self.scan(None).await;
            loop {
                changed.mark_unchanged();
                if let Some(outcome) = self.sync_outcome() {
                    return outcome;
                }
                if changed.changed().await.is_err() {
                    return WaitOutcome::TimedOut;
                }
            }
        };
        match timeout {
            Some(timeout) => {
                tokio::time::timeout(timeout, wait).await.unwrap_or(WaitOutcome::TimedOut)
            }
            None => wait.await,
        }
    }

    fn sync_outcome(&self) -> Option<WaitOutcome> {
        let mut all = true;
        for folder in lock_of(&self.0.folders).values() {
            let snapshot = folder.runner.snapshot();
            match snapshot.state {
                FolderState::Paused => continue,
                _ if folder.outdated => {
                    return Some(WaitOutcome::Stopped {
                        folder: folder.config.name.clone(),
                        reason: members::OUTDATED.to_owned(),
                    });
                }
                FolderState::Held | FolderState::Error => {
                    return Some(WaitOutcome::Stopped {
                        folder: folder.config.name.clone(),
                        reason: snapshot.error.unwrap_or_default(),
                    });
                }
                _ => {}
            }
            all &= snapshot.settled
                && !snapshot.in_sync.is_empty()
                && snapshot.in_sync.values().all(|in_sync| *in_sync);
        }
        all.then_some(WaitOutcome::InSync)
    }

    /// Looks for what could keep this device from syncing.
    pub fn doctor(&self) -> Vec<Check> {
        crate::doctor::run(&self.0.home, Some(&self.status()))
    }

    fn save_listen(&self) {
        if let Err(error) = self.0.home.save_listen(&self.0.mesh.listen_addrs()) {
            tracing::warn!(%error, "join codes will carry no addresses");
        }
    }

    /// Hands on what the mesh tells.
    async fn pump(self, mut events: mpsc::Receiver<MeshEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                MeshEvent::Listening(_) => self.save_listen(),
                MeshEvent::MemberUp { peer, folder, path, block_addrs, .. } => {
                    self.0.transfer.set_peer(peer, block_addrs);
                    let _ = self.seen(folder, peer, Some(path));
                    self.command(folder, Command::PeerUp(peer)).await;
                }
                MeshEvent::MemberDown { peer, folder } => {
                    if self.seen(folder, peer, None) {
                        self.0.transfer.peer_gone(&peer);
                    }
                    self.command(folder, Command::PeerDown(peer)).await;
                }
                MeshEvent::Outdated { peer, folder } => self.outdated(folder, peer),
                MeshEvent::Message { peer, folder, message }
                | MeshEvent::Gossip { from: peer, folder, message } => {
                    match dunlin_index::sync::SyncMessage::decode(&message) {
                        Ok(message) => {
                            self.command(folder, Command::Message(peer, message)).await;
                        }
                        Err(error) => tracing::warn!(%peer, %error, "a message was refused"),
                    }
                }
                MeshEvent::BlockStream { peer, stream, .. } => {
                    self.0.transfer.serve_stream(peer, Box::new(stream));
                }
                MeshEvent::AddressLearned { peer, addr } => {
                    crate::book::keep(&self.0.book, &peer, &addr, self.0.clock.now());
                }
                MeshEvent::DhtAlone => {
                    let message = "no other node is known to enter the DHT by: devices outside \
                                   this network are found only through --peer or the addresses \
                                   in a join code"
                        .to_owned();
                    // Without a listener there is nobody to tell.
                    let _ = self.0.events.send(Event::Warning { folder: None, message });
                }
                _ => {}
            }
        }
    }

    async fn command(&self, folder: FolderId, command: Command) {
        let commands =
            lock_of(&self.0.folders).get(&folder).map(|folder| folder.runner.commands().clone());
        if let Some(commands) = commands {
            // The folder may be closing.
            let _ = commands.send(command).await;
        }
    }

    /// Notes whether a device is connected in a folder. True when it is connected in none any
    /// more.
    fn seen(&self, folder: FolderId, peer: DeviceId, path: Option<PathKind>) -> bool {
        let mut folders = lock_of(&self.0.folders);
        let Some(running) = folders.get_mut(&folder) else { return false };
        let seen = running.seen.entry(peer).or_default();
        let was = seen.connected.is_some();
        *seen = Seen { connected: path, last_ms: Some(self.0.clock.now()) };
        let connected: Vec<DeviceId> = running
            .seen
            .iter()
            .filter(|(_, seen)| seen.connected.is_some())
            .map(|(device, _)| *device)
            .collect();
        let (name, device) = (running.config.name.clone(), peer.to_string());
        let gone = !folders
            .values()
            .any(|folder| folder.seen.get(&peer).is_some_and(|seen| seen.connected.is_some()));
        drop(folders);
        let mut door = self.0.door.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, members)) = door.get_mut(&folder) {
            *members = connected.iter().copied().collect();
        }
        drop(door);
        self.0.transfer.members(folder, connected);
        self.0.changed.send_modify(|count| *count += 1);
        let event = match (was, path) {
            (false, Some(_)) => Event::DeviceConnected { folder: name, device },
            (true, None) => Event::DeviceDisconnected { folder: name, device },
            _ => return gone,
        };
        // Without a listener there is nobody to tell.
        let _ = self.0.events.send(event);
        gone
    }
}

fn open_database(home: &Home) -> Result<SledStore, NodeError> {
    match SledStore::open(&home.database(), DATABASE_CACHE_BYTES) {
        Err(why @ dunlin_index::StorageError::Damaged { .. }) => {
            // It is rebuilt from the disk and the peers; the old one is kept for a look.
            let aside = home.path().join(format!("db.damaged-{}", SystemClock.now()));
            tracing::error!(%why, aside = %aside.display(), "the database is damaged: starting anew");
            std::fs::rename(home.database(), &aside)?;
            Ok(SledStore::open(&home.database(), DATABASE_CACHE_BYTES)?)
        }
        other => Ok(other?),
    }
}

/// 32 bytes from the system's generator.
///
/// # Panics
/// When the system has no random numbers: no key could be trusted then.
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system must have random numbers to make keys");
    bytes
}

fn rfc3339(ms: u64) -> Option<String> {
    let ms = i64::try_from(ms).ok()?;
    let time = jiff::Timestamp::from_millisecond(ms - ms.rem_euclid(1000)).ok()?;
    Some(time.to_string())
}

fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
