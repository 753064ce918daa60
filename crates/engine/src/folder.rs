//! One folder's life as a state machine.
//!
//! # Goals
//! - The disk becomes what the index says, and the index learns what the user did: the two halves
//!   (`observe` and `reconcile`) meet in the disk table, which holds what this device has put
//!   or seen on its disk.
//! - Everything is level-triggered. An entry whose view may have changed is *dirty*; reconciling it
//!   compares what the index shows with what the disk table holds and does what is missing. Being
//!   interrupted anywhere, and doing it again, is harmless.
//!
//! # Non-goals
//! - No sockets, threads, wall clocks or randomness: time comes in as a parameter, work that takes
//!   long (hashing a big file, fetching blocks) goes out as an [`Action`] and comes back as a call.
//!   File-system calls that are short go through the [`Fs`] trait. The simulator runs this code.
//!
//! # Limits
//! - At most [`SMALL_IN_FLIGHT`] small contents and [`DOWNLOADS_MAX`] large ones are asked for at
//!   a time; at most [`BLOB_CACHE_BYTES`] of small contents wait in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use dunlin_blocks::{BlockRef, FileHash};
use dunlin_identity::{DeviceId, Hash};
use dunlin_index::sync::{Out, Replicator, SyncError, SyncMessage};
use dunlin_index::{EntryId, Index, Millis, RelPath, Signer, Storage};
use dunlin_text::{Patterns, RULES};
use dunlin_tree::disk::{DiskTable, RowId};
use dunlin_tree::fs::{Fs, FsError, FsErrorKind, Stat, TempName};
use dunlin_tree::ignore::{IgnoreRules, PathPatterns};
use dunlin_tree::marker::{Marker, RootError};
use dunlin_tree::settle::{RawEvent, Settler};

use crate::download::DownloadError;
use crate::history::HistoryLog;
use crate::history::policy::Policy;
use crate::manifests::ManifestStore;
use crate::texts::TextStore;

use crate::types::{Event, FolderState, Problem};

mod address;
mod aside;
mod conflicts;
mod content;
mod durable;
mod error;
mod hashing;
mod history;
mod hold;
mod install;
mod members;
mod observe;
mod overwrite;
mod pack;
mod past;
mod put;
mod reconcile;
mod recover;
mod rows;
mod settings;
mod staging;
mod sweep;
#[cfg(test)]
mod testing;
mod texts;
mod unions;
mod unseen;
mod upkeep;
mod urgent;
mod withdraw;

pub(crate) use conflicts::author_name;
pub use conflicts::{CONFLICTS_MAX, Decision, MergedFile, OpenConflict};
pub use content::LargeFile;
pub use durable::Announce;
pub use members::{Grant, Membership};
pub use past::{Past, PastError, Plan, Target, VERSIONS_MAX, Wanted};
pub use put::{Put, PutError};
pub(crate) use staging::SYNC_EACH_MAX;

use hold::{Held, Vanishing};

/// How many small contents are asked for at a time.
pub const SMALL_IN_FLIGHT: usize = 4096;
/// How many large files are downloaded at a time.
pub const DOWNLOADS_MAX: usize = 4;
/// How many bytes of small contents wait in memory to be put in place.
pub const BLOB_CACHE_BYTES: usize = 32 << 20;
/// After a fault of the disk, it is tried again after this time.
const FAULT_RETRY_MS: Millis = 5_000;
/// What the state machine could not do at once (a file that was just changing, say) is tried again
/// after this time, if no event brings it about before.
const RETRY_MS: Millis = 500;

/// Contents that nobody had are asked for again after this time.
const MISSED_RETRY_MS: Millis = 5_000;
/// The folder's directory is looked for this often, also when nothing happens in it: a mount that
/// hides it gives no event.
const ROOT_CHECK_MS: Millis = 2_000;

