//! What the index shows as one, or one beside the other, and what is done to one of them alone.
//!
//! Contents that are equal are shown once, and what is done to the one is done to the other. But on
//! the disk of the device where the user acts they may be several files yet. Before an operation on
//! one of these, the others are parted from it here.

use super::entry::{EntryRec, Placed};
use super::tree::Claimant;
use super::{Index, naming};
use crate::context::Context;
use crate::error::IndexError;
use crate::ids::{Dot, EntryId, Millis};
use crate::item::{Content, ItemKey};
use crate::name::SafeName;
use crate::record::{Op, Place, promoted_id};
use crate::storage::Storage;

impl<S: Storage> Index<S> {
    /// Gives the other entries that are shown as one with a file or link, because their contents are
    /// equal: what is done to it is done to them.
    pub fn equals(&self, item: &ItemKey) -> Result<Vec<EntryId>, IndexError> {
        let Some((content, claimants)) = self.slot_around(item)? else { return Ok(Vec::new()) };
        let mut equal = equal_entries(&claimants, &content);
        equal.retain(|id| *id != item.entry);
        Ok(equal)
    }

    /// Gives the values of other entries that are in the slot of a file or link and hold the same,
    /// also those that are not the first of theirs: of all these at most one is shown.
    pub fn equal_values(&self, item: &ItemKey) -> Result<Vec<ItemKey>, IndexError> {
        let mut equal = Vec::new();
        let Some((content, claimants)) = self.slot_around(item)? else { return Ok(equal) };
        for (entry, rec) in claimants.iter().filter(|(id, _)| *id != item.entry) {
            let shown = rec.groups().iter().any(|group| group.shows(&content));
            let same = rec.values.iter().filter(|(_, value)| shown && value.same_as(&content));
            equal.extend(same.map(|(dot, _)| ItemKey { entry: *entry, dot: Some(*dot) }));
        }
        Ok(equal)
    }

    /// Gives what a file or link holds, and all that claims its slot.
    fn slot_around(&self, item: &ItemKey) -> Result<Option<(Content, Vec<Claimant>)>, IndexError> {
        let Some(rec) = self.entry(&item.entry)?.filter(|rec| rec.live && !rec.is_dir()) else {
            return Ok(None);
        };
        let content = item.dot.and_then(|dot| shown_alone(&rec, &dot));
        let (Some(content), Some(place)) = (content, self.place(&item.entry, &rec)) else {
            return Ok(None);
        };
        let members = self.union_of(place.parent)?;
        Ok(Some((content.clone(), self.claimants_in(&members, &place.name)?)))
    }

    /// Names copies that are not on this device's disk: its user has not seen them, and its next
    /// operation leaves them where they are instead of making them independent. They may be gone
    /// already where they were made, and to make them independent would bring them back.
    pub fn leave_alone(&mut self, unseen: Vec<ItemKey>) {
        self.unseen = unseen;
    }

    /// Moves an entry alone, without those that are shown as one with it, to a name in a directory
    /// whatever is shown there.
    pub fn move_apart(
        &mut self,
        now: Millis,
        item: &ItemKey,
        parent: EntryId,
        name: &SafeName,
    ) -> Result<(), IndexError> {
        self.check_writer()?;
        let place = self.used_place(now, parent, name)?;
        self.move_entry(now, item.entry, place)
    }

    /// Gives the values of a file or link that nobody has replaced.
    pub fn values_of(&self, entry: EntryId) -> Result<Vec<Dot>, IndexError> {
        let rec = self.entry(&entry)?;
        Ok(rec.map(|rec| rec.values.iter().map(|(dot, _)| *dot).collect()).unwrap_or_default())
    }

    /// Tells whether another value of the same entry, which nobody has replaced, holds the same:
    /// what deletes the one deletes the other.
    pub fn has_twin(&self, item: &ItemKey) -> Result<bool, IndexError> {
        let Some(rec) = self.entry(&item.entry)? else { return Ok(false) };
        let Some(content) = item.dot.and_then(|dot| rec.value(&dot)) else { return Ok(false) };
        Ok(rec.values.iter().filter(|(_, value)| value.same_as(content)).count() > 1)
    }

    /// Tells whether something that is still what `item` names was moved, by a record that `known`
    /// does not cover.
    pub fn is_moved_since(&self, item: &ItemKey, known: &Context) -> Result<bool, IndexError> {
        let Some(rec) = self.entry(&item.entry)? else { return Ok(false) };
        let is_it = rec.is_dir() || item.dot.is_some_and(|dot| rec.value(&dot).is_some());
        let moved = |placed: &Placed| !known.covers(&placed.dot);
        Ok(is_it && rec.placed.as_ref().is_some_and(moved))
    }

    /// Makes one value of a file or link an entry of its own, alone, without those that are equal to
    /// it, at a name in a directory whatever is shown there. Gives nothing when nobody shows that
    /// value any more.
    pub fn promote_apart(
        &mut self,
        now: Millis,
        item: &ItemKey,
        parent: EntryId,
        name: &SafeName,
    ) -> Result<Option<ItemKey>, IndexError> {
        self.check_writer()?;
        let rec = self.known(item.entry)?;
        let Some((dot, content)) = item.dot.and_then(|dot| Some((dot, rec.value(&dot)?.clone())))
        else {
            return Ok(None);
        };
        let place = self.used_place(now, parent, name)?;
        let entry = promoted_id(&self.config.id_key, &item.entry, &dot, content.kind());
        let op = Op::Promote { entry: item.entry, dot, place, content, mode: rec.mode };
        let dot = self.log_local(now, op)?;
        Ok(Some(ItemKey { entry, dot: Some(dot) }))
    }

    /// Gives a place in a directory that something is to be put in, which says that it is used.
    pub(super) fn used_place(
        &mut self,
        now: Millis,
        parent: EntryId,
        name: &SafeName,
    ) -> Result<Place, IndexError> {
        let parent = self.enabled_dir(parent, now)?;
        let place = Place { parent, name: name.clone() };
        if naming::is_reserved(&place) {
            return Err(IndexError::Private);
        }
        self.enable_up_from(parent, now)?;
        Ok(place)
    }
}

/// Gives a value of an entry that is shown as it is, and not as a part of a merged text.
pub(super) fn shown_alone<'a>(rec: &'a EntryRec, dot: &Dot) -> Option<&'a Content> {
    let value = rec.value(dot)?;
    rec.groups().iter().any(|group| group.shows(value)).then_some(value)
}

/// Gives the entries whose first value is this content, by id.
pub(super) fn equal_entries(claimants: &[Claimant], content: &Content) -> Vec<EntryId> {
    let equal = claimants
        .iter()
        .filter(|(_, rec)| rec.groups().first().is_some_and(|first| first.shows(content)));
    equal.map(|(id, _)| *id).collect()
}
