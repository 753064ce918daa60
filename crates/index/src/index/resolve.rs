//! Ending a conflict: ordinary operations, so that they merge with whatever else is done.

use super::Index;
use crate::error::IndexError;
use crate::ids::{Dot, Millis};
use crate::item::{Conflict, Content, Item, ItemKey, Kind, Resolution};
use crate::name::SafeName;
use crate::storage::Storage;

impl<S: Storage> Index<S> {
    /// Ends a conflict, which must be as [`conflicts`](Self::conflicts) gives it now.
    ///
    /// Returns for each side that stays the key that it had, and the one that it has from now on;
    /// for [`Resolution::Replace`] that is the winner.
    ///
    /// Two devices may do this at the same time. What one of them keeps under a name of its own
    /// stays; of two contents that were chosen for the plain name, an unchanged one yields, and
    /// two new ones are a conflict again.
    ///
    /// # Errors
    /// [`IndexError::NotShown`] when the conflict is another one by now, [`IndexError::Content`]
    /// when a directory would have to give its name to a copy, [`IndexError::Private`] when
    /// nothing may have the plain name, [`IndexError::Taken`] when a new name is not free,
    /// [`IndexError::ReadOnly`]; nothing has changed then.
    pub fn resolve(
        &mut self,
        now: Millis,
        conflict: &Conflict,
        resolution: &Resolution,
    ) -> Result<Vec<(ItemKey, ItemKey)>, IndexError> {
        self.check_writer()?;
        let first = conflict.copies.first().ok_or(IndexError::Content("there is no copy"))?;
        if self.conflict_of(&first.key)?.as_ref() != Some(conflict) {
            return Err(IndexError::NotShown(first.key.entry));
        }
        match resolution {
            Resolution::Keep(key) if conflict.winner.as_ref().is_some_and(|w| w.key == *key) => {
                self.delete_copies(now, &conflict.copies)?;
                Ok(vec![(*key, *key)])
            }
            Resolution::Keep(key) => self.keep_copy(now, conflict, key),
            Resolution::KeepAll(names) => self.keep_all(now, &conflict.copies, names),
            Resolution::Replace(content) => {
                let winner = plain_winner(conflict)?;
                if winner.kind != content.kind() {
                    return Err(IndexError::Content("it is of another kind"));
                }
                self.delete_copies(now, &conflict.copies)?;
                let key =
                    self.write_merged(now, &winner.key, &parts_of(winner), content.clone())?;
                Ok(vec![(winner.key, key)])
            }
        }
    }

    fn keep_copy(
        &mut self,
        now: Millis,
        conflict: &Conflict,
        key: &ItemKey,
    ) -> Result<Vec<(ItemKey, ItemKey)>, IndexError> {
        let winner = plain_winner(conflict)?;
        let kept = conflict.copies.iter().find(|copy| copy.key == *key);
        let kept = kept.ok_or(IndexError::NotShown(key.entry))?;
        if kept.kind == winner.kind {
            // The file that has the name goes on with the other content. So the name stays, also
            // when somebody else gives the copy another one at the same time.
            self.delete_copies(now, &conflict.copies)?;
            let parts = parts_of(winner);
            let mut new = self.write_merged(now, &winner.key, &parts, kept.content.clone())?;
            if kept.mode != winner.mode {
                new = self.set_mode(now, &new, kept.mode)?;
            }
            return Ok(vec![(kept.key, new)]);
        }
        self.delete_merged(now, &winner.key, &parts_of(winner))?;
        let others: Vec<Item> =
            conflict.copies.iter().filter(|copy| copy.key != *key).cloned().collect();
        self.delete_copies(now, &others)?;
        let freed = self.freed(kept)?.ok_or(IndexError::NotShown(key.entry))?;
        let new = self.rename(now, &freed, winner.parent, &winner.name)?;
        Ok(vec![(kept.key, new)])
    }

