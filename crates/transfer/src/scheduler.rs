//! Which block is asked of whom: many blocks wanted, many sources, no I/O.
//!
//! Goals: use all sources at once, each at the rate that it was measured to give; never let one
//! slow, silent or lying source hold up a transfer; ask for each block once, but for the very end;
//! bounded memory whatever peers and consumers do. Non-goals: choosing what to sync, opening
//! connections, checking hashes (the caller does, and says `arrived` or `lied`).
//!
//! - A *source* is a device that serves a folder over a session that is up. It has a window of
//!   bytes in flight: what it gives in its latency and 150 ms more, within [`Bounds`].
//! - On a metered connection ([`Scheduler::set_metered`]) only what is urgent is asked for.
//! - A folder that goes before others ([`FolderPriority`]) has them wait, with all that is not
//!   urgent, as long as anything of it is in flight.
//! - Pending blocks go out in small batches in turn to the sources with room, high priority first,
//!   folders in turn. What a source lacks goes to the others.
//! - When nothing is pending, blocks that a slow source still owes are asked of a quick one too;
//!   the copy that loses is cancelled.
//! - A source that brings nothing for [`Bounds::stall`] is dropped, as is one that brings
//!   [`LIES_MAX`] blocks with wrong hashes among few right ones; both are shunned for a while.
//! - With several sources, each is asked to tell which of the wanted blocks it has, and which it
//!   gets ([`Action::Watch`], [`Scheduler::told`]). What the fewest have comes first, so that
//!   devices that fetch the same soon have different parts; and nobody is asked for what it lacks.
//!   Who does not tell, or breaks its word, is asked as if it had everything. What is urgent is
//!   asked for without waiting for word.
//! - What a source lacked, of which it does not tell, it may have a little later, when it is being
//!   filled itself: it is asked again after [`Bounds::retry`], and less and less often as long as
//!   it brings nothing.
//! - A block that no source has is asked for again every [`Bounds::retry`] and when a source comes
//!   up; after [`Bounds::give_up`] the jobs are told, and it is forgotten.
//!
//! The caller passes the time with each event, then executes [`Scheduler::actions`], and calls
//! [`Scheduler::tick`] some ten times a second unless [`Scheduler::is_idle`].

mod folder;
mod source;

use std::collections::{BTreeMap, HashMap};

use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, FolderId, Hash};

use self::folder::Folder;
pub use crate::api::{FolderPriority, Priority};

/// Puts a list of blocks into an order of this device's own, for when several fetch them at once.
///
/// Stretches of some blocks are mixed, so that devices soon have different parts, which they can
/// give to each other; within a stretch, each reads and writes in the order of the file.
pub fn spread(device: &DeviceId, blocks: &mut Vec<BlockRef>) {
    let stretches: BTreeMap<[u8; 32], &[BlockRef]> = (0u64..)
        .zip(blocks.chunks(STRETCH))
        .map(|(number, stretch)| {
            let key = [device.as_bytes(), &number.to_le_bytes()[..]].concat();
            (Hash::of(&key).0, stretch)
        })
        .collect();
    *blocks = stretches.into_values().flatten().copied().collect();
}

/// Microseconds since any fixed moment.
pub type Micros = u64;

/// A source that sent this many blocks with wrong hashes is dropped. Right blocks make up for wrong
/// ones slowly: an honest device may serve from files that are being changed.
pub const LIES_MAX: u32 = 3;
/// How long a liar is shunned.
const SHUN_LIAR: Micros = 60_000_000;
/// How long a source that stalled is shunned.
const SHUN_STALLED: Micros = 5_000_000;
/// More devices than this are not remembered as shunned.
const SHUNNED_MAX: usize = 1024;
/// More sources than this are not used for one folder.
const SOURCES_MAX: usize = 32;
/// How often blocks are looked for that nobody has.
const SWEEP_EVERY: Micros = 250_000;
/// Blocks of which one source is asked to tell at most; asking for more, it forgets the oldest.
pub const WATCHES_MAX: usize = 4096;
/// Blocks that stay together in an order of a device's own.
const STRETCH: usize = 16;
const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];
const RANKS: [FolderPriority; 3] =
    [FolderPriority::High, FolderPriority::Normal, FolderPriority::Low];

/// One fetch: its blocks are delivered to one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A device in its role as a source of one folder's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The folder that it serves.
    pub folder: FolderId,
    /// The device.
    pub device: DeviceId,
}

