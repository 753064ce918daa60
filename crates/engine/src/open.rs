//! Opens a folder for its thread: index, disk table, file system, watcher.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dunlin_identity::{DeviceId, DeviceKey, FolderId};
use dunlin_index::storage::{SledSpace, SledStore};
use dunlin_index::{Batch, Config, Storage, StorageError};
use dunlin_tree::disk::DiskTable;
use dunlin_tree::fs::{Fs, RealFs};
use dunlin_tree::marker::{Marker, RootError};
use dunlin_tree::watch::Watcher;
use tokio::sync::{broadcast, mpsc};

use crate::clock::Clock;
use crate::conflict::ResolverSlot;
use crate::folder::{Announce, Folder};
use crate::history::History;
use crate::home::VersionSettings;
use crate::keys::CurrentKeys;
use crate::network::{Network, ServeBlocks};
use crate::node::random;
use crate::runner::{Command, Inbox, Opened, Opener, Shell};
use crate::serve::FolderBlocks;
use crate::take_up::{Spaces, Start, take_up};
use crate::types::Event;

/// Keys that are deleted at a time when a folder's part of the database is erased.
const ERASE_PAGE: usize = 1000;

/// Takes the blocks of a folder that was opened, so that others can be served.
pub(crate) type TakeBlocks = Box<dyn Fn(Arc<dyn ServeBlocks>) + Send>;

/// What is needed to open a folder.
pub(crate) struct OpenFolder {
    pub(crate) keys: Arc<CurrentKeys>,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Where temporary files and versions go, if not into the folder's `.dunlin`.
    pub(crate) private: Option<PathBuf>,
    pub(crate) paused: bool,
    pub(crate) hold: bool,
    /// What is kept of what changes replace and delete.
    /// What its user has set about old versions, which may change while it runs.
    pub(crate) versions: Arc<Mutex<VersionSettings>>,
    pub(crate) announce: Announce,
    pub(crate) device_name: String,
    pub(crate) key: Arc<DeviceKey>,
    pub(crate) store: SledStore,
    /// Tells folders with one id in one database apart.
    pub(crate) space: Vec<u8>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) serve: TakeBlocks,
    pub(crate) resolver: Arc<ResolverSlot>,
}

fn spaces_of(store: &SledStore, folder: FolderId, space: &[u8]) -> Spaces<SledSpace> {
    let space = |kind: u8| {
        let mut prefix = vec![kind];
        prefix.extend_from_slice(&folder.0);
        prefix.extend_from_slice(space);
        store.space(&prefix)
    };
    Spaces {
        index: space(b'i'),
        rows: space(b'r'),
        manifests: space(b'm'),
        meta: space(b's'),
        history: space(b'h'),
        texts: space(b't'),
    }
}

/// Makes an opener for a folder's thread.
pub(crate) fn opener(folder: OpenFolder) -> Opener<RealFs, SledSpace> {
    Box::new(move |commands| open(&folder, commands))
}

fn open(
    open: &OpenFolder,
    commands: mpsc::Sender<Command>,
) -> Result<Opened<RealFs, SledSpace>, String> {
    let name = &open.name;
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let device = open.key.device();
    let keys = open.keys.get();
    let folder = keys.folder();
    let fs = Arc::new(open_fs(&open.path, open.private.as_deref()).map_err(|error| say(&error))?);

    let spaces = spaces_of(&open.store, folder, &open.space);
    let now = open.clock.now();
    let config = Config {
        folder,
        id_key: keys.id_key().unwrap_or([0; 32]),
        device,
        tier: keys.tier(),
        admission: keys.admit(device),
        name: open.device_name.clone(),
        verifier: Arc::clone(&open.keys) as _,
        fresh_epoch: u64::from_le_bytes(random()[..8].try_into().unwrap_or([1; 8])),
    };
    let versions = open.versions.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let start = Start {
        name: name.clone(),
        fs: Arc::clone(&fs),
        spaces: spaces.clone(),
        config,
        signer: Arc::clone(&open.key) as _,
        seed: u64::from_le_bytes(random()[..8].try_into().unwrap_or([2; 8])),
        scan_threads: threads,
        versions: versions.policy(),
        announce: open.announce,
    };
    let parts = take_up(start, now).map_err(|error| say(&error))?;
    let (manifests, texts) = (parts.manifests.clone(), parts.texts.clone());
    let readable = Arc::new(DiskTable::open(spaces.rows).map_err(|error| say(&error))?);
    let watcher = watch(&open.path, commands);
    if let Err(error) = &watcher {
        let message = format!("{name}: changes are only found by scans: {error}");
        // Without a listener there is nobody to tell.
        let _ = open.events.send(Event::Warning { folder: Some(name.clone()), message });
    }
    let mut state = Folder::new(parts);
    state.set_hold(open.hold);
    state.set_own_versions(versions);
    if open.paused {
        state.pause(now);
    }
    let partials = Arc::default();
    (open.serve)(Arc::new(FolderBlocks {
        fs: Arc::clone(&fs),
        rows: Arc::clone(&readable),
        manifests: manifests.clone(),
        texts,
        partials: Arc::clone(&partials),
    }));
    let shell = Shell {
        folder,
        fs,
        rows: readable,
        manifests,
        partials,
        history: History::new(spaces.history),
        meta: spaces.meta,
        network: Arc::clone(&open.network),
        events: open.events.clone(),
        hash_threads: threads.get(),
        resolver: Arc::clone(&open.resolver),
        announce: open.announce,
    };
    Ok(Opened { folder: state, shell, guard: Box::new(watcher.ok()) })
}

fn open_fs(path: &Path, private: Option<&Path>) -> Result<RealFs, RootError> {
    match private {
        Some(private) => RealFs::open_apart(path, private),
        None => RealFs::open(path),
    }
}

fn watch(
    path: &Path,
    commands: mpsc::Sender<Command>,
) -> Result<Watcher, dunlin_tree::watch::WatchError> {
    // That there is no room is told to the watcher, which then asks for a scan.
    let inbox = Arc::new(Inbox::default());
    let sink = move |event| inbox.push(event, &commands);
    Watcher::start(path, Box::new(|_| false), Box::new(sink))
}

/// Makes a directory this device's part of a folder: the marker is written if it is missing.
///
/// # Errors
/// Why it cannot be, for the user.
pub(crate) fn adopt(
    path: &Path,
    private: Option<&Path>,
    folder: FolderId,
    device: DeviceId,
) -> Result<(), String> {
    let fs = open_fs(path, private).map_err(|error| error.to_string())?;
    fs.init(&Marker::new(folder, device)).map(|_| ()).map_err(|error| error.to_string())
}

/// Takes the marker out of a directory that is not synced any more. The user's files and the
/// version store stay.
pub(crate) fn release(path: &Path) {
    if let Ok(fs) = RealFs::open(path)
        && let Err(error) = fs.remove_marker()
    {
        tracing::warn!(%error, "the folder's marker stays");
    }
}

/// Erases what the database holds of a folder.
///
/// # Errors
/// Fails when the storage does.
pub(crate) fn erase(store: &SledStore, folder: FolderId) -> Result<(), StorageError> {
    let spaces = spaces_of(store, folder, &[]);
    for space in [spaces.index, spaces.rows, spaces.manifests, spaces.meta, spaces.history] {
        loop {
            let page = space.scan(&[], None, ERASE_PAGE)?;
            if page.is_empty() {
                break;
            }
            let mut batch = Batch::new();
            for (key, _) in page {
                batch.delete(key);
            }
            space.commit(batch)?;
        }
    }
    store.space(b"book/").flush()
}
