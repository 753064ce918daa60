//! What is wanted of one folder, and who can give it.

mod holders;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, Hash};

use super::source::SourceState;
use super::{Bounds, JobId, Micros, Priority};

/// Of one block, at most this many copies are under way at once.
const COPIES_MAX: usize = 2;
/// What a source is given at a time before the next has its turn.
const BATCH_BYTES: u64 = 256 * 1024;
/// As [`BATCH_BYTES`], in blocks.
const BATCH_BLOCKS: usize = 64;
/// A source must be expected to need this much longer before its work is given to another too.
const TAKE_BACK_AFTER: Micros = 30_000;

#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) len: u32,
    pub(super) jobs: Vec<JobId>,
    priority: Priority,
    order: u64,
    /// The devices that are asked for it now.
    pub(super) asked: Vec<DeviceId>,
    /// The devices that said they lack it, or sent something else.
    lacks: BTreeSet<DeviceId>,
    /// The devices that were asked to tell when they have it...
    watched: BTreeSet<DeviceId>,
    /// ...and those of them that said they do.
    has: BTreeSet<DeviceId>,
    /// Since when nobody has it, as far as known.
    starved_since: Option<Micros>,
    starved_retry: Micros,
}

/// Where a block stands among those that are asked of nobody: the rarest of the most urgent first.
type Place = (Priority, usize, u64);

impl Wanted {
    fn place(&self) -> Place {
        (self.priority, self.has.len(), self.order)
    }

    /// Whether the device may have it: what it was asked to tell is believed.
    fn may_be_at(&self, device: &DeviceId, source: &SourceState) -> bool {
        let told = !self.watched.contains(device) || source.is_silent();
        !self.lacks.contains(device) && (told || self.has.contains(device))
    }
}

#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) blocks: HashMap<Hash, Wanted>,
    /// What is wanted and asked of nobody.
    pending: BTreeMap<Place, Hash>,
    pub(super) sources: BTreeMap<DeviceId, SourceState>,
    /// Bytes delivered to jobs and not consumed yet.
    pub(super) held: u64,
    /// Counts what may give a source something new to do.
    version: u64,
    /// There may be blocks that a source was not asked to tell of.
    unwatched: bool,
}

impl Folder {
    /// Bytes in flight and delivered but not consumed.
    pub(super) fn load(&self) -> u64 {
        self.held + self.sources.values().map(SourceState::bytes).sum::<u64>()
    }

    /// Whether anything was asked for and has not come.
    pub(super) fn is_busy(&self) -> bool {
        self.sources.values().any(|source| source.bytes() > 0)
    }

    pub(super) fn is_unused(&self) -> bool {
        self.blocks.is_empty() && self.sources.is_empty() && self.held == 0
    }

    pub(super) fn want(&mut self, job: JobId, block: &BlockRef, priority: Priority, order: u64) {
        self.version += 1;
        self.unwatched = true;
        let wanted = self.blocks.entry(block.hash).or_insert_with(|| {
            self.pending.insert((priority, 0, order), block.hash);
            Wanted {
                len: block.len,
                jobs: Vec::new(),
                priority,
                order,
                asked: Vec::new(),
                lacks: BTreeSet::new(),
                watched: BTreeSet::new(),
                has: BTreeSet::new(),
                starved_since: None,
                starved_retry: 0,
            }
        });
        wanted.len = wanted.len.max(block.len);
        if !wanted.jobs.contains(&job) {
            wanted.jobs.push(job);
        }
        if priority < wanted.priority {
            let pending = self.pending.remove(&wanted.place()).is_some();
            wanted.priority = priority;
            if pending {
                self.pending.insert(wanted.place(), block.hash);
            }
        }
    }

    /// Forgets a block: it came, or nobody wants it any more.
    pub(super) fn take(&mut self, hash: &Hash) -> Option<Wanted> {
        let wanted = self.blocks.remove(hash)?;
        self.pending.remove(&wanted.place());
        Some(wanted)
    }

