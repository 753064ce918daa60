//! Keeps two directories of one machine the same, in one process and without a network.
//!
//! Each directory is a folder of its own device, with an index of its own; only the way between
//! the two is short. So everything that holds between two machines (conflict copies, renames that
//! are followed, mass deletions that wait) holds here as well.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, DeviceKey, FolderId, FolderKeys, Tier};
use dunlin_index::storage::SledStore;
use dunlin_index::sync::SyncMessage;
use dunlin_transfer::{BoxFuture, FetchError, Fetched, Priority, Traffic};
use tokio::sync::{broadcast, mpsc, watch};

use crate::clock::SystemClock;
use crate::folder::Announce;
use crate::home::{Home, HomeError, HomeLock};
use crate::keys::CurrentKeys;
use crate::network::{Network, ServeBlocks};
use crate::node::NodeError;
use crate::open::{self, OpenFolder};
use crate::runner::{Command, Request, Runner};
use crate::types::{Event, FolderState};

/// Bytes that sled keeps in memory for the two indexes.
const CACHE_BYTES: u64 = 16 << 20;
/// Events that wait for a slow reader before some are lost to it.
const EVENTS: usize = 4096;
const KEY_CONTEXT: &str = "dunlin 2026-11 key of one of two local directories";
const SECRET_CONTEXT: &str = "dunlin 2026-11 sync-id of two local directories";

/// What to do with two directories.
#[derive(Clone, Debug)]
pub struct PairConfig {
    /// The home; the state is kept in it, outside both directories.
    pub home: PathBuf,
    /// One directory.
    pub a: PathBuf,
    /// The other.
    pub b: PathBuf,
    /// Whether only changes of `a` go to `b`.
    pub one_way: bool,
    /// Look at both this often, besides watching them.
    pub interval: Option<Duration>,
}

/// The way from one directory to the other.
struct Link {
    me: DeviceId,
    handle: tokio::runtime::Handle,
    commands: OnceLock<mpsc::Sender<Command>>,
    blocks: Arc<RwLock<Option<Arc<dyn ServeBlocks>>>>,
}

impl Link {
    fn pass(&self, message: &SyncMessage) -> bool {
        let Some(commands) = self.commands.get() else { return false };
        commands.try_send(Command::Message(self.me, message.clone())).is_ok()
    }
}

impl Network for Link {
    fn send(&self, _folder: FolderId, _peer: DeviceId, message: &SyncMessage) -> bool {
        self.pass(message)
    }

    fn broadcast(&self, _folder: FolderId, message: &SyncMessage) {
        if !self.pass(message) {
            tracing::debug!("the other directory is busy; repair carries it");
        }
    }

    fn fetch(
        &self,
        _folder: FolderId,
        blocks: Vec<BlockRef>,
        _priority: Priority,
        sink: mpsc::Sender<Fetched>,
    ) -> BoxFuture<'_, ()> {
        let source = self.blocks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let handle = self.handle.clone();
        Box::pin(async move {
            // An error only means that the program is ending.
            let _ = handle
                .spawn_blocking(move || {
                    for block in blocks {
                        let data = source.as_ref().and_then(|source| source.read(&block.hash));
                        let data = data.ok_or(FetchError::Unavailable);
                        if sink.blocking_send(Fetched { hash: block.hash, data }).is_err() {
                            return;
                        }
                    }
                })
                .await;
        })
    }

    fn traffic(&self, _folder: FolderId) -> Traffic {
        Traffic::default()
    }
}

/// Two directories that are being kept the same.
pub struct Pair {
    runners: [Arc<Runner>; 2],
    changed: watch::Sender<u64>,
    events: broadcast::Sender<Event>,
    interval: Option<Duration>,
    _lock: HomeLock,
}

