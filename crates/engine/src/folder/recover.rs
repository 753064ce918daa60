//! What a folder does when it starts, when its disk or database fails, and when its user decides
//! about what is held.

use dunlin_identity::Hash;
use dunlin_index::{Author, EntryId, IndexError, Item, Kind, Millis, RelPath, Storage};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::{FileKind, Fs, FsError, FsErrorKind, Moved, Stat, VersionId};

use super::aside::aside_name;
use super::error::Blocked;
use super::rows::{path_in, path_of, tree_items};
use super::{FAULT_RETRY_MS, Folder};
use crate::types::Problem;

/// Items that are read at a time.
const PAGE: usize = 1000;

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Marks every entry dirty that is not on disk as the view shows it. Needed after a start only
    /// when the last run ended with work undone.
    pub(super) fn mark_unapplied(&mut self) -> Result<(), IndexError> {
        self.compared = true;
        let fingerprint = self.index.fingerprint();
        if self.applied == Some(fingerprint) {
            return Ok(());
        }
        let mut directories = vec![EntryId::ROOT];
        while let Some(directory) = directories.pop() {
            let mut after = None;
            loop {
                let items = self.index.children(directory, after.as_ref(), PAGE)?;
                let Some(last) = items.last() else { break };
                after = Some(last.name.clone());
                for item in items {
                    if !self.is_applied(&item)? {
                        self.dirty.insert(item.key.entry);
                    }
                    if item.kind == Kind::Directory {
                        directories.push(item.key.entry);
                    }
                }
            }
        }
        self.mark_rows()
    }

    /// Puts back what the process that was killed has moved to the version store without noting it:
    /// that a file is gone from its name is then no act of the user's. The index may still show it, or
    /// the same under another identity, and this may be its only copy.
    pub(super) fn put_back_kept(&mut self) -> Result<(), Blocked> {
        for (batch, _) in self.fs.version_batches()? {
            let mut directories = vec![RelPath::root()];
            while let Some(path) = directories.pop() {
                let at = VersionId { batch: batch.clone(), path };
                let listing = match self.fs.version_list(&at) {
                    Err(error) if error.kind() == FsErrorKind::NotFound => continue,
                    other => other?,
                };
                for (name, stat) in listing.entries {
                    let Ok(path) = at.path.join(&name) else { continue };
                    if stat.kind == FileKind::Directory {
                        directories.push(path);
                    } else {
                        self.put_back_one(&VersionId { batch: batch.clone(), path }, &stat)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether nobody has replaced what a row's file holds, and the index shows it under another
    /// identity only: then what has taken the file's place is no newer version of it.
    fn is_shown_by_another(&self, row: &Row) -> Result<bool, IndexError> {
        let Some(dot) = row.item.dot else { return Ok(false) };
        let shows = |item: &Item| {
            item.key.dot == Some(dot) || item.merged.iter().any(|(merged, _)| *merged == dot)
        };
        Ok(self.index.values_of(row.item.entry)?.contains(&dot)
            && !self.index.items(row.item.entry)?.iter().any(shows))
    }

    /// Puts a kept file back to where a row says that it stands; beside that, where something else
    /// has taken its place already. The pass that was interrupted is then done again.
    fn put_back_one(&mut self, version: &VersionId, kept: &Stat) -> Result<(), Blocked> {
        let rows = self.rows.by_inode(kept.ino)?;
        let Some(mut row) = rows.into_iter().find(|row| row.stat.same_version(kept)) else {
            return self.bring_back_unseen(version, kept);
        };
        let aside = aside_name(row.id);
        let places = [
            (row.parent, row.name.clone()),
            (row.parent, aside.clone()),
            // The directory that it was in may be gone, too.
            (RowId::ROOT, aside),
        ];
        for (parent, name) in places {
            let path = path_in(&self.rows, parent, &name)?;
            match self.fs.restore(version, &path) {
                Ok(Moved::Done { stat }) => {
                    let record = self.history().staged_at(version)?;
                    self.log
                        .forget(&record.map(|record| record.id).into_iter().collect::<Vec<_>>());
                    self.unsynced.name(&path);
                    self.dirty.insert(row.item.entry);
                    (row.parent, row.name, row.stat) = (parent, name, stat);
                    return Ok(self.rows.put(&row)?);
                }
                // A newer version: whether it is the user's is found by comparing it with the row.
                Ok(Moved::Occupied { found: Some(found) })
                    if found.kind == kept.kind && !self.is_shown_by_another(&row)? =>
                {
                    break;
                }
                Ok(Moved::Occupied { .. }) => {}
                Ok(Moved::Surprise { .. }) => break,
                Err(error) if error.kind().pauses_folder() => return Err(error.into()),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Has what rows stand for brought to what the view shows.
    pub(super) fn look_at_rows(
        &mut self,
        rows: impl IntoIterator<Item = RowId>,
    ) -> Result<(), IndexError> {
        for row in rows {
            if let Some(row) = self.rows.get(row)? {
                self.dirty.insert(row.item.entry);
            }
        }
        Ok(())
    }

    /// Marks the entries of rows that the view does not show any more.
    fn mark_rows(&mut self) -> Result<(), IndexError> {
        let mut directories = vec![RowId::ROOT];
        while let Some(directory) = directories.pop() {
            for row in self.rows.children(directory) {
                let row = row?;
                if row.kind == Kind::Directory {
                    directories.push(row.id);
                }
                let items = self.index.items(row.item.entry)?;
                if !items.iter().any(|item| item.key == row.item) {
                    self.dirty.insert(row.item.entry);
                }
            }
        }
        Ok(())
    }

    /// The state that is whole on this disk, to be given to the next run as [`Parts::applied`]
    /// (so that it need not compare everything); `None` while there is work to do.
    ///
    /// [`Parts::applied`]: super::Parts::applied
    pub fn applied(&self) -> Option<Hash> {
        self.is_settled().then(|| self.index.fingerprint())
    }

    /// Stops the folder because of its database; it is opened again by the shell.
    pub(super) fn storage_fault(&mut self, error: &IndexError, now: Millis) {
        self.fault = Some(format!(
            "the database failed: {error}: free some space or mend the disk; syncing goes on by \
             itself"
        ));
        self.fault_retry_at = Some(now + FAULT_RETRY_MS);
        self.reopen = true;
    }

    /// Shows an error of one path to the user.
    pub(super) fn path_problem(&mut self, error: &FsError) {
        self.problems.insert(Problem { path: error.path().to_owned(), reason: error.to_string() });
    }

    /// Does the mass deletion, or lets the mass overwrite through, that is held, here and
    /// everywhere.
    ///
    /// # Errors
    /// Fails when the index does.
    pub fn approve(&mut self, now: Millis) -> Result<bool, IndexError> {
        let held = self.held.take();
        if held.is_empty() {
            return Ok(false);
        }
        // What has come for these is not on this disk yet: no deletion takes it along.
        let awaited = held.remote.iter().chain(&held.overwritten).chain(&held.arrived);
        self.look_at_rows(awaited.copied())?;
        for row in &held.local {
            let Some(row) = self.rows.get(*row)? else { continue };
            let path = path_of(&self.rows, row.id)?;
            if matches!(self.fs.stat(&path), Ok(None)) {
                self.vanished(row.id, &path, now).map_err(super::error::Refused::into_index)?;
            } else {
                // What has come back meanwhile was not deleted after all, but what was in it may be.
                self.scan_wanted = true;
            }
        }
        self.release_overwrites(&held, now)?;
        self.released = !held.remote.is_empty();
        // The deletions get their numbers first, which the approval then covers.
        self.commit_local(Vec::new(), now);
        self.vouch(self.index.context().iter().map(|(author, seq)| (*author, seq)).collect(), now)?;
        self.work(now);
        self.tell(now);
        Ok(true)
    }

    /// Brings back what a held mass deletion would delete, or a held mass overwrite replace: what
    /// is gone here is fetched again, what others deleted or replaced is given to them anew.
    ///
    /// # Errors
    /// Fails when the index does, and with [`IndexError::ReadOnly`] where nothing can be given to
    /// others.
    pub fn undo(&mut self, now: Millis) -> Result<bool, IndexError> {
        if !self.writable && !self.held.arrived.is_empty() {
            return Err(IndexError::ReadOnly);
        }
        let held = self.held.take();
        if held.is_empty() {
            return Ok(false);
        }
        self.take_back_overwrites(&held, now)?;
        for row in held.local.difference(&held.overwritten) {
            let Some(row) = self.rows.get(*row)? else { continue };
            let path = path_of(&self.rows, row.id)?;
            self.forget_rows(&row)?;
            self.commit_much(now);
            // It may have come back meanwhile.
            self.look_below(path, now);
        }
        for row in &held.remote {
            let Some(row) = self.rows.get(*row)? else { continue };
            let path = path_of(&self.rows, row.id)?;
            for key in tree_items(&self.rows, &row)? {
                self.dirty.remove(&key.entry);
            }
            self.rows.remove_tree(row.id)?;
            self.commit_much(now);
            self.look_below(path, now);
        }
        self.commit_local(Vec::new(), now);
        // What was taken back must not be held elsewhere in turn. The others' logs are not vouched
        // for: what they did is what is undone.
        let own = self.index.author();
        self.vouch(vec![(own, self.index.context().get(&own))], now)?;
        self.work(now);
        self.tell(now);
        Ok(true)
    }

    /// Tells all devices that these logs, each up to a record, are what a user wants.
    fn vouch(&mut self, logs: Vec<(Author, u64)>, now: Millis) -> Result<(), IndexError> {
        if self.writable {
            for (author, seq) in logs {
                self.index.approve(now, author, seq)?;
            }
        }
        self.commit_local(Vec::new(), now);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
