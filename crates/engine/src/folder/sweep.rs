//! Brings the history within its bounds, in small steps while nothing else is to do.
//!
//! First versions go by the policy, then, while the store is too large, the oldest ones. What no
//! version names any more is found by marking and sweeping: the objects are gone through in ranges
//! of hashes so small that the marks of one range fit into bounded memory. Whatever adds a version
//! or an object meanwhile makes it begin anew later, so that nothing fresh is taken for garbage.

use std::collections::BTreeSet;

use dunlin_identity::Hash;
use dunlin_index::{Millis, Storage};
use dunlin_tree::fs::Fs;

use super::Folder;
use crate::history::policy::expired;
use crate::history::{HistoryError, Place, Record};

/// Time between two steps, for other work to come in.
const PAUSE_MS: Millis = 20;
/// How long to wait when the folder is busy or something was added.
const LATER_MS: Millis = 60_000;
/// Groups of versions that one step looks at.
const STEP_GROUPS: usize = 200;
/// Records that one step looks at.
const STEP_RECORDS: usize = 500;
/// Directories of objects that one step looks at.
const STEP_SHARDS: u16 = 8;
/// Marks that are in memory at a time, more or less: hashes are spread evenly.
const MARKS_MAX: u64 = 200_000;
/// Directories of objects, one for each first byte.
const SHARDS: u16 = 256;

/// A sweep that is under way, and when it goes on.
#[derive(Debug, Default)]
pub(super) struct Sweeping {
    at: Option<Millis>,
    phase: Phase,
    /// Something was forgotten since the last sweep came to its end.
    garbage: bool,
    objects: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Begin,
    Expire(Option<[u8; 16]>),
    Measure(u16),
    Mark {
        shards: (u16, u16),
        after: Option<u64>,
        live: BTreeSet<Hash>,
    },
    Remove {
        shards: (u16, u16),
        live: BTreeSet<Hash>,
    },
}

impl Sweeping {
    /// A sweep that is due at once: what an earlier run has left is not known.
    pub(super) fn new() -> Self {
        Self { garbage: true, ..Self::default() }
    }

    /// Has a sweep begin at that time, if none is due before.
    pub(super) fn start(&mut self, at: Millis) {
        self.at = Some(self.at.map_or(at, |before| before.min(at)));
    }

    /// Something is added to the history: what is marked so far does not cover it.
    pub(super) fn interrupt(&mut self, now: Millis) {
        if !matches!(self.phase, Phase::Begin) {
            self.phase = Phase::Begin;
            self.at = Some(now + LATER_MS);
        }
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.at
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Sweeps a little, if that is due and nothing else is to do.
    pub(super) fn sweep(&mut self, now: Millis) {
        if self.sweeping.at.is_none_or(|at| at > now) {
            return;
        }
        if !self.is_settled() || self.packing.next_due().is_some_and(|at| at <= now) {
            self.sweeping.at = Some(now + LATER_MS);
            return;
        }
        let phase = std::mem::take(&mut self.sweeping.phase);
        self.sweeping.at = match self.sweep_step(phase, now) {
            Ok(Some(next)) => {
                self.sweeping.phase = next;
                Some(now + PAUSE_MS)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "the history is not brought within its bounds");
                Some(now + LATER_MS)
            }
        };
    }

    fn sweep_step(&mut self, phase: Phase, now: Millis) -> Result<Option<Phase>, HistoryError> {
        match phase {
            Phase::Begin => Ok(Some(Phase::Expire(None))),
            Phase::Expire(after) => self.expire(after, now),
            Phase::Measure(shard) => self.measure(shard),
            Phase::Mark { shards, after, live } => self.mark(shards, after, live),
            Phase::Remove { shards, live } => self.remove_unmarked(shards, live),
        }
    }

    /// Forgets what the policy keeps no more.
    fn expire(
        &mut self,
        mut after: Option<[u8; 16]>,
        now: Millis,
    ) -> Result<Option<Phase>, HistoryError> {
        let mut gone = Vec::new();
        for _ in 0..STEP_GROUPS {
            after = self.history().next_group(after)?;
            let Some(group) = after else { break };
            let records = self.history().of_group(&group)?;
            // What is not packed yet may hold blocks that a packed version borrows.
            let packed = records.iter().filter(|record| !is_staged(record));
            let versions: Vec<_> = packed.map(|record| (record.id, record.until)).collect();
            gone.extend(expired(self.policy.keep, now, &versions));
        }
        self.forget_versions(&gone)?;
        Ok(Some(match after {
            Some(group) => Phase::Expire(Some(group)),
            None => {
                (self.sweeping.objects, self.sweeping.bytes) = (0, 0);
                Phase::Measure(0)
            }
        }))
    }

