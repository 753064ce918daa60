//! What this device's user does, as records.
//!
//! Before an operation touches an item, what stands beside it is made independent of it: losing
//! values become entries of their own, and entries that lost their name to it are moved to the name
//! they are shown under (rule 4). So an operation never takes along what it was not meant for.

use std::collections::BTreeSet;

use super::apart::{equal_entries, shown_alone};
use super::entry::{EntryRec, Group};
use super::view::{Shown, Slot};
use super::{Index, naming};
use crate::context::Context;
use crate::error::IndexError;
use crate::ids::{Dot, EntryId, Millis};
use crate::item::{Content, Item, ItemKey, Kind, NewEntry};
use crate::name::SafeName;
use crate::record::{
    MODE_MASK, Op, Place, Stamp, TARGET_BYTES_MAX, first_id, is_sound, promoted_id,
};
use crate::storage::Storage;

/// A tree deletion whose context has more authors than this is logged entry by entry instead.
const DELETE_AUTHORS_MAX: usize = 150;

/// What an operation addresses once nothing stands beside it any more.
struct Target {
    /// The entry whose value is shown.
    entry: EntryId,
    /// The value's dot; `None` for a directory.
    dot: Option<Dot>,
    /// The content of that value: what the user had before them.
    content: Option<Content>,
    /// All entries that the item shows, the shown one first: equal files, united directories.
    all: Vec<EntryId>,
}

impl Target {
    /// Gives the values of an entry that the user had before them: those that hold what was addressed,
    /// and in the addressed entry the other versions of a merged text that were seen. Whatever else
    /// the entry holds, its author has not seen, and no operation takes it along.
    fn seen_in(&self, entry: EntryId, rec: &EntryRec, also: &[Dot]) -> Vec<Dot> {
        let named = if entry == self.entry { also } else { &[] };
        let mut seen = rec.equal_to(named);
        let equal = |value: &Content| self.content.as_ref().is_some_and(|it| it.same_as(value));
        let values = rec.values.iter().filter(|(_, value)| equal(value));
        seen.extend(values.map(|(dot, _)| *dot));
        seen.sort_unstable();
        seen.dedup();
        seen
    }
}

/// A slot that shows more than one thing, as it is before an operation on one of them.
struct Beside<'a> {
    /// The directories that are shown as one and have the slot.
    members: &'a [EntryId],
    /// The slot.
    place: &'a Place,
    slot: &'a Slot,
    /// What the directory shows under derived names.
    copies: &'a [Item],
    /// Those of them that are left where they are.
    unseen: &'a [ItemKey],
}

impl Beside<'_> {
    /// Tells whether a content of an entry in the slot is left where it is.
    fn is_unseen(&self, entry: &EntryId, group: &Group<'_>) -> bool {
        self.shown_as(entry, group).is_some_and(|key| self.unseen.contains(&key))
    }

    /// Gives what shows a content of an entry in the slot: it itself, or an equal one.
    fn shown_as(&self, entry: &EntryId, group: &Group<'_>) -> Option<ItemKey> {
        let itself = |shown: &&Shown| (&shown.id, &shown.dot) == (entry, &group.dot);
        let equal = |shown: &&Shown| shown.merged.is_empty() && group.shows(&shown.content);
        let values = &self.slot.values;
        let shown = values.iter().find(itself).or_else(|| values.iter().find(equal));
        shown.map(|shown| ItemKey { entry: shown.id, dot: Some(shown.dot) })
    }

    /// Gives where a content of an entry in the slot is shown.
    fn shown_at(&self, entry: &EntryId, group: &Group<'_>) -> Place {
        let key = self.shown_as(entry, group);
        let copy = self.copies.iter().find(|item| Some(item.key) == key);
        copy.map_or_else(
            || self.place.clone(),
            |copy| Place { parent: copy.parent, name: copy.name.clone() },
        )
    }
}

