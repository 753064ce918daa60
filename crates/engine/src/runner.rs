//! Runs one folder: a thread that owns its state machine, and the work that goes on beside it.
//!
//! The thread blocks on its bounded queue of commands until one comes or the state machine's next
//! timer is due. File-system calls that are short are made on it; hashing of large files and
//! fetching go on elsewhere and come back as commands.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use dunlin_blocks::FileHash;
use dunlin_identity::{DeviceId, FolderId, Hash};
use dunlin_index::sync::SyncMessage;
use dunlin_index::{Millis, RelPath, Storage, WrappedKey};
use dunlin_text::settings::Settings;
use dunlin_transfer::{Fetched, Priority};
use dunlin_tree::disk::DiskTable;
use dunlin_tree::fs::{Fs, Stat, TempName};
use dunlin_tree::settle::RawEvent;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::conflict::ResolverSlot;
use crate::download::{self, DownloadError};
use crate::folder::{Action, Announce, Folder, LargeFile, Membership, Past, Put, PutError, Wanted};
use crate::history::History;
use crate::home::VersionSettings;
use crate::manifests::ManifestStore;
use crate::network::Network;
use crate::partials::Partials;
use crate::restore::Outside;
use crate::settings::SettingChange;
use crate::take_up;
use crate::types::{Event, FolderState, Problem, RestoreReport, VerifyReport};

mod past;

mod conflicts;

pub use conflicts::{Answer, Asked, ConflictCommand, How, Wish};

/// Commands that wait for a folder's thread.
const QUEUE: usize = 1024;
/// Commands that are taken before the state machine's timers are looked at again.
const BURST: usize = 256;
/// Events of the watcher that wait at most; more become a look at the whole disk.
const EVENTS_MAX: usize = 32_768;
/// Small contents that are handed over at a time, at most: each time costs a flush of the disk.
const BLOBS_AT_ONCE: usize = 2048;
/// Bytes of small contents that are handed over at a time, at least, unless fewer are on their way.
const BLOB_BYTES_AT_ONCE: usize = 16 << 20;
/// Small contents wait no longer than this for others to come.
const BLOBS_WAIT: Duration = Duration::from_millis(100);
/// How long to wait before a message that was not taken is offered again.
const RESEND_MS: Millis = 20;
/// A folder that is not busy still looks at the whole disk this often: writes through `mmap` and
/// changes made under another mount give no event.
const RESCAN_MS: Millis = 60 * 60 * 1000;
/// A folder that cannot be opened is tried again after this time.
const REOPEN_MS: Millis = 2_000;

/// Events of the watcher that wait while the folder's thread is at work. It causes thousands of
/// them itself when it puts files in place; losing one would cost a look at the whole disk.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<Vec<RawEvent>>);

impl Inbox {
    /// Takes an event, and tells the folder's thread of the first one. False when there is no
    /// room for it.
    pub fn push(self: &Arc<Self>, event: RawEvent, commands: &mpsc::Sender<Command>) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = || commands.try_send(Command::Events(Arc::clone(self))).is_ok();
        if waiting.len() >= EVENTS_MAX || (waiting.is_empty() && !told()) {
            return false;
        }
        waiting.push(event);
        true
    }

    fn take(&self) -> Vec<RawEvent> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a folder's thread is told.
pub enum Command {
    /// The watcher saw something.
    Events(Arc<Inbox>),
    /// A member is connected.
    PeerUp(DeviceId),
    /// A member is gone.
    PeerDown(DeviceId),
    /// A member sent a message.
    Message(DeviceId, SyncMessage),
    /// A large file has been hashed.
    Hashed(RelPath, Stat, Result<FileHash, dunlin_tree::fs::FsError>),
    /// Small contents have come, or cannot be had now.
    Blobs(Vec<(Hash, Option<Bytes>)>),
    /// A large file is complete, or cannot be had now.
    Downloaded(Hash, Result<(TempName, FileHash), DownloadError>),
    /// The versions of a path, at most so many.
    Past(RelPath, usize, oneshot::Sender<Result<Past, String>>),
    /// Restore something, in the folder or outside.
    Restore(Wanted, Option<Outside>, oneshot::Sender<Result<RestoreReport, String>>),
    /// Read everything back.
    Verify(oneshot::Sender<Result<VerifyReport, String>>),
    /// Put in place what was brought together.
    Put(Vec<Put>, oneshot::Sender<Vec<Result<(), PutError>>>),
    /// The user asks something.
    Ask(Request, oneshot::Sender<Result<(), String>>),
    /// Something about conflicts.
    Conflict(ConflictCommand),
    /// The end.
    Stop,
}

