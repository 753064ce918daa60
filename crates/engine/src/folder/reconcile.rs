//! From the index to the disk: what the view shows is put in place.
//!
//! A pass takes all dirty entries. It first moves, makes and relabels what needs no content, and
//! stages contents in temporary files; then it makes those durable all at once and puts them in
//! place; deletions come last, so that nothing is deleted that is only on its way elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dunlin_blocks::SMALL_MAX;
use dunlin_identity::Hash;
use dunlin_index::{
    Content, Dot, EntryId, Item, ItemKey, Kind, Millis, RelPath, SafeName, Storage,
};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::{FileKind, Fs, FsErrorKind, Kept, Moved, Stat, TempName};

use super::error::Blocked;
use super::history::End;
use super::rows::{
    holds, is_below, new_row, path_in, path_of, row_of_directory, set_content, total,
};
use super::staging::{self, Staged};
use super::texts::Prepared;
use super::{Folder, Held};
use crate::history::How;
use crate::texts::Base;
use crate::types::Event;

/// More passes than this in one go are left for later, so that events are not starved.
const PASSES_MAX: usize = 32;
/// A chain of renames longer than this is done over several passes, to bound the stack.
pub(super) const DEPTH_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Pass {
    batch: BTreeSet<EntryId>,
    visited: BTreeSet<EntryId>,
    pub(super) depth: usize,
    pub(super) staged: Vec<Staged>,
    /// Bytes of the contents in `staged` that are in memory only.
    pub(super) unwritten: usize,
    /// What was staged in this pass.
    coming: BTreeSet<ItemKey>,
    /// Texts that are ready, by their roots.
    pub(super) texts: BTreeMap<Hash, Prepared>,
    pub(super) deletions: Vec<Row>,
    /// Rows of directories that are as they should be. They outlive the pass: directories are
    /// deleted at its end.
    directories: BTreeMap<EntryId, RowId>,
    /// Entries that are to be tried again once this pass is through.
    pub(super) again: BTreeSet<EntryId>,
    /// Whether anything was done, so that trying again makes sense at once.
    pub(super) progress: bool,
    /// Whether this device has told the others of a content.
    pub(super) gave: bool,
}