impl<S: Storage> Index<S> {
    /// Makes an entry in a directory; the name must be free there.
    pub fn create(
        &mut self,
        now: Millis,
        parent: EntryId,
        name: &SafeName,
        new: NewEntry,
    ) -> Result<ItemKey, IndexError> {
        self.check_writer()?;
        let place = Place { parent: self.enabled_dir(parent, now)?, name: name.clone() };
        self.check_free(&place, None)?;
        self.create_beside(now, parent, name, new)
    }

    /// Makes an entry in a directory whatever is shown at the name there: of what this user had not
    /// seen when they took the name, nothing is touched. Both are kept, as if made on two devices.
    pub fn create_beside(
        &mut self,
        now: Millis,
        parent: EntryId,
        name: &SafeName,
        new: NewEntry,
    ) -> Result<ItemKey, IndexError> {
        self.check_writer()?;
        check_content(new.kind, &new.content)?;
        let place = self.used_place(now, parent, name)?;
        let id = first_id(&self.config.id_key, &place, &new.content);
        let first = self.entry(&id)?.is_none();
        let NewEntry { kind, content, mode } = new;
        let mode = mode & MODE_MASK;
        let dot = self.log_local(now, Op::Create { kind, first, place, content, mode })?;
        let id = if first { id } else { crate::record::dot_id(&self.config.id_key, &dot) };
        Ok(ItemKey { entry: id, dot: (kind != Kind::Directory).then_some(dot) })
    }

    /// Gives an item new content. Only the value that `item` names is replaced (with equal ones);
    /// if that was replaced already, the new content stands beside what replaced it.
    pub fn write(
        &mut self,
        now: Millis,
        item: &ItemKey,
        content: Content,
    ) -> Result<ItemKey, IndexError> {
        self.write_merged(now, item, &[], content)
    }

    /// As [`write`](Self::write), of a text that was made of several versions: those of `also` are
    /// replaced, too.
    pub fn write_merged(
        &mut self,
        now: Millis,
        item: &ItemKey,
        also: &[Dot],
        content: Content,
    ) -> Result<ItemKey, IndexError> {
        self.check_writer()?;
        let rec = self.known(item.entry)?;
        let kind = rec.kind.ok_or(IndexError::NotShown(item.entry))?;
        if kind == Kind::Directory {
            return Err(IndexError::Content("a directory has no content"));
        }
        check_content(kind, &content)?;
        if !rec.live || !item.dot.is_some_and(|dot| is_shown(&rec, &dot)) {
            return self.write_beside(now, item, also, content);
        }
        let target = self.isolate(now, item)?;
        for other in target.all.iter().skip(1) {
            self.delete_seen(now, *other, &target, &[])?;
        }
        self.keep_shown_name(now, &target)?;
        let rec = self.known(target.entry)?;
        let replaces = target.seen_in(target.entry, &rec, also);
        self.enable_parents(target.entry, now)?;
        let (entry, enables) = (target.entry, rec.subsumed(&replaces));
        let dot = self.log_local(now, Op::Write { entry, content, replaces, enables })?;
        Ok(ItemKey { entry, dot: Some(dot) })
    }

    /// The value that was edited is gone: the edit becomes a concurrent value, so that it is kept.
    fn write_beside(
        &mut self,
        now: Millis,
        item: &ItemKey,
        also: &[Dot],
        content: Content,
    ) -> Result<ItemKey, IndexError> {
        let rec = self.known(item.entry)?;
        self.enable_parents(item.entry, now)?;
        // Values of a deleted entry were deleted with it; the edit must not bring them back.
        let mut replaces: Vec<Dot> = item.dot.into_iter().chain(also.iter().copied()).collect();
        if !rec.live {
            replaces.extend(rec.values.iter().map(|(dot, _)| *dot));
        }
        let (entry, enables) = (item.entry, rec.subsumed(&replaces));
        let dot = self.log_local(now, Op::Write { entry, content, replaces, enables })?;
        Ok(ItemKey { entry, dot: Some(dot) })
    }