/// What the state machine asks of its shell.
#[derive(Debug)]
pub enum Action {
    /// Send a message to a connected member.
    Send(DeviceId, SyncMessage),
    /// Send a message to the folder's gossip topic.
    Broadcast(SyncMessage),
    /// Hash a large file; answered by [`Folder::hashed`].
    Hash(RelPath, Stat),
    /// Fetch small contents; each answered by [`Folder::blobs`].
    FetchSmall(Vec<BlockRef>),
    /// Bring a large file's content into a temporary file, from the blocks on this disk and from
    /// peers; answered by [`Folder::downloaded`].
    Download(LargeFile),
    /// Tell the outside.
    Event(Event),
}

/// What a [`Folder`] is made of.
pub struct Parts<F, S: Storage> {
    /// The folder's name on this device, for events.
    pub name: String,
    /// The user's files.
    pub fs: Arc<F>,
    /// The index.
    pub index: Index<S>,
    /// What is on this disk.
    pub rows: DiskTable<S>,
    /// Signs what this device writes.
    pub signer: Arc<dyn Signer + Send + Sync>,
    /// Draws the jitter of timers.
    pub seed: u64,
    /// Whether this device may change the folder for others.
    pub writable: bool,
    /// How many threads a scan may use.
    pub scan_threads: NonZeroUsize,
    /// What the marker in the folder must say.
    pub marker: Marker,
    /// Where manifest pieces are kept.
    pub manifests: ManifestStore<S>,
    /// What files held before.
    pub history: HistoryParts<S>,
    /// Where it is kept what texts are made of.
    pub texts: TextStore<S>,
    /// What [`Folder::applied`] said when the last run was whole.
    pub applied: Option<Hash>,
    /// Whether the last run ended without [`Folder::close`].
    pub after_crash: bool,
    /// When others are told of what the user has written.
    pub announce: Announce,
}

/// The history of a folder, as it is opened.
#[derive(Debug)]
pub struct HistoryParts<S> {
    pub(crate) log: HistoryLog<S>,
    pub(crate) policy: Policy,
}

