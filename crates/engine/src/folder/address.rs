//! What an act of the user's addresses, where the index and this disk are not of one mind yet.

use dunlin_index::{Content, EntryId, IndexError, Item, ItemKey, Kind, Millis, RelPath, Storage};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::{Fs, Stat};

use super::Folder;
use super::error::Blocked;
use super::observe::file_content;
use super::reconcile::Pass;
use super::rows::{holds, path_of, row_of_item};

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

    /// Has the index do what the user does to a row to nothing else: not to copies that are not on
    /// this disk, nor to what is shown as one with it and stands elsewhere. The row is then of the
    /// entry that this addresses.
    pub(super) fn single_out(&mut self, row: &mut Row, now: Millis) -> Result<(), IndexError> {
        self.follow_promotion(row)?;
        self.part_from_twins(row, now)?;
        self.part_from_equals(row, now)?;
        self.part_copies(row, now)?;
        let mut unseen = Vec::new();
        for copy in self.index.conflict_of(&row.item)?.into_iter().flat_map(|found| found.copies) {
            if row_of_item(&self.rows, &copy.key)?.is_none() {
                unseen.push(copy.key);
            }
        }
        self.index.leave_alone(unseen);
        Ok(())
    }

    /// What the index shows as one, because a move has brought equal contents under one name, may
    /// be several files on this disk yet: then what the user does to one of them must not be done to
    /// the others. Each goes back to where it stands.
    fn part_from_equals(&mut self, row: &Row, now: Millis) -> Result<(), IndexError> {
        let equals = self.index.equals(&row.item)?;
        if equals.is_empty() {
            return Ok(());
        }
        let mut files = vec![row.clone()];
        for other in equals {
            files.extend(self.rows.by_entry(other)?);
        }
        for file in files {
            let Some(parent) = self.directory_of(&file)? else { continue };
            let here = (parent, file.name);
            let shown = |item: &Item| {
                item.key == file.item && (item.parent, &item.name) == (here.0, &here.1)
            };
            let is_shown = self.index.items(file.item.entry)?.iter().any(shown);
            if !is_shown && self.index.place_of(file.item.entry)?.as_ref() != Some(&here) {
                self.index.move_apart(now, &file.item, here.0, &here.1)?;
            }
        }
        Ok(())
    }

    /// Files on this disk may hold one content as values of several entries that claim one name, of
    /// which the view shows one at most: the user has put the content of a conflict copy under the
    /// plain name before the version came that stands there, say. Then what is done to one of them
    /// must not be done to the others: each gets the name under which it stands for its own.
    fn part_copies(&mut self, row: &mut Row, now: Millis) -> Result<(), IndexError> {
        let mut files = vec![row.clone()];
        for equal in self.index.equal_values(&row.item)? {
            files.extend(row_of_item(&self.rows, &equal)?);
        }
        if files.len() < 2 {
            return Ok(());
        }
        for mut file in files {
            let Some(parent) = self.directory_of(&file)? else { continue };
            let place = self.index.place_of(file.item.entry)?;
            if place.is_some_and(|(at, name)| (at, &name) == (parent, &file.name)) {
                continue;
            }
            if self.index.values_of(file.item.entry)?.len() == 1 {
                self.index.move_apart(now, &file.item, parent, &file.name)?;
            } else {
                self.promote_row(&mut file, parent, now)?;
            }
            if file.id == row.id {
                *row = file;
            }
        }
        Ok(())
    }

    /// Makes what a row stands for an entry of its own, where it stands; unless it was replaced
    /// already.
    fn promote_row(
        &mut self,
        row: &mut Row,
        parent: EntryId,
        now: Millis,
    ) -> Result<(), IndexError> {
        if let Some(key) = self.index.promote_apart(now, &row.item, parent, &row.name)? {
            row.item = key;
            self.rows.put(row)?;
            self.dirty.insert(key.entry);
        }
        Ok(())
    }

    /// Another file on this disk may hold the same content as another value of the same entry: a
    /// conflict copy was moved over the file that it stood beside, say. The index shows them as one.
    /// Such a file becomes an entry of its own, where it stands.
    fn part_from_twins(&mut self, row: &Row, now: Millis) -> Result<(), IndexError> {
        let values = self.index.values_of(row.item.entry)?;
        let known = |row: &Row| row.item.dot.is_some_and(|dot| values.contains(&dot));
        if values.len() < 2 || !known(row) {
            return Ok(());
        }
        for mut twin in self.rows.by_entry(row.item.entry)? {
            let equal =
                (&twin.kind, &twin.root, &twin.target) == (&row.kind, &row.root, &row.target);
            if !equal || twin.item.dot == row.item.dot || !known(&twin) {
                continue;
            }
            let Some(parent) = self.directory_of(&twin)? else { continue };
            self.promote_row(&mut twin, parent, now)?;
        }
        Ok(())
    }

    /// Whether a row's entry is shown as one with others because they are equal, and none of these
    /// is on this disk any more: the user may have removed them just now, and not this one.
    pub(super) fn is_only_copy(&self, row: &Row) -> Result<bool, Blocked> {
        let equals = self.index.equals(&row.item)?;
        let mut gone = false;
        for other in equals {
            for twin in self.rows.by_entry(other)?.iter().filter(|twin| twin.root == row.root) {
                let there = self.fs.stat(&path_of(&self.rows, twin.id)?)?;
                if there.is_some_and(|stat| stat.same_version(&twin.stat)) {
                    return Ok(false);
                }
                gone = true;
            }
        }
        Ok(gone)
    }

    /// The rows of an entry. One that holds a conflict copy that another device has made an entry of
    /// its own is that one's from now on, unless that has a row already.
    pub(super) fn rows_of(&mut self, entry: EntryId, pass: &mut Pass) -> Result<Vec<Row>, Blocked> {
        let mut rows = Vec::new();
        for mut row in self.rows.by_entry(entry)? {
            self.follow_promotion(&mut row)?;
            if row.item.entry == entry || !self.rows.by_entry(row.item.entry)?.is_empty() {
                rows.extend(self.rows.get(row.id)?);
            } else {
                self.rows.put(&row)?;
                pass.progress = true;
                pass.again.insert(row.item.entry);
            }
        }
        Ok(rows)
    }

    /// Of two files that hold one content of an entry, the one that still stands is what the view
    /// shows: the user has moved a conflict copy over the file that it stood beside, say.
    pub(super) fn prefer_standing(
        &mut self,
        row: &mut Row,
        item: &Item,
        others: &mut [Row],
    ) -> Result<(), Blocked> {
        let Some(other) = others.iter_mut().find(|other| holds(other, &item.content)) else {
            return Ok(());
        };
        if !holds(row, &item.content) || self.stands(row)? || !self.stands(other)? {
            return Ok(());
        }
        std::mem::swap(row, other);
        std::mem::swap(&mut row.item, &mut other.item);
        self.rows.put(row)?;
        self.rows.put(other)?;
        Ok(())
    }

    /// Whether the file of a row is on the disk, as it was seen last.
    pub(super) fn stands(&self, row: &Row) -> Result<bool, Blocked> {
        let there = self.fs.stat(&path_of(&self.rows, row.id)?)?;
        Ok(there.is_some_and(|stat| stat.same_version(&row.stat)))
    }

    /// What the view shows already, where the user's file holds just that: of a version that the
    /// index shows no more that is no edit. A process that ended before the table was written may
    /// have put it there.
    pub(super) fn is_shown_already(
        &self,
        row: &Row,
        content: &Content,
    ) -> Result<Option<ItemKey>, IndexError> {
        let items = self.index.items(row.item.entry)?;
        if row.kind == Kind::Directory
            || self.search.has_denied(content)
            || items.iter().any(|item| item.key == row.item)
        {
            return Ok(None);
        }
        let same = |item: &&Item| item.merged.is_empty() && item.content.same_as(content);
        let Some(shown) = items.iter().find(same) else { return Ok(None) };
        // Another file may stand for it.
        Ok(row_of_item(&self.rows, &shown.key)?.is_none().then_some(shown.key))
    }

    /// Whether the view shows, at the path of a row, another entry with this content, which has no
    /// row: a process that ended before the table was written has put it there.
    pub(super) fn is_anothers(
        &self,
        row: &Row,
        path: &RelPath,
        content: &Content,
    ) -> Result<bool, IndexError> {
        let (Some(directory), Some(name)) = (self.directory_of(row)?, path.name()) else {
            return Ok(false);
        };
        if holds(row, content) || self.search.has_denied(content) {
            return Ok(false);
        }
        let Some(shown) = self.index.lookup(directory, name)? else { return Ok(false) };
        Ok(shown.key.entry != row.item.entry
            && shown.merged.is_empty()
            && shown.content.same_as(content)
            && row_of_item(&self.rows, &shown.key)?.is_none())
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

    /// The row of a file that was found where the view shows this item. A process that ended before
    /// the table was written may have put it there: in place of an older version, or as a conflict
    /// copy that had become an entry of its own, so that its row still names the entry that it was a
    /// version of.
    pub(super) fn row_of_found(
        &self,
        key: &ItemKey,
        stat: &Stat,
    ) -> Result<Option<Row>, IndexError> {
        if let Some(row) = row_of_item(&self.rows, key)? {
            return Ok(Some(row));
        }
        let items = self.index.items(key.entry)?;
        for row in self.rows.by_entry(key.entry)? {
            let holds = |dot| row.item.dot == Some(dot);
            let shows = |item: &Item| {
                item.key == row.item || item.merged.iter().any(|(dot, _)| holds(*dot))
            };
            if !items.iter().any(shows) {
                return Ok(Some(row));
            }
        }
        for row in self.rows.by_inode(stat.ino)? {
            let mut followed = row.clone();
            self.follow_promotion(&mut followed)?;
            if followed.item == *key {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Whether the user has moved what others have deleted after they had edited it: what it was
    /// last may be on no disk any more, since its own user has deleted it.
    pub(super) fn outlives_others(&self, row: &Row, items: &[Item]) -> Result<bool, Blocked> {
        let as_shown = matches!(items, [item] if holds(row, &item.content));
        Ok(self.writable && !as_shown && self.index.outlives_contents(row.item.entry)?)
    }

    /// Tells the others that such a file stays what it is on this disk.
    pub(super) fn give_content(
        &mut self,
        mut row: Row,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<(), Blocked> {
        let (entry, path) = (row.item.entry, path_of(&self.rows, row.id)?);
        let Some(content) = content_of(&row) else { return Ok(()) };
        pass.again.insert(entry);
        if self.is_as_seen(&row, &path, now)? {
            row.item = self.index.write_merged(now, &row.item, &[], content)?;
            self.rows.put(&row)?;
            pass.gave = true;
            pass.progress = true;
        }
        Ok(())
    }
}

/// What a row's file holds; nothing for a directory.
pub(super) fn content_of(row: &Row) -> Option<Content> {
    match (row.root, row.target.clone()) {
        (Some(root), _) => Some(file_content(root, &row.stat)),
        (None, Some(target)) => Some(Content::Symlink { target }),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;