    /// Changes an item's permission bits; of united directories, those of all.
    pub fn set_mode(
        &mut self,
        now: Millis,
        item: &ItemKey,
        mode: u32,
    ) -> Result<ItemKey, IndexError> {
        self.check_writer()?;
        let target = self.isolate(now, item)?;
        for entry in &target.all {
            let rec = self.known(*entry)?;
            let stamp = self.next_stamp(rec.mode_stamp, now);
            self.log_local(now, Op::Mode { entry: *entry, mode: mode & MODE_MASK, stamp })?;
        }
        self.enable_parents(target.entry, now)?;
        Ok(ItemKey { entry: target.entry, dot: target.dot })
    }

    /// Moves an item to a name that is free, in a directory that is not below it: one record,
    /// however much is in it.
    pub fn rename(
        &mut self,
        now: Millis,
        item: &ItemKey,
        parent: EntryId,
        name: &SafeName,
    ) -> Result<ItemKey, IndexError> {
        self.check_writer()?;
        let place = Place { parent: self.enabled_dir(parent, now)?, name: name.clone() };
        self.check_free(&place, Some(item))?;
        self.rename_beside(now, item, parent, name)
    }

    /// Moves an item to a name whatever is shown there, in a directory that is not below it: what
    /// this user had not seen there is kept, as if moved on two devices.
    pub fn rename_beside(
        &mut self,
        now: Millis,
        item: &ItemKey,
        parent: EntryId,
        name: &SafeName,
    ) -> Result<ItemKey, IndexError> {
        self.check_writer()?;
        let parent = self.enabled_dir(parent, now)?;
        let place = Place { parent, name: name.clone() };
        if naming::is_reserved(&place) {
            return Err(IndexError::Private);
        }
        self.check_not_below(item.entry, parent)?;
        self.break_circles(now)?;
        let target = self.isolate(now, item)?;
        self.enable_parents(target.entry, now)?;
        self.enable_up_from(parent, now)?;
        for entry in &target.all {
            self.keep_deleted(now, *entry, &place)?;
            self.move_entry(now, *entry, place.clone())?;
        }
        Ok(ItemKey { entry: target.entry, dot: target.dot })
    }

    /// Tells whether a file or link lives on only because it was used, by this device among others:
    /// whoever knew its contents has deleted them.
    pub fn outlives_contents(&self, entry: EntryId) -> Result<bool, IndexError> {
        let Some(rec) = self.entry(&entry)?.filter(|rec| rec.live && !rec.is_dir()) else {
            return Ok(false);
        };
        let kept = |dot: &Dot| rec.is_present(dot) && !rec.disabled.contains(dot);
        let used = |dot: &Dot| kept(dot) && dot.author.device == self.config.device;
        Ok(!rec.values.iter().any(|(dot, _)| kept(dot)) && rec.presence.iter().any(used))
    }

    /// Gives the entry that a value has become when it was made independent, if it was.
    pub fn promoted(&self, item: &ItemKey) -> Result<Option<EntryId>, IndexError> {
        let Some(rec) = self.entry(&item.entry)? else { return Ok(None) };
        let (Some(dot), Some(kind)) = (item.dot, rec.kind) else { return Ok(None) };
        if rec.value(&dot).is_some() {
            return Ok(None);
        }
        let id = promoted_id(&self.config.id_key, &item.entry, &dot, kind);
        Ok(self.entry(&id)?.map(|_| id))
    }

    /// Deletes an item: a directory with all that is known to be in it, by one record. If the
    /// value that `item` names was replaced already, nothing happens: an edit beats a deletion.
    pub fn delete(&mut self, now: Millis, item: &ItemKey) -> Result<(), IndexError> {
        self.delete_merged(now, item, &[])
    }