/// One folder on this device.
pub struct Folder<F, S: Storage> {
    name: String,
    fs: Arc<F>,
    index: Index<S>,
    rows: DiskTable<S>,
    signer: Arc<dyn Signer + Send + Sync>,
    writable: bool,
    scan_threads: NonZeroUsize,
    marker: Marker,
    manifests: ManifestStore<S>,
    log: HistoryLog<S>,
    policy: Policy,
    /// Rows of which the present version was kept already, and its root: it is about to end.
    kept: BTreeMap<RowId, Hash>,
    packing: pack::Packing,
    sweeping: sweep::Sweeping,
    texts: TextStore<S>,
    /// Which names are those of texts.
    patterns: Patterns,
    /// Patterns of files that are fetched first.
    first: PathPatterns,
    /// By which rules this device's versions of texts merge.
    text_rules: u8,
    applied: Option<Hash>,
    /// Whether the disk was compared with the view since the start. Before that, nothing is known
    /// to be dirty of what an earlier run has left undone.
    compared: bool,
    /// Whether the last run was not ended in good order, and this one has not looked at everything
    /// yet.
    after_crash: bool,
    /// Members that are connected and not heard until then.
    unheard: BTreeSet<DeviceId>,
    /// Files that were found empty after a crash.
    suspects: BTreeMap<RowId, Stat>,
    replicator: Replicator,
    settler: Settler,
    ignore: IgnoreRules,
    in_force: settings::InForce,
    /// Entries whose place on disk may differ from the view.
    dirty: BTreeSet<EntryId>,
    /// Entries that could not be brought to disk for now.
    retry: BTreeSet<EntryId>,
    retry_at: Option<Millis>,
    needs: content::Needs,
    vanishing: Vanishing,
    overwrites: overwrite::Overwrites,
    /// Whether mass deletions and mass overwrites wait for the user's word.
    hold: bool,
    held: Held,
    /// The user has released the deletions that were held: the next pass does them.
    released: bool,
    hashing: hashing::Hashing,
    problems: BTreeSet<Problem>,
    announce: Announce,
    unsynced: durable::Unsynced,
    paused: bool,
    /// Why nothing is done any more: this device was removed from the folder.
    removed: Option<String>,
    fault: Option<String>,
    fault_retry_at: Option<Millis>,
    missed_retry_at: Option<Millis>,
    search: withdraw::Search,
    root_check_at: Millis,
    upkeep_at: Millis,
    /// What the user has been warned of.
    warned: BTreeSet<String>,
    seed: u64,
    /// The directory or the database is not what was opened: the shell must open it anew.
    reopen: bool,
    scan_wanted: bool,
    scanning: bool,
    told_conflicts: conflicts::Told,
    /// What the shell was last told, so that it hears of changes only.
    told: (FolderState, Option<String>),
    told_need: (u64, u64),
    out: VecDeque<Action>,
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Takes up a folder. Nothing is looked at yet: call [`Folder::scan`] once.
    pub fn new(parts: Parts<F, S>) -> Self {
        let me = parts.signer.device();
        let told_conflicts = conflicts::Told::begin(&parts.index, &parts.rows);
        let removed = members::removed_reason(&parts.index);
        let mut folder = Self {
            name: parts.name,
            fs: parts.fs,
            index: parts.index,
            rows: parts.rows,
            signer: parts.signer,
            writable: parts.writable,
            scan_threads: parts.scan_threads,
            marker: parts.marker,
            manifests: parts.manifests,
            log: parts.history.log,
            policy: parts.history.policy,
            kept: BTreeMap::new(),
            packing: pack::Packing::default(),
            sweeping: sweep::Sweeping::new(),
            texts: parts.texts,
            patterns: Patterns::default(),
            first: PathPatterns::default(),
            text_rules: RULES,
            applied: parts.applied,
            compared: false,
            after_crash: parts.after_crash,
            unheard: BTreeSet::new(),
            suspects: BTreeMap::new(),
            replicator: Replicator::new(me, parts.seed),
            settler: Settler::default(),
            ignore: IgnoreRules::default(),
            in_force: settings::InForce::default(),
            dirty: BTreeSet::new(),
            retry: BTreeSet::new(),
            retry_at: None,
            needs: content::Needs::default(),
            vanishing: Vanishing::default(),
            overwrites: overwrite::Overwrites::default(),
            hold: true,
            held: Held::default(),
            released: false,
            hashing: hashing::Hashing::default(),
            problems: BTreeSet::new(),
            announce: parts.announce,
            unsynced: durable::Unsynced::default(),
            paused: false,
            removed,
            fault: None,
            fault_retry_at: None,
            missed_retry_at: None,
            search: withdraw::Search::default(),
            root_check_at: 0,
            upkeep_at: 0,
            warned: BTreeSet::new(),
            seed: parts.seed,
            reopen: false,
            scan_wanted: true,
            scanning: false,
            told_conflicts,
            told: (FolderState::Idle, None),
            told_need: (0, 0),
            out: VecDeque::new(),
        };
        folder.refresh_settings();
        folder
    }

    /// Its name on this device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The index, to read.
    pub fn index(&self) -> &Index<S> {
        &self.index
    }

    /// What is on this disk, to read.
    pub fn rows(&self) -> &DiskTable<S> {
        &self.rows
    }

    /// Takes what there is to do outside.
    pub fn poll(&mut self) -> Option<Action> {
        self.out.pop_front()
    }