    fn forget_versions(&mut self, gone: &[u64]) -> Result<(), HistoryError> {
        if !gone.is_empty() {
            self.sweeping.garbage = true;
            self.log.forget(gone);
            self.log.flush(&*self.fs)?;
        }
        Ok(())
    }

    /// Adds up the objects, and forgets the oldest versions if there is too much.
    fn measure(&mut self, shard: u16) -> Result<Option<Phase>, HistoryError> {
        let end = (shard + STEP_SHARDS).min(SHARDS);
        for shard in shard..end {
            let objects = self.fs.objects(byte(shard))?;
            self.sweeping.objects += objects.len() as u64;
            self.sweeping.bytes += objects.iter().map(|(_, bytes)| bytes).sum::<u64>();
        }
        if end < SHARDS {
            return Ok(Some(Phase::Measure(end)));
        }
        self.bring_within_bounds()
    }

    /// Forgets the oldest versions if there is too much, and begins to mark if any has gone.
    fn bring_within_bounds(&mut self) -> Result<Option<Phase>, HistoryError> {
        let (bytes, free) = (self.sweeping.bytes, self.fs.free_space()?.free);
        self.forget_oldest(bytes.saturating_sub(self.policy.bytes_allowed(bytes, free)))?;
        if self.sweeping.garbage {
            let shards = (0, self.range_end(0));
            return Ok(Some(Phase::Mark { shards, after: None, live: BTreeSet::new() }));
        }
        if self.log.is_mostly_dead() {
            self.log.rewrite(&*self.fs, self.seed)?;
        }
        Ok(None)
    }

    /// Forgets the oldest packed versions, until they have brought so many bytes into the store.
    fn forget_oldest(&mut self, excess: u64) -> Result<(), HistoryError> {
        let (mut freed, mut after) = (0, None);
        while freed < excess {
            let page = self.history().page(after, STEP_RECORDS)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            let mut gone = Vec::new();
            for record in &page {
                if freed >= excess {
                    break;
                }
                if let Place::Packed { stored } = record.place {
                    freed += stored;
                    gone.push(record.id);
                }
            }
            self.forget_versions(&gone)?;
        }
        Ok(())
    }

    /// Where a range of directories that begins at `from` ends.
    fn range_end(&self, from: u16) -> u16 {
        let ranges = self.sweeping.objects / MARKS_MAX + 1;
        let len = u64::from(SHARDS).div_ceil(ranges).max(1);
        SHARDS.min(from.saturating_add(u16::try_from(len).unwrap_or(SHARDS)))
    }

    /// Marks what versions name, within a range of hashes.
    fn mark(
        &mut self,
        shards: (u16, u16),
        after: Option<u64>,
        mut live: BTreeSet<Hash>,
    ) -> Result<Option<Phase>, HistoryError> {
        let page = self.history().page(after, STEP_RECORDS)?;
        let Some(last) = page.last() else {
            return Ok(Some(Phase::Remove { shards, live }));
        };
        let after = Some(last.id);
        // What is not on this device holds nothing here, even where its blocks happen to be.
        for record in page.iter().filter(|record| record.place != Place::Elsewhere) {
            let blocks = self.history().blocks(&record.what)?.unwrap_or_default();
            let hashes = blocks.into_iter().map(|(_, block)| block.hash);
            live.extend(hashes.filter(|hash| (shards.0..shards.1).contains(&u16::from(hash.0[0]))));
        }
        Ok(Some(Phase::Mark { shards, after, live }))
    }

    /// Removes the objects of a range that are not marked.
    fn remove_unmarked(
        &mut self,
        (from, to): (u16, u16),
        live: BTreeSet<Hash>,
    ) -> Result<Option<Phase>, HistoryError> {
        for (object, bytes) in self.fs.objects(byte(from))? {
            if !live.contains(&object.hash()) {
                self.fs.object_remove(&object)?;
                self.sweeping.bytes = self.sweeping.bytes.saturating_sub(bytes);
            }
        }
        if from + 1 < to {
            return Ok(Some(Phase::Remove { shards: (from + 1, to), live }));
        }
        if to < SHARDS {
            let shards = (to, self.range_end(to));
            return Ok(Some(Phase::Mark { shards, after: None, live: BTreeSet::new() }));
        }
        self.sweeping.garbage = false;
        // Versions that share blocks free less than they brought: more of them go then.
        self.bring_within_bounds()
    }
}

fn is_staged(record: &Record) -> bool {
    matches!(record.place, Place::Staged(_))
}

fn byte(shard: u16) -> u8 {
    u8::try_from(shard).unwrap_or(u8::MAX)
}