    /// As [`delete`](Self::delete), of a text that was made of several versions: `also` are the
    /// others that the user had seen. A version that merges into the text and was not seen stays.
    pub fn delete_merged(
        &mut self,
        now: Millis,
        item: &ItemKey,
        also: &[Dot],
    ) -> Result<(), IndexError> {
        self.check_writer()?;
        let Some(rec) = self.entry(&item.entry)?.filter(|rec| rec.wanted()) else { return Ok(()) };
        // What was deleted elsewhere while another's edit keeps the entry alive is gone, too.
        let stale = !rec.is_dir() && !item.dot.is_some_and(|dot| is_shown(&rec, &dot));
        if stale {
            return Ok(());
        }
        let target = self.isolate(now, item)?;
        self.enable_parents(target.entry, now)?;
        for entry in &target.all {
            if self.known(*entry)?.is_dir() {
                self.delete_dir(now, *entry)?;
            } else {
                self.delete_seen(now, *entry, &target, also)?;
            }
        }
        Ok(())
    }

    /// Deletes of a file or link the values that were seen. What else it shows stays: versions of a
    /// text that its user had not seen, copies that were left alone, an edit of a copy that came
    /// before the record that has made it independent.
    fn delete_seen(
        &mut self,
        now: Millis,
        entry: EntryId,
        target: &Target,
        also: &[Dot],
    ) -> Result<(), IndexError> {
        let rec = self.known(entry)?;
        let gone = target.seen_in(entry, &rec, also);
        let stays = |dot: &&Dot| is_shown(&rec, dot) && !gone.contains(dot);
        let presence = rec.presence.iter().filter(|dot| !stays(dot)).copied().collect();
        self.log_local(now, Op::Delete { entry, presence })?;
        Ok(())
    }

    fn delete_entry(&mut self, now: Millis, entry: EntryId) -> Result<(), IndexError> {
        let presence = self.known(entry)?.presence.clone();
        self.log_local(now, Op::Delete { entry, presence })?;
        Ok(())
    }

    fn delete_dir(&mut self, now: Millis, top: EntryId) -> Result<(), IndexError> {
        let mut seen = vec![top];
        let mut unseen = Vec::new();
        for id in self.all_below(top)? {
            if self.reaches_root_by_known(id)? { seen.push(id) } else { unseen.push(id) }
        }
        let mut context = Context::default();
        for id in &seen {
            let rec = self.known(*id)?;
            // Presence dots are what is deleted; moves are the ways down that were seen.
            let moves = rec.placed.as_ref().map(|placed| placed.dot);
            for dot in rec.presence.iter().copied().chain(moves) {
                context.raise(dot.author, dot.seq);
            }
        }
        if context.len() > DELETE_AUTHORS_MAX {
            for id in seen {
                self.delete_entry(now, id)?;
            }
            return Ok(());
        }
        // What waits for a record that makes its directory known was shown to nobody here.
        unseen.extend(self.below_unknown()?);
        for entry in unseen {
            let rec = self.known(entry)?;
            if rec.presence.iter().any(|dot| context.covers(dot)) {
                let enables = rec.subsumed(&[]);
                self.log_local(now, Op::Enable { entry, enables })?;
            }
        }
        let seen = self.known(top)?.stamp();
        self.log_local(now, Op::DeleteTree { top, seen, context })?;
        Ok(())
    }

    /// Tells whether an entry's kind is known, and that of all directories that it is in.
    fn reaches_root_by_known(&self, id: EntryId) -> Result<bool, IndexError> {
        let rec = self.known(id)?;
        let Some(place) = self.place(&id, &rec).filter(|_| rec.kind.is_some()) else {
            return Ok(false);
        };
        self.reaches_root(place.parent)
    }