    /// When [`Folder::tick`] wants to be called next.
    pub fn next_tick(&self, now: Millis) -> Millis {
        let mut next = self.replicator.next_tick(now);
        let mut timers = vec![self.fault_retry_at];
        if self.is_running() {
            timers.extend([
                self.settler.next_due(),
                self.retry_at,
                self.vanishing.burst.next_due(),
            ]);
            timers.extend([self.missed_retry_at, Some(self.root_check_at)]);
            timers.push(self.overwrites.burst.next_due());
            timers.push(Some(self.next_upkeep()));
            timers.extend([self.packing.next_due(), self.sweeping.next_due()]);
            timers.push(self.search.next_due());
        }
        for at in timers.into_iter().flatten() {
            next = next.min(at);
        }
        if self.scan_wanted && self.is_running() {
            next = now;
        }
        next
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Millis) {
        if self.fault_retry_at.is_some_and(|at| at <= now) {
            self.fault_retry_at = None;
            self.recover(now);
        }
        if self.is_running() && self.root_check_at <= now {
            self.root_check_at = now + ROOT_CHECK_MS;
            self.check_root(now);
        }
        if self.is_running() {
            self.upkeep(now);
            if self.scan_wanted {
                self.run_scan(now);
            }
            if let Some(due) = self.settler.due(now) {
                self.settled(due, now);
            }
            self.take_vanished(now);
            self.take_overwritten(now);
            if self.missed_retry_at.is_some_and(|at| at <= now) {
                self.missed_retry_at = None;
                self.dirty.extend(self.needs.peers_changed());
                self.work(now);
            }
            if self.retry_at.is_some_and(|at| at <= now) {
                self.retry_at = None;
                let again = std::mem::take(&mut self.retry);
                self.dirty.extend(again);
                self.work(now);
            }
            self.search_sources(now);
            self.pack(now);
            self.sweep(now);
        }
        let out = self.replicator.tick(&self.index, now);
        self.emit(out);
        self.tell(now);
    }

    /// Asks for a look at the whole disk at the next tick.
    pub fn scan(&mut self) {
        self.scan_wanted = true;
    }

    /// The watcher saw something.
    pub fn event(&mut self, event: RawEvent, now: Millis) {
        self.note_removal(event.kind, now);
        self.push_event(event, now);
    }

    /// A member is connected.
    pub fn peer_up(&mut self, peer: DeviceId, now: Millis) {
        if self.is_deaf() {
            self.unheard.insert(peer);
            return;
        }
        let out = self.replicator.peer_up(peer, &self.index, now);
        self.emit(out);
        self.dirty.extend(self.needs.peers_changed());
        if self.is_running() {
            self.work(now);
        }
        self.tell(now);
    }

    /// A member is gone.
    pub fn peer_down(&mut self, peer: &DeviceId) {
        self.unheard.remove(peer);
        self.replicator.peer_down(peer);
    }

    /// Whether `peer` and this device hold the same, disks included.
    pub fn in_sync(&self, peer: &DeviceId) -> bool {
        self.is_settled() && self.replicator.in_sync(peer, &self.index)
    }

    /// Whether nothing is left to do here: no event waits, nothing is missing.
    pub fn is_settled(&self) -> bool {
        self.state() == FolderState::Idle
            && self.settler.next_due().is_none()
            && self.vanishing.burst.is_empty()
            && self.overwrites.burst.is_empty()
    }

    /// A message of a member came, directly or by gossip.
    ///
    /// After a crash nothing is heard until the disk was looked at once: what the last run had put in
    /// place and not noted is told from the user's edits by what the index showed at that time.
    ///
    /// # Errors
    /// What is wrong with the message; nothing of it was taken.
    pub fn message(
        &mut self,
        from: DeviceId,
        message: SyncMessage,
        now: Millis,
    ) -> Result<(), SyncError> {
        if self.is_deaf() {
            return Ok(());
        }
        let known = self.known_at_removal(now);
        let handled = match self.replicator.on_message(from, message, &mut self.index, now) {
            Ok(handled) => handled,
            Err(error) => {
                // What was taken, and then could not be stored, is not known any more.
                if let SyncError::Index(error) = &error
                    && observe::is_storage(error)
                {
                    self.storage_fault(error, now);
                }
                return Err(error);
            }
        };
        self.note_own_removal();
        self.emit(handled.out);
        if let Some(refused) = handled.refused {
            self.refused(from, &refused, now);
        }
        // What came may approve what is held, or bring it back.
        let mut held = self.held.judge_again();
        held.append(&mut std::mem::take(&mut self.held.arrived));
        if let Err(error) = self.look_at_rows(held) {
            self.storage_fault(&error, now);
        }
        self.refresh_settings();
        for blob in handled.blobs {
            self.dirty.extend(self.needs.keep_blob(blob.into()));
        }
        if let Some(known) = known
            && let Err(error) = self.note_late(&handled.changed, &known)
        {
            self.storage_fault(&error, now);
        }
        self.dirty.extend(handled.changed);
        if let Some((round, contents)) = handled.wanted {
            self.answer_search(from, round, contents, now);
        }
        if let Some((round, contents)) = handled.absent {
            self.heard_absent(from, round, &contents, now);
        }
        if self.is_running() && !self.dirty.is_empty() {
            self.work(now);
        }
        self.tell(now);
        Ok(())
    }