impl Pass {
    fn stage(&mut self, staged: Staged) {
        self.coming.insert(staged.item.key);
        self.staged.push(staged);
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Brings the dirty entries to disk, as far as that goes now.
    pub(super) fn work(&mut self, now: Millis) {
        if !self.dirty.is_empty() && !self.check_root(now) {
            return;
        }
        for _ in 0..PASSES_MAX {
            if self.dirty.is_empty() {
                break;
            }
            let mut pass = Pass { batch: std::mem::take(&mut self.dirty), ..Pass::default() };
            let outcome = self.run_pass(&mut pass, now);
            if pass.gave {
                self.commit_local(Vec::new(), now);
            }
            match outcome {
                Ok(()) if pass.progress => self.dirty.append(&mut pass.again),
                Ok(()) => {
                    for entry in std::mem::take(&mut pass.again) {
                        self.retry_later(entry, now);
                    }
                }
                Err(Blocked::Index(error)) => {
                    self.dirty.append(&mut pass.batch);
                    return self.storage_fault(&error, now);
                }
                Err(Blocked::Fs(error)) => {
                    self.retry.append(&mut pass.batch);
                    self.set_fault(&error, now);
                    break;
                }
            }
        }
        self.needs.drop_unwanted();
        if self.is_running() {
            let next = self.needs.next(&self.hashing);
            self.out.extend(next);
        }
        let written = self.write_back(false).and_then(|()| Ok(self.log.flush(&*self.fs)?));
        match written {
            Err(Blocked::Fs(error)) => self.set_fault(&error, now),
            Err(Blocked::Index(error)) => self.storage_fault(&error, now),
            Ok(()) => {}
        }
    }

    fn run_pass(&mut self, pass: &mut Pass, now: Millis) -> Result<(), Blocked> {
        self.judge_arrivals(&pass.batch, now)?;
        for entry in pass.batch.clone() {
            self.reconcile(entry, pass, now)?;
            self.write_back_much()?;
        }
        // To put one thing in place another one may have to get out of its way, which then lacks a
        // content that is here, too.
        while !pass.staged.is_empty() {
            self.put_in_place(pass, now)?;
        }
        self.delete(pass, now)?;
        self.held.has_judged();
        // The user's word was about what waited then, whether or not it still had to go.
        self.released = false;
        Ok(())
    }

    /// Errors of one path are shown as a problem and tried again later; a fault of the disk as a
    /// whole ends the pass.
    pub(super) fn reconcile(
        &mut self,
        entry: EntryId,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<(), Blocked> {
        if entry == EntryId::ROOT || !pass.visited.insert(entry) {
            return Ok(());
        }
        pass.depth += 1;
        let outcome = self.reconcile_entry(entry, pass, now);
        pass.depth -= 1;
        match outcome {
            Err(Blocked::Fs(error)) if !error.kind().pauses_folder() => {
                self.path_problem(&error);
                self.retry_later(entry, now);
                Ok(())
            }
            other => other,
        }
    }

    fn reconcile_entry(
        &mut self,
        entry: EntryId,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<(), Blocked> {
        self.needs.release(entry);
        let mut rows = self.rows_of(entry, pass)?;
        let mut items = self.settle_texts(entry, &rows, pass)?;
        if let [shown] = items.as_slice()
            && shown.key.entry != entry
        {
            // A directory that is shown as part of another one.
            let canonical = shown.key.entry;
            for row in rows {
                self.join_union(row, canonical, pass, now)?;
            }
            return self.reconcile(canonical, pass, now);
        }
        if let [row] = rows.as_slice()
            && self.outlives_others(row, &items)?
        {
            return self.give_content(row.clone(), pass, now);
        }
        let mut pairs = Vec::new();
        items.retain(|item| match rows.iter().position(|row| row.item == item.key) {
            Some(at) => {
                pairs.push((rows.swap_remove(at), item.clone()));
                false
            }
            None => true,
        });
        for (row, item) in &mut pairs {
            self.prefer_standing(row, item, &mut rows)?;
        }
        let mut older = Vec::new();
        for row in rows {
            if self.is_only_copy(&row)? {
                self.retry_later(entry, now);
            } else {
                older.push(row);
            }
        }
        let mut rows = older;
        // What is left on both sides is the same thing in an older and a newer version.
        while !items.is_empty() && !rows.is_empty() {
            pairs.push((rows.remove(0), items.remove(0)));
        }
        // What is new may take the name of what becomes a conflict copy, which waits for it.
        for item in items {
            self.make(item, pass, now)?;
        }
        for (row, item) in pairs {
            self.update(&row, item, pass, now)?;
        }
        for row in rows {
            if !self.give_to_successor(&row, pass, now)? {
                pass.deletions.push(row);
            }
        }
        Ok(())
    }

    /// The row of the directory that an item is shown in, brought to disk first if needed.
    pub(super) fn parent_row(
        &mut self,
        parent: EntryId,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<Option<RowId>, Blocked> {
        if parent == EntryId::ROOT {
            return Ok(Some(RowId::ROOT));
        }
        if let Some(row) = pass.directories.get(&parent) {
            return Ok(Some(*row));
        }
        if pass.depth < DEPTH_MAX
            && (pass.batch.contains(&parent) || row_of_directory(&self.rows, parent)?.is_none())
        {
            self.reconcile(parent, pass, now)?;
        }
        let row = row_of_directory(&self.rows, parent)?;
        pass.directories.extend(row.map(|row| (parent, row)));
        Ok(row)
    }

    /// Makes sure that no other row stands at a name, for `mover` if that is on disk already; false
    /// when one still does.
    pub(super) fn clear(
        &mut self,
        (parent, name): (RowId, &SafeName),
        mover: Option<RowId>,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<bool, Blocked> {
        let Some(other) = self.rows.child(parent, name)? else { return Ok(true) };
        let entry = other.item.entry;
        if !pass.visited.contains(&entry) && pass.depth < DEPTH_MAX {
            self.reconcile(entry, pass, now)?;
        }
        let Some(other) = self.rows.child(parent, name)? else { return Ok(true) };
        if let Some(at) = pass.deletions.iter().position(|row| row.id == other.id) {
            if other.kind == Kind::Directory {
                // What is in it is deleted at the end of the pass, and it with that; but what is
                // to have its name must get out of it first.
                let inside = match mover {
                    Some(mover) => is_below(&self.rows, mover, other.id)?,
                    None => false,
                };
                if inside {
                    self.step_aside(other, pass, now)?;
                }
                return Ok(inside && self.rows.child(parent, name)?.is_none());
            }
            let row = pass.deletions.swap_remove(at);
            if self.held.asks_about(row.id) {
                pass.deletions.push(row);
                return Ok(false);
            }
            self.delete_row(&row, pass, now)?;
            return Ok(self.rows.child(parent, name)?.is_none());
        }
        if pass.staged.iter().any(|staged| staged.row.as_ref().is_some_and(|r| r.id == other.id)) {
            return Ok(false);
        }
        if pass.visited.contains(&entry) && self.wants_elsewhere(&other)? {
            // Two things that want each other's names: one steps aside.
            self.step_aside(other, pass, now)?;
            return Ok(self.rows.child(parent, name)?.is_none());
        }
        Ok(false)
    }

    /// Gives what is in another one's way a name under which it waits for its own.
    fn step_aside(&mut self, row: Row, pass: &mut Pass, now: Millis) -> Result<(), Blocked> {
        pass.again.insert(row.item.entry);
        let (parent, aside) = (row.parent, self.free_aside(&row)?);
        self.move_row(row, parent, aside, pass, now)?;
        Ok(())
    }

    fn wants_elsewhere(&self, row: &Row) -> Result<bool, Blocked> {
        for item in self.index.items(row.item.entry)? {
            if item.key == row.item {
                let parent = row_of_directory(&self.rows, item.parent)?;
                return Ok(parent != Some(row.parent) || item.name != row.name);
            }
        }
        Ok(true)
    }

    /// Renames on disk; false when the disk was not as expected, which is then looked at.
    fn move_row(
        &mut self,
        mut row: Row,
        parent: RowId,
        name: SafeName,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<bool, Blocked> {
        let from = path_of(&self.rows, row.id)?;
        let to = path_in(&self.rows, parent, &name)?;
        match self.fs.rename(&from, &to, &row.stat) {
            Ok(Moved::Done { stat }) => {
                row.stat = stat;
                row.parent = parent;
                row.name = name;
                self.rows.put(&row)?;
                pass.progress = true;
                self.unsynced.name(&from);
                self.applied_event(&to, "moved");
                Ok(true)
            }
            Ok(Moved::Surprise { .. }) => {
                self.look_again(from, now);
                Ok(false)
            }
            Ok(Moved::Occupied { .. }) => {
                self.look_again(to, now);
                Ok(false)
            }
            // A directory cannot go below itself until what it goes below has moved out.
            Err(error) if error.kind() == FsErrorKind::NotFound => {
                self.look_again(from, now);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Brings what is on disk to where and what the view shows.
    fn update(
        &mut self,
        row: &Row,
        item: Item,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<(), Blocked> {
        let entry = item.key.entry;
        let Some(parent) = self.parent_row(item.parent, pass, now)? else {
            self.retry_later(entry, now);
            return Ok(());
        };
        // Bringing the parent to disk may have moved or relabelled this row.
        let Some(row) = self.rows.get(row.id)? else {
            pass.again.insert(entry);
            return Ok(());
        };
        if (row.parent, &row.name) != (parent, &item.name) {
            if item.conflict && self.waits_for_successor(&row, &item.key, pass, now)? {
                return Ok(());
            }
            let id = row.id;
            let moved = self.clear((parent, &item.name), Some(id), pass, now)?
                && self.move_row(row, parent, item.name.clone(), pass, now)?;
            if !moved {
                pass.again.insert(entry);
                return Ok(());
            }
            let Some(row) = self.rows.get(id)? else { return Ok(()) };
            return self.update_content(row, item, pass, now);
        }
        self.update_content(row, item, pass, now)
    }

    /// Whether what is to take a file's name has not come yet. One that becomes a conflict copy
    /// keeps its name until then, so that the name is not empty for as long as fetching takes.
    fn waits_for_successor(
        &mut self,
        row: &Row,
        becomes: &ItemKey,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<bool, Blocked> {
        let Some(directory) = self.directory_of(row)? else { return Ok(false) };
        let Some(successor) = self.index.lookup(directory, &row.name)? else { return Ok(false) };
        let entry = successor.key.entry;
        let on_disk = self.rows.by_entry(entry)?;
        let is_here = |other: &Row| entry != row.item.entry || other.item == successor.key;
        // In another part of a union what it becomes may have the name that it has here.
        let is_itself = successor.key == *becomes;
        if is_itself || successor.kind != Kind::File || on_disk.iter().any(is_here) {
            return Ok(false);
        }
        self.reconcile(entry, pass, now)?;
        Ok(!pass.coming.contains(&successor.key))
    }

    fn update_content(
        &mut self,
        mut row: Row,
        item: Item,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<(), Blocked> {
        if self.waits_for_word(row.id) {
            return Ok(());
        }
        if !holds(&row, &item.content) {
            return self.stage(item, Some(row), pass, now);
        }
        let before = row.clone();
        if row.item != item.key {
            row.item = item.key;
        }
        let path = path_of(&self.rows, row.id)?;
        if let Content::File { mtime_ns, .. } = item.content
            && row.stat.mtime_ns != mtime_ns
        {
            if !self.is_as_seen(&row, &path, now)? {
                pass.again.insert(item.key.entry);
                return Ok(());
            }
            let stat = self.fs.set_mtime(&path, mtime_ns)?;
            if !self.still_holds(&row, &path, &stat)? {
                // The user was faster, and now has the older time: it is looked at as an edit.
                self.look_again(path, now);
                pass.again.insert(item.key.entry);
                return Ok(());
            }
            row.stat = stat;
            self.unsynced.attributes(&path, row.kind);
            self.applied_event(&path, "written");
        }
        if row.kind != Kind::Symlink && row.stat.mode != item.mode {
            let stat = self.fs.set_mode(&path, item.mode)?;
            let as_before = Stat { mode: stat.mode, ..row.stat };
            // Some file systems have no modes, or not all of them, and keep what they had.
            let taken = stat.mode == item.mode || stat.mode == row.stat.mode;
            if taken && stat.same_version(&as_before) {
                row.stat = stat;
            } else {
                // The user has changed it meanwhile: that must still be seen as a change.
                row.stat.mode = item.mode;
                self.look_again(path.clone(), now);
            }
            self.unsynced.attributes(&path, row.kind);
            self.applied_event(&path, "mode");
        }
        set_content(&mut row, &item.content);
        if row != before {
            self.rows.put(&row)?;
            pass.progress = true;
        }
        Ok(())
    }

    /// Whether a file that was just given another time still holds the row's content. A write
    /// that came between the look and the change of the time shows in nothing else.
    fn still_holds(&self, row: &Row, path: &RelPath, stat: &Stat) -> Result<bool, Blocked> {
        if stat.ino != row.stat.ino || stat.size != row.stat.size {
            return Ok(false);
        }
        if stat.size > SMALL_MAX {
            return Ok(true);
        }
        let data = self.read_small(path, stat).ok();
        Ok(data.is_some_and(|data| row.root == Some(Hash::of(&data))))
    }

    /// Whether the disk still holds what the row says; what it holds else is looked at.
    pub(super) fn is_as_seen(
        &mut self,
        row: &Row,
        path: &RelPath,
        now: Millis,
    ) -> Result<bool, Blocked> {
        let same = self.fs.stat(path)?.is_some_and(|stat| stat.same_version(&row.stat));
        if !same {
            self.look_again(path.clone(), now);
        }
        Ok(same)
    }

    /// Makes what is not on disk yet.
    fn make(&mut self, item: Item, pass: &mut Pass, now: Millis) -> Result<(), Blocked> {
        let entry = item.key.entry;
        let Some(parent) = self.parent_row(item.parent, pass, now)? else {
            self.retry_later(entry, now);
            return Ok(());
        };
        if item.kind != Kind::Directory {
            return self.stage(item, None, pass, now);
        }
        if !self.clear((parent, &item.name), None, pass, now)? {
            pass.again.insert(entry);
            return Ok(());
        }
        let path = path_in(&self.rows, parent, &item.name)?;
        let stat = match self.fs.mkdir(&path, item.mode) {
            Ok(stat) => stat,
            Err(error) if error.kind() == FsErrorKind::Exists => match self.fs.stat(&path)? {
                // The user has made the same directory: it is that one, with what is in it.
                Some(stat) if stat.kind == FileKind::Directory => {
                    self.look_below(path.clone(), now);
                    stat
                }
                _ => {
                    self.look_again(path, now);
                    self.retry_later(entry, now);
                    return Ok(());
                }
            },
            Err(error) => return Err(error.into()),
        };
        let place = (parent, item.name);
        let row = new_row(&mut self.rows, place, item.key, &item.content, stat, now);
        self.rows.put(&row)?;
        pass.progress = true;
        self.applied_event(&path, "created");
        Ok(())
    }

    /// Has an item's content put into a temporary file if it can be had here; otherwise notes that
    /// it is wanted.
    fn stage(
        &mut self,
        item: Item,
        row: Option<Row>,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<(), Blocked> {
        let temp = temp_for(&item);
        let mut staged = Staged { item, row, temp, data: None, hash: None, base: None };
        let (root, size) = match &staged.item.content {
            Content::Symlink { target } => {
                self.fs.temp_symlink(&staged.temp, target)?;
                pass.stage(staged);
                return Ok(());
            }
            Content::File { root, size, .. } => (*root, *size),
            Content::Directory => {
                pass.again.insert(staged.item.key.entry);
                return Ok(());
            }
        };
        if let Some(prepared) = pass.texts.get(&root) {
            staged.hash = prepared.hash();
            staged.base = Some(prepared.base.clone());
            staged.data = Some(prepared.text.clone());
        } else if size > SMALL_MAX {
            let Some((temp, hash)) = self.needs.take_ready(&root) else {
                let rank = self.rank_of(&staged.item)?;
                self.needs.want(root, size, staged.item.key.entry, rank);
                return Ok(());
            };
            (staged.temp, staged.hash) = (temp, Some(hash));
        } else {
            let Some(data) = self.small_content(&root, size)? else {
                let rank = self.rank_of(&staged.item)?;
                self.needs.want(root, size, staged.item.key.entry, rank);
                return Ok(());
            };
            staged.base = Base::of_fresh(&staged.item, &data);
            staged.data = Some(data);
        }
        pass.unwritten += staged.data.as_ref().map_or(0, Bytes::len);
        pass.stage(staged);
        if pass.unwritten >= staging::UNWRITTEN_BYTES_MAX {
            pass.unwritten = 0;
            self.write_staged(&mut pass.staged, now)?;
        }
        Ok(())
    }

    /// A small content from what is here: from what a peer has sent, or from this disk.
    fn small_content(&self, root: &Hash, size: u64) -> Result<Option<bytes::Bytes>, Blocked> {
        if size == 0 {
            return Ok(Some(bytes::Bytes::new()));
        }
        if let Some(data) = self.needs.blob(root) {
            return Ok(Some(data.clone()));
        }
        let mut data = crate::serve::read_block(&*self.fs, &self.rows, root)?;
        if data.is_none() {
            data = crate::serve::read_kept(&*self.fs, &self.manifests, root)?;
        }
        Ok(data.filter(|data| data.len() as u64 == size))
    }

    /// Deletes what the view does not show any more, the deepest first.
    fn delete(&mut self, pass: &mut Pass, now: Millis) -> Result<(), Blocked> {
        let rows = std::mem::take(&mut pass.deletions);
        if rows.is_empty() {
            return Ok(());
        }
        let mut rows = self
            .hold_deletions(rows)?
            .into_iter()
            .map(|row| Ok((path_of(&self.rows, row.id)?.names().len(), row)))
            .collect::<Result<Vec<_>, Blocked>>()?;
        rows.sort_by(|(a, _), (b, _)| b.cmp(a));
        for (_, row) in rows {
            self.write_back_much()?;
            let entry = row.item.entry;
            match self.delete_row(&row, pass, now) {
                Err(Blocked::Fs(error)) if !error.kind().pauses_folder() => {
                    self.path_problem(&error);
                    self.retry_later(entry, now);
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn delete_row(&mut self, row: &Row, pass: &mut Pass, now: Millis) -> Result<(), Blocked> {
        let Some(row) = self.rows.get(row.id)? else { return Ok(()) };
        let path = path_of(&self.rows, row.id)?;
        let gone = if row.kind == Kind::Directory {
            match self.fs.rmdir(&path) {
                Ok(false) => {
                    // What is still in it is ignored (then it stays, rule 11), or new to us.
                    self.look_below(path, now);
                    if self.rows.children(row.id).next().is_some() {
                        // Or it is to go as well, and something has come between.
                        self.retry_later(row.item.entry, now);
                    }
                    return Ok(());
                }
                Ok(true) => {
                    let end = End { how: How::Deleted, by: None, staged: None };
                    self.ended(&row, &path, end, now)?;
                    true
                }
                Err(error) if error.kind() == FsErrorKind::NotFound => true,
                Err(error) => return Err(error.into()),
            }
        } else {
            match self.fs.keep(&path, &row.stat, now) {
                Ok(Kept::Done { version, .. }) => {
                    let end = End { how: How::Deleted, by: None, staged: Some(&version) };
                    self.ended(&row, &path, end, now)?;
                    true
                }
                Ok(Kept::Surprise { found: None, .. }) => true,
                Ok(Kept::Surprise { .. }) => {
                    // If what is found keeps nothing alive, it goes after all.
                    self.look_again(path, now);
                    self.retry_later(row.item.entry, now);
                    return Ok(());
                }
                Err(error) if error.kind() == FsErrorKind::NotFound => true,
                Err(error) => return Err(error.into()),
            }
        };
        if gone {
            self.rows.remove_tree(row.id)?;
            pass.progress = true;
            self.applied_event(&path, "deleted");
        }
        Ok(())
    }

    /// Holds what a mass deletion that came from elsewhere would delete, unless a member has approved
    /// that. What was held once stays until the user has spoken, however little it is by then.
    /// Gives what may go.
    fn hold_deletions(&mut self, rows: Vec<Row>) -> Result<Vec<Row>, Blocked> {
        let (count, total) = (rows.len() as u64, total(&self.rows));
        if self.released || !self.hold {
            return Ok(rows);
        }
        let is_mass = Held::is_mass(count, total);
        let mut unapproved = Vec::new();
        for row in &rows {
            if (is_mass || self.held.asks_about(row.id))
                && !self.index.is_deletion_approved(row.item.entry)?
            {
                unapproved.push(row);
            }
        }
        if !Held::is_mass(unapproved.len() as u64, total) {
            unapproved.retain(|row| self.held.asks_about(row.id));
        }
        if unapproved.is_empty() {
            return Ok(rows);
        }
        // A directory stays with what is held in it.
        let mut stay = BTreeSet::new();
        for row in unapproved {
            let mut at = Some(row.clone());
            while let Some(row) = at.filter(|row| stay.insert(row.id)) {
                at = self.rows.get(row.parent)?;
            }
        }
        let (held, free): (Vec<Row>, _) = rows.into_iter().partition(|row| stay.contains(&row.id));
        self.held.remote.extend(held.iter().map(|row| row.id));
        self.held.entries = self.held.remote.len() as u64;
        Ok(free)
    }

    pub(super) fn applied_event(&mut self, path: &RelPath, change: &str) {
        self.unsynced.name(path);
        self.event_out(Event::Applied {
            folder: self.name.clone(),
            path: path.to_string(),
            change: change.to_owned(),
        });
    }
}

/// The temporary file of one value of one entry: always the same, so that a second attempt finds
/// the first one's.
fn temp_for(item: &Item) -> TempName {
    let entry = u128::from_be_bytes(item.key.entry.0);
    let value = match &item.key.dot {
        Some(Dot { author, seq }) => {
            let device = Hash::of(author.device.as_bytes()).to_string();
            format!("{}-{:x}-{seq}", &device[..16], author.epoch)
        }
        None => "none".to_owned(),
    };
    TempName::parse(&format!("item-{entry:032x}-{value}"))
        .expect("hexadecimal and decimal digits make a legal name")
}

#[cfg(test)]
mod tests;