    fn keep_all(
        &mut self,
        now: Millis,
        copies: &[Item],
        names: &[SafeName],
    ) -> Result<Vec<(ItemKey, ItemKey)>, IndexError> {
        if names.len() != copies.len() {
            return Err(IndexError::Content("each copy needs a name"));
        }
        for (copy, name) in copies.iter().zip(names) {
            if self.lookup(copy.parent, name)?.is_some() {
                return Err(IndexError::Taken);
            }
        }
        let mut kept = Vec::new();
        for (copy, name) in copies.iter().zip(names) {
            let key = self.freed(copy)?.ok_or(IndexError::NotShown(copy.key.entry))?;
            kept.push((copy.key, self.rename(now, &key, copy.parent, name)?));
        }
        Ok(kept)
    }

    /// Deletes the copies before anything happens to the winner: that would first move them to
    /// where they are shown, against what somebody else may be doing with them.
    fn delete_copies(&mut self, now: Millis, copies: &[Item]) -> Result<(), IndexError> {
        for copy in copies {
            if let Some(key) = self.freed(copy)? {
                self.delete_merged(now, &key, &parts_of(copy))?;
            }
        }
        Ok(())
    }

    /// Gives the key of a copy. The first operation on any side makes all losers entries of their
    /// own (rule 4), each where it was shown.
    fn freed(&self, copy: &Item) -> Result<Option<ItemKey>, IndexError> {
        let shown = self.lookup(copy.parent, &copy.name)?;
        Ok(shown.filter(|item| item.content.same_as(&copy.content)).map(|item| item.key))
    }
}

/// Gives the versions of a text that an item shows besides the one that its key names.
fn parts_of(item: &Item) -> Vec<Dot> {
    item.merged.iter().map(|(dot, _)| *dot).collect()
}