    /// Makes what stands beside an item independent of it, and gives what an operation addresses.
    fn isolate(&mut self, now: Millis, item: &ItemKey) -> Result<Target, IndexError> {
        let unseen = std::mem::take(&mut self.unseen);
        let rec = self.known(item.entry)?;
        if !rec.wanted() {
            return Err(IndexError::NotShown(item.entry));
        }
        let place = self.place(&item.entry, &rec).cloned();
        let place = place.ok_or(IndexError::NotShown(item.entry))?;
        let members = self.union_of(place.parent)?;
        let slot = self.slot(&members, &place.name)?;
        let simple = slot.losers() == 0
            && slot.dirs.len() + slot.values.len() == 1
            && self.claimants_in(&members, &place.name)?.len() == 1;
        if simple {
            let (all, content) =
                (vec![item.entry], item.dot.and_then(|dot| rec.value(&dot).cloned()));
            return Ok(Target { entry: item.entry, dot: item.dot, content, all });
        }
        let copies = self.copies(&members)?;
        let place = Place { parent: place.parent, name: place.name };
        let (members, copies) = (&*members, &**copies);
        let beside = Beside { members, place: &place, slot: &slot, copies, unseen: &unseen };
        if rec.is_dir() {
            let all = slot.dirs.clone();
            self.free_losers(now, &beside)?;
            let entry = all.first().copied().unwrap_or(item.entry);
            return Ok(Target { entry, dot: None, content: None, all });
        }
        let dot = item.dot.ok_or(IndexError::NotShown(item.entry))?;
        let content = rec.value(&dot).cloned().ok_or(IndexError::NotShown(item.entry))?;
        let is_winner = slot
            .values
            .first()
            .is_some_and(|shown| shown.origin.is_none() && shown.holds(&content));
        if is_winner && slot.dirs.is_empty() {
            self.free_losers(now, &beside)?;
            // Entries whose first value is this content are all addressed, the named one first.
            let claimants = self.claimants_in(members, &place.name)?;
            let alone = shown_alone(&rec, &dot);
            let mut all = alone.map_or_else(Vec::new, |it| equal_entries(&claimants, it));
            all.retain(|id| *id != item.entry);
            all.insert(0, item.entry);
            let content = Some(content);
            return Ok(Target { entry: item.entry, dot: Some(dot), content, all });
        }
        self.isolate_loser(now, item.entry, dot, &beside)
    }

    /// Makes an item that stands beside a winner independent of everything else.
    fn isolate_loser(
        &mut self,
        now: Millis,
        entry: EntryId,
        dot: Dot,
        beside: &Beside<'_>,
    ) -> Result<Target, IndexError> {
        let rec = self.known(entry)?;
        let content = rec.value(&dot).cloned().ok_or(IndexError::NotShown(entry))?;
        let is_first = rec.groups().first().is_some_and(|first| first.holds(&content));
        let mut all = self.promote_losers(now, entry, &content, beside)?;
        if is_first {
            all.insert(0, entry);
        }
        // What is hidden because it equals this copy goes the same way, or it would show next.
        let alone = shown_alone(&rec, &dot).is_some();
        for (other, rec) in self.claimants_in(beside.members, &beside.place.name)? {
            if !alone || other == entry || !rec.groups().iter().any(|group| group.shows(&content)) {
                continue;
            }
            all.extend(self.promote_losers(now, other, &content, beside)?);
            if rec.groups().first().is_some_and(|first| first.shows(&content)) {
                all.push(other);
            }
        }
        let target = all.first().copied().ok_or(IndexError::NotShown(entry))?;
        // An edit of the copy may have come before what has made it independent: what the target
        // shows first need not be what the user saw.
        let rec = self.known(target)?;
        let same = rec.values.iter().find(|(_, value)| value.same_as(&content));
        let dot = if target == entry { Some(dot) } else { same.map(|(dot, _)| *dot) };
        Ok(Target { entry: target, dot, content: Some(content), all })
    }

