//! Conflicts as a list: the slots that show more than one thing, and what their sides replaced.
//!
//! Nothing here is stored. Which slots to look at is noted with the tree; what a value replaced
//! stands in the record that wrote it, and the logs keep the records.

use std::collections::{BTreeSet, VecDeque};

use super::{Index, keys};
use crate::error::IndexError;
use crate::ids::{Dot, EntryId};
use crate::item::{Conflict, Content, Item, ItemKey};
use crate::name::SafeName;
use crate::record::Op;
use crate::segment::Part;
use crate::storage::Storage;

/// Records that are read at most for the history of one value.
const HISTORY_MAX: usize = 512;

/// Notes of slots that are read at a time.
const PAGE: usize = 512;

/// A slot that was looked at: the lowest of the directories that are shown as one, and the name.
type Visited = BTreeSet<(EntryId, SafeName)>;

impl<S: Storage> Index<S> {
    /// Gives the conflicts of the folder, at most `limit`, in no particular order.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn conflicts(&self, limit: usize) -> Result<Vec<Conflict>, IndexError> {
        let mut found = Vec::new();
        if self.meta.complicated == 0 || self.meta.counts.conflicts == 0 {
            return Ok(found);
        }
        let mut visited = Visited::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.overlay.scan(&[keys::COMPLICATED], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            for (key, _) in &page {
                let (dir, name) =
                    keys::parse_complicated(key).ok_or(IndexError::Damaged("a slot's note"))?;
                let name = SafeName::parse(name).map_err(|_| IndexError::Damaged("a slot"))?;
                if self.reaches_root(dir)? {
                    self.conflicts_from(
                        vec![(self.union_of(dir)?, name)],
                        &mut visited,
                        &mut found,
                    )?;
                }
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
        }
    }

    /// Looks at slots, and below directories that are shown as one: there, two names are one slot
    /// without any note of it.
    fn conflicts_from(
        &self,
        mut slots: Vec<(Vec<EntryId>, SafeName)>,
        visited: &mut Visited,
        found: &mut Vec<Conflict>,
    ) -> Result<(), IndexError> {
        while let Some((members, name)) = slots.pop() {
            let Some(first) = members.first() else { continue };
            if !visited.insert((*first, name.clone())) {
                continue;
            }
            found.extend(self.conflict_in(&members, &name)?);
            let dirs = self.slot(&members, &name)?.dirs;
            if dirs.len() > 1 {
                let names = self.names_in(&dirs)?;
                slots.extend(names.into_iter().map(|name| (dirs.clone(), name)));
            }
        }
        Ok(())
    }

