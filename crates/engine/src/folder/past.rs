//! Looks into the past: the versions of a path, and what a restore has to do.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use dunlin_index::{IndexError, Kind, Millis, RelPath, Storage, StorageError};
use dunlin_tree::disk::{DiskError, Row, RowId};
use dunlin_tree::fs::{Fs, Stat};

use super::Folder;
use super::rows::path_of;
use crate::history::{Record, What};

/// Versions that are told at most of one path.
pub const VERSIONS_MAX: usize = 10_000;

/// The versions of a path.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// What is there now, with where it is and since when.
    pub present: Option<(Row, RelPath, Millis)>,
    /// What was there before, newest first.
    pub records: Vec<Record>,
    /// How many older ones were left out.
    pub more: u64,
}

/// What a user wants back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of which file or directory; the root for the whole folder.
    pub path: RelPath,
    /// As of when.
    pub at: Option<Millis>,
    /// Which version.
    pub version: Option<u64>,
    /// Put it in place of what is newer.
    pub force: bool,
    /// It is written somewhere else, so that nothing stands in the way.
    pub elsewhere: bool,
}

/// One thing to put in place.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where, in the folder.
    pub path: RelPath,
    /// What.
    pub what: What,
    /// Its permission bits.
    pub mode: u32,
    /// The time of its last change, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// What it is put in place of.
    pub expect: Option<Stat>,
}

/// What a restore has to do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What to put in place, directories before what is in them.
    pub targets: Vec<Target>,
    /// Whether one file or link was asked for, rather than a directory.
    pub single: bool,
    /// What is as wanted already.
    pub unchanged: u64,
    /// What is newer, and stays.
    pub newer: Vec<RelPath>,
    /// What was made since, and stays.
    pub stayed: u64,
}

/// Why nothing can be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PastError {
    /// The database failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// There is no such version.
    #[error("there is no version {0} of it: `dunlin history` lists them")]
    NoVersion(u64),
    /// Nothing is known of the path.
    #[error("nothing is kept of it: `dunlin history` of the directory above lists what is")]
    Nothing,
    /// It was not there at that time.
    #[error(
        "it was not there at that time, as far as this device knows: `dunlin history` says more"
    )]
    NotThen,
}

impl From<StorageError> for PastError {
    fn from(error: StorageError) -> Self {
        Self::Index(error.into())
    }
}

impl From<DiskError> for PastError {
    fn from(error: DiskError) -> Self {
        Self::Index(error.into())
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// The versions of a file or link under whatever name it had, or of all that is below a
    /// directory.
    ///
    /// # Errors
    /// When the database fails.
    pub fn past(&self, path: &RelPath, limit: usize) -> Result<Past, PastError> {
        let row = self.rows.find(path)?;
        let records = if self.is_tree(path, row.as_ref())? {
            let mut records = self.history().at_path(path)?;
            self.history().below(path, |record| records.push(record))?;
            records
        } else {
            self.of_single(path, row.as_ref())?
        };
        let mut past = Past { records, ..Past::default() };
        past.records.sort_by_key(|record| Reverse(record.order()));
        let limit = limit.min(VERSIONS_MAX);
        past.more = past.records.len().saturating_sub(limit) as u64;
        past.records.truncate(limit);
        if let Some(row) = row.filter(|row| row.kind != Kind::Directory) {
            let since = self.since(&row)?;
            past.present = Some((row, path.clone(), since));
        }
        Ok(past)
    }

    /// Whether a path means all that is below it.
    fn is_tree(&self, path: &RelPath, row: Option<&Row>) -> Result<bool, PastError> {
        if path.is_root() {
            return Ok(true);
        }
        if let Some(row) = row {
            return Ok(row.kind == Kind::Directory);
        }
        let records = self.history().at_path(path)?;
        match records.iter().max_by_key(|record| record.order()) {
            Some(newest) => Ok(newest.what == What::Directory),
            // A directory of which only the contents were seen to go.
            None => Ok(self.history().any_below(path)?),
        }
    }

    /// All versions of what is or was at a path: of the entries that were there, wherever they were
    /// before.
    fn of_single(&self, path: &RelPath, row: Option<&Row>) -> Result<Vec<Record>, PastError> {
        let mut records: BTreeMap<u64, Record> = BTreeMap::new();
        let mut groups: Vec<[u8; 16]> = row.map(|row| row.item.entry.0).into_iter().collect();
        for record in self.history().at_path(path)? {
            groups.push(record.group());
            records.insert(record.id, record);
        }
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            let of_group = self.history().of_group(&group)?;
            records.extend(of_group.into_iter().map(|record| (record.id, record)));
        }
        Ok(records.into_values().collect())
    }