/// What a user asks of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Look at the disk; answered when that is done.
    Scan,
    /// Stop until [`Request::Resume`].
    Pause,
    /// Go on.
    Resume,
    /// Let what is held happen.
    Approve,
    /// Bring back what the held change would delete or replace.
    Undo,
    /// Hold mass deletions and mass overwrites, or do not.
    Hold(bool),
    /// Change a setting that the members share.
    Setting(String, SettingChange),
    /// What is kept of old versions was set for this device.
    OwnVersions(VersionSettings),
    /// Fetch what is lacking of a file, or below a directory, before all else.
    Fetch(RelPath),
    /// Remove a device, with the keys of the generation that this is to raise the folder to.
    RemoveDevice {
        /// Which.
        device: DeviceId,
        /// The generation.
        generation: u32,
        /// Its keys, wrapped for those that stay.
        keys: Vec<WrappedKey>,
    },
    /// Raise the generation once more.
    Raise {
        /// The generation.
        generation: u32,
        /// Its keys, wrapped for all members.
        keys: Vec<WrappedKey>,
    },
}

/// What the outside sees of a folder, published by its thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What it is doing.
    pub state: FolderState,
    /// Why it is held or in error.
    pub error: Option<String>,
    /// Files and symlinks, directories, bytes, conflict copies.
    pub counts: dunlin_index::Counts,
    /// Files and bytes that are not yet on this disk.
    pub need: (u64, u64),
    /// Whether nothing at all waits, events of the watcher included.
    pub settled: bool,
    /// The members that are connected, and whether each holds the same as this device.
    pub in_sync: BTreeMap<DeviceId, bool>,
    /// All members that the index knows, this device included.
    pub members: Vec<dunlin_index::Member>,
    /// Who takes part, as far as keys go.
    pub membership: Arc<Membership>,
    /// Names that cannot be synced.
    pub problems: Vec<Problem>,
    /// What the members share.
    pub settings: Arc<Settings>,
}

impl Snapshot {
    fn opening() -> Self {
        Self {
            state: FolderState::Scanning,
            error: None,
            counts: dunlin_index::Counts::default(),
            need: (0, 0),
            settled: false,
            in_sync: BTreeMap::new(),
            members: Vec::new(),
            membership: Arc::default(),
            problems: Vec::new(),
            settings: Arc::default(),
        }
    }
}

/// What a folder's thread works with.
pub struct Shell<F, S: Storage> {
    /// The folder.
    pub folder: FolderId,
    /// The user's files.
    pub fs: Arc<F>,
    /// The disk table again, to read from other threads.
    pub rows: Arc<DiskTable<S>>,
    /// Manifest pieces.
    pub manifests: ManifestStore<S>,
    /// Files that are still on their way.
    pub partials: Arc<Partials>,
    /// The history, to read from other threads.
    pub history: History<S>,
    /// Where the state of the last clean moment is kept.
    pub meta: S,
    /// The way to the other members.
    pub network: Arc<dyn Network>,
    /// Events for the outside.
    pub events: broadcast::Sender<Event>,
    /// Threads that hash one large file.
    pub hash_threads: usize,
    /// Who decides about conflicts in the user's place.
    pub resolver: Arc<ResolverSlot>,
    /// When others are told of what the user has written.
    pub announce: Announce,
}

/// A folder that could be opened: its state machine, what it works with, and what must live as
/// long as both (the watcher).
pub struct Opened<F, S: Storage> {
    /// The state machine.
    pub folder: Folder<F, S>,
    /// What its thread works with.
    pub shell: Shell<F, S>,
    /// Dropped when the folder is closed.
    pub guard: Box<dyn Send>,
}