    /// Gives an entry that stands beside a winner the name that it is shown under for its own. Left
    /// in the winner's slot, an equal content would make the two one.
    fn keep_shown_name(&mut self, now: Millis, target: &Target) -> Result<(), IndexError> {
        let shows = |item: &Item| {
            item.key.dot == target.dot
                || item.merged.iter().any(|(dot, _)| Some(*dot) == target.dot)
        };
        // Of its values the first has the entry's own name.
        let first = self.items(target.entry)?.into_iter().next();
        match first.filter(|item| item.conflict && shows(item)) {
            Some(copy) => {
                let place = Place { parent: copy.parent, name: copy.name };
                self.move_entry(now, target.entry, place)
            }
            None => Ok(()),
        }
    }

    /// Makes all losers of a slot entries of their own, at the places where they are shown, and
    /// with each what is hidden because it is equal.
    fn free_losers(&mut self, now: Millis, beside: &Beside<'_>) -> Result<(), IndexError> {
        for (id, rec) in self.claimants_in(beside.members, &beside.place.name)? {
            if rec.is_dir() {
                continue;
            }
            let seen = |group: &&Group<'_>| !beside.is_unseen(&id, group);
            for group in rec.groups().iter().skip(1).filter(seen) {
                self.promote(now, id, group.dot, &beside.shown_at(&id, group))?;
            }
            // It loses its name but not its identity: it is moved to where it is shown.
            let groups = rec.groups();
            let first = groups.first().filter(seen).map(|first| beside.shown_at(&id, first));
            if let Some(place) = first.filter(|place| place != beside.place) {
                self.move_entry(now, id, place)?;
            }
        }
        Ok(())
    }

    /// Makes the losing values of an entry entries of their own; gives those that hold `content`.
    fn promote_losers(
        &mut self,
        now: Millis,
        entry: EntryId,
        content: &Content,
        beside: &Beside<'_>,
    ) -> Result<Vec<EntryId>, IndexError> {
        let rec = self.known(entry)?;
        let mut equal = Vec::new();
        let seen = |group: &&Group<'_>| !beside.is_unseen(&entry, group);
        for group in rec.groups().iter().skip(1).filter(seen) {
            let promoted = self.promote(now, entry, group.dot, &beside.shown_at(&entry, group))?;
            if group.shows(content) {
                equal.extend(promoted);
            }
        }
        Ok(equal)
    }

    /// Makes a losing value, with those equal to it in its entry, entries of their own (rule 4);
    /// gives them, that of `dot` first.
    fn promote(
        &mut self,
        now: Millis,
        entry: EntryId,
        dot: Dot,
        place: &Place,
    ) -> Result<Vec<EntryId>, IndexError> {
        let rec = self.known(entry)?;
        let content = rec.value(&dot).cloned().ok_or(IndexError::NotShown(entry))?;
        let mut promoted = Vec::new();
        for (other, value) in &rec.values {
            if value.same_as(&content) {
                let (place, content) = (place.clone(), value.clone());
                let id = promoted_id(&self.config.id_key, &entry, other, content.kind());
                let op = Op::Promote { entry, dot: *other, place, content, mode: rec.mode };
                self.log_local(now, op)?;
                promoted.insert(if *other == dot { 0 } else { promoted.len() }, id);
            }
        }
        Ok(promoted)
    }

    pub(super) fn move_entry(
        &mut self,
        now: Millis,
        entry: EntryId,
        place: Place,
    ) -> Result<(), IndexError> {
        let rec = self.known(entry)?;
        let from = self.place(&entry, &rec).cloned().ok_or(IndexError::NotShown(entry))?;
        if !rec.disabled.is_empty() {
            // The deletion of a directory above does not know of the move; what has gone with that
            // directory stays away.
            let presence = rec.disabled.clone();
            self.log_local(now, Op::Delete { entry, presence })?;
        }
        let rec = self.known(entry)?;
        let stamp = self.next_stamp(rec.stamp(), now);
        let enables = rec.subsumed(&[]);
        self.log_local(now, Op::Move { entry, place, stamp, from, enables })?;
        Ok(())
    }

