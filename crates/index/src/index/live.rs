//! Which entries are live (rule 6): a presence dot is left that no tree deletion disables.

use super::entry::{Enabled, EntryRec};
use super::{Index, keys};
use crate::error::IndexError;
use crate::ids::{Dot, EntryId};
use crate::planted::{Fault, is_planted};
use crate::record::Place;
use crate::storage::Storage;

impl<S: Storage> Index<S> {
    /// Gives what the deletions leave of an entry with these registers at this place.
    ///
    /// A tree deletion on an ancestor counts only for what its author saw there: the presence dot,
    /// and every move on the way down to the entry, must be in its context. What was moved in by
    /// somebody who did not know of the deletion survives, with all that is in it.
    pub(super) fn enabled(
        &self,
        id: &EntryId,
        rec: &EntryRec,
        place: Option<&Place>,
    ) -> Result<Enabled, IndexError> {
        if rec.presence.is_empty() || !rec.has_content() {
            return Ok(Enabled::default());
        }
        if !self.meta.tree_deletes {
            return Ok(Enabled { live: true, disabled: Vec::new() });
        }
        let mut present = rec.presence.clone();
        let mut moves: Vec<Dot> = Vec::new();
        self.disable_by(rec, &moves, &mut present);
        let mut above = rec.placed.as_ref().map(|placed| placed.dot);
        let mut next = place.map(|place| place.parent);
        while let Some(parent) = next.filter(|parent| *parent != EntryId::ROOT && parent != id) {
            moves.extend(above);
            let Some(parent_rec) = self.entry(&parent)? else { break };
            self.disable_by(&parent_rec, &moves, &mut present);
            if present.is_empty() {
                return Ok(Enabled::default());
            }
            above = parent_rec.placed.as_ref().map(|placed| placed.dot);
            next = self.place(&parent, &parent_rec).map(|place| place.parent);
        }
        if present.is_empty() {
            return Ok(Enabled::default());
        }
        let taken = |dot: &Dot| rec.is_present(dot) && present.binary_search(dot).is_err();
        let dots = rec.values.iter().map(|(dot, _)| *dot);
        Ok(Enabled { live: true, disabled: dots.filter(taken).collect() })
    }

    fn disable_by(&self, top: &EntryRec, moves: &[Dot], present: &mut Vec<Dot>) {
        for deletion in &top.tree_deletes {
            let counts = top.stamp() <= deletion.seen
                && moves.iter().all(|dot| deletion.context.covers(dot))
                && self.knows_all(&deletion.context);
            if counts {
                let unseen = |dot: &Dot| !deletion.context.covers(dot);
                present.retain(|dot| unseen(dot) && !is_planted(Fault::SkipVersion));
            }
        }
    }

    /// Tells whether this entry or one above it was ever deleted with all that is in it.
    pub(super) fn has_deletes_above(
        &self,
        rec: &EntryRec,
        place: Option<&Place>,
    ) -> Result<bool, IndexError> {
        if !self.meta.tree_deletes {
            return Ok(false);
        }
        if !rec.tree_deletes.is_empty() {
            return Ok(true);
        }
        let mut next = place.map(|place| place.parent);
        while let Some(parent) = next.filter(|parent| *parent != EntryId::ROOT) {
            let Some(rec) = self.entry(&parent)? else { break };
            if !rec.tree_deletes.is_empty() {
                return Ok(true);
            }
            next = self.place(&parent, &rec).map(|place| place.parent);
        }
        Ok(false)
    }

    /// Computes anew which of the entries below a directory are live.
    pub(super) fn refresh_below(&mut self, top: EntryId) -> Result<(), IndexError> {
        for id in self.all_below(top)? {
            if let Some(rec) = self.entry(&id)? {
                let place = self.place(&id, &rec).cloned();
                if self.enabled(&id, &rec, place.as_ref())? != rec.enabled() {
                    self.transition(id, (*rec).clone())?;
                }
            }
        }
        Ok(())
    }

    /// Gives every entry below a directory, wanted or not.
    pub(super) fn all_below(&self, top: EntryId) -> Result<Vec<EntryId>, IndexError> {
        let mut below = Vec::new();
        let mut dirs = vec![top];
        while let Some(dir) = dirs.pop() {
            for family in [keys::WANTED, keys::UNWANTED] {
                for (_, id) in self.claims_in(family, &dir)? {
                    below.push(id);
                    if self.entry(&id)?.is_some_and(|rec| rec.children > 0) {
                        dirs.push(id);
                    }
                }
            }
        }
        Ok(below)
    }

    /// Notices tree deletions whose context has become covered.
    pub(super) fn settle_waiting(&mut self) -> Result<(), IndexError> {
        let mut settled = Vec::new();
        for (top, dot) in &self.waiting {
            let rec = self.entry(top)?;
            let deletion = rec
                .as_ref()
                .and_then(|rec| rec.tree_deletes.iter().find(|deletion| deletion.dot == *dot));
            if deletion.is_none_or(|deletion| self.knows_all(&deletion.context)) {
                settled.push((*top, *dot));
            }
        }
        for (top, dot) in settled {
            self.waiting.remove(&(top, dot));
            self.overlay.delete(waiting_key(&top, &dot));
            self.refresh_with_below(top)?;
        }
        Ok(())
    }

    /// Computes anew which of an entry and of those below it are live.
    pub(super) fn refresh_with_below(&mut self, top: EntryId) -> Result<(), IndexError> {
        if let Some(rec) = self.entry(&top)? {
            self.transition(top, (*rec).clone())?;
        }
        self.refresh_below(top)
    }

    pub(super) fn wait_for(&mut self, top: EntryId, dot: Dot) {
        self.waiting.insert((top, dot));
        self.overlay.put(waiting_key(&top, &dot), Vec::new());
    }

    /// Keeps the note whether an entry is used and not known itself, so that it may lie anywhere.
    pub(super) fn note_unknown(&mut self, id: &EntryId, rec: &EntryRec) {
        let key = || [keys::UNKNOWN, &id.0].concat();
        if rec.is_unknown() {
            if self.unknown.insert(*id) {
                self.overlay.put(key(), Vec::new());
            }
        } else if self.unknown.remove(id) {
            self.overlay.delete(key());
        }
    }

    /// Gives what was written in entries that are not known yet, or is live below such directories:
    /// it is shown nowhere.
    pub(super) fn below_unknown(&self) -> Result<Vec<EntryId>, IndexError> {
        let mut live = Vec::new();
        for dir in &self.unknown {
            if self.entry(dir)?.is_some_and(|rec| !rec.presence.is_empty()) {
                live.push(*dir);
            }
            for id in self.all_below(*dir)? {
                if self.entry(&id)?.is_some_and(|rec| rec.live) {
                    live.push(id);
                }
            }
        }
        Ok(live)
    }

    pub(super) fn load_unknown(&mut self) -> Result<(), IndexError> {
        self.overlay.each(keys::UNKNOWN, |key, _| {
            let id = key[1..].try_into().map_err(|_| IndexError::Damaged("an unknown one"))?;
            self.unknown.insert(EntryId(id));
            Ok(())
        })
    }

    pub(super) fn load_waiting(&mut self) -> Result<(), IndexError> {
        self.overlay.each(keys::WAITING, |key, _| {
            self.waiting.insert(super::stored(&key[1..], "a waiting deletion")?);
            Ok(())
        })
    }
}

fn waiting_key(top: &EntryId, dot: &Dot) -> Vec<u8> {
    [keys::WAITING, &super::to_stored(&(top, dot))].concat()
}