/// The limits of a scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes in flight to a source whatever its rate.
    pub window_min: u64,
    /// Bytes in flight to a source at most.
    pub window_max: u64,
    /// Blocks in flight to a source at most.
    pub window_blocks: usize,
    /// Bytes of one folder in flight or delivered and not consumed.
    pub folder_bytes: u64,
    /// Bytes of all folders in flight or delivered and not consumed.
    pub bytes: u64,
    /// A source that brings nothing for this long is dropped.
    pub stall: Micros,
    /// A block that nobody has is asked for again after this.
    pub retry: Micros,
    /// A block that nobody has for this long is given up.
    pub give_up: Micros,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            window_min: 1 << 20,
            window_max: 16 << 20,
            window_blocks: 1024,
            folder_bytes: 32 << 20,
            bytes: 64 << 20,
            stall: 8_000_000,
            retry: 2_000_000,
            give_up: 10_000_000,
        }
    }
}

/// Why a source was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It sent blocks with wrong hashes.
    Lied,
    /// It owed blocks and sent nothing.
    Stalled,
}

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the source for the blocks.
    Request {
        /// Whom to ask.
        source: Source,
        /// For what, in this order.
        blocks: Vec<BlockRef>,
    },
    /// Ask the source to tell which of the blocks it has, now and when it gets them.
    Watch {
        /// Whom to ask.
        source: Source,
        /// Of what.
        hashes: Vec<Hash>,
    },
    /// Tell the source that the block is no longer wanted from it. It still answers.
    Cancel {
        /// Whom to tell.
        source: Source,
        /// The block.
        hash: Hash,
    },
    /// Tell the jobs that nobody has the block; it is forgotten.
    Fail {
        /// The jobs that wanted it.
        jobs: Vec<JobId>,
        /// The block.
        hash: Hash,
    },
    /// Close the session with the source. Its blocks are already given to others.
    Drop {
        /// Whom to leave.
        source: Source,
        /// Why.
        fault: Fault,
    },
}

#[derive(Debug)]
struct Job {
    folder: FolderId,
    /// Bytes delivered and not consumed.
    held: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Scheduler {
    bounds: Bounds,
    folders: BTreeMap<FolderId, Folder>,
    jobs: HashMap<JobId, Job>,
    shunned: HashMap<Source, Micros>,
    actions: Vec<Action>,
    next_order: u64,
    turn: usize,
    /// The folders that are not as others.
    ranks: HashMap<FolderId, FolderPriority>,
    swept: Micros,
    /// Only what is urgent is asked for, and nothing twice.
    metered: bool,
}

impl Scheduler {
    /// Makes a scheduler with these limits.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Sets after how long a block that nobody has is given up, in microseconds.
    pub fn set_give_up(&mut self, give_up: Micros) {
        self.bounds.give_up = give_up;
    }

    /// Sets whether bytes cost money: then only blocks of [`Priority::High`] are asked for, and
    /// none of two sources at once. The others wait; what is in flight still comes.
    pub fn set_metered(&mut self, metered: bool) {
        self.metered = metered;
    }

    /// Sets which folders go before others; those that are not named are as usual.
    pub fn set_folder_priorities(&mut self, ranks: &HashMap<FolderId, FolderPriority>) {
        self.ranks.clone_from(ranks);
    }

    /// Wants blocks for a job. A block that the job wants already counts once.
    ///
    /// The caller bounds how many blocks it has wanted and not been answered for.
    pub fn want(&mut self, job: JobId, folder: FolderId, priority: Priority, blocks: &[BlockRef]) {
        self.jobs.entry(job).or_insert(Job { folder, held: 0 });
        let state = self.folders.entry(folder).or_default();
        for block in blocks {
            self.next_order += 1;
            state.want(job, block, priority, self.next_order);
        }
    }

    /// Notes that a job has taken so many of the bytes that were delivered to it.
    pub fn consumed(&mut self, job: JobId, bytes: u64) {
        let Some(state) = self.jobs.get_mut(&job) else { return };
        let bytes = bytes.min(state.held);
        state.held -= bytes;
        if let Some(folder) = self.folders.get_mut(&state.folder) {
            folder.held -= bytes;
        }
    }

    /// Ends a job: what only it wanted is no longer wanted.
    pub fn end(&mut self, job: JobId) {
        let Some(state) = self.jobs.remove(&job) else { return };
        let Some(folder) = self.folders.get_mut(&state.folder) else { return };
        folder.held -= state.held;
        let unwanted: Vec<Hash> = folder
            .blocks
            .iter_mut()
            .filter_map(|(hash, wanted)| {
                wanted.jobs.retain(|other| *other != job);
                wanted.jobs.is_empty().then_some(*hash)
            })
            .collect();
        for hash in unwanted {
            for device in folder.take(&hash).into_iter().flat_map(|wanted| wanted.asked) {
                let source = Source { folder: state.folder, device };
                self.actions.push(Action::Cancel { source, hash });
            }
        }
        self.tidy(state.folder);
    }