/// Opens a folder, or says in words for the user why it cannot be opened now. Called again until
/// it succeeds, and anew when the folder's disk or database had to be given up.
pub type Opener<F, S> =
    Box<dyn FnMut(mpsc::Sender<Command>) -> Result<Opened<F, S>, String> + Send>;

/// A running folder.
pub struct Runner {
    commands: mpsc::Sender<Command>,
    snapshot: watch::Receiver<Snapshot>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Runner {
    /// Starts a folder's thread. Must be called within a tokio runtime. `changed` is bumped
    /// whenever the snapshot changes.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<F, S>(
        opener: Opener<F, S>,
        clock: Arc<dyn Clock>,
        changed: watch::Sender<u64>,
    ) -> std::io::Result<Self>
    where
        F: Fs + 'static,
        S: Storage + Clone + Sync + 'static,
    {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (publish, snapshot) = watch::channel(Snapshot::opening());
        let supervisor = Supervisor {
            commands: commands.clone(),
            queue,
            handle: tokio::runtime::Handle::current(),
            publish: Publisher { snapshot: publish, changed },
            peers: BTreeMap::new(),
            clock,
        };
        let thread = std::thread::Builder::new()
            .name("folder".to_owned())
            .spawn(move || supervisor.run(opener))?;
        Ok(Self { commands, snapshot, thread: Mutex::new(Some(thread)) })
    }

    /// Where commands go.
    pub fn commands(&self) -> &mpsc::Sender<Command> {
        &self.commands
    }

    /// What the folder looks like now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Who takes part, as far as keys go.
    pub fn membership(&self) -> Arc<Membership> {
        Arc::clone(&self.snapshot.borrow().membership)
    }

    /// To wait for changes of the snapshot.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }

    /// Asks something and waits for the answer.
    ///
    /// # Errors
    /// What the folder answers, in words for the user.
    pub async fn ask(&self, request: Request) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the folder is being closed".to_owned();
        self.commands.send(Command::Ask(request, answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Ends the thread, after what it has begun.
    pub async fn stop(&self) {
        // An error only means that it has ended already.
        let _ = self.commands.send(Command::Stop).await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("a folder's thread has panicked");
            }
        }
    }
}

fn take_snapshot<F: Fs, S: Storage>(
    folder: &Folder<F, S>,
    peers: &BTreeMap<DeviceId, bool>,
) -> Snapshot {
    Snapshot {
        state: folder.state(),
        error: folder.reason(),
        counts: folder.index().counts(),
        need: folder.need(),
        settled: folder.is_settled(),
        in_sync: peers.keys().map(|peer| (*peer, folder.in_sync(peer))).collect(),
        members: folder.index().members(),
        membership: Arc::new(folder.membership()),
        problems: folder.problems().cloned().collect(),
        settings: Arc::clone(folder.settings()),
    }
}

/// Publishes snapshots to whoever watches.
struct Publisher {
    snapshot: watch::Sender<Snapshot>,
    changed: watch::Sender<u64>,
}

impl Publisher {
    fn publish(&self, snapshot: Snapshot) {
        let changed = self.snapshot.send_if_modified(|old| {
            let changed = *old != snapshot;
            *old = snapshot;
            changed
        });
        if changed {
            self.changed.send_modify(|count| *count += 1);
        }
    }
}

/// Opens the folder, runs it, and opens it again when it had to be given up.
struct Supervisor {
    commands: mpsc::Sender<Command>,
    queue: mpsc::Receiver<Command>,
    handle: tokio::runtime::Handle,
    publish: Publisher,
    peers: BTreeMap<DeviceId, bool>,
    clock: Arc<dyn Clock>,
}

