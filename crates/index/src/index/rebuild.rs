//! Rebuilding the state from the logs: after a removal takes records back, when a newer version
//! stores it otherwise, or when it is damaged.

use std::collections::BTreeSet;

use super::{Index, Meta, keys};
use crate::error::IndexError;
use crate::ids::{Author, Dot, EntryId, Millis};
use crate::record::Op;
use crate::segment::Part;
use crate::storage::Storage;

impl<S: Storage> Index<S> {
    /// Throws away the state and replays all logs; gives the same state again. The changes are
    /// staged: see [`write_back`](Self::write_back).
    pub fn rebuild(&mut self) -> Result<(), IndexError> {
        let mut changed = self.wanted_entries()?;
        changed.append(&mut self.changed);
        self.forget_derived()?;
        let meta = Meta::new(self.config.folder, self.meta.epoch);
        let hlc = std::mem::replace(&mut self.meta, meta).hlc;
        self.meta.hlc = hlc;
        self.members.clear();
        self.clear_settings();
        self.grants = Default::default();
        self.displaced.clear();
        self.waiting.clear();
        self.unknown.clear();
        let pending = std::mem::take(&mut self.pending);
        let context = std::mem::take(&mut self.context);
        // Who takes part, and up to where, decides what counts of the rest.
        self.replay(&pending, true)?;
        self.context = Default::default();
        self.pending.clear();
        self.replay(&pending, false)?;
        self.context = context;
        self.pending = pending;
        self.settle_waiting()?;
        self.stale = false;
        changed.append(&mut self.changed);
        changed.extend(self.wanted_entries()?);
        self.changed = changed;
        Ok(())
    }

    /// Removes all that follows from the logs, in whatever form it is stored.
    pub(super) fn forget_derived(&mut self) -> Result<(), IndexError> {
        for prefix in keys::REBUILT {
            self.overlay.wipe(prefix)?;
        }
        Ok(())
    }

    fn replay(&mut self, pending: &[Vec<u8>], membership: bool) -> Result<(), IndexError> {
        let authors: Vec<Author> = self.heads.keys().copied().collect();
        for author in authors {
            let mut have = 0;
            while let Some(segment) = self.next_segment(&author, have)? {
                let segment = segment.beyond(have);
                for (seq, part) in (segment.first..).zip(&segment.parts) {
                    if let Part::Record(bytes) = part {
                        self.replay_one(Dot { author, seq }, bytes, membership)?;
                    }
                    self.context.raise(author, seq);
                }
                have = segment.last();
            }
        }
        for record in pending {
            let dot = Dot { author: self.author, seq: self.next_seq() };
            self.replay_one(dot, record, membership)?;
            self.pending.push(record.clone());
        }
        Ok(())
    }

    fn replay_one(&mut self, dot: Dot, bytes: &[u8], membership: bool) -> Result<(), IndexError> {
        // The clock is not replayed: it was kept.
        const NOW: Millis = 0;
        let Some(op) = Op::decode(bytes, &dot.author) else { return Ok(()) };
        let is_membership = matches!(op, Op::Member { .. } | Op::Remove { .. });
        if is_membership == membership { self.apply(dot, op, NOW) } else { Ok(()) }
    }

    /// Gives every entry that the view needs.
    fn wanted_entries(&mut self) -> Result<BTreeSet<EntryId>, IndexError> {
        let mut wanted = BTreeSet::new();
        self.for_entries(|id, rec| {
            if rec.wanted() {
                wanted.insert(id);
            }
        })?;
        Ok(wanted)
    }

    /// Visits every stored entry, by id.
    pub(super) fn for_entries(
        &mut self,
        mut visit: impl FnMut(EntryId, &super::entry::EntryRec),
    ) -> Result<(), IndexError> {
        self.overlay.stage_entries();
        self.overlay.each(keys::ENTRIES, |key, value| {
            let id = key[1..].try_into().map_err(|_| IndexError::Damaged("an entry's key"))?;
            visit(EntryId(id), &super::entry::EntryRec::decode(value)?);
            Ok(())
        })
    }

    /// Begins a new log, because others hold more of the present one than this device does
    /// (a restored backup): its numbers must not be used twice. What others hold of the old log can
    /// be merged afterwards. A new log's first record is staged: [`commit`](Self::commit) signs it.
    ///
    /// Fails with [`IndexError::Uncommitted`] while there are staged local changes.
    pub fn open_new_epoch(&mut self, fresh_epoch: u64, now: Millis) -> Result<(), IndexError> {
        if !self.pending.is_empty() {
            return Err(IndexError::Uncommitted);
        }
        let author = Author { device: self.config.device, epoch: fresh_epoch };
        if self.heads.contains_key(&author) {
            return Err(IndexError::OwnEpochAhead);
        }
        self.meta.epoch = fresh_epoch;
        self.author = author;
        self.announce(now)
    }
}