    /// Returns whether the source is welcome: not shunned, and there are not too many already.
    #[must_use]
    pub fn is_welcome(&self, source: &Source, now: Micros) -> bool {
        let shunned = self.shunned.get(source).is_some_and(|until| *until > now);
        let full = self.folders.get(&source.folder).is_some_and(|folder| {
            folder.sources.len() >= SOURCES_MAX && !folder.sources.contains_key(&source.device)
        });
        !shunned && !full
    }

    /// Notes that a session with a source is up. Returns false, and does nothing, when it is not
    /// welcome.
    pub fn source_up(&mut self, source: Source, now: Micros) -> bool {
        if !self.is_welcome(&source, now) {
            return false;
        }
        self.folders.entry(source.folder).or_default().add_source(source.device);
        true
    }

    /// Notes that the session with a source is gone; what it owed is asked of others.
    pub fn source_down(&mut self, source: &Source) {
        if let Some(folder) = self.folders.get_mut(&source.folder) {
            folder.remove_source(&source.device);
        }
        self.tidy(source.folder);
    }

    /// Notes that a source brought a block whose hash is right. Returns the jobs to give it to,
    /// each of which holds the bytes until it has [consumed](Self::consumed) them; none when
    /// nobody wants it any more.
    pub fn arrived(&mut self, source: &Source, hash: &Hash, len: u32, now: Micros) -> Vec<JobId> {
        let Some(folder) = self.folders.get_mut(&source.folder) else { return Vec::new() };
        if let Some(state) = folder.sources.get_mut(&source.device) {
            state.answered(hash, u64::from(len), now);
        }
        let Some(wanted) = folder.take(hash) else { return Vec::new() };
        for device in wanted.asked.into_iter().filter(|device| *device != source.device) {
            let source = Source { folder: source.folder, device };
            self.actions.push(Action::Cancel { source, hash: *hash });
        }
        for job in &wanted.jobs {
            if let Some(job) = self.jobs.get_mut(job) {
                job.held += u64::from(len);
                folder.held += u64::from(len);
            }
        }
        wanted.jobs
    }

    /// Notes that a source does not have a block.
    pub fn lacks(&mut self, source: &Source, hash: &Hash, now: Micros) {
        self.not_brought(source, hash, now, true);
    }

    /// Notes what a source has told of blocks that it was asked about: which it has, and which it
    /// lacks so far. What it was not asked about is passed over.
    pub fn told(&mut self, source: &Source, has: &[Hash], lacks: &[Hash]) {
        let Some(folder) = self.folders.get_mut(&source.folder) else { return };
        let Some(state) = folder.sources.get_mut(&source.device) else { return };
        if !state.tells() {
            return;
        }
        for hash in lacks {
            folder.told(&source.device, hash, false);
        }
        for hash in has {
            folder.told(&source.device, hash, true);
        }
    }

    /// Notes that a source skipped a block, since it was cancelled.
    pub fn skipped(&mut self, source: &Source, hash: &Hash, now: Micros) {
        self.not_brought(source, hash, now, false);
    }

    /// Notes that a source sent something else under a block's name.
    pub fn lied(&mut self, source: &Source, hash: &Hash, now: Micros) {
        self.not_brought(source, hash, now, true);
        let folder = self.folders.get_mut(&source.folder);
        let Some(state) = folder.and_then(|folder| folder.sources.get_mut(&source.device)) else {
            return;
        };
        state.lies += 1;
        if state.lies >= LIES_MAX {
            self.drop_source(*source, Fault::Lied, now);
        }
    }

    /// Notes that a part of a block came from a source: it is slow, but alive.
    pub fn progress(&mut self, source: &Source, now: Micros) {
        if let Some(folder) = self.folders.get_mut(&source.folder)
            && let Some(state) = folder.sources.get_mut(&source.device)
        {
            state.progress(now);
        }
    }

    /// Drops sources that stalled, and gives up blocks that nobody has.
    pub fn tick(&mut self, now: Micros) {
        let stalled: Vec<Source> = self
            .folders
            .iter()
            .flat_map(|(folder, state)| {
                state
                    .sources
                    .iter()
                    .filter(|(_, source)| source.is_stalled(&self.bounds, now))
                    .map(|(device, _)| Source { folder: *folder, device: *device })
            })
            .collect();
        for source in stalled {
            self.drop_source(source, Fault::Stalled, now);
        }
        if now.saturating_sub(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.shunned.retain(|_, until| *until > now);
            for folder in self.folders.values_mut() {
                folder.look_again(&self.bounds, now);
                for (hash, wanted) in folder.sweep(&self.bounds, now) {
                    self.actions.push(Action::Fail { jobs: wanted.jobs, hash });
                }
            }
        }
    }

