//! Contents that no member has any more: what shows them is withdrawn; and states of texts that no
//! member has: their versions are written anew without them.
//!
//! A content can be lost on every disk while the index still shows it: its last holder's user deletes
//! it before anybody has fetched it, and a move made elsewhere keeps it. The engine finds out that
//! every member lacks it; here that becomes a record. It names the values, so that what is written
//! at the same time, and every other version, stays; and doing it twice does no harm.

use dunlin_identity::Hash;

use super::Index;
use crate::error::IndexError;
use crate::ids::{Dot, EntryId, Millis};
use crate::item::{Content, Text};
use crate::record::Op;
use crate::storage::Storage;

/// Values that one record withdraws at most, so that it stays below its bound.
const VALUES_MAX: usize = 100;

impl<S: Storage> Index<S> {
    /// Withdraws the values of a file that hold a content, by the content's address; tells whether
    /// there were any. An entry that has no other value is not shown any more, whoever has moved it,
    /// until somebody writes it anew.
    ///
    /// # Errors
    /// [`IndexError::ReadOnly`] on a device that may not write, and when the storage fails.
    pub fn withdraw(
        &mut self,
        now: Millis,
        entry: EntryId,
        content: &Hash,
    ) -> Result<bool, IndexError> {
        self.check_writer()?;
        let Some(rec) = self.entry(&entry)? else { return Ok(false) };
        let held = rec.values.iter().filter(|(_, value)| is_of(value, content));
        let values: Vec<Dot> = held.map(|(dot, _)| *dot).take(VALUES_MAX).collect();
        if values.is_empty() {
            return Ok(false);
        }
        self.log_local(now, Op::Withdraw { entry, values })?;
        Ok(true)
    }

    /// Writes the version of a text anew, as a file that merges with none, if it is shown and its
    /// state is this one; tells whether there was any. Its content, name and time stay; of other
    /// versions it is independent from now on, as two files that were never texts.
    ///
    /// # Errors
    /// [`IndexError::ReadOnly`] on a device that may not write, and when the storage fails.
    pub fn write_stateless(
        &mut self,
        now: Millis,
        entry: EntryId,
        state: &Hash,
    ) -> Result<bool, IndexError> {
        self.check_writer()?;
        let Some(rec) = self.entry(&entry)?.filter(|rec| rec.live) else { return Ok(false) };
        let mut shown = rec
            .groups()
            .into_iter()
            .flat_map(|group| std::iter::once((group.dot, group.content)).chain(group.merged));
        let Some((dot, mut content)) = shown
            .find_map(|(dot, content)| has_state(content, state).then(|| (dot, content.clone())))
        else {
            return Ok(false);
        };
        drop(shown);
        let with_it = rec.values.iter().filter(|(other, value)| {
            *other == dot || (has_state(value, state) && value.same_as(&content))
        });
        let replaces: Vec<Dot> = with_it.map(|(dot, _)| *dot).take(VALUES_MAX).collect();
        if let Content::File { text, .. } = &mut content {
            *text = None;
        }
        let enables = rec.subsumed(&replaces);
        self.log_local(now, Op::Write { entry, content, replaces, enables })?;
        Ok(true)
    }
}

fn has_state(value: &Content, of: &Hash) -> bool {
    matches!(value, Content::File { text: Some(Text::Grown { state, .. }), .. } if state == of)
}

fn is_of(value: &Content, content: &Hash) -> bool {
    matches!(value, Content::File { root, .. } if root == content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Item;
    use crate::testing::{Replica, meet};

    fn root(item: &Item) -> Hash {
        match &item.content {
            Content::File { root, .. } => *root,
            other => panic!("{other:?} is no file"),
        }
    }

    fn withdraw(replica: &mut Replica, path: &str) {
        let item = replica.item(path).expect("it is shown");
        replica.now += 1;
        let withdrawn = replica.index.withdraw(replica.now, item.key.entry, &root(&item));
        assert!(withdrawn.expect("the storage works"));
        replica.commit();
    }

    /// One device makes a file and deletes it, another one moves its directory and never had it.
    fn lost() -> (Replica, Replica) {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        a.mkdir("d");
        meet(&mut a, &mut b);
        a.create("d/f", "lost");
        b.pull(&a);
        a.delete("d");
        b.rename("d", "e");
        meet(&mut a, &mut b);
        assert_eq!(a.paths(), ["e", "e/f"]);
        (a, b)
    }

    #[test]
    fn what_nobody_has_goes_from_every_view() {
        let (mut a, mut b) = lost();
        // It does no harm that two devices do so at once.
        withdraw(&mut a, "e/f");
        withdraw(&mut b, "e/f");
        meet(&mut a, &mut b);
        assert_eq!((a.paths(), b.paths()), (vec!["e".to_owned()], vec!["e".to_owned()]));
        a.audit();
        // Nor does a further move bring it back.
        b.rename("e", "g");
        meet(&mut a, &mut b);
        assert_eq!(a.paths(), ["g"]);
    }

    #[test]
    fn what_was_written_at_the_same_time_stays() {
        let (mut a, mut b) = lost();
        b.write("e/f", "new");
        withdraw(&mut a, "e/f");
        meet(&mut a, &mut b);
        assert_eq!(a.paths(), ["e", "e/f"]);
        assert!(a.has("new") && b.has("new"));
        a.delete("e/f");
        meet(&mut a, &mut b);
        assert_eq!(b.paths(), ["e"]);
    }

    #[test]
    fn other_versions_stay() {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        a.create("f", "old");
        meet(&mut a, &mut b);
        a.write("f", "a's");
        b.write("f", "b's");
        meet(&mut a, &mut b);
        let shown = a.tree()["f"].clone();
        withdraw(&mut a, "f");
        meet(&mut a, &mut b);
        assert_eq!(b.paths(), ["f"]);
        assert_ne!(a.tree()["f"], shown);
    }

    #[test]
    fn a_withdrawal_that_comes_first_holds() {
        let (mut a, b) = lost();
        withdraw(&mut a, "e/f");
        let mut c = Replica::new(3);
        c.pull_only(&a);
        c.pull(&b);
        c.pull(&a);
        assert_eq!(c.paths(), ["e"]);
    }
}
