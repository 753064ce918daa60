//! The effect of one record on the registers. Every effect commutes with every other.

use super::Index;
use super::entry::{EntryRec, Placed, TreeDelete};
use crate::error::IndexError;
use crate::ids::{Dot, EntryId, Millis};
use crate::item::{Content, Kind};
use crate::record::{Op, Place, Stamp, dot_id, first_id, promoted_id};
use crate::storage::Storage;

/// What a new entry begins with.
struct Birth {
    kind: Kind,
    place: Place,
    content: Content,
    mode: u32,
}

impl<S: Storage> Index<S> {
    /// Puts one record in force. The caller advances the context afterwards.
    pub(super) fn apply(&mut self, dot: Dot, op: Op, now: Millis) -> Result<(), IndexError> {
        // Membership is never cut off: who counts must not depend on who counts.
        let is_membership = matches!(op, Op::Member { .. } | Op::Remove { .. });
        let counts = is_membership || self.counts_for(&dot);
        if !counts && !matches!(op, Op::Create { .. } | Op::Promote { .. }) {
            return Ok(());
        }
        match op {
            Op::Member { admission, name, named_ms } => {
                self.apply_member(&dot, admission, named_ms, name);
                Ok(())
            }
            Op::Create { kind, first, place, content, mode } => {
                let id = if first {
                    first_id(&self.config.id_key, &place, &content)
                } else {
                    dot_id(&self.config.id_key, &dot)
                };
                self.give_birth(id, dot, counts, Birth { kind, place, content, mode })
            }
            Op::Write { entry, content, replaces, enables } => self.change(entry, |rec, knows| {
                rec.add_value(dot, content);
                rec.replace_values(&replaces, knows);
                rec.enable(dot);
                rec.disable(&enables, knows);
            }),
            Op::Move { entry, place, stamp, from, enables } => {
                self.observe_clock(stamp.hlc, now);
                let placed = Placed { stamp, place, from, dot };
                self.change(entry, |rec, knows| {
                    let wins = rec.placed.as_ref().is_none_or(|old| placed.order() > old.order());
                    if wins {
                        rec.placed = Some(placed);
                    }
                    rec.enable(dot);
                    rec.disable(&enables, knows);
                })?;
                self.refresh_deleted(entry)
            }
            Op::Mode { entry, mode, stamp } => {
                self.observe_clock(stamp.hlc, now);
                self.change(entry, |rec, _| set_mode(rec, mode, Some(stamp)))
            }
            Op::Delete { entry, presence } => self.change(entry, |rec, knows| {
                rec.deleted = rec.deleted.max(Some(dot));
                rec.disable(&presence, knows);
            }),
            Op::DeleteTree { top, seen, context } => {
                self.delete_tree(top, TreeDelete { dot, seen, context })
            }
            Op::Promote { entry, dot: value, place, content, mode } => {
                let id = promoted_id(&self.config.id_key, &entry, &value, content.kind());
                let kind = content.kind();
                self.give_birth(id, dot, counts, Birth { kind, place, content, mode })?;
                if counts {
                    self.change(entry, |rec, knows| rec.replace_values(&[value], knows))?;
                }
                Ok(())
            }
            Op::Enable { entry, enables } => self.change(entry, |rec, knows| {
                rec.enable(dot);
                rec.disable(&enables, knows);
            }),
            Op::Approve { author, until } => {
                self.approve_deletes(author, until);
                Ok(())
            }
            Op::Remove { device, ends, generation, keys } => {
                self.apply_removal(device, &ends, generation);
                self.note_grants(dot.author.device, generation, keys);
                Ok(())
            }
            Op::Settings { value, replaces } => {
                self.apply_settings(dot, value, &replaces);
                Ok(())
            }
            Op::Withdraw { entry, values } => self.change(entry, |rec, knows| {
                rec.replace_values(&values, knows);
                rec.disable(&values, knows);
            }),
        }
    }

    fn change(
        &mut self,
        id: EntryId,
        change: impl FnOnce(&mut EntryRec, &dyn Fn(&Dot) -> bool),
    ) -> Result<(), IndexError> {
        // The context is lent out: what decides over dots must not borrow the index that changes.
        let context = std::mem::take(&mut self.context);
        let (author, pending) = (self.author, self.pending.len() as u64);
        let old = self.entry(&id);
        let new = old.map(|old| {
            let mut rec = old.map(|old| (*old).clone()).unwrap_or_default();
            change(&mut rec, &|dot| {
                let unsigned = if dot.author == author { pending } else { 0 };
                dot.seq <= context.get(&dot.author) + unsigned
            });
            rec
        });
        self.context = context;
        self.modify(id, new?)
    }

    /// Makes an entry. By a record that does not count it becomes known and is not shown: what
    /// members have written in it, not knowing of the removal, needs its name and kind.
    fn give_birth(
        &mut self,
        id: EntryId,
        dot: Dot,
        counts: bool,
        birth: Birth,
    ) -> Result<(), IndexError> {
        self.change(id, |rec, _| {
            if *rec.kind.get_or_insert(birth.kind) != birth.kind {
                return;
            }
            if !rec.is_born_by(counts) {
                return;
            }
            // Equal stamps (zero) are told apart by the place itself.
            if rec.birth.as_ref().is_none_or(|other| birth.place < *other) {
                rec.birth = Some(birth.place);
            }
            set_mode(rec, birth.mode, None);
            if !counts {
                return;
            }
            if birth.kind != Kind::Directory {
                rec.add_value(dot, birth.content);
            }
            rec.enable(dot);
        })
    }

    fn delete_tree(&mut self, top: EntryId, deletion: TreeDelete) -> Result<(), IndexError> {
        self.meta.tree_deletes = true;
        if !self.knows_all(&deletion.context) {
            self.wait_for(top, deletion.dot);
        }
        self.change(top, |rec, _| {
            if let Err(at) = rec.tree_deletes.binary_search_by_key(&deletion.dot, |old| old.dot) {
                rec.tree_deletes.insert(at, deletion);
            }
        })?;
        self.refresh_below(top)
    }

    /// After a move, a deletion of the entry with its tree may be void, or in force again.
    fn refresh_deleted(&mut self, id: EntryId) -> Result<(), IndexError> {
        if self.entry(&id)?.is_some_and(|rec| !rec.tree_deletes.is_empty()) {
            self.refresh_below(id)?;
        }
        Ok(())
    }
}

/// The last writer wins; without a stamp (at birth) the higher value does.
fn set_mode(rec: &mut EntryRec, mode: u32, stamp: Option<Stamp>) {
    if (stamp, mode) > (rec.mode_stamp, rec.mode) {
        rec.mode = mode;
        rec.mode_stamp = stamp;
    }
}
