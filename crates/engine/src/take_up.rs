//! Takes up a folder from its parts: what is the same on a real device and on a simulated one.
//!
//! Here a database that is older than its folder is found out (rule 8), and whether the last run
//! was ended or broke off.

use std::num::NonZeroUsize;
use std::sync::Arc;

use dunlin_identity::{Hash, Tier};
use dunlin_index::{Batch, Config, Index, IndexError, Millis, Signer, Storage, StorageError};
use dunlin_tree::disk::{DiskError, DiskTable};
use dunlin_tree::fs::{Fs, FsError};
use dunlin_tree::marker::{Marker, RootError};

use crate::folder::{Announce, HistoryParts, Parts};
use crate::history::policy::Policy;
use crate::history::{HistoryError, HistoryLog};
use crate::manifests::ManifestStore;
use crate::texts::TextStore;

/// The key, in a folder's own space for settings, of the state that was whole on disk.
pub const APPLIED_KEY: &[u8] = b"applied";

/// The key, in the same space, that is there while a folder is open.
pub const RUNNING_KEY: &[u8] = b"running";

/// The sequence number in the marker of a folder that is open: the true one is written at the end.
const IN_USE: u64 = u64::MAX;

/// The key spaces of a folder in the database.
#[derive(Clone, Debug)]
pub struct Spaces<S> {
    /// The index.
    pub index: S,
    /// The disk table.
    pub rows: S,
    /// Manifest pieces.
    pub manifests: S,
    /// What texts are made of.
    pub texts: S,
    /// Settings of the folder itself.
    pub meta: S,
    /// The history.
    pub history: S,
}

/// What a folder is taken up with.
pub struct Start<F, S> {
    /// The folder's name on this device.
    pub name: String,
    /// The user's files.
    pub fs: Arc<F>,
    /// Its part of the database.
    pub spaces: Spaces<S>,
    /// What the index must know; its epoch is also the one that is opened after a rollback.
    pub config: Config,
    /// Signs what this device writes.
    pub signer: Arc<dyn Signer + Send + Sync>,
    /// Draws the jitter of timers.
    pub seed: u64,
    /// How many threads a scan may use.
    pub scan_threads: NonZeroUsize,
    /// What is kept of what changes replace and delete.
    pub versions: Policy,
    /// When others are told of what the user has written.
    pub announce: Announce,
}

/// Why a folder could not be taken up; it can be tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeUpError {
    /// The directory is not there, or not this folder's.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The index cannot be opened.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The disk table cannot be opened.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The marker cannot be written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The history cannot be opened.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Takes up a folder: opens what its database holds, and marks it as running.
///
/// # Errors
/// See [`TakeUpError`].
pub fn take_up<F: Fs, S: Storage + Clone>(
    start: Start<F, S>,
    now: Millis,
) -> Result<Parts<F, S>, TakeUpError> {
    let Start { name, fs, spaces, config, signer, seed, scan_threads, versions, announce } = start;
    let marker = fs.root_check(&Marker::new(config.folder, config.device))?;
    let (fresh_epoch, writable) = (config.fresh_epoch, config.tier == Tier::Write);
    let after_crash = spaces.meta.get(RUNNING_KEY)?.is_some();
    if after_crash {
        // What the process that was killed has put on the disk, and noted, becomes durable before
        // the notes do: the database is flushed from now on.
        fs.sync_all()?;
    }
    let mut index = Index::open(spaces.index, config, now)?;
    let author = index.author();
    let have = index.context().get(&author);
    let as_left = marker.epoch == author.epoch && marker.sequence <= have;
    if have > 0 && (after_crash || !as_left) {
        // The database may be older than the folder: restored from a backup (rule 8). Were the log
        // gone on with, two records could come to bear one number, which nobody could mend.
        index.open_new_epoch(fresh_epoch, now)?;
    }
    // Until the folder is closed in good order, no database fits this marker.
    fs.write_marker(&Marker { epoch: index.author().epoch, sequence: IN_USE, ..marker })?;
    // A new epoch begins with this device's admission, which the others need before all else.
    index.commit(&*signer)?;
    let mut rows = DiskTable::open(spaces.rows)?;
    if let Some(changes) = index.kept_beside()?
        && rows.redo(&changes)?
    {
        tracing::debug!("the last changes of the table of files are made up for");
    }
    let manifests = ManifestStore::new(spaces.manifests);
    manifests.sweep(&rows)?;
    let log = HistoryLog::open(&*fs, spaces.history, seed)?;
    let texts = TextStore::new(spaces.texts);
    let applied = spaces.meta.get(APPLIED_KEY)?;
    let applied = applied.and_then(|bytes| bytes.try_into().ok()).map(Hash);

    let mut running = Batch::new();
    running.put(RUNNING_KEY, [1]);
    spaces.meta.commit(running)?;
    Ok(Parts {
        name,
        fs,
        index,
        rows,
        signer,
        seed,
        writable,
        scan_threads,
        marker,
        manifests,
        history: HistoryParts { log, policy: versions },
        texts,
        applied,
        after_crash,
        announce,
    })
}

/// Keeps the state that is whole on disk, so that the next start need not compare everything.
///
/// # Errors
/// Fails when the storage does.
pub fn store_applied<S: Storage>(meta: &S, applied: &Hash) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    batch.put(APPLIED_KEY, applied.0);
    meta.commit(batch)
}

/// Notes that the folder was closed in good order.
///
/// # Errors
/// Fails when the storage does; the end then looks like a crash at the next start.
pub fn store_closed<S: Storage>(meta: &S) -> Result<(), StorageError> {
    let mut stopped = Batch::new();
    stopped.delete(RUNNING_KEY);
    meta.commit(stopped)?;
    meta.flush()
}