    /// Decides what to ask of whom, and returns all that is to be done, in order.
    pub fn actions(&mut self, now: Micros) -> Vec<Action> {
        let ids: Vec<FolderId> = self.folders.keys().copied().collect();
        for (id, folder) in &mut self.folders {
            for (device, hashes) in folder.start_watches(now) {
                let source = Source { folder: *id, device };
                self.actions.push(Action::Watch { source, hashes });
            }
        }
        if !ids.is_empty() {
            self.turn = (self.turn + 1) % ids.len();
        }
        let order: Vec<FolderId> =
            ids[self.turn..].iter().chain(&ids[..self.turn]).copied().collect();
        let asked_for = if self.metered { &PRIORITIES[..1] } else { &PRIORITIES[..] };
        for &priority in asked_for {
            for rank in RANKS {
                let of_rank =
                    |id: &FolderId| self.ranks.get(id).copied().unwrap_or_default() == rank;
                let folders: Vec<FolderId> = order.iter().copied().filter(of_rank).collect();
                // Each round gives every source of every folder one batch, so that all get a share.
                // Counted rather than `any`, which would stop at the first folder.
                let round = |scheduler: &mut Self| {
                    let given = |id: &&FolderId| scheduler.give(**id, Some(priority), now);
                    folders.iter().filter(given).count() > 0
                };
                while round(self) {}
                // What nobody gives is not waited for.
                let busy = folders.iter().any(|id| self.folders[id].is_busy());
                if busy && priority != Priority::High {
                    break;
                }
            }
        }
        if !self.metered {
            for id in ids {
                self.give(id, None, now);
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// Returns whether nothing is wanted or owed, so that no tick is needed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let idle = |folder: &Folder| {
            folder.blocks.is_empty() && folder.sources.values().all(|source| source.bytes() == 0)
        };
        self.folders.values().all(idle)
    }

    /// Returns the folders of which blocks are wanted.
    pub fn wanting(&self) -> impl Iterator<Item = FolderId> + '_ {
        let wanting = |(_, folder): &(&FolderId, &Folder)| !folder.blocks.is_empty();
        self.folders.iter().filter(wanting).map(|(id, _)| *id)
    }

    /// Returns the bytes in flight and those delivered and not consumed, over all folders.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.folders.values().map(Folder::load).sum()
    }

    /// Gives a folder's sources a batch each of this priority (`None`: what slow ones owe).
    fn give(&mut self, id: FolderId, priority: Option<Priority>, now: Micros) -> bool {
        let all = self.load();
        let Some(folder) = self.folders.get_mut(&id) else { return false };
        let load = folder.load();
        let mut room = self.bounds.folder_bytes.saturating_sub(load);
        room = room.min(self.bounds.bytes.saturating_sub(all));
        let given = match priority {
            Some(priority) => folder.give(priority, &mut room, &self.bounds, now),
            None => folder.take_back(&mut room, &self.bounds, now),
        };
        let any = !given.is_empty();
        for (device, blocks) in given {
            let source = Source { folder: id, device };
            self.actions.push(Action::Request { source, blocks });
        }
        any
    }

    fn not_brought(&mut self, source: &Source, hash: &Hash, now: Micros, lacks: bool) {
        let Some(folder) = self.folders.get_mut(&source.folder) else { return };
        let promised = folder.has_promised(&source.device, hash);
        let Some(state) = folder.sources.get_mut(&source.device) else { return };
        if state.answered(hash, 0, now) {
            if lacks {
                state.lacked(self.bounds.retry, now);
            }
            if lacks && promised {
                state.broke_promise();
            }
            folder.release(&source.device, hash, lacks);
        }
    }

    fn drop_source(&mut self, source: Source, fault: Fault, now: Micros) {
        self.source_down(&source);
        let time = if fault == Fault::Lied { SHUN_LIAR } else { SHUN_STALLED };
        if self.shunned.len() < SHUNNED_MAX {
            self.shunned.insert(source, now + time);
        }
        self.actions.push(Action::Drop { source, fault });
    }

    fn tidy(&mut self, id: FolderId) {
        if self.folders.get(&id).is_some_and(Folder::is_unused) {
            self.folders.remove(&id);
        }
    }
}
