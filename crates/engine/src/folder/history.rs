//! What ends is noted in the history, and what is to be kept goes into it.

use dunlin_identity::DeviceId;
use dunlin_index::{IndexError, Kind, Millis, RelPath, Storage};
use dunlin_tree::disk::Row;
use dunlin_tree::fs::{Fs, Kept, TempName, VersionId};

use super::Folder;
use super::error::Blocked;
use super::rows::path_of;
use crate::history::policy::{Keep, Policy};
use crate::history::{History, How, Place, Record, What};

/// How a version ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    pub(super) how: How,
    /// The device whose change it was, if that is known.
    pub(super) by: Option<DeviceId>,
    /// Where the bytes were moved aside, if they are still on this device.
    pub(super) staged: Option<&'a VersionId>,
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// The history, to read.
    pub fn history(&self) -> &History<S> {
        self.log.read()
    }

    /// What is kept, and how much of it.
    pub fn versions(&self) -> Policy {
        self.policy
    }

    /// Changes what is kept; what is beyond it goes soon.
    pub fn set_versions(&mut self, policy: Policy) {
        self.policy = policy;
        self.sweeping.start(0);
        self.packing.look_at(0);
    }

    /// Notes that the version that `row` shows at `path` has ended.
    pub(super) fn ended(
        &mut self,
        row: &Row,
        path: &RelPath,
        end: End<'_>,
        now: Millis,
    ) -> Result<(), IndexError> {
        if let Some(version) = end.staged {
            let blocks = self.rows.blocks_of(row.id)?;
            self.manifests.keep(version, &blocks)?;
            self.packing.look_at(now + self.policy.delay_ms);
        }
        let kept =
            end.staged.is_none() && self.kept.remove(&row.id) == row.root && row.root.is_some();
        if self.policy.keep == Keep::None || kept {
            return Ok(());
        }
        self.sweeping.interrupt(now);
        let entry = row.item.entry;
        let list = match row.root {
            Some(_) => self.log.list(&self.rows.blocks_of(row.id)?)?,
            None => Vec::new(),
        };
        let Some(what) = What::of_row(row, list) else { return Ok(()) };
        let place = match (end.staged, &what) {
            (Some(version), _) => Place::Staged(version.clone()),
            (None, What::File { .. }) => Place::Elsewhere,
            // The record says all of it.
            (None, _) => Place::Packed { stored: 0 },
        };
        let since = self.log.read().since(entry)?.unwrap_or(row.created_ms);
        let record = Record {
            id: self.log.next_id(),
            entry: Some(entry),
            path: path.clone(),
            what,
            mtime_ns: row.stat.mtime_ns,
            mode: row.stat.mode,
            by: row.item.dot.map(|dot| dot.author.device),
            since: since.min(now),
            until: now,
            ended_by: end.by,
            how: end.how,
            place,
        };
        self.log.since(entry, (end.how != How::Deleted).then_some(now));
        self.log.version(record);
        if self.log.is_full() {
            self.log.flush(&*self.fs)?;
        }
        Ok(())
    }

    /// Notes that this device's user has deleted what `row` shows, with all that is below it.
    pub(super) fn ended_tree(
        &mut self,
        row: &Row,
        path: &RelPath,
        now: Millis,
    ) -> Result<(), IndexError> {
        let end = End { how: How::Deleted, by: Some(self.signer.device()), staged: None };
        let mut todo = vec![(row.clone(), path.clone())];
        while let Some((row, path)) = todo.pop() {
            if row.kind == Kind::Directory {
                let children: Result<Vec<Row>, _> = self.rows.children(row.id).collect();
                for child in children? {
                    // What has no legal path was never in the folder.
                    let Ok(below) = path.join(&child.name) else { continue };
                    todo.push((child, below));
                }
            }
            self.ended(&row, &path, end, now)?;
        }
        Ok(())
    }

    /// Brings the file of `row` into the version store, and forgets the row. False when that is not
    /// the file that stands there any more: that one is looked at.
    pub(super) fn put_aside(
        &mut self,
        row: &Row,
        end: End<'_>,
        now: Millis,
    ) -> Result<bool, Blocked> {
        let path = path_of(&self.rows, row.id)?;
        let Kept::Done { version, .. } = self.fs.keep(&path, &row.stat, now)? else {
            self.look_again(path, now);
            return Ok(false);
        };
        self.ended(row, &path, End { staged: Some(&version), ..end }, now)?;
        self.forget_rows(row)?;
        self.unsynced.name(&path);
        Ok(true)
    }

    /// Keeps a version of which the bytes are in memory: what `row` shows at `path`, before the
    /// row is told of the content that takes its place.
    pub(super) fn keep_bytes(
        &mut self,
        row: &Row,
        path: &RelPath,
        data: &[u8],
        how: How,
        now: Millis,
    ) -> Result<(), Blocked> {
        if row.root.is_some() && self.kept.get(&row.id) == row.root.as_ref() {
            // What is about to be replaced was moved aside already.
            return Ok(());
        }
        let temp = TempName::parse(&format!("kept-{}", row.id.0))
            .expect("letters and digits make a legal name");
        self.fs.temp_write(&temp, data, row.stat.mode, row.stat.mtime_ns)?;
        let version = self.fs.keep_temp(&temp, path, now)?;
        let end = End { how, by: Some(self.signer.device()), staged: Some(&version) };
        self.ended(row, path, end, now)?;
        self.kept.extend(row.root.map(|root| (row.id, root)));
        Ok(())
    }
}