    /// Contents that were asked for by [`Action::FetchSmall`] are here, verified; `None` where no
    /// connected peer has one.
    pub fn blobs(&mut self, blobs: Vec<(Hash, Option<bytes::Bytes>)>, now: Millis) {
        for (hash, data) in blobs {
            match data {
                Some(data) => self.dirty.extend(self.needs.arrived(hash, data)),
                None => self.missed(&hash, now),
            }
        }
        if self.is_running() {
            self.work(now);
        }
        self.tell(now);
    }

    /// A [`Action::Download`] ended: its content is complete and durable in the temporary file, or
    /// it could not be had.
    pub fn downloaded(
        &mut self,
        root: Hash,
        result: Result<(TempName, FileHash), DownloadError>,
        now: Millis,
    ) {
        match result {
            Ok((temp, hash)) => self.dirty.extend(self.needs.downloaded(root, temp, hash)),
            Err(error) => {
                self.missed(&root, now);
                match error {
                    DownloadError::Fs(error) if error.kind().pauses_folder() => {
                        self.set_fault(&error, now);
                    }
                    DownloadError::Unavailable | DownloadError::Closed => {}
                    other => tracing::warn!(%root, error = %other, "a download failed"),
                }
            }
        }
        if self.is_running() {
            self.work(now);
        }
        self.tell(now);
    }

    /// Stops everything until [`Folder::resume`].
    pub fn pause(&mut self, now: Millis) {
        self.paused = true;
        self.tell(now);
    }

    /// Goes on after [`Folder::pause`].
    pub fn resume(&mut self, now: Millis) {
        self.paused = false;
        self.scan_wanted = true;
        self.tell(now);
    }

    /// Writes what is not written yet, before the folder is closed. False when the disk could not
    /// be made durable: then the database must not be flushed, and the end is as a crash.
    pub fn close(&mut self) -> bool {
        if let Err(error) = self.sync_disk() {
            tracing::warn!(%error, "the folder is not closed in good order");
            return false;
        }
        if let Err(error) = self.fs.write_marker(&self.current_marker()) {
            tracing::debug!(%error, "the marker keeps its older sequence number");
        }
        if let Err(error) = self.log.sync(&*self.fs, self.seed) {
            tracing::warn!(%error, "the history was not written at the end");
        }
        if let Err(error) = self.write_back(true) {
            tracing::warn!(%error, "the database was not written at the end");
        }
        true
    }

    /// The marker with how far this device's log has come (rule 8).
    fn current_marker(&self) -> Marker {
        let author = self.index.author();
        let sequence = self.index.context().get(&author);
        Marker { epoch: author.epoch, sequence, ..self.marker }
    }

    /// What the folder is doing.
    pub fn state(&self) -> FolderState {
        if self.fault.is_some() || self.removed.is_some() {
            FolderState::Error
        } else if self.paused {
            FolderState::Paused
        } else if !self.held.is_empty() {
            FolderState::Held
        } else if self.scanning || self.scan_wanted || !self.hashing.is_empty() {
            FolderState::Scanning
        } else if self.dirty.is_empty() && self.retry.is_empty() && self.needs.lacks_nothing() {
            FolderState::Idle
        } else {
            FolderState::Syncing
        }
    }

    /// Why the folder is held or in error, with what to do.
    pub fn reason(&self) -> Option<String> {
        let stopped = self.removed.clone().or_else(|| self.fault.clone());
        stopped.or_else(|| self.held.reason(&self.name))
    }