    /// Moves what circles of moves have displaced to where it is shown, so that a further move does
    /// not show it, or the moved one, elsewhere. What is deleted stays: a move would revive it.
    fn break_circles(&mut self, now: Millis) -> Result<(), IndexError> {
        for (entry, place) in self.displaced.clone() {
            let shown = self.entry(&entry)?.is_some_and(|rec| rec.wanted());
            if let Some(place) = place.filter(|_| shown) {
                self.keep_deleted(now, entry, &place)?;
                self.move_entry(now, entry, place)?;
            }
        }
        Ok(())
    }

    /// Before a directory moves: deletions that hold for what is in it must go on to hold, because
    /// moving revives nothing (rule 5). They are logged anew with the directory itself on top.
    fn keep_deleted(&mut self, now: Millis, dir: EntryId, to: &Place) -> Result<(), IndexError> {
        let rec = self.known(dir)?;
        let place = self.place(&dir, &rec).cloned();
        if rec.children == 0 {
            return Ok(());
        }
        self.revive_below(now, dir, to)?;
        if !self.has_deletes_above(&rec, place.as_ref())? {
            return Ok(());
        }
        let stamp = self.peek_stamp(rec.stamp(), now);
        let mut contexts: Vec<Context> = Vec::new();
        let mut moves: Vec<Dot> = Vec::new();
        let mut at = Some(dir);
        while let Some(top) = at.filter(|top| *top != EntryId::ROOT) {
            let Some(rec) = self.entry(&top)? else { break };
            for deletion in &rec.tree_deletes {
                let holds = rec.stamp() <= deletion.seen
                    && moves.iter().all(|dot| deletion.context.covers(dot))
                    && self.knows_all(&deletion.context);
                if holds && !contexts.contains(&deletion.context) {
                    contexts.push(deletion.context.clone());
                }
            }
            moves.extend(rec.placed.as_ref().map(|placed| placed.dot));
            at = self.place(&top, &rec).map(|place| place.parent);
        }
        for context in contexts {
            self.log_local(now, Op::DeleteTree { top: dir, seen: Some(stamp), context })?;
        }
        Ok(())
    }

    /// Before a directory moves to below one that was deleted with its tree: what is live in it is
    /// enabled anew, so that the old deletion, which may name it, does not take it.
    fn revive_below(&mut self, now: Millis, dir: EntryId, to: &Place) -> Result<(), IndexError> {
        if to.parent == EntryId::ROOT {
            return Ok(());
        }
        let parent = self.known(to.parent)?;
        let above = self.place(&to.parent, &parent).cloned();
        if !self.has_deletes_above(&parent, above.as_ref())? {
            return Ok(());
        }
        for id in self.all_below(dir)? {
            let rec = self.known(id)?;
            if rec.live {
                let enables = rec.subsumed(&[]);
                self.log_local(now, Op::Enable { entry: id, enables })?;
            }
        }
        Ok(())
    }

    /// Enables the ghosts that an entry is in: an operation in them says that they are used.
    fn enable_parents(&mut self, entry: EntryId, now: Millis) -> Result<(), IndexError> {
        let rec = self.known(entry)?;
        match self.place(&entry, &rec).map(|place| place.parent) {
            Some(parent) => self.enable_up_from(parent, now),
            None => Ok(()),
        }
    }

    pub(super) fn enable_up_from(&mut self, dir: EntryId, now: Millis) -> Result<(), IndexError> {
        let mut at = dir;
        while at != EntryId::ROOT {
            let Some(rec) = self.entry(&at)? else { return Ok(()) };
            if !rec.live && rec.is_dir() {
                let enables = rec.subsumed(&[]);
                self.log_local(now, Op::Enable { entry: at, enables })?;
            }
            let Some(place) = self.place(&at, &rec) else { return Ok(()) };
            at = place.parent;
        }
        Ok(())
    }

