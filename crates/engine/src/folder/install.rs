//! Staged contents, on the last part of their way: written, made durable, and put in place.

use std::sync::Arc;

use dunlin_blocks::FileHash;
use dunlin_index::{Content, Item, Millis, Storage};
use dunlin_tree::fs::{Fs, Installed, TempName};

use super::Folder;
use super::error::Blocked;
use super::history::End;
use super::reconcile::Pass;
use super::rows::{new_row, path_in, set_content};
use super::staging::{self, Staged};
use crate::history::How;
use crate::texts::address_of;

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Writes what is staged in memory into the temporary files; what cannot be written is left out.
    pub(super) fn write_staged(
        &mut self,
        staged: &mut Vec<Staged>,
        now: Millis,
    ) -> Result<(), Blocked> {
        let failures = staging::write_all(&*self.fs, staged, self.scan_threads);
        for (entry, error) in failures {
            if error.kind().pauses_folder() {
                return Err(error.into());
            }
            staged.retain(|staged| staged.item.key.entry != entry || staged.data.is_none());
            self.path_problem(&error);
            self.retry_later(entry, now);
        }
        Ok(())
    }

    /// Makes what is staged durable and puts it in place.
    pub(super) fn put_in_place(&mut self, pass: &mut Pass, now: Millis) -> Result<(), Blocked> {
        pass.unwritten = 0;
        let mut first = std::mem::take(&mut pass.staged);
        let mut second = staging::second_half(&mut first, self.scan_threads);
        self.write_staged(&mut first, now)?;
        if second.is_empty() {
            staging::make_durable(&*self.fs, &first)?;
            return self.install_all(first, pass, now);
        }
        let fs = Arc::clone(&self.fs);
        staging::make_durable_beside(&*fs, &first, || self.write_staged(&mut second, now))?;
        staging::make_durable_beside(&*fs, &second, || self.install_all(first, pass, now))?;
        self.install_all(second, pass, now)
    }

    fn install_all(
        &mut self,
        staged: Vec<Staged>,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<(), Blocked> {
        for staged in staged {
            self.write_back_much()?;
            let entry = staged.item.key.entry;
            match self.install(staged, pass, now) {
                Err(Blocked::Fs(error)) if !error.kind().pauses_folder() => {
                    self.path_problem(&error);
                    self.retry_later(entry, now);
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn install(&mut self, staged: Staged, pass: &mut Pass, now: Millis) -> Result<(), Blocked> {
        let Staged { item, row, temp, hash, base, .. } = staged;
        let entry = item.key.entry;
        let row = match row {
            Some(row) => self.rows.get(row.id)?,
            None => None,
        };
        let parent = match &row {
            Some(row) => Some(row.parent),
            None => self.parent_row(item.parent, pass, now)?,
        };
        let Some(parent) = parent else {
            self.put_back(&item, temp, hash);
            self.retry_later(entry, now);
            return Ok(());
        };
        if row.is_none() && !self.clear((parent, &item.name), None, pass, now)? {
            self.put_back(&item, temp, hash);
            pass.again.insert(entry);
            return Ok(());
        }
        let path = path_in(&self.rows, parent, &item.name)?;
        if let (Some(row), Some(base)) = (&row, &base)
            && base.versions.len() > 1
        {
            // After a crash, what is put there now must not be taken for the user's edit.
            self.sync_disk()?;
            self.texts.put(row.id, base).and_then(|()| self.texts.flush())?;
        }
        let installed = self.fs.install(&temp, &path, row.as_ref().map(|row| &row.stat), now)?;
        if let (Installed::Replaced { version, .. }, Some(row)) = (&installed, &row) {
            let by = item.key.dot.map(|dot| dot.author.device);
            let end = End { how: How::Edited, by, staged: Some(version) };
            self.ended(row, &path, end, now)?;
        }
        match installed {
            Installed::Created { stat } | Installed::Replaced { stat, .. } => {
                pass.progress = true;
                let change = if row.is_some() { "written" } else { "created" };
                let row = match row {
                    Some(mut row) => {
                        row.item = item.key;
                        row.stat = stat;
                        set_content(&mut row, &item.content);
                        row
                    }
                    None => {
                        let place = (parent, item.name);
                        new_row(&mut self.rows, place, item.key, &item.content, stat, now)
                    }
                };
                self.rows.put(&row)?;
                self.remember_blocks(row.id, &item.content, hash.as_ref())?;
                if hash.is_some() {
                    self.manifests.forget_checkpoint(&temp)?;
                }
                match &base {
                    Some(base) => self.texts.put(row.id, base)?,
                    // What a text is made of is read from the file.
                    None if address_of(&item.content).is_some() => {
                        pass.again.insert(entry);
                    }
                    None => {}
                }
                self.applied_event(&path, change);
            }
            Installed::Surprise { temp_left, .. } => {
                // The user was faster: what is there is looked at, and becomes a version beside.
                if temp_left {
                    self.put_back(&item, temp, hash);
                }
                self.look_again(path, now);
                self.retry_later(entry, now);
            }
        }
        Ok(())
    }

    /// Keeps a large content that could not be put in place yet.
    fn put_back(&mut self, item: &Item, temp: TempName, hash: Option<FileHash>) {
        if let (Content::File { root, size, .. }, Some(hash)) = (&item.content, hash) {
            self.needs.put_back(*root, *size, item.key.entry, temp, hash);
        }
    }
}