impl Supervisor {
    fn run<F, S>(mut self, mut opener: Opener<F, S>)
    where
        F: Fs + 'static,
        S: Storage + Clone + Sync + 'static,
    {
        loop {
            let reason = match opener(self.commands.clone()) {
                Ok(opened) => {
                    let mut worker = Worker::new(&mut self, opened);
                    if worker.run() == Ended::Stopped {
                        return;
                    }
                    worker.folder.reason().unwrap_or_default()
                }
                Err(reason) => reason,
            };
            let mut snapshot = self.publish.snapshot.borrow().clone();
            snapshot.state = FolderState::Error;
            snapshot.error = Some(reason.clone());
            snapshot.settled = false;
            snapshot.in_sync = self.peers.keys().map(|peer| (*peer, false)).collect();
            self.publish.publish(snapshot);
            if self.wait_to_reopen(&reason) == Ended::Stopped {
                return;
            }
        }
    }

    /// Waits before the folder is tried again; commands are answered with the reason.
    fn wait_to_reopen(&mut self, reason: &str) -> Ended {
        let until = self.clock.now() + REOPEN_MS;
        loop {
            let wait = until.saturating_sub(self.clock.now());
            if wait == 0 {
                return Ended::Reopen;
            }
            let command = self.handle.block_on(async {
                tokio::time::timeout(Duration::from_millis(wait), self.queue.recv()).await
            });
            match command {
                Ok(None | Some(Command::Stop)) => return Ended::Stopped,
                Ok(Some(Command::PeerUp(peer))) => {
                    self.peers.insert(peer, false);
                }
                Ok(Some(Command::PeerDown(peer))) => {
                    self.peers.remove(&peer);
                }
                Ok(Some(Command::Ask(_, answer))) => {
                    // Nobody need wait for it any more.
                    let _ = answer.send(Err(reason.to_owned()));
                }
                Ok(Some(_)) | Err(_) => {}
            }
        }
    }
}

/// Why a worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Stopped,
    Reopen,
}

struct Worker<'a, F, S: Storage> {
    folder: Folder<F, S>,
    shell: Arc<Shell<F, S>>,
    outer: &'a mut Supervisor,
    _guard: Box<dyn Send>,
    /// Messages that the network could not take yet.
    unsent: VecDeque<(DeviceId, SyncMessage)>,
    /// Who waits for the scan that is wanted.
    scans: Vec<oneshot::Sender<Result<(), String>>>,
    /// The applied state that was stored last.
    applied: Option<Hash>,
    rescan_at: Millis,
    conflicts: conflicts::Asking,
}