/// Gives the winner, when another content can take its place.
fn plain_winner(conflict: &Conflict) -> Result<&Item, IndexError> {
    let winner = conflict.winner.as_ref().ok_or(IndexError::Private)?;
    if winner.kind == Kind::Directory || winner.content == Content::Directory {
        return Err(IndexError::Content("a directory keeps its name"));
    }
    Ok(winner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Replica, meet, name, text};

    /// What a user may decide; by content, since each device has keys of its own after the first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Choice {
        Winner,
        Copy,
        Both,
        Merge(&'static str),
    }

    const CHOICES: [Choice; 5] =
        [Choice::Winner, Choice::Copy, Choice::Both, Choice::Merge("m"), Choice::Merge("other")];

    fn only(replica: &Replica) -> Conflict {
        let conflicts = replica.index.conflicts(10).unwrap();
        let [conflict] = &conflicts[..] else { panic!("not one conflict: {conflicts:?}") };
        conflict.clone()
    }

    fn resolve(replica: &mut Replica, choice: Choice) {
        let conflict = only(replica);
        let resolution = match choice {
            Choice::Winner => Resolution::Keep(conflict.winner.as_ref().unwrap().key),
            Choice::Copy => Resolution::Keep(conflict.copies[0].key),
            Choice::Both => {
                let names = (0..conflict.copies.len()).map(|number| name(&format!("f {number}")));
                Resolution::KeepAll(names.collect())
            }
            Choice::Merge(content) => Resolution::Replace(text(content)),
        };
        replica.now += 1;
        let kept = replica.index.resolve(replica.now, &conflict, &resolution).unwrap();
        assert!(!kept.is_empty());
        replica.commit();
        assert_eq!(replica.index.conflicts(10).unwrap(), [], "{choice:?}");
        replica.audit();
    }

    /// Two devices in conflict, by edits of one file or by two files made apart.
    fn torn(apart: bool) -> (Replica, Replica) {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        if !apart {
            a.create("f", "base");
            meet(&mut a, &mut b);
            a.write("f", "one");
            b.write("f", "two");
        } else {
            a.create("f", "one");
            b.create("f", "two");
        }
        meet(&mut a, &mut b);
        (a, b)
    }

    #[test]
    fn each_choice_ends_the_conflict_everywhere() {
        for apart in [false, true] {
            for choice in CHOICES {
                let (mut a, mut b) = torn(apart);
                let (winner, copy) = {
                    let conflict = only(&a);
                    (conflict.winner.unwrap().content, conflict.copies[0].content.clone())
                };
                resolve(&mut a, choice);
                meet(&mut a, &mut b);
                assert_eq!(b.index.counts().conflicts, 0);
                let plain = b.item("f").unwrap().content;
                match choice {
                    Choice::Winner => assert!(plain.same_as(&winner)),
                    Choice::Copy => assert!(plain.same_as(&copy)),
                    Choice::Both => {
                        assert!(plain.same_as(&winner));
                        assert!(b.item("f 0").unwrap().content.same_as(&copy));
                    }
                    Choice::Merge(content) => assert!(plain.same_as(&text(content))),
                }
                let files = if choice == Choice::Both { 2 } else { 1 };
                assert_eq!(b.paths().len(), files, "{apart} {choice:?}: {:?}", b.paths());
            }
        }
    }

    #[test]
    fn two_devices_that_decide_at_the_same_time_come_to_one_result() {
        for apart in [false, true] {
            for (one, other) in CHOICES.iter().flat_map(|a| CHOICES.iter().map(move |b| (*a, *b))) {
                let (mut a, mut b) = torn(apart);
                resolve(&mut a, one);
                resolve(&mut b, other);
                meet(&mut a, &mut b);
                let new = |choice: Choice| matches!(choice, Choice::Merge(_) | Choice::Copy);
                let torn_again = new(one) && new(other) && one != other;
                // Two new contents for one name are a conflict of their own, with both kept.
                if !torn_again {
                    assert_eq!(a.index.counts().conflicts, 0, "{apart} {one:?} {other:?}");
                }
                for choice in [one, other] {
                    if let Choice::Merge(content) = choice {
                        assert!(a.has(content), "{apart} {one:?} {other:?}: {:?}", a.tree());
                    }
                    if choice == Choice::Both {
                        assert!(a.has("one") || a.has("two"), "{apart} {one:?} {other:?}");
                        assert!(a.item("f 0").is_some(), "{apart} {one:?} {other:?}");
                    }
                }
                assert!(a.item("f").is_some(), "{apart} {one:?} {other:?}: {:?}", a.paths());
            }
        }
    }

    #[test]
    fn a_conflict_of_three_ends_at_once() {
        for choice in CHOICES {
            let (mut a, mut b) = torn(false);
            let mut c = Replica::new(3);
            c.pull(&a);
            // Back to before: a third value that replaces only the base.
            let base = only(&a).copies[0].key;
            let third = c.index.write(2000, &base, text("three")).unwrap();
            c.commit();
            assert!(third.dot.is_some());
            a.write("f", "four");
            meet(&mut a, &mut b);
            meet(&mut a, &mut c);
            if a.index.counts().conflicts == 0 {
                continue;
            }
            resolve(&mut a, choice);
            meet(&mut a, &mut c);
            assert_eq!(c.index.counts().conflicts, 0, "{choice:?}");
        }
    }

    #[test]
    fn a_conflict_that_is_another_one_by_now_is_not_resolved() {
        let (mut a, mut b) = torn(false);
        let seen = only(&a);
        b.write("f", "newer");
        meet(&mut a, &mut b);
        let keep = Resolution::Keep(seen.copies[0].key);
        let refused = a.index.resolve(3000, &seen, &keep);
        assert!(matches!(refused, Err(IndexError::NotShown(_))), "{refused:?}");
        assert!(!a.index.has_uncommitted());
    }

    #[test]
    fn a_directory_does_not_give_its_name_to_a_copy() {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        a.mkdir("f");
        b.create("f", "file");
        meet(&mut a, &mut b);
        let conflict = only(&a);
        let keep = Resolution::Keep(conflict.copies[0].key);
        assert!(matches!(a.index.resolve(2000, &conflict, &keep), Err(IndexError::Content(_))));
        resolve(&mut a, Choice::Both);
        meet(&mut a, &mut b);
        assert_eq!(b.paths(), ["f", "f 0"]);
    }
}