    /// Notes that a device does not bring the block; it is pending again unless another does.
    pub(super) fn release(&mut self, device: &DeviceId, hash: &Hash, lacks: bool) {
        let Some(wanted) = self.blocks.get_mut(hash) else { return };
        wanted.asked.retain(|asked| asked != device);
        let pending = self.pending.remove(&wanted.place()).is_some();
        if lacks {
            wanted.lacks.insert(*device);
            wanted.has.remove(device);
        }
        if wanted.asked.is_empty() || pending {
            self.version += 1;
            self.pending.insert(wanted.place(), *hash);
        }
    }

    pub(super) fn add_source(&mut self, device: DeviceId) {
        self.sources.entry(device).or_default();
        self.unwatched = true;
    }

    /// Removes a source; what it was asked for is pending again.
    pub(super) fn remove_source(&mut self, device: &DeviceId) {
        let Some(source) = self.sources.remove(device) else { return };
        for hash in source.asked_last_first() {
            self.release(device, &hash, false);
        }
        for (hash, wanted) in &mut self.blocks {
            wanted.lacks.remove(device);
            wanted.watched.remove(device);
            let place = wanted.place();
            if wanted.has.remove(device) && self.pending.remove(&place).is_some() {
                self.pending.insert(wanted.place(), *hash);
            }
        }
    }

    /// Gives each source with room one batch of pending blocks; the quickest is served first.
    pub(super) fn give(
        &mut self,
        priority: Priority,
        room: &mut u64,
        bounds: &Bounds,
        now: Micros,
    ) -> Vec<(DeviceId, Vec<BlockRef>)> {
        if self.pending.range(of(priority)).next().is_none() {
            return Vec::new();
        }
        let mut given = Vec::new();
        for device in self.by_expected(now) {
            let source = &self.sources[&device];
            // What a source lacks is not looked through again until there is something new.
            if source.wants_more(bounds) && source.exhausted[priority as usize] != self.version {
                let batch = self.batch(&device, priority, room, bounds, now);
                if !batch.is_empty() {
                    given.push((device, batch));
                }
            }
        }
        given
    }