    /// Gives the conflict that an item is a side of, if it is one.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn conflict_of(&self, item: &ItemKey) -> Result<Option<Conflict>, IndexError> {
        let Some(rec) = self.entry(&item.entry)?.filter(|rec| rec.wanted()) else {
            return Ok(None);
        };
        let Some(place) = self.place(&item.entry, &rec) else { return Ok(None) };
        if !self.reaches_root(place.parent)? {
            return Ok(None);
        }
        let conflict = self.conflict_in(&self.union_of(place.parent)?, &place.name)?;
        Ok(conflict.filter(|conflict| conflict.sides().any(|side| side.key == *item)))
    }

    fn conflict_in(
        &self,
        members: &[EntryId],
        name: &SafeName,
    ) -> Result<Option<Conflict>, IndexError> {
        let slot = self.slot(members, name)?;
        if slot.losers() == 0 {
            return Ok(None);
        }
        let losers = slot.values.iter().filter(|shown| shown.origin.is_some());
        let mut keys: Vec<ItemKey> =
            losers.map(|shown| ItemKey { entry: shown.id, dot: Some(shown.dot) }).collect();
        if slot.reserved {
            keys.extend(slot.dirs.first().map(|dir| ItemKey { entry: *dir, dot: None }));
        }
        let copies = self.copies(members)?;
        let copies: Vec<Item> =
            copies.iter().filter(|item| keys.contains(&item.key)).cloned().collect();
        Ok(Some(Conflict { winner: self.plain_item(members, name, &slot), copies }))
    }

    /// Gives the content that the authors of all these values had before them: the nearest one in
    /// the history of each. `None` when the values were made apart, when a record on the way is
    /// not held or was left out by its author, or when it lies more than 512 records back.
    ///
    /// Equal contents count as one, whoever wrote them.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn base_of(&self, values: &[Dot]) -> Result<Option<Content>, IndexError> {
        let Some((first, others)) = values.split_first() else { return Ok(None) };
        let mut common = self.history_of(first)?;
        for other in others {
            let history = self.history_of(other)?;
            common.retain(|content| history.iter().any(|old| old.same_as(content)));
        }
        Ok(common.into_iter().next())
    }

    /// Gives the contents that a value has replaced, directly or not, the nearest first.
    fn history_of(&self, value: &Dot) -> Result<Vec<Content>, IndexError> {
        let mut contents = Vec::new();
        let mut seen = BTreeSet::from([*value]);
        let mut next = VecDeque::from([*value]);
        let mut read = 0;
        while let Some(dot) = next.pop_front().filter(|_| read < HISTORY_MAX) {
            read += 1;
            let (content, replaced) = match self.logged(&dot)? {
                Some(Op::Write { content, replaces, .. }) => (content, replaces),
                Some(Op::Promote { content, dot, .. }) => (content, vec![dot]),
                Some(Op::Create { content, .. }) => (content, Vec::new()),
                _ => continue,
            };
            if dot != *value {
                contents.push(content);
            }
            next.extend(replaced.into_iter().filter(|dot| seen.insert(*dot)));
        }
        Ok(contents)
    }

    /// Gives the record with this dot, if it is held and has an effect here.
    fn logged(&self, dot: &Dot) -> Result<Option<Op>, IndexError> {
        let (held, _) = self.head_of(&dot.author);
        if dot.seq == 0 {
            return Ok(None);
        }
        if dot.seq > held {
            let own = self.pending.get((dot.seq - held - 1) as usize);
            let own = own.filter(|_| dot.author == self.author);
            return Ok(own.and_then(|bytes| Op::decode(bytes, &dot.author)));
        }
        let segment = self.segment_with(&dot.author, dot.seq)?;
        match segment.parts.get((dot.seq - segment.first) as usize) {
            Some(Part::Record(bytes)) => Ok(Op::decode(bytes, &dot.author)),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ids::Dot;
    use crate::item::{Conflict, Item};
    use crate::testing::{Replica, meet, name, text};

    /// Two devices that edited one file, each twice.
    fn torn() -> (Replica, Replica) {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        a.mkdir("d");
        a.create("d/f.txt", "base");
        meet(&mut a, &mut b);
        for text in ["a one", "a two"] {
            a.write("d/f.txt", text);
        }
        for text in ["b one", "b two"] {
            b.write("d/f.txt", text);
        }
        meet(&mut a, &mut b);
        (a, b)
    }

    fn only(replica: &Replica) -> Conflict {
        let conflicts = replica.index.conflicts(10).unwrap();
        let [conflict] = &conflicts[..] else { panic!("not one conflict: {conflicts:?}") };
        assert_eq!(replica.index.counts().conflicts, 1);
        conflict.clone()
    }

    fn dots(conflict: &Conflict) -> Vec<Dot> {
        conflict.sides().filter_map(|side| side.key.dot).collect()
    }

    #[test]
    fn both_sides_of_a_conflict_are_told_with_what_both_replaced() {
        let (a, b) = torn();
        for replica in [&a, &b] {
            let conflict = only(replica);
            let names: Vec<String> = conflict.sides().map(|side| side.name.to_string()).collect();
            assert_eq!(names[0], "f.txt");
            assert!(names[1].starts_with("f (conflict ") && names.len() == 2, "{names:?}");
            let base = replica.index.base_of(&dots(&conflict)).unwrap();
            assert!(base.is_some_and(|base| base.same_as(&text("base"))));
            let of = |item: &Item| replica.index.conflict_of(&item.key).unwrap();
            assert!(conflict.sides().all(|side| of(side).as_ref() == Some(&conflict)));
        }
        assert_eq!(a.index.conflict_of(&a.key("d")).unwrap(), None);
    }

    #[test]
    fn the_base_survives_a_reopening_and_is_the_nearest_one() {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        a.create("f", "far");
        a.write("f", "near");
        meet(&mut a, &mut b);
        a.write("f", "a");
        b.write("f", "b");
        meet(&mut a, &mut b);
        a.reopen();
        let base = a.index.base_of(&dots(&only(&a))).unwrap();
        assert!(base.is_some_and(|base| base.same_as(&text("near"))));
    }

    #[test]
    fn files_made_apart_have_no_base() {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        a.create("f", "a");
        b.create("f", "b");
        meet(&mut a, &mut b);
        assert_eq!(a.index.base_of(&dots(&only(&a))).unwrap(), None);
    }

    #[test]
    fn equal_files_made_apart_are_a_base() {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        a.create("f", "same");
        b.create("f", "same");
        a.write("f", "a");
        b.write("f", "b");
        meet(&mut a, &mut b);
        let base = a.index.base_of(&dots(&only(&a))).unwrap();
        assert!(base.is_some_and(|base| base.same_as(&text("same"))));
    }

    #[test]
    fn conflicts_below_directories_that_are_shown_as_one_are_found() {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        a.mkdir("a");
        b.mkdir("b");
        meet(&mut a, &mut b);
        for (replica, dir) in [(&mut a, "a"), (&mut b, "b")] {
            replica.mkdir(&format!("{dir}/in"));
            replica.create(&format!("{dir}/in/f"), dir);
        }
        a.rename("a", "one");
        b.rename("b", "one");
        meet(&mut a, &mut b);
        let conflict = only(&a);
        assert_eq!(conflict.winner.as_ref().map(|item| item.name.clone()), Some(name("f")));
        assert_eq!(a.index.conflicts(0).unwrap(), []);
    }

    #[test]
    fn a_copy_that_is_edited_renamed_or_deleted_is_no_conflict_any_more() {
        fn edit(replica: &mut Replica, copy: &str) {
            replica.write(copy, "by hand");
        }
        fn rename(replica: &mut Replica, copy: &str) {
            replica.rename(copy, "d/mine.txt");
        }
        fn delete(replica: &mut Replica, copy: &str) {
            replica.delete(copy);
        }
        for by_hand in [edit, rename, delete] {
            let (mut a, mut b) = torn();
            let copy = format!("d/{}", only(&a).copies[0].name);
            by_hand(&mut a, &copy);
            meet(&mut a, &mut b);
            for replica in [&a, &b] {
                assert_eq!(replica.index.conflicts(10).unwrap(), []);
                assert_eq!(replica.index.counts().conflicts, 0);
                assert!(replica.has("a two") || replica.has("b two"));
            }
        }
    }
}