    /// Files and bytes that are not yet on this disk as the index says.
    pub fn need(&self) -> (u64, u64) {
        let (files, bytes) = self.needs.totals();
        let waiting = self.dirty.union(&self.retry).count() as u64;
        (files.max(waiting), bytes)
    }

    /// Names on this disk that cannot be synced.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    fn is_running(&self) -> bool {
        !self.paused && self.fault.is_none() && self.removed.is_none()
    }

    /// Whether others are not heard: this folder will look at its disk first.
    fn is_deaf(&self) -> bool {
        self.after_crash && !self.paused && self.removed.is_none()
    }

    fn emit(&mut self, out: Vec<Out>) {
        self.out.extend(out.into_iter().map(|out| match out {
            Out::Send(peer, message) => Action::Send(peer, message),
            Out::Broadcast(message) => Action::Broadcast(message),
        }));
    }

    fn event_out(&mut self, event: Event) {
        self.out.push_back(Action::Event(event));
    }

    /// Stops the folder because of a fault of its disk; it is tried again by itself.
    fn set_fault(&mut self, error: &FsError, now: Millis) {
        self.fault = Some(fault_sentence(error));
        self.fault_retry_at = Some(now + FAULT_RETRY_MS);
    }

    /// Whether the folder is still there and ours. If not, nothing on the disk is believed any
    /// more, and the shell has to open it anew.
    fn check_root(&mut self, now: Millis) -> bool {
        match self.fs.root_check(&self.marker) {
            Ok(_) => true,
            Err(RootError::Fs(error)) => {
                self.set_fault(&error, now);
                false
            }
            Err(error) => {
                self.fault = Some(error.to_string());
                self.reopen = true;
                false
            }
        }
    }

    /// Whether the shell must open the folder anew: its directory or its database is not what
    /// was opened.
    pub fn must_reopen(&self) -> bool {
        self.reopen
    }

    fn recover(&mut self, now: Millis) {
        if !self.check_root(now) {
            return;
        }
        self.fault = None;
        // What was staged when the disk failed is not signed yet.
        self.commit_local(Vec::new(), now);
        self.scan_wanted = true;
        self.dirty.extend(self.needs.peers_changed());
        let again = std::mem::take(&mut self.retry);
        self.dirty.extend(again);
    }

    /// Tells the peers and the outside what changed about this folder's state.
    fn tell(&mut self, now: Millis) {
        if self.state() == FolderState::Idle {
            self.tell_conflicts();
        }
        let need = self.need();
        let settled_need =
            if self.state() == FolderState::Idle { (0, 0) } else { (need.0.max(1), need.1) };
        if settled_need != self.told_need {
            self.told_need = settled_need;
            self.replicator.applied(settled_need.0, settled_need.1, now);
        }
        let state = (self.state(), self.reason());
        if state != self.told {
            self.told = state.clone();
            self.event_out(Event::FolderState {
                folder: self.name.clone(),
                state: state.0,
                error: state.1,
            });
        }
    }

    fn missed(&mut self, root: &Hash, now: Millis) {
        self.dirty.extend(self.needs.missed(root));
        self.search.missed(root, now);
        self.missed_retry_at.get_or_insert(now + MISSED_RETRY_MS);
    }

    fn retry_later(&mut self, entry: EntryId, now: Millis) {
        self.retry.insert(entry);
        self.retry_at.get_or_insert(now + RETRY_MS);
    }
}

/// A sentence for the user: what happened, why, what to do.
fn fault_sentence(error: &FsError) -> String {
    let advice = match error.kind() {
        FsErrorKind::NoSpace => "free some space; syncing goes on by itself",
        FsErrorKind::ReadOnly => "make the file system writable; syncing goes on by itself",
        FsErrorKind::Unmounted => {
            "mount it again or put the directory back; nothing was deleted anywhere"
        }
        _ => "mend it; syncing goes on by itself",
    };
    format!("{error}: {advice}")
}
