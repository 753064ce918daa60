//! What follows from the registers, kept up to date with every change: who claims which slot, which
//! directories are wanted for the sake of what is in them, how much is shown, and the fingerprint.
//!
//! The work is done slot by slot, so that a change costs the same in a small and in a huge folder;
//! only where two directories become one, or a subtree comes into or out of reach, all that lies
//! below is counted anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::entry::{Enabled, EntryRec};
use super::{Counts, Index, keys, naming};
use crate::error::IndexError;
use crate::ids::EntryId;
use crate::name::SafeName;
use crate::record::Place;
use crate::storage::Storage;

/// Names longer than this may be cut in a derived name, so that other slots' names can collide.
const UNCUT_NAME_BYTES_MAX: usize = 160;

/// A slot of the view: the directories that are shown as one, and a name in them.
type UnionSlot = (Vec<EntryId>, SafeName);

/// What is shown, each slot counted once: a place that is taken may lie below the one that is left.
#[derive(Default)]
struct Tally {
    counts: Counts,
    counted: BTreeSet<UnionSlot>,
}

/// An entry that claims a slot.
pub(super) type Claimant = (EntryId, Arc<EntryRec>);

impl<S: Storage> Index<S> {
    /// Gives where an entry is, circles of moves resolved.
    pub(super) fn place<'a>(&'a self, id: &EntryId, rec: &'a EntryRec) -> Option<&'a Place> {
        match self.displaced.get(id) {
            Some(place) => place.as_ref(),
            None => rec.raw_place(),
        }
    }