    fn by_expected(&self, now: Micros) -> Vec<DeviceId> {
        let expected = |source: &SourceState| source.expected(BATCH_BYTES, now);
        let mut order: Vec<_> =
            self.sources.iter().map(|(device, source)| (expected(source), *device)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, device)| device).collect()
    }

    fn batch(
        &mut self,
        device: &DeviceId,
        priority: Priority,
        room: &mut u64,
        bounds: &Bounds,
        now: Micros,
    ) -> Vec<BlockRef> {
        let Some(source) = self.sources.get_mut(device) else { return Vec::new() };
        let mut batch: Vec<(Place, BlockRef)> = Vec::new();
        let mut batch_bytes = 0;
        let mut more = false;
        for (place, hash) in self.pending.range(of(priority)) {
            let wanted = &self.blocks[hash];
            let len = u64::from(wanted.len);
            if !wanted.may_be_at(device, source) || source.is_asked(hash) {
                continue;
            }
            let full = batch_bytes >= BATCH_BYTES || batch.len() >= BATCH_BLOCKS;
            more = full || len > *room || !source.has_room(wanted.len, bounds);
            if more {
                break;
            }
            source.ask(*hash, wanted.len, now);
            *room -= len;
            batch_bytes += len;
            batch.push((*place, BlockRef { hash: *hash, len: wanted.len }));
        }
        if !more {
            source.exhausted[priority as usize] = self.version;
        }
        for (place, block) in &batch {
            self.pending.remove(place);
            if let Some(wanted) = self.blocks.get_mut(&block.hash) {
                wanted.asked.push(*device);
            }
        }
        batch.into_iter().map(|(_, block)| block).collect()
    }

    /// At the end, when nothing is pending that the quick ones have: gives what slow sources still
    /// owe to quick ones too, the last in the slow one's queue first. Whoever brings a block first
    /// wins.
    pub(super) fn take_back(
        &mut self,
        room: &mut u64,
        bounds: &Bounds,
        now: Micros,
    ) -> Vec<(DeviceId, Vec<BlockRef>)> {
        if self.sources.len() < 2 || self.blocks.is_empty() {
            return Vec::new();
        }
        let order = self.by_expected(now);
        let mut given = Vec::new();
        for quick in &order {
            if !self.sources[quick].wants_more(bounds) {
                // It has enough of its own; what is pending was given out before this.
                continue;
            }
            let mut batch = Vec::new();
            for slow in order.iter().rev().filter(|slow| *slow != quick) {
                while batch.len() < BATCH_BLOCKS {
                    let Some(block) = self.to_take_back(quick, slow, *room, bounds, now) else {
                        break;
                    };
                    *room -= u64::from(block.len);
                    let source = self.sources.get_mut(quick).expect("it is in the order");
                    source.ask(block.hash, block.len, now);
                    let wanted = self.blocks.get_mut(&block.hash).expect("it was just found");
                    wanted.asked.push(*quick);
                    batch.push(block);
                }
            }
            if !batch.is_empty() {
                given.push((*quick, batch));
            }
        }
        given
    }

    fn to_take_back(
        &self,
        quick: &DeviceId,
        slow: &DeviceId,
        room: u64,
        bounds: &Bounds,
        now: Micros,
    ) -> Option<BlockRef> {
        let (quick_source, slow_source) = (&self.sources[quick], &self.sources[slow]);
        let slow_time = slow_source.expected(0, now);
        slow_source.asked_last_first().take(BATCH_BLOCKS).find_map(|hash| {
            let wanted = self.blocks.get(&hash)?;
            let len = u64::from(wanted.len);
            let quick_time = quick_source.expected(len, now);
            let pays = slow_time > 2 * quick_time + TAKE_BACK_AFTER;
            let may = wanted.asked.len() < COPIES_MAX
                && wanted.asked.contains(slow)
                && wanted.may_be_at(quick, quick_source)
                && !quick_source.is_asked(&hash)
                && quick_source.has_room(wanted.len, bounds)
                && len <= room;
            (pays && may).then_some(BlockRef { hash, len: wanted.len })
        })
    }

    /// Forgets what sources lacked a while ago: they may be filled themselves.
    pub(super) fn look_again(&mut self, bounds: &Bounds, now: Micros) {
        let fell_silent = |source: &mut SourceState| source.fall_silent(now);
        if self.sources.values_mut().map(fell_silent).fold(false, |any, one| any | one) {
            self.version += 1;
        }
        let due = |(device, source): (&DeviceId, &mut SourceState)| {
            source.look_again(bounds.retry, now).then_some(*device)
        };
        let due: Vec<DeviceId> = self.sources.iter_mut().filter_map(due).collect();
        for device in due {
            self.version += 1;
            for wanted in self.blocks.values_mut() {
                if !wanted.watched.contains(&device) {
                    wanted.lacks.remove(&device);
                }
            }
        }
    }

    /// Finds blocks that nobody has: after a while they are asked for again, and in the end given
    /// up. Returns what is given up.
    pub(super) fn sweep(&mut self, bounds: &Bounds, now: Micros) -> Vec<(Hash, Wanted)> {
        let mut given_up = Vec::new();
        for hash in self.pending.values() {
            let Some(wanted) = self.blocks.get_mut(hash) else { continue };
            if self.sources.iter().any(|(device, source)| wanted.may_be_at(device, source)) {
                continue;
            }
            let since = *wanted.starved_since.get_or_insert(now);
            if now.saturating_sub(since) >= bounds.give_up {
                given_up.push(*hash);
            } else if now.saturating_sub(wanted.starved_retry.max(since)) >= bounds.retry {
                wanted.starved_retry = now;
                wanted.lacks.clear();
                self.version += 1;
            }
        }
        given_up.into_iter().filter_map(|hash| Some((hash, self.take(&hash)?))).collect()
    }
}

/// The places of all blocks of a priority.
fn of(priority: Priority) -> RangeInclusive<Place> {
    (priority, 0, 0)..=(priority, usize::MAX, u64::MAX)
}