impl Pair {
    /// Takes up two directories. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a directory cannot be used, or another process keeps these two the same already.
    pub async fn start(config: PairConfig) -> Result<Self, NodeError> {
        let (mut a, mut b) = (existing(&config.a)?, existing(&config.b)?);
        if !config.one_way && b < a {
            // The same two are one pair, whichever is named first.
            std::mem::swap(&mut a, &mut b);
        }
        if a.starts_with(&b) || b.starts_with(&a) {
            let reason = "the two directories are inside one another: name two separate ones";
            return Err(NodeError::Root { path: b, reason: reason.to_owned() });
        }
        let home = Home::open(&config.home)?;
        let seed = *home.key(crate::node::random())?.seed();
        let state = state_of(&home, &a, &b)?;
        let lock = state.lock()?;
        let store = SledStore::open(&state.database(), CACHE_BYTES)?;
        let secret = derive(SECRET_CONTEXT, &seed, &[&a, &b]);
        let keys = FolderKeys::create(secret);
        let sides = [side(&seed, &a, keys.clone()), side(&seed, &b, keys)];
        let (events, changed) = (broadcast::channel(EVENTS).0, watch::channel(0).0);
        let links: Vec<Arc<Link>> = sides.iter().map(|side| Arc::new(Link::new(side))).collect();
        let mut runners = Vec::new();
        for (at, side) in sides.iter().enumerate() {
            let private = state.path().join(if at == 0 { "a" } else { "b" });
            std::fs::create_dir_all(&private)?;
            let mut keys = side.keys.clone();
            if config.one_way && at == 1 {
                keys = keys.weaken(Tier::Read).unwrap_or(keys);
            }
            let device = side.key.device();
            open::adopt(&side.path, Some(&private), keys.folder(), device)
                .map_err(|reason| NodeError::Root { path: side.path.clone(), reason })?;
            // The other side reads this side's blocks.
            let served = Arc::clone(&links[1 - at].blocks);
            let opener = open::opener(OpenFolder {
                keys: Arc::new(CurrentKeys::new(keys)),
                name: side.path.display().to_string(),
                path: side.path.clone(),
                private: Some(private),
                paused: false,
                hold: true,
                versions: Default::default(),
                announce: Announce::default(),
                device_name: if at == 0 { "A" } else { "B" }.to_owned(),
                key: Arc::clone(&side.key),
                store: store.clone(),
                space: vec![u8::try_from(at).unwrap_or_default()],
                network: Arc::clone(&links[at]) as _,
                events: events.clone(),
                clock: Arc::new(SystemClock),
                serve: Box::new(move |blocks| {
                    *served.write().unwrap_or_else(PoisonError::into_inner) = Some(blocks);
                }),
                resolver: Arc::default(),
            });
            let runner = Runner::start(opener, Arc::new(SystemClock), changed.clone())?;
            runners.push(Arc::new(runner));
        }
        let [one, two]: [Arc<Runner>; 2] =
            runners.try_into().unwrap_or_else(|_| unreachable!("there are two sides"));
        // Each link leads from its own side to the other one.
        let _ = links[0].commands.set(two.commands().clone());
        let _ = links[1].commands.set(one.commands().clone());
        let pair =
            Self { runners: [one, two], changed, events, interval: config.interval, _lock: lock };
        for (at, runner) in pair.runners.iter().enumerate() {
            let other = sides[1 - at].key.device();
            // It fails only when the thread has ended, which its snapshot shows.
            let _ = runner.commands().send(Command::PeerUp(other)).await;
        }
        Ok(pair)
    }

    /// What happens, from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Waits until both directories are the same.
    ///
    /// # Errors
    /// When a directory is held or in error: why, and what to do.
    pub async fn settled(&self) -> Result<(), String> {
        let mut changed = self.changed.subscribe();
        self.scan().await?;
        loop {
            changed.mark_unchanged();
            let mut same = true;
            for runner in &self.runners {
                let now = runner.snapshot();
                if matches!(now.state, FolderState::Held | FolderState::Error) {
                    return Err(now.error.unwrap_or_default());
                }
                same &= now.settled
                    && !now.in_sync.is_empty()
                    && now.in_sync.values().all(|in_sync| *in_sync);
            }
            if same {
                return Ok(());
            }
            if changed.changed().await.is_err() {
                return Err("the program is ending".to_owned());
            }
        }
    }

    /// Looks at both directories.
    ///
    /// # Errors
    /// When one cannot be looked at.
    pub async fn scan(&self) -> Result<(), String> {
        for runner in &self.runners {
            runner.ask(Request::Scan).await?;
        }
        Ok(())
    }

    /// Keeps looking at the interval that was asked for; without one, waits for ever.
    pub async fn run(&self) {
        loop {
            match self.interval {
                Some(interval) => tokio::time::sleep(interval).await,
                None => std::future::pending().await,
            }
            if let Err(reason) = self.scan().await {
                tracing::warn!(%reason, "a look at the directories failed");
            }
        }
    }

    /// What is wrong with either directory's names: path and reason.
    pub fn problems(&self) -> Vec<crate::types::Problem> {
        self.runners.iter().flat_map(|runner| runner.snapshot().problems).collect()
    }

    /// Ends both.
    pub async fn shutdown(&self) {
        for runner in &self.runners {
            runner.stop().await;
        }
    }
}

struct Side {
    path: PathBuf,
    key: Arc<DeviceKey>,
    keys: FolderKeys,
}

impl Link {
    fn new(side: &Side) -> Self {
        Self {
            me: side.key.device(),
            handle: tokio::runtime::Handle::current(),
            commands: OnceLock::new(),
            blocks: Arc::default(),
        }
    }
}

fn side(seed: &[u8; 32], path: &Path, keys: FolderKeys) -> Side {
    let key = DeviceKey::from_seed(derive(KEY_CONTEXT, seed, &[path]));
    Side { path: path.to_owned(), key: Arc::new(key), keys }
}

fn existing(path: &Path) -> Result<PathBuf, NodeError> {
    let bad = |reason: String| NodeError::Root { path: path.to_owned(), reason };
    let found = std::fs::canonicalize(path)
        .map_err(|error| bad(format!("{error}: both directories must be there")))?;
    if !found.is_dir() {
        return Err(bad("it is not a directory".to_owned()));
    }
    Ok(found)
}

/// The state of this pair.
fn state_of(home: &Home, a: &Path, b: &Path) -> Result<Home, HomeError> {
    let name = dunlin_identity::Hash(derive(SECRET_CONTEXT, &[0; 32], &[a, b])).to_string();
    Home::open(&home.path().join("sync").join(&name[..16]))
}

fn derive(context: &str, seed: &[u8; 32], paths: &[&Path]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(seed);
    for path in paths {
        let bytes = path.as_os_str().as_encoded_bytes();
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    *hasher.finalize().as_bytes()
}