    /// Since when the present version is there.
    fn since(&self, row: &Row) -> Result<Millis, PastError> {
        let since = self.history().since(row.item.entry)?;
        Ok(since.unwrap_or(row.created_ms))
    }

    /// Says what has to be done to have back what is wanted.
    ///
    /// # Errors
    /// When there is no such thing in the past, or the database fails.
    pub fn plan_restore(&self, wanted: &Wanted) -> Result<Plan, PastError> {
        let row = self.rows.find(&wanted.path)?;
        if let Some(id) = wanted.version {
            let record = self.history().get(id)?;
            let record = record.filter(|record| {
                let same = row.as_ref().is_some_and(|row| Some(row.item.entry) == record.entry);
                same || record.path.starts_with(&wanted.path)
            });
            let record = record.ok_or(PastError::NoVersion(id))?;
            let mut plan = Plan { single: true, ..Plan::default() };
            self.plan_one(&record, wanted, &mut plan)?;
            return Ok(plan);
        }
        if self.is_tree(&wanted.path, row.as_ref())? {
            return self.plan_tree(wanted);
        }
        self.plan_single(wanted, row.as_ref())
    }

    fn plan_single(&self, wanted: &Wanted, row: Option<&Row>) -> Result<Plan, PastError> {
        let mut plan = Plan { single: true, ..Plan::default() };
        let mut records = self.of_single(&wanted.path, row)?;
        records.retain(|record| wanted.at.is_none_or(|at| record.was_there(at)));
        // Of an entry that is there, its own past counts before that of others with its name.
        let own = |record: &Record| row.is_some_and(|row| record.entry == Some(row.item.entry));
        let chosen = records.into_iter().max_by_key(|record| (own(record), record.order()));
        match (chosen, row, wanted.at) {
            (Some(record), _, _) => self.plan_one(&record, wanted, &mut plan)?,
            (None, Some(row), Some(at)) if self.since(row)? <= at => {
                self.plan_present(row, &wanted.path, wanted, &mut plan)?;
            }
            (None, _, Some(_)) => return Err(PastError::NotThen),
            (None, _, None) => return Err(PastError::Nothing),
        }
        Ok(plan)
    }

    /// What is there now is what is wanted.
    fn plan_present(
        &self,
        row: &Row,
        path: &RelPath,
        wanted: &Wanted,
        plan: &mut Plan,
    ) -> Result<(), PastError> {
        if !wanted.elsewhere {
            plan.unchanged += 1;
            return Ok(());
        }
        let Some(what) = What::of_row(row, Vec::new()) else { return Ok(()) };
        plan.targets.push(Target {
            path: path.clone(),
            what,
            mode: row.stat.mode,
            mtime_ns: row.stat.mtime_ns,
            expect: None,
        });
        Ok(())
    }

    /// What a record says, to be put where its entry is now, or else where it was.
    fn plan_one(&self, record: &Record, wanted: &Wanted, plan: &mut Plan) -> Result<(), PastError> {
        let mut path = record.path.clone();
        let mut there = self.rows.find(&path)?;
        if let Some(entry) = record.entry {
            let rows = self.rows.by_entry(entry)?;
            let same = |row: &&Row| there.as_ref().is_some_and(|there| there.id == row.id);
            if let Some(row) = rows.iter().find(same).or(rows.first()) {
                path = path_of(&self.rows, row.id)?;
                there = Some(row.clone());
            }
        }
        let target = Target {
            path: path.clone(),
            what: record.what.clone(),
            mode: record.mode,
            mtime_ns: record.mtime_ns,
            expect: None,
        };
        if wanted.elsewhere {
            // What was asked for by its present name is found under that.
            plan.targets.push(target);
            return Ok(());
        }
        match there {
            None => plan.targets.push(target),
            Some(row) if is_as_before(&row, record) => plan.unchanged += 1,
            Some(row) if wanted.force && row.kind != Kind::Directory => {
                plan.targets.push(Target { expect: Some(row.stat), ..target });
            }
            Some(_) => plan.newer.push(path),
        }
        Ok(())
    }