    /// Gives all names and entries that claim slots in one directory, sorted.
    pub(super) fn claims_in(
        &self,
        family: u8,
        dir: &EntryId,
    ) -> Result<Vec<(SafeName, EntryId)>, IndexError> {
        let prefix = keys::directory(family, dir);
        let mut found = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.overlay.scan(&prefix, after.as_deref(), 1024)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            for (key, _) in &page {
                found.push(claim_of(key)?);
            }
        }
    }

    /// Gives the wanted entries that claim one slot of one directory, by id.
    pub(super) fn claimants(&self, place: &Place) -> Result<Vec<Claimant>, IndexError> {
        let prefix = keys::slot(keys::WANTED, place);
        let mut found = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.overlay.scan(&prefix, after.as_deref(), 16)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            let short = page.len() < 16;
            for (key, _) in &page {
                let (_, id) = claim_of(key)?;
                let rec = self.entry(&id)?.ok_or(IndexError::Damaged("a claim of no entry"))?;
                found.push((id, rec));
            }
            if short {
                return Ok(found);
            }
        }
    }

    /// Gives the wanted entries that claim a name in directories that are shown as one.
    pub(super) fn claimants_in(
        &self,
        members: &[EntryId],
        name: &SafeName,
    ) -> Result<Vec<Claimant>, IndexError> {
        let mut found = Vec::new();
        for member in members {
            found.extend(self.claimants(&Place { parent: *member, name: name.clone() })?);
        }
        Ok(found)
    }

    /// Gives the directories that are shown as one with this one, itself included, by id: the
    /// wanted ones of the same name in directories that are themselves shown as one.
    pub(super) fn union_of(&self, dir: EntryId) -> Result<Vec<EntryId>, IndexError> {
        if dir == EntryId::ROOT || self.meta.unions == 0 {
            return Ok(vec![dir]);
        }
        let mut names = Vec::new();
        let mut at = dir;
        while at != EntryId::ROOT {
            let Some(rec) = self.entry(&at)?.filter(|rec| rec.is_dir() && rec.wanted()) else {
                return Ok(vec![dir]);
            };
            let Some(place) = self.place(&at, &rec) else { return Ok(vec![dir]) };
            names.push(place.name.clone());
            at = place.parent;
        }
        let mut members = vec![EntryId::ROOT];
        for name in names.iter().rev() {
            let claimants = self.claimants_in(&members, name)?;
            members = claimants.iter().filter(|(_, rec)| rec.is_dir()).map(|(id, _)| *id).collect();
        }
        members.sort_unstable();
        Ok(members)
    }

    /// Tells whether a directory is known and leads up to the root.
    pub(super) fn reaches_root(&self, dir: EntryId) -> Result<bool, IndexError> {
        let mut at = dir;
        while at != EntryId::ROOT {
            let Some(rec) = self.entry(&at)?.filter(|rec| rec.is_dir()) else { return Ok(false) };
            let Some(place) = self.place(&at, &rec) else { return Ok(false) };
            at = place.parent;
        }
        Ok(true)
    }

    /// Puts an entry's new registers in force, with all that follows from them.
    pub(super) fn transition(&mut self, id: EntryId, new: EntryRec) -> Result<(), IndexError> {
        let displaced = self.displaced.get(&id).cloned();
        self.transition_shown(id, new, displaced)
    }

    /// Puts an entry's new registers in force, and where circles of moves force it to be
    /// (`displaced`), if they do. The new place must not lie below the entry itself.
    pub(super) fn transition_shown(
        &mut self,
        id: EntryId,
        mut new: EntryRec,
        displaced: Option<Option<Place>>,
    ) -> Result<(), IndexError> {
        let old = self.entry(&id)?.unwrap_or_default();
        let old_place = self.place(&id, &old).cloned();
        let new_place = displaced.clone().unwrap_or_else(|| new.raw_place().cloned());
        let Enabled { live, disabled } = self.enabled(&id, &new, new_place.as_ref())?;
        (new.live, new.disabled) = (live, disabled);
        if *old == new && old_place == new_place && self.displaced.get(&id) == displaced.as_ref() {
            return Ok(());
        }
        self.version += 1;
        let moved = old_place != new_place;
        let reach_old = old.is_dir() && self.child_reach(old_place.as_ref())?;
        let reach_new = new.is_dir() && self.child_reach(new_place.as_ref())?;
        let places = [old_place.as_ref(), new_place.as_ref()];
        let shape_changes = moved || old.wanted() != new.wanted() || old.kind != new.kind;
        let area = (old.is_dir() || new.is_dir())
            && (reach_old != reach_new || (shape_changes && self.meets_dirs(&id, &places)?));

        let before = self.measure(&id, &places, area)?;
        match displaced {
            Some(place) => self.displaced.insert(id, place),
            None => self.displaced.remove(&id),
        };
        self.put_derived(&id, &old, old_place.as_ref(), new.clone(), new_place.as_ref())?;
        let after = self.measure(&id, &places, area)?;
        self.meta.counts = self.meta.counts.minus(before).plus(after);

        self.count_children(&old, old_place.as_ref(), &new, new_place.as_ref())?;
        let path_changes = moved || old.kind != new.kind || old.placed != new.placed;
        if path_changes && new.children > 0 {
            let deletes = self.has_deletes_above(&new, old_place.as_ref())?
                || self.has_deletes_above(&new, new_place.as_ref())?;
            if deletes {
                self.refresh_below(id)?;
            }
        }
        Ok(())
    }

    fn child_reach(&self, place: Option<&Place>) -> Result<bool, IndexError> {
        place.map_or(Ok(false), |place| self.reaches_root(place.parent))
    }

    /// Writes an entry, its claim, and whether the slots it claims are complicated.
    fn put_derived(
        &mut self,
        id: &EntryId,
        old: &EntryRec,
        old_place: Option<&Place>,
        new: EntryRec,
        new_place: Option<&Place>,
    ) -> Result<(), IndexError> {
        if old.wanted() {
            self.meta.print = subtract(self.meta.print, old.print(id));
        }
        if new.wanted() {
            self.meta.print = add(self.meta.print, new.print(id));
        }
        let (was_wanted, wanted) = (old.wanted(), new.wanted());
        let (was_dir, is_dir) = (old.is_dir(), new.is_dir());
        let claim_changes = old_place != new_place || was_wanted != wanted || was_dir != is_dir;
        if let (Some(place), true) = (old_place, claim_changes) {
            self.overlay.delete(keys::claim(family(was_wanted), place, id));
            if was_wanted && was_dir && self.dirs_at(place)? == 1 {
                self.meta.unions -= 1;
            }
        }
        if let (Some(place), true) = (new_place, claim_changes) {
            if wanted && is_dir && self.dirs_at(place)? == 1 {
                self.meta.unions += 1;
            }
            self.overlay.put(keys::claim(family(wanted), place, id), Vec::new());
        }
        self.note_unknown(id, &new);
        self.overlay.put_entry(*id, Arc::new(new));
        if let Some(place) = old_place.filter(|_| claim_changes) {
            self.mark_complicated(place)?;
        }
        if let Some(place) = new_place {
            self.mark_complicated(place)?;
        }
        Ok(())
    }

    fn dirs_at(&self, place: &Place) -> Result<usize, IndexError> {
        Ok(self.claimants(place)?.iter().filter(|(_, rec)| rec.is_dir()).count())
    }

    /// Keeps the note whether more than one plain item may have to be shown in a slot.
    fn mark_complicated(&mut self, place: &Place) -> Result<(), IndexError> {
        let complicated = self.is_complicated(place)?;
        let mut key = keys::directory(keys::COMPLICATED, &place.parent);
        key.extend_from_slice(place.name.as_str().as_bytes());
        let noted = self.meta.complicated > 0 && self.overlay.get(&key)?.is_some();
        if complicated && !noted {
            self.overlay.put(key, Vec::new());
            self.meta.complicated += 1;
        } else if noted && !complicated {
            self.overlay.delete(key);
            self.meta.complicated -= 1;
        }
        Ok(())
    }

    pub(super) fn is_complicated(&self, place: &Place) -> Result<bool, IndexError> {
        let claimants = self.claimants(place)?;
        Ok(match claimants.as_slice() {
            [] => false,
            [(_, rec)] => rec.groups().len() > 1 || naming::is_reserved(place),
            _ => true,
        })
    }

    /// Adjusts the counts of a directory's children after one of them has changed.
    fn count_children(
        &mut self,
        old: &EntryRec,
        old_place: Option<&Place>,
        new: &EntryRec,
        new_place: Option<&Place>,
    ) -> Result<(), IndexError> {
        let from = old_place.map(|place| place.parent);
        let to = new_place.map(|place| place.parent);
        if from == to && old.wanted() == new.wanted() {
            return Ok(());
        }
        let one = |counted: bool| i64::from(counted);
        if from == to {
            if let Some(parent) = to {
                self.adjust(parent, 0, one(new.wanted()) - one(old.wanted()))?;
            }
            return Ok(());
        }
        // First the new parent: a directory on the way up then does not flicker.
        if let Some(parent) = to {
            self.adjust(parent, 1, one(new.wanted()))?;
        }
        if let Some(parent) = from {
            self.adjust(parent, -1, -one(old.wanted()))?;
        }
        Ok(())
    }

    fn adjust(&mut self, dir: EntryId, children: i64, wanted: i64) -> Result<(), IndexError> {
        if dir == EntryId::ROOT {
            return Ok(());
        }
        let old = self.entry(&dir)?.unwrap_or_default();
        let mut new = (*old).clone();
        new.children = new.children.saturating_add_signed(children);
        new.wanted_children = new.wanted_children.saturating_add_signed(wanted);
        if new.wanted() == old.wanted() {
            // Nothing else follows from the number of children.
            self.note_unknown(&dir, &new);
            self.overlay.put_entry(dir, Arc::new(new));
            return Ok(());
        }
        self.transition(dir, new)
    }

    /// Tells whether other wanted directories are shown in the slots that an entry leaves or takes.
    fn meets_dirs(&self, id: &EntryId, places: &[Option<&Place>]) -> Result<bool, IndexError> {
        for place in places.iter().flatten() {
            let members = self.union_of(place.parent)?;
            let claimants = self.claimants_in(&members, &place.name)?;
            if claimants.iter().any(|(other, rec)| other != id && rec.is_dir()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts what is shown in the slots that a change touches, and notes it as changed; with
    /// `area`, all below the directories in these slots too.
    fn measure(
        &mut self,
        id: &EntryId,
        places: &[Option<&Place>],
        area: bool,
    ) -> Result<Counts, IndexError> {
        let mut tally = Tally::default();
        let mut slots: BTreeSet<UnionSlot> = BTreeSet::new();
        for place in places.iter().flatten() {
            if self.reaches_root(place.parent)? {
                slots.insert((self.union_of(place.parent)?, place.name.clone()));
            }
        }
        self.changed.insert(*id);
        for (members, name) in slots {
            let dirs = self.count_slot(&members, &name, &mut tally)?;
            self.note_neighbours(&members, &name)?;
            if area && !dirs.is_empty() {
                self.count_below(dirs, &mut tally)?;
            }
        }
        if area {
            self.count_unwanted(id, &mut tally)?;
        }
        Ok(tally.counts)
    }

    /// Counts what is in a directory that is not wanted itself: it stands for itself alone, in the
    /// moment between a child's becoming wanted and its own.
    fn count_unwanted(&mut self, id: &EntryId, tally: &mut Tally) -> Result<(), IndexError> {
        let unwanted = self.entry(id)?.filter(|rec| rec.is_dir() && !rec.wanted());
        if unwanted.is_some() && self.reaches_root(*id)? {
            self.count_below(vec![*id], tally)?;
        }
        Ok(())
    }

    /// Counts one slot's items, and gives the directories that are shown as one in it; none if the
    /// slot was counted already.
    fn count_slot(
        &mut self,
        members: &[EntryId],
        name: &SafeName,
        tally: &mut Tally,
    ) -> Result<Vec<EntryId>, IndexError> {
        if !tally.counted.insert((members.to_vec(), name.clone())) {
            return Ok(Vec::new());
        }
        let counts = &mut tally.counts;
        let claimants = self.claimants_in(members, name)?;
        self.changed.extend(claimants.iter().map(|(id, _)| *id));
        let slot = super::view::slot_of(members, name, &claimants);
        counts.dirs += u64::from(!slot.dirs.is_empty());
        for shown in &slot.values {
            counts.files += 1;
            counts.bytes = counts.bytes.wrapping_add(shown.content.size());
        }
        counts.conflicts += slot.losers() as u64;
        Ok(slot.dirs)
    }

    /// Counts all that lies below directories that are shown as one.
    fn count_below(&mut self, dirs: Vec<EntryId>, tally: &mut Tally) -> Result<(), IndexError> {
        let mut unions = vec![dirs];
        while let Some(members) = unions.pop() {
            for name in self.names_in(&members)? {
                let dirs = self.count_slot(&members, &name, tally)?;
                if !dirs.is_empty() {
                    unions.push(dirs);
                }
            }
        }
        Ok(())
    }

    /// Gives the names that are claimed by wanted entries in directories that are shown as one.
    pub(super) fn names_in(&self, members: &[EntryId]) -> Result<BTreeSet<SafeName>, IndexError> {
        let mut names = BTreeSet::new();
        for member in members {
            let claims = self.claims_in(keys::WANTED, member)?;
            names.extend(claims.into_iter().map(|(name, _)| name));
        }
        Ok(names)
    }

    /// Notes the copies in other slots of the directory whose derived names may have depended on
    /// this one.
    fn note_neighbours(&mut self, members: &[EntryId], name: &SafeName) -> Result<(), IndexError> {
        let may_collide = naming::is_marked(name) || name.as_str().len() > UNCUT_NAME_BYTES_MAX;
        if !may_collide || (self.meta.complicated == 0 && members.len() == 1) {
            return Ok(());
        }
        for name in self.complicated_names(members)? {
            let claimants = self.claimants_in(members, &name)?;
            self.changed.extend(claimants.iter().map(|(id, _)| *id));
        }
        Ok(())
    }
}

fn family(wanted: bool) -> u8 {
    if wanted { keys::WANTED } else { keys::UNWANTED }
}

fn claim_of(key: &[u8]) -> Result<(SafeName, EntryId), IndexError> {
    keys::parse_claim(key)
        .and_then(|(name, id)| Some((SafeName::parse(name).ok()?, id)))
        .ok_or(IndexError::Damaged("a claim"))
}

pub(super) fn add(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    std::array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
}

pub(super) fn subtract(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    std::array::from_fn(|lane| a[lane].wrapping_sub(b[lane]))
}

impl Counts {
    // Wrapping: sizes are what peers claim, and a sum beyond 2^64 must come back when they go.
    fn plus(self, other: Self) -> Self {
        Self {
            files: self.files.wrapping_add(other.files),
            dirs: self.dirs.wrapping_add(other.dirs),
            bytes: self.bytes.wrapping_add(other.bytes),
            conflicts: self.conflicts.wrapping_add(other.conflicts),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            files: self.files.wrapping_sub(other.files),
            dirs: self.dirs.wrapping_sub(other.dirs),
            bytes: self.bytes.wrapping_sub(other.bytes),
            conflicts: self.conflicts.wrapping_sub(other.conflicts),
        }
    }
}
