//! From the disk to the index: what the user did becomes records.

use std::collections::BTreeSet;

use dunlin_blocks::{FileHash, SMALL_MAX};
use dunlin_identity::Hash;
use dunlin_index::{
    Content, EntryId, IndexError, ItemKey, Kind, Millis, NewEntry, RelPath, SafeName, Storage,
};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::{FileKind, Fs, Stat};
use dunlin_tree::ignore::IGNORE_FILE;
use dunlin_tree::scan::{self, LocalChange, Observed, Paired, ScanError};
use dunlin_tree::settle::{Due, RawEvent, RawKind};

use super::Folder;
use super::aside::is_aside_name;
use super::durable::ROWS_STAGED_MAX;
use super::error::{Blocked, Refused};
use super::history::End;
use super::rows::{blocks_of, holds, new_row, set_content};
use super::texts::Draft;
use crate::history::How;
use crate::types::{Event, Problem};

/// Contents up to this size travel with the change itself.
const INLINE_MAX: usize = 16 << 10;
/// All contents that travel with one batch of changes.
const INLINE_TOTAL: usize = 24 << 10;

/// Local changes that are committed together.
const CHANGES_AT_ONCE: usize = 2_000;

/// What one batch of local changes has gathered.
#[derive(Default)]
pub(super) struct Batch {
    blobs: Vec<Vec<u8>>,
    blob_bytes: usize,
    /// Rows that this batch deletes.
    pub(super) doomed: BTreeSet<RowId>,
    /// Rows that this batch moves, later on.
    pub(super) leaving: BTreeSet<RowId>,
    /// Whether this comes from a look at everything, so that what vanished may be a power cut's.
    whole: bool,
}