    pub(super) fn known(&self, id: EntryId) -> Result<std::sync::Arc<EntryRec>, IndexError> {
        if id == EntryId::ROOT {
            return Err(IndexError::Root);
        }
        self.entry(&id)?.ok_or(IndexError::NotShown(id))
    }

    /// Gives the canonical identity of a directory that is shown.
    fn shown_dir(&self, dir: EntryId) -> Result<EntryId, IndexError> {
        if dir == EntryId::ROOT {
            return Ok(dir);
        }
        let rec = self.entry(&dir)?.filter(|rec| rec.is_dir() && rec.wanted());
        if rec.is_none() || !self.reaches_root(dir)? {
            return Err(IndexError::NotADirectory(dir));
        }
        self.canonical(dir)
    }

    /// Gives the canonical identity of a directory in which something is to be put. Who still has
    /// it on disk may not know that it was deleted elsewhere: what is put in it brings it back.
    pub(super) fn enabled_dir(&mut self, dir: EntryId, now: Millis) -> Result<EntryId, IndexError> {
        let deleted = |rec: &EntryRec| rec.is_dir() && !rec.wanted();
        if dir != EntryId::ROOT && self.entry(&dir)?.is_some_and(|rec| deleted(&rec)) {
            self.enable_up_from(dir, now)?;
        }
        self.shown_dir(dir)
    }

    /// Checks that nothing else is shown at a place.
    fn check_free(&self, place: &Place, item: Option<&ItemKey>) -> Result<(), IndexError> {
        if naming::is_reserved(place) {
            return Err(IndexError::Private);
        }
        let Some(found) = self.lookup(place.parent, &place.name)? else { return Ok(()) };
        let same = match item {
            None => false,
            Some(item) if found.kind == Kind::Directory => {
                self.canonical(item.entry)? == found.key.entry
            }
            Some(item) => item.entry == found.key.entry && item.dot == found.key.dot,
        };
        if same { Ok(()) } else { Err(IndexError::Taken) }
    }

    fn check_not_below(&self, entry: EntryId, parent: EntryId) -> Result<(), IndexError> {
        let moved: BTreeSet<EntryId> = self.union_of(entry)?.into_iter().collect();
        let mut at = parent;
        while at != EntryId::ROOT {
            if moved.contains(&at) {
                return Err(IndexError::IntoItself);
            }
            let rec = self.known(at)?;
            let Some(place) = self.place(&at, &rec) else { break };
            at = place.parent;
        }
        Ok(())
    }

    fn peek_stamp(&self, seen: Option<Stamp>, now: Millis) -> Stamp {
        let hlc = (self.meta.hlc.saturating_add(1)).max(now << super::HLC_COUNTER_BITS);
        let moves = seen.map_or(1, |stamp| stamp.moves.saturating_add(1));
        Stamp { moves, hlc, device: self.config.device }
    }

    fn next_stamp(&mut self, seen: Option<Stamp>, now: Millis) -> Stamp {
        let stamp = self.peek_stamp(seen, now);
        self.meta.hlc = stamp.hlc;
        stamp
    }
}

/// Tells whether an entry shows a value, by itself, by an equal one, or in a merged text.
fn is_shown(rec: &EntryRec, dot: &Dot) -> bool {
    let value = rec.value(dot);
    value.is_some_and(|value| rec.groups().iter().any(|group| group.holds(value)))
}

fn check_content(kind: Kind, content: &Content) -> Result<(), IndexError> {
    if content.kind() != kind {
        return Err(IndexError::Content("it is of another kind"));
    }
    if let Content::Symlink { target } = content
        && target.len() > TARGET_BYTES_MAX
    {
        return Err(IndexError::Content("a link's target is longer than 4,095 bytes"));
    }
    if is_sound(content) { Ok(()) } else { Err(IndexError::Content("it cannot be on a disk")) }
}