impl<'a, F, S> Worker<'a, F, S>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    fn new(outer: &'a mut Supervisor, opened: Opened<F, S>) -> Self {
        let rescan_at = outer.clock.now() + RESCAN_MS;
        Self {
            folder: opened.folder,
            shell: Arc::new(opened.shell),
            outer,
            _guard: opened.guard,
            unsent: VecDeque::new(),
            scans: Vec::new(),
            applied: None,
            rescan_at,
            conflicts: conflicts::Asking::default(),
        }
    }

    fn run(&mut self) -> Ended {
        let now = self.outer.clock.now();
        for peer in self.outer.peers.keys() {
            self.folder.peer_up(*peer, now);
        }
        loop {
            let now = self.outer.clock.now();
            self.folder.tick(now);
            self.perform();
            self.after_tick(now);
            if self.folder.must_reopen() {
                return Ended::Reopen;
            }
            let wait = self.next_wake(now).saturating_sub(self.outer.clock.now());
            let queue = &mut self.outer.queue;
            let first = self.outer.handle.block_on(async {
                tokio::time::timeout(Duration::from_millis(wait), queue.recv()).await
            });
            let mut next = match first {
                Ok(Some(command)) => Some(command),
                Ok(None) => return Ended::Stopped,
                Err(_) => None,
            };
            let mut taken = 0;
            while let Some(command) = next.take() {
                if !self.take(command) {
                    self.finish();
                    return Ended::Stopped;
                }
                self.perform();
                taken += 1;
                if taken < BURST {
                    next = self.outer.queue.try_recv().ok();
                }
            }
        }
    }

    fn next_wake(&self, now: Millis) -> Millis {
        let mut next = self.folder.next_tick(now).min(self.rescan_at);
        if !self.unsent.is_empty() {
            next = next.min(now + RESEND_MS);
        }
        next
    }

    fn after_tick(&mut self, now: Millis) {
        if now >= self.rescan_at {
            self.rescan_at = now + RESCAN_MS;
            self.folder.scan();
        }
        while let Some((peer, message)) = self.unsent.pop_front() {
            let known = self.outer.peers.contains_key(&peer);
            if known && !self.shell.network.send(self.shell.folder, peer, &message) {
                self.unsent.push_front((peer, message));
                break;
            }
        }
        if self.folder.state() != FolderState::Scanning {
            for answer in self.scans.drain(..) {
                // Nobody need wait for it any more.
                let _ = answer.send(Ok(()));
            }
        }
        self.store_applied();
        self.ask_resolver();
        self.outer.publish.publish(take_snapshot(&self.folder, &self.outer.peers));
    }

    /// Keeps the fingerprint of the state that is whole on disk, so that the next start need not
    /// compare everything.
    fn store_applied(&mut self) {
        let Some(applied) = self.folder.applied() else { return };
        if self.applied != Some(applied)
            && take_up::store_applied(&self.shell.meta, &applied).is_ok()
        {
            self.applied = Some(applied);
        }
    }

    fn finish(&mut self) {
        let in_order = self.folder.close();
        self.perform();
        if !in_order {
            return;
        }
        if let Err(error) = take_up::store_closed(&self.shell.meta) {
            tracing::warn!(%error, "this end will look like a crash at the next start");
        }
    }

    /// Takes one command; false at the end.
    fn take(&mut self, command: Command) -> bool {
        let now = self.outer.clock.now();
        match command {
            Command::Events(inbox) => {
                for event in inbox.take() {
                    self.folder.event(event, now);
                }
            }
            Command::PeerUp(peer) => {
                self.outer.peers.insert(peer, false);
                self.folder.peer_up(peer, now);
            }
            Command::PeerDown(peer) => {
                self.outer.peers.remove(&peer);
                self.unsent.retain(|(to, _)| *to != peer);
                self.folder.peer_down(&peer);
            }
            Command::Message(from, message) => {
                if let Err(error) = self.folder.message(from, message, now) {
                    tracing::warn!(%from, %error, "a message was refused");
                }
            }
            Command::Hashed(path, stat, result) => self.folder.hashed(&path, stat, result, now),
            Command::Blobs(blobs) => self.folder.blobs(blobs, now),
            Command::Downloaded(root, result) => self.folder.downloaded(root, result, now),
            Command::Ask(request, answer) => self.answer(request, answer, now),
            Command::Conflict(command) => self.conflict_command(command, now),
            Command::Stop => return false,
            past => self.take_past(past, now),
        }
        true
    }

    fn answer(
        &mut self,
        request: Request,
        answer: oneshot::Sender<Result<(), String>>,
        now: Millis,
    ) {
        let result = match request {
            Request::Scan => {
                self.folder.scan();
                self.scans.push(answer);
                return;
            }
            Request::Pause => {
                self.folder.pause(now);
                Ok(())
            }
            Request::Resume => {
                self.folder.resume(now);
                Ok(())
            }
            Request::Approve => held(self.folder.approve(now)),
            Request::Undo => held(self.folder.undo(now)),
            Request::Hold(hold) => {
                self.folder.set_hold(hold);
                Ok(())
            }
            Request::Setting(key, change) => {
                let changed = self.folder.change_setting(&key, &change, now);
                changed.map_err(|error| error.to_string())
            }
            Request::Fetch(path) => match self.folder.ask_for(&path) {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(format!("nothing is known of {path} in this folder")),
                Err(error) => Err(error.to_string()),
            },
            Request::RemoveDevice { generation, .. } | Request::Raise { generation, .. }
                if self.folder.index().generation().checked_add(1) != Some(generation) =>
            {
                Err("another device was removed at the same time: try again".to_owned())
            }
            Request::RemoveDevice { device, keys, .. } => {
                let removed = self.folder.remove_device(device, &keys, now);
                removed.map(|_| ()).map_err(|error| error.to_string())
            }
            Request::Raise { keys, .. } => {
                let raised = self.folder.raise_generation(&keys, now);
                raised.map(|_| ()).map_err(|error| error.to_string())
            }
            Request::OwnVersions(own) => {
                self.folder.set_own_versions(own);
                Ok(())
            }
        };
        // Nobody need wait for it any more.
        let _ = answer.send(result);
    }

    /// Does what the state machine asks for.
    fn perform(&mut self) {
        while let Some(action) = self.folder.poll() {
            match action {
                Action::Send(peer, message) => {
                    let waits = self.unsent.iter().any(|(to, _)| *to == peer);
                    if waits || !self.shell.network.send(self.shell.folder, peer, &message) {
                        self.unsent.push_back((peer, message));
                    }
                }
                Action::Broadcast(message) => {
                    self.shell.network.broadcast(self.shell.folder, &message);
                }
                Action::Hash(path, stat) => self.hash(path, stat),
                Action::FetchSmall(blocks) => self.fetch_small(blocks),
                Action::Download(file) => self.download(file),
                Action::Event(event) => {
                    // Without a listener there is nobody to tell.
                    let _ = self.shell.events.send(event);
                }
            }
        }
    }

    fn hash(&self, path: RelPath, stat: Stat) {
        let (shell, commands) = (Arc::clone(&self.shell), self.outer.commands.clone());
        self.outer.handle.spawn(async move {
            let at = path.clone();
            let hashed = tokio::task::spawn_blocking(move || {
                let (threads, announce) = (shell.hash_threads, shell.announce);
                crate::download::hash_file(&*shell.fs, &at, &stat, threads, announce)
            });
            if let Ok(result) = hashed.await {
                // The folder may be closed by now.
                let _ = commands.send(Command::Hashed(path, stat, result)).await;
            }
        });
    }

    fn fetch_small(&self, blocks: Vec<dunlin_blocks::BlockRef>) {
        let (shell, commands) = (Arc::clone(&self.shell), self.outer.commands.clone());
        let (sink, mut fetched) = mpsc::channel(BLOBS_AT_ONCE);
        let fetcher = Arc::clone(&shell);
        self.outer.handle.spawn(async move {
            // A small file need not wait for a large one that came before it.
            fetcher.network.fetch(fetcher.folder, blocks, Priority::High, sink).await;
        });
        self.outer.handle.spawn(async move {
            while let Some(blobs) = gather(&mut fetched).await {
                if commands.send(Command::Blobs(blobs)).await.is_err() {
                    return;
                }
            }
        });
    }

    fn download(&self, file: LargeFile) {
        let (shell, commands) = (Arc::clone(&self.shell), self.outer.commands.clone());
        self.outer.handle.spawn(async move {
            let root = file.root;
            let result = download::fetch(&shell, file).await;
            // The folder may be closed by now.
            let _ = commands.send(Command::Downloaded(root, result)).await;
        });
    }
}

/// Takes small contents as they come, until there are enough to be worth a flush of the disk, no
/// more are to come, or the first has waited for long enough.
async fn gather(fetched: &mut mpsc::Receiver<Fetched>) -> Option<Vec<(Hash, Option<Bytes>)>> {
    let first = fetched.recv().await?;
    let until = tokio::time::Instant::now() + BLOBS_WAIT;
    let mut bytes = 0;
    let mut blobs = Vec::new();
    let mut next = Some(first);
    while let Some(got) = next.take() {
        let data = got.data.ok();
        bytes += data.as_ref().map_or(0, Bytes::len);
        blobs.push((got.hash, data));
        if bytes < BLOB_BYTES_AT_ONCE && blobs.len() < BLOBS_AT_ONCE {
            // An error means that the time is over.
            next = tokio::time::timeout_at(until, fetched.recv()).await.unwrap_or_default();
        }
    }
    Some(blobs)
}

fn held(result: Result<bool, dunlin_index::IndexError>) -> Result<(), String> {
    match result {
        Ok(true) => Ok(()),
        Ok(false) => Err("nothing is held: there is nothing to decide".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