impl Batch {
    fn inline(&mut self, data: Vec<u8>) {
        if data.len() <= INLINE_MAX && self.blob_bytes + data.len() <= INLINE_TOTAL {
            self.blob_bytes += data.len();
            self.blobs.push(data);
        }
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Looks at the whole disk.
    pub(super) fn run_scan(&mut self, now: Millis) {
        self.scan_wanted = false;
        if !self.check_root(now) {
            return;
        }
        if let Err(error) = self.drop_detached() {
            return self.storage_fault(&error, now);
        }
        if self.after_crash {
            match self.put_back_kept() {
                Ok(()) => {}
                Err(Blocked::Index(error)) => return self.storage_fault(&error, now),
                Err(Blocked::Fs(error)) => return self.set_fault(&error, now),
            }
        }
        self.scan_wanted = false;
        self.problems.clear();
        let mut observed = Vec::new();
        let mut sink = |seen| observed.push(seen);
        let (fs, threads) = (&*self.fs, self.scan_threads);
        let walked = scan::walk(fs, &self.rows, &mut self.ignore, threads, &mut sink);
        let paired = walked.and_then(|_| scan::pair_moves(observed, &self.rows, &self.ignore, now));
        match paired {
            Ok(paired) => self.take_paired(paired, true, now),
            Err(error) => return self.scan_failed(error, now),
        }
        if self.fault.is_none() {
            self.after_crash = false;
        }
        for warning in self.ignore.warnings() {
            let path = format!("{IGNORE_FILE}: {warning}");
            self.problems.insert(Problem { path, reason: "this rule is left out".to_owned() });
        }
        if let Err(error) = self.mark_unapplied() {
            return self.storage_fault(&error, now);
        }
        if !self.after_crash {
            for peer in std::mem::take(&mut self.unheard) {
                self.peer_up(peer, now);
            }
        }
        self.work(now);
    }

    /// Paths have come to rest: looks at them.
    pub(super) fn settled(&mut self, due: Due, now: Millis) {
        let Due::Look(looks) = due else {
            return self.run_scan(now);
        };
        if !self.check_root(now) {
            return;
        }
        if looks.iter().any(|look| look.path.name().is_some_and(|n| n.as_str() == IGNORE_FILE)) {
            // What is no longer ignored is found by a look at everything.
            self.scan_wanted = true;
        }
        let observed = scan::look(&*self.fs, &self.rows, &mut self.ignore, &looks);
        let paired =
            observed.and_then(|observed| scan::pair_moves(observed, &self.rows, &self.ignore, now));
        match paired {
            Ok(paired) => {
                self.take_paired(paired, false, now);
                self.work(now);
            }
            Err(error) => self.scan_failed(error, now),
        }
    }

    fn scan_failed(&mut self, error: ScanError, now: Millis) {
        match error {
            ScanError::Fs(error) => self.set_fault(&error, now),
            ScanError::Disk(error) => self.storage_fault(&error.into(), now),
            other => {
                tracing::error!(error = %other, "a scan failed");
                self.scan_wanted = true;
            }
        }
    }

    fn take_paired(&mut self, paired: Paired, whole: bool, now: Millis) {
        for notice in paired.notices {
            match notice {
                Observed::Unrepresentable { dir, shown, reason, .. } => {
                    let path = if dir.is_root() { shown } else { format!("{dir}/{shown}") };
                    let reason = format!("{reason}: it is not synced");
                    self.problems.insert(Problem { path, reason });
                }
                Observed::Unreadable { path, error } => self.problem(&path, &error.to_string()),
                _ => {}
            }
        }
        self.take_changes(paired.changes, whole, now);
    }

    /// Has a path looked at again in a moment.
    pub(super) fn look_again(&mut self, path: RelPath, now: Millis) {
        self.push_event(RawEvent { kind: RawKind::Attrib, path, is_dir: false }, now);
    }

    /// Has a path looked at again when it has been quiet for a while.
    pub(super) fn look_when_quiet(&mut self, path: RelPath, now: Millis) {
        self.push_event(RawEvent { kind: RawKind::Modify, path, is_dir: false }, now);
    }

    /// Has a directory looked at with all that is below it.
    pub(super) fn look_below(&mut self, path: RelPath, now: Millis) {
        let kind = RawKind::Create(dunlin_tree::settle::Node::Directory);
        self.push_event(RawEvent { kind, path, is_dir: true }, now);
    }

    pub(super) fn push_event(&mut self, event: RawEvent, now: Millis) {
        let rows = &self.rows;
        self.settler.push(event, now, |path| matches!(rows.find(path), Ok(Some(_))));
    }

    pub(super) fn problem(&mut self, path: &RelPath, reason: &str) {
        self.problems.insert(Problem { path: path.to_string(), reason: reason.to_owned() });
    }

    /// Takes a batch of local changes into the index and sends them out.
    fn take_changes(&mut self, changes: Vec<LocalChange>, whole: bool, now: Millis) {
        if changes.is_empty() {
            return;
        }
        let changes = self.defer_deletions(changes, now);
        let mut changes = match self.defer_overwrites(changes, now) {
            Ok(changes) => changes,
            Err(error) => return self.storage_fault(&error, now),
        };
        // A first look at a large folder is taken in parts, so that memory stays bounded.
        while !changes.is_empty() && self.is_running() {
            let rest = changes.split_off(changes.len().min(CHANGES_AT_ONCE));
            self.carry_out(changes, whole, now);
            changes = rest;
        }
    }

    /// Carries local changes out, and sends them.
    pub(super) fn carry_out(&mut self, changes: Vec<LocalChange>, whole: bool, now: Millis) {
        if changes.is_empty() {
            return;
        }
        let mut batch = Batch { whole, ..Batch::default() };
        for change in &changes {
            match change {
                LocalChange::Vanished { row, .. } => batch.doomed.insert(*row),
                LocalChange::Moved { row, .. } => batch.leaving.insert(*row),
                _ => continue,
            };
        }
        for change in changes {
            if !self.writable {
                if let Err(error) = self.refuse_on_reader(&change) {
                    return self.storage_fault(&error, now);
                }
                continue;
            }
            let path = match path_of_change(&change) {
                Some(path) => path.clone(),
                None => RelPath::root(),
            };
            match self.take_change(change, &mut batch, now) {
                Ok(()) => {}
                Err(Refused::Again) => self.look_when_quiet(path, now),
                Err(Refused::Fs(error)) if error.kind().pauses_folder() => {
                    self.set_fault(&error, now);
                    break;
                }
                Err(Refused::Fs(error)) => self.problem(&path, &error.to_string()),
                Err(Refused::Index(error)) if is_storage(&error) => {
                    return self.storage_fault(&error, now);
                }
                Err(Refused::Index(error)) => self.problem(&path, &error.to_string()),
            }
            if self.rows.staged() > ROWS_STAGED_MAX {
                batch.blob_bytes = 0;
                self.commit_local(std::mem::take(&mut batch.blobs), now);
            }
        }
        if let Err(error) = self.drop_detached() {
            return self.storage_fault(&error, now);
        }
        self.commit_local(batch.blobs, now);
    }

    /// Forgets rows that have lost their names and got no other because a batch was interrupted:
    /// what is on disk of them is found again by looking.
    fn drop_detached(&mut self) -> Result<(), IndexError> {
        for row in self.rows.detached()? {
            self.forget_rows(&row)?;
            self.scan_wanted = true;
        }
        Ok(())
    }

    /// A device that may only read tells nobody what was changed on it.
    fn refuse_on_reader(&mut self, change: &LocalChange) -> Result<(), IndexError> {
        match change {
            LocalChange::Vanished { row, .. } => {
                if let Some(row) = self.rows.get(*row)? {
                    self.forget_rows(&row)?;
                }
            }
            change => {
                let path = path_of_change(change).cloned().unwrap_or_else(RelPath::root);
                let reason =
                    "changed on a device that may only read this folder: the change stays here";
                self.problem(&path, reason);
            }
        }
        Ok(())
    }

    /// Writes what was staged, durably, and sends it out.
    pub(super) fn commit_local(&mut self, blobs: Vec<Vec<u8>>, now: Millis) {
        if let Err(error) = self.sync_disk() {
            return self.set_fault(&error, now);
        }
        // The process may end before the table is written, too.
        if let Some(changes) = self.rows.to_redo() {
            self.index.keep_beside(changes);
        }
        let committed = match self.index.commit(&*self.signer) {
            Ok(committed) => committed,
            Err(error) => return self.storage_fault(&error, now),
        };
        if let Err(error) = self.rows.write_back(false) {
            return self.storage_fault(&error.into(), now);
        }
        self.kept.clear();
        if let Err(error) = self.log.flush(&*self.fs) {
            return self.storage_fault(&error.into(), now);
        }
        self.dirty.extend(committed.changed.iter().copied());
        if !committed.segments.is_empty() {
            let out = self.replicator.local(&committed, blobs, &self.index);
            self.emit(out);
        }
    }

    fn take_change(
        &mut self,
        change: LocalChange,
        batch: &mut Batch,
        now: Millis,
    ) -> Result<(), Refused> {
        match change {
            LocalChange::Created { path, stat, displaces } => {
                self.displace(displaces, batch, now)?;
                self.appeared(&path, stat, batch, now)
            }
            LocalChange::Changed { row, path, stat } => self.changed(row, &path, stat, batch, now),
            LocalChange::ModeOnly { row, path, stat } => {
                let Some(mut row) = self.rows.get(row)? else { return Ok(()) };
                row.item = self.set_mode(&row, stat.mode, now)?;
                row.stat = stat;
                self.rows.put(&row)?;
                self.local_event(&path, "mode");
                Ok(())
            }
            LocalChange::Moved { row, to, stat, displaces } => {
                // What it displaces may be the directory that it is in.
                self.displace(displaces, batch, now)?;
                batch.leaving.remove(&row);
                self.vanishing.moved(&row);
                self.moved(row, &to, stat, now)
            }
            LocalChange::Vanished { row, path } => self.vanished(row, &path, now),
        }
    }

    /// Tells the others of a mode, unless what has it was deleted elsewhere.
    fn set_mode(&mut self, row: &Row, mode: u32, now: Millis) -> Result<ItemKey, IndexError> {
        let mut row = row.clone();
        self.single_out(&mut row, now)?;
        match self.index.set_mode(now, &row.item, mode) {
            Err(IndexError::NotShown(_)) => {
                // It goes here, too, with whatever mode.
                self.dirty.insert(row.item.entry);
                Ok(row.item)
            }
            other => other,
        }
    }

    fn local_event(&mut self, path: &RelPath, change: &str) {
        self.event_out(Event::LocalChange {
            folder: self.name.clone(),
            path: path.to_string(),
            change: change.to_owned(),
        });
    }

    /// The row and the entry of the directory that `path` is in.
    pub(super) fn parent_of(&self, path: &RelPath) -> Result<(RowId, EntryId, SafeName), Refused> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Refused::Again);
        };
        if parent.is_root() {
            return Ok((RowId::ROOT, EntryId::ROOT, name.clone()));
        }
        let row = self.rows.find(&parent)?.ok_or(Refused::Again)?;
        if row.kind != Kind::Directory {
            return Err(Refused::Again);
        }
        Ok((row.id, self.index.canonical(row.item.entry)?, name.clone()))
    }

    fn appeared(
        &mut self,
        path: &RelPath,
        stat: Stat,
        batch: &mut Batch,
        now: Millis,
    ) -> Result<(), Refused> {
        self.user_changed_name(path);
        match stat.kind {
            FileKind::Directory => {
                let draft = Draft::plain(Content::Directory);
                self.adopt_or_create(path, stat, draft, None, now)
            }
            FileKind::Symlink => {
                let target = self.fs.read_link(path)?;
                let draft = Draft::plain(Content::Symlink { target });
                self.adopt_or_create(path, stat, draft, None, now)
            }
            FileKind::File if stat.size <= SMALL_MAX => {
                let data = self.read_small(path, &stat)?;
                let root = Hash(*blake3::hash(&data).as_bytes());
                let draft = self.draft(None, path, file_content(root, &stat), &data)?;
                batch.inline(data);
                self.user_wrote(path);
                self.adopt_or_create(path, stat, draft, None, now)
            }
            FileKind::File => {
                self.hash_later(path, stat);
                Ok(())
            }
            FileKind::Other => Ok(()),
        }
    }

    /// Reads a small file whole, making sure that it is what `stat` says.
    pub(super) fn read_small(&self, path: &RelPath, stat: &Stat) -> Result<Vec<u8>, Refused> {
        let file = self.fs.open(path)?;
        let size = usize::try_from(stat.size).expect("a small file fits into memory");
        // One byte more, so that a file that has grown is found out.
        let mut data = vec![0; size + 1];
        let mut filled = 0;
        while filled < data.len() {
            match file.read_at(&mut data[filled..], filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        if filled != size || !file.stat()?.same_version(stat) {
            return Err(Refused::Again);
        }
        data.truncate(size);
        Ok(data)
    }

    /// Something is at `path` that this device has not put there. If the index shows an equal
    /// thing there, it is that; otherwise it is new.
    pub(super) fn adopt_or_create(
        &mut self,
        path: &RelPath,
        stat: Stat,
        draft: Draft,
        hash: Option<&FileHash>,
        now: Millis,
    ) -> Result<(), Refused> {
        let content = &draft.content;
        let (parent_row, parent, name) = self.parent_of(path)?;
        let shown = self.index.lookup(parent, &name)?;
        let mut key = None;
        if let Some(item) = shown.filter(|item| item.content.same_as(content)) {
            let elsewhere = self.row_of_found(&item.key, &stat)?;
            if let Some(old) = elsewhere.as_ref().filter(|row| row.kind != Kind::Directory) {
                // It is where it belongs. What stands at its old place is something else now, or the
                // same file, which was to be moved here: that is here twice, and goes there.
                let end = End { how: How::Deleted, by: None, staged: None };
                if !self.put_aside(old, end, now)? {
                    self.forget_rows(old)?;
                }
            }
            if elsewhere.is_none_or(|row| row.kind != Kind::Directory) {
                // Its mode and mtime may differ: reconciling brings them to the index's.
                self.dirty.insert(item.key.entry);
                key = Some(self.own_if_denied(item.key, content, now)?);
            }
        }
        let adopted = key.is_some();
        let key = match key {
            Some(key) => key,
            None => {
                let new =
                    NewEntry { kind: content.kind(), mode: stat.mode, content: content.clone() };
                // What the index shows there and this disk does not hold yet, the user had not
                // seen: both are kept.
                self.index.create_beside(now, parent, &name, new)?
            }
        };
        let row = new_row(&mut self.rows, (parent_row, name), key, content, stat, now);
        self.free_name(row.id, row.parent, &row.name)?;
        self.rows.put(&row)?;
        self.remember_blocks(row.id, content, hash)?;
        if !adopted {
            self.keep_draft(&row, draft)?;
            self.vanishing.made(row.id, now);
            self.local_event(path, "created");
        }
        Ok(())
    }

    /// Notes where the blocks of a file are, for this device and others to find.
    pub(super) fn remember_blocks(
        &mut self,
        row: RowId,
        content: &Content,
        hash: Option<&FileHash>,
    ) -> Result<(), IndexError> {
        let blocks = blocks_of(content, hash);
        self.rows.put_blocks(row, &blocks)?;
        if let Some(hash) = hash {
            self.manifests.put(hash)?;
        }
        Ok(())
    }

    fn changed(
        &mut self,
        row: RowId,
        path: &RelPath,
        stat: Stat,
        batch: &mut Batch,
        now: Millis,
    ) -> Result<(), Refused> {
        let Some(row) = self.rows.get(row)? else {
            self.look_below(path.clone(), now);
            return Ok(());
        };
        let same_kind = matches!(
            (row.kind, stat.kind),
            (Kind::File, FileKind::File)
                | (Kind::Symlink, FileKind::Symlink)
                | (Kind::Directory, FileKind::Directory)
        );
        if !same_kind {
            // Kind is immutable: a change of type is a delete and a create.
            self.vanished(row.id, path, now)?;
            return self.appeared(path, stat, batch, now);
        }
        if self.is_suspect(&row, &stat, batch.whole) {
            self.problem(
                path,
                "it is empty since this device was stopped without warning, and was not before: \
                 this is not synced. Save the file again if it should be empty, or delete it to \
                 have it back",
            );
            return Ok(());
        }
        // It may have been saved by renaming another file over it.
        self.user_changed_name(path);
        match stat.kind {
            FileKind::Symlink => {
                let target = self.fs.read_link(path)?;
                self.rewrite(row, path, stat, Draft::plain(Content::Symlink { target }), None, now)
            }
            FileKind::File if stat.size <= SMALL_MAX => {
                let data = self.read_small(path, &stat)?;
                let root = Hash(*blake3::hash(&data).as_bytes());
                let draft = self.draft(Some(&row), path, file_content(root, &stat), &data)?;
                batch.inline(draft.inline(data));
                self.user_wrote(path);
                self.rewrite(row, path, stat, draft, None, now)
            }
            FileKind::File => {
                self.hash_later(path, stat);
                Ok(())
            }
            FileKind::Directory => {
                let mut row = row;
                if row.stat.mode != stat.mode {
                    row.item = self.set_mode(&row, stat.mode, now)?;
                    self.local_event(path, "mode");
                }
                row.stat = stat;
                Ok(self.rows.put(&row)?)
            }
            FileKind::Other => Ok(()),
        }
    }

    /// Whether a file is empty perhaps only because of a power cut: then that is not spread. What
    /// is suspected once stays so until the file changes again.
    fn is_suspect(&mut self, row: &Row, stat: &Stat, whole: bool) -> bool {
        let emptied = stat.kind == FileKind::File && stat.size == 0 && row.stat.size > 0;
        if emptied && whole && self.after_crash {
            self.suspects.insert(row.id, *stat);
        }
        emptied && self.suspects.get(&row.id) == Some(stat)
    }

    /// What is at the row's path has changed, or was only touched.
    pub(super) fn rewrite(
        &mut self,
        mut row: Row,
        path: &RelPath,
        stat: Stat,
        mut draft: Draft,
        hash: Option<&FileHash>,
        now: Millis,
    ) -> Result<(), Refused> {
        let content = draft.content.clone();
        if self.is_anothers(&row, path, &content)? {
            self.forget_rows(&row)?;
            return self.adopt_or_create(path, stat, draft, hash, now);
        }
        let touched = row.kind == Kind::File && row.stat.mtime_ns != stat.mtime_ns;
        let mut put_before = self.put_before(&row, &content)?;
        if put_before.is_none() {
            put_before = self.is_shown_already(&row, &content)?;
        }
        let written = put_before.is_none() && (!holds(&row, &content) || touched);
        if let Some(key) = put_before {
            row.item = key;
            // As it was put there it had the index's time and mode, which nobody has noted.
            row.stat = stat;
            self.dirty.insert(key.entry);
        } else if written {
            let base = match draft.base.take() {
                // What was a text may be something else now.
                None => self.base_of(&row)?,
                base => base,
            };
            if !holds(&row, &content) {
                self.note_overwrite(&row, &stat, now);
                self.keep_text(&row, base.as_ref(), path, now)?;
                let by = Some(self.signer.device());
                self.ended(&row, path, End { how: How::Edited, by, staged: None }, now)?;
            }
            let also = base.map(|base| base.also()).unwrap_or_default();
            self.single_out(&mut row, now)?;
            row.item = self.index.write_merged(now, &row.item, &also, content.clone())?;
            self.local_event(path, "written");
        }
        if row.stat.mode != stat.mode && row.kind == Kind::File {
            row.item = self.set_mode(&row, stat.mode, now)?;
        }
        row.stat = stat;
        set_content(&mut row, &content);
        self.rows.put(&row)?;
        if written {
            self.keep_draft(&row, draft)?;
        }
        Ok(self.remember_blocks(row.id, &content, hash)?)
    }

    fn moved(&mut self, row: RowId, to: &RelPath, stat: Stat, now: Millis) -> Result<(), Refused> {
        let Some(mut row) = self.rows.get(row)? else {
            // Another file of this batch was found to be what it stood for: this one is new.
            self.look_below(to.clone(), now);
            return Ok(());
        };
        let (parent_row, parent, name) = self.parent_of(to)?;
        if is_aside_name(row.id, &name) {
            // This device has put it aside itself, and was interrupted before it was noted.
            self.dirty.insert(row.item.entry);
            (row.stat, row.parent, row.name) = (stat, parent_row, name);
            return Ok(self.rows.put(&row)?);
        }
        // One that has lost its name to another change is covered by that one.
        if let Some(from) = self.rows.path(row.id)? {
            self.user_changed_name(&from);
        }
        self.user_changed_name(to);
        self.single_out(&mut row, now)?;
        // What another device has just put there and is not on this disk yet stays as well.
        match self.index.rename_beside(now, &row.item, parent, &name) {
            Ok(key) => row.item = key,
            // Another device has deleted what was moved: it becomes an entry of its own.
            Err(IndexError::NotShown(_)) => {
                self.forget_rows(&row)?;
                self.look_below(to.clone(), now);
                return Ok(());
            }
            // Another device has put below it the directory that it was moved to: of such a circle
            // one is shown where it came from, and this one goes back there.
            Err(IndexError::IntoItself) => {
                self.dirty.insert(row.item.entry);
            }
            Err(error) => return Err(error.into()),
        }
        if row.stat.mode != stat.mode {
            row.item = self.set_mode(&row, stat.mode, now)?;
        }
        row.stat = stat;
        row.parent = parent_row;
        row.name = name;
        self.free_name(row.id, row.parent, &row.name)?;
        self.rows.put(&row)?;
        self.local_event(to, "moved");
        Ok(())
    }

    pub(super) fn vanished(
        &mut self,
        row: RowId,
        path: &RelPath,
        now: Millis,
    ) -> Result<(), Refused> {
        let Some(mut row) = self.rows.get(row)? else { return Ok(()) };
        self.user_changed_name(path);
        if self.is_anew(&row)? {
            return Ok(self.forget_rows(&row)?);
        }
        if row.kind == Kind::Directory && (self.is_part(&row)? || self.has_unseen(&row)?) {
            // The user never saw all that is below, or another directory holds the rest of it: only
            // what was in this one is deleted.
            let children: Result<Vec<Row>, _> = self.rows.children(row.id).collect();
            for child in children? {
                let below = path.join(&child.name).map_err(|_| Refused::Again)?;
                self.vanished(child.id, &below, now)?;
            }
        } else {
            let also = self.also(&row)?;
            self.single_out(&mut row, now)?;
            self.index.delete_merged(now, &row.item, &also).or_else(ignore_not_shown)?;
        }
        self.ended_tree(&row, path, now)?;
        self.forget_rows(&row)?;
        self.local_event(path, "deleted");
        Ok(())
    }

    /// Whether the directory `row` is shown as one with another one on this disk.
    fn is_part(&self, row: &Row) -> Result<bool, IndexError> {
        for part in self.index.parts_of(row.item.entry)? {
            if self.rows.by_entry(part)?.iter().any(|other| other.id != row.id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the index shows anything below the directory `row` that is not on this disk as
    /// shown.
    fn has_unseen(&self, row: &Row) -> Result<bool, Refused> {
        if self.has_anew(row.id)? {
            return Ok(true);
        }
        let nothing_waits = self.dirty.is_empty()
            && self.retry.is_empty()
            && self.needs.lacks_nothing()
            // What came for a file that the user has to decide about is not on this disk either.
            && !self.held.has_overwrites()
            && self.overwrites.burst.is_empty();
        if self.compared && nothing_waits {
            return Ok(false);
        }
        let mut directories = vec![self.index.canonical(row.item.entry)?];
        while let Some(directory) = directories.pop() {
            let mut after = None;
            loop {
                let items = self.index.children(directory, after.as_ref(), 1000)?;
                let Some(last) = items.last() else { break };
                after = Some(last.name.clone());
                for item in items {
                    // What was moved here elsewhere may still stand at its old place.
                    if !self.is_applied(&item)? {
                        return Ok(true);
                    }
                    if item.kind == Kind::Directory {
                        directories.push(item.key.entry);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Forgets a row and all below it; reconciling looks at their entries again.
    pub(super) fn forget_rows(&mut self, row: &Row) -> Result<(), IndexError> {
        for key in super::rows::tree_items(&self.rows, row)? {
            self.dirty.insert(key.entry);
        }
        self.rows.remove_tree(row.id)?;
        Ok(())
    }
}

fn ignore_not_shown(error: IndexError) -> Result<(), IndexError> {
    // It was deleted elsewhere as well.
    if matches!(error, IndexError::NotShown(_)) { Ok(()) } else { Err(error) }
}

/// Whether the database itself has failed.
pub(super) fn is_storage(error: &IndexError) -> bool {
    matches!(error, IndexError::Storage(_) | IndexError::Damaged(_))
}

fn path_of_change(change: &LocalChange) -> Option<&RelPath> {
    match change {
        LocalChange::Created { path, .. }
        | LocalChange::Changed { path, .. }
        | LocalChange::ModeOnly { path, .. }
        | LocalChange::Vanished { path, .. } => Some(path),
        LocalChange::Moved { to, .. } => Some(to),
    }
}

pub(super) fn file_content(root: Hash, stat: &Stat) -> Content {
    Content::File { root, size: stat.size, mtime_ns: stat.mtime_ns, text: None }
}

#[cfg(test)]
mod tests;