    fn plan_tree(&self, wanted: &Wanted) -> Result<Plan, PastError> {
        let mut plan = Plan::default();
        let mut chosen: BTreeMap<[u8; 16], Record> = BTreeMap::new();
        let mut choose = |record: Record| {
            if wanted.at.is_some_and(|at| !record.was_there(at)) {
                return;
            }
            let group = record.group();
            let newer = |old: &Record| old.order() > record.order();
            if !chosen.get(&group).is_some_and(newer) {
                chosen.insert(group, record);
            }
        };
        self.history().at_path(&wanted.path)?.into_iter().for_each(&mut choose);
        self.history().below(&wanted.path, &mut choose)?;
        self.plan_present_tree(wanted, &mut chosen, &mut plan)?;
        // Of two that ended at one path the newer one gets it.
        let mut by_path: BTreeMap<RelPath, Record> = BTreeMap::new();
        for record in chosen.into_values() {
            let newer = |old: &Record| old.order() > record.order();
            if !by_path.get(&record.path).is_some_and(newer) {
                by_path.insert(record.path.clone(), record);
            }
        }
        for record in by_path.values() {
            self.plan_one(record, wanted, &mut plan)?;
        }
        plan.targets.sort_by(|a, b| a.path.cmp(&b.path));
        plan.targets.dedup_by(|a, b| a.path == b.path);
        Ok(plan)
    }

    /// Goes through what is there now: what was there already at the time is as wanted, what was
    /// edited since has its older version among those chosen, and what was made since stays.
    fn plan_present_tree(
        &self,
        wanted: &Wanted,
        chosen: &mut BTreeMap<[u8; 16], Record>,
        plan: &mut Plan,
    ) -> Result<(), PastError> {
        let Some(top) = self.rows.find_directory(&wanted.path)? else {
            return Ok(());
        };
        let mut todo: Vec<(RowId, RelPath)> = vec![(top, wanted.path.clone())];
        while let Some((directory, at)) = todo.pop() {
            for row in self.rows.children(directory) {
                let row = row?;
                let Ok(path) = at.join(&row.name) else { continue };
                let group = row.item.entry.0;
                if row.kind == Kind::Directory {
                    todo.push((row.id, path.clone()));
                }
                let Some(time) = wanted.at else {
                    // Without a time only what is gone is wanted.
                    chosen.remove(&group);
                    continue;
                };
                if self.since(&row)? <= time {
                    if row.kind != Kind::Directory || wanted.elsewhere {
                        self.plan_present(&row, &path, wanted, plan)?;
                    }
                    chosen.remove(&group);
                } else if let Some(record) = self.version_at(&row, time)? {
                    // It may have had a name elsewhere then.
                    chosen.insert(group, record);
                } else if row.kind != Kind::Directory {
                    plan.stayed += 1;
                }
            }
        }
        Ok(())
    }

    fn version_at(&self, row: &Row, at: Millis) -> Result<Option<Record>, PastError> {
        let records = self.history().of_group(&row.item.entry.0)?;
        Ok(records.into_iter().rev().find(|record| record.was_there(at)))
    }
}

/// Whether what is there now is what the record says.
fn is_as_before(row: &Row, record: &Record) -> bool {
    match &record.what {
        What::File { root, .. } => row.kind == Kind::File && row.root == Some(*root),
        What::Symlink { target } => row.target.as_ref() == Some(target),
        What::Directory => row.kind == Kind::Directory,
    }
}
