//! Circles of moves (rule 5): two devices move two directories into each other.
//!
//! Every entry has one raw place, so the circles are apart from each other. Of each, the entry with
//! the highest stamp is shown where it was moved from, if that leads to the root by raw places,
//! else at the root. The choice depends on the registers alone.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::EntryRec;
use super::{Index, keys};
use crate::error::IndexError;
use crate::ids::EntryId;
use crate::record::Place;
use crate::storage::Storage;

impl<S: Storage> Index<S> {
    /// Puts an entry's new registers in force, wherever its place leads.
    pub(super) fn modify(&mut self, id: EntryId, new: EntryRec) -> Result<(), IndexError> {
        let old = self.entry(&id)?.unwrap_or_default();
        // Without children an entry can only be in itself, and without circles nothing else moves.
        let into_itself = new.raw_place().is_some_and(|place| place.parent == id);
        let circles = !self.displaced.is_empty() || old.children > 0 || into_itself;
        let same = old.raw_place() == new.raw_place()
            && old.stamp() == new.stamp()
            && old.kind == new.kind;
        if same || !circles {
            return self.transition(id, new);
        }
        let displaced = self.resolve_circles(&id, &new)?;
        if self.displaced.is_empty() && displaced.is_empty() {
            return self.transition(id, new);
        }
        self.displace(id, &new, &displaced)
    }

    /// Moves all entries whose places differ: first away from where they were, then to where they
    /// are to be, so that there is never a circle in between.
    fn displace(
        &mut self,
        id: EntryId,
        new: &EntryRec,
        displaced: &BTreeMap<EntryId, Place>,
    ) -> Result<(), IndexError> {
        let mut moving: BTreeSet<EntryId> = self.displaced.keys().copied().collect();
        moving.extend(displaced.keys());
        moving.insert(id);
        for other in &moving {
            let rec = match self.entry(other)? {
                _ if *other == id => new.clone(),
                Some(rec) => (*rec).clone(),
                None => continue,
            };
            self.transition_shown(*other, self.with_counts(other, rec)?, Some(None))?;
        }
        for other in &moving {
            if let Some(rec) = self.entry(other)? {
                let place = displaced.get(other).cloned();
                self.transition_shown(*other, (*rec).clone(), place.map(Some))?;
            }
        }
        let stored: Vec<_> = self.displaced.iter().collect();
        self.overlay.put(keys::DISPLACED.to_vec(), super::to_stored(&stored));
        Ok(())
    }

    /// Takes over the counts of children, which may have changed since the registers were read.
    fn with_counts(&self, id: &EntryId, mut rec: EntryRec) -> Result<EntryRec, IndexError> {
        if let Some(now) = self.entry(id)? {
            rec.children = now.children;
            rec.wanted_children = now.wanted_children;
        }
        Ok(rec)
    }

    /// Gives which entries are displaced, and where to, once `id` has these registers.
    pub(super) fn resolve_circles(
        &self,
        id: &EntryId,
        new: &EntryRec,
    ) -> Result<BTreeMap<EntryId, Place>, IndexError> {
        let mut starts: Vec<EntryId> = self.displaced.keys().copied().collect();
        starts.push(*id);
        let mut displaced = BTreeMap::new();
        for start in starts {
            let Some(circle) = self.circle_from(start, id, new)? else { continue };
            let mut highest: Option<(EntryId, EntryRec)> = None;
            for member in circle {
                let rec = self.raw_rec(&member, id, new)?;
                let above = highest
                    .as_ref()
                    .is_none_or(|(other, best)| (rec.stamp(), member) > (best.stamp(), *other));
                if above {
                    highest = Some((member, rec));
                }
            }
            let Some((member, rec)) = highest else { continue };
            let Some(raw) = rec.raw_place().cloned() else { continue };
            let from = rec.placed.map(|placed| placed.from);
            let leads = match &from {
                Some(from) => self.leads_to_root(from.parent, id, new)?,
                None => false,
            };
            let place = match from {
                Some(from) if leads => from,
                _ => Place { parent: EntryId::ROOT, name: raw.name },
            };
            displaced.insert(member, place);
        }
        Ok(displaced)
    }

    fn raw_rec(&self, at: &EntryId, id: &EntryId, new: &EntryRec) -> Result<EntryRec, IndexError> {
        if at == id {
            return Ok(new.clone());
        }
        Ok(self.entry(at)?.map(|rec| (*rec).clone()).unwrap_or_default())
    }

    /// Gives the circle that `start` is in, by raw places; `None` when it is in none.
    fn circle_from(
        &self,
        start: EntryId,
        id: &EntryId,
        new: &EntryRec,
    ) -> Result<Option<Vec<EntryId>>, IndexError> {
        let mut seen = BTreeSet::new();
        let mut path = Vec::new();
        let mut at = start;
        while at != EntryId::ROOT {
            if !seen.insert(at) {
                return Ok((at == start).then_some(path));
            }
            path.push(at);
            match self.raw_rec(&at, id, new)?.raw_place() {
                Some(place) => at = place.parent,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn leads_to_root(
        &self,
        from: EntryId,
        id: &EntryId,
        new: &EntryRec,
    ) -> Result<bool, IndexError> {
        let mut seen = BTreeSet::new();
        let mut at = from;
        while at != EntryId::ROOT {
            let rec = self.raw_rec(&at, id, new)?;
            // A file on the way leads nowhere: nothing is shown below it.
            let next = rec.raw_place().filter(|_| rec.is_dir()).map(|place| place.parent);
            match next {
                Some(next) if seen.insert(at) => at = next,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}
