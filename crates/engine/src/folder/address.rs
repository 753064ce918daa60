//! What an act of the user's addresses, where the index and this disk are not of one mind yet.

use dunlin_index::{EntryId, IndexError, Item, Millis, Storage};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::Fs;

use super::Folder;
use super::rows::holds;

impl<F: Fs, S: Storage> Folder<F, S> {
    /// The entry of the directory that a row is in, as it is on this disk.
    pub(super) fn directory_of(&self, row: &Row) -> Result<Option<EntryId>, IndexError> {
        if row.parent == RowId::ROOT {
            return Ok(Some(EntryId::ROOT));
        }
        match self.rows.get(row.parent)? {
            Some(parent) => Ok(Some(self.index.canonical(parent.item.entry)?)),
            None => Ok(None),
        }
    }

    /// What the index shows as one, because a move has brought equal contents under one name, may
    /// be two files on this disk yet: then what the user does to one of them must not be done to
    /// the other. The one goes back to where it stands.
    pub(super) fn part_from_equals(&mut self, row: &Row, now: Millis) -> Result<(), IndexError> {
        let equals = self.index.equals(&row.item)?;
        if equals.is_empty() {
            return Ok(());
        }
        let Some(parent) = self.directory_of(row)? else { return Ok(()) };
        let here =
            |item: &Item| item.key == row.item && item.parent == parent && item.name == row.name;
        let mut apart = !self.index.items(row.item.entry)?.iter().any(here);
        for other in equals {
            apart |= !self.rows.by_entry(other)?.is_empty();
        }
        if apart { self.index.move_apart(now, &row.item, parent, &row.name) } else { Ok(()) }
    }

    /// A conflict copy that another device has made an entry of its own is that one: an edit of it
    /// follows it.
    pub(super) fn follow_promotion(&self, row: &mut Row) -> Result<(), IndexError> {
        let Some(entry) = self.index.promoted(&row.item)? else { return Ok(()) };
        let items = self.index.items(entry)?;
        if let Some(item) = items.iter().find(|item| holds(row, &item.content)) {
            row.item = item.key;
        }
        Ok(())
    }
}
