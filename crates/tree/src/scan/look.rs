//! Looking at single paths, those that the watcher named.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use dunlin_index::{Kind, RelPath, Storage};

use super::walk::{fails_everywhere, walk_from};
use super::{DirDiff, Enter, Observed, Obstacle, ScanError, diff_entry, kind_of};
use crate::disk::{DiskTable, Row, RowId};
use crate::fs::{FileKind, Fs, FsError, FsErrorKind, SkipReason, Stat};
use crate::ignore::{IGNORE_FILE, IgnoreRules};

/// A path that is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LookAt {
    /// Where.
    pub path: RelPath,
    /// Whether to go through all that is below it, even when it is a directory that has a row.
    pub deep: bool,
    /// Whether it counts as deleted when it is gone. False while the window in which a program
    /// that saves by renaming may bring it back is not over: its removal has, or will have, an
    /// event of its own.
    pub settled: bool,
}

/// Compares single paths with the rows and lists the differences, as [`walk`](super::walk) would
/// for these paths. It looks further than it was told where that decides on a rename: at the
/// topmost directory that is new, and at the old path of whatever has moved. A path in a directory
/// that is gone says nothing: that directory has an event of its own.
///
/// # Errors
/// As [`walk`](super::walk).
pub fn look<S: Storage>(
    fs: &dyn Fs,
    table: &DiskTable<S>,
    ignore: &mut IgnoreRules,
    paths: &[LookAt],
) -> Result<Vec<Observed>, ScanError> {
    let mut looker = Looker {
        fs,
        table,
        ignore,
        looked: BTreeSet::new(),
        deep: BTreeSet::new(),
        observed: Vec::new(),
        followed: 0,
        came: BTreeMap::new(),
        known: BTreeSet::new(),
        there: BTreeMap::new(),
    };
    let mut targets = BTreeMap::new();
    for at in paths {
        let LookAt { path, deep, settled } = looker.climb(at)?;
        let target = targets.entry(path).or_insert((false, false));
        *target = (target.0 || deep, target.1 || settled);
    }
    for (path, (deep, settled)) in targets {
        if looker.parent_is_there(&path)? {
            looker.look_at(LookAt { path, deep, settled })?;
        }
    }
    looker.follow_inodes()?;
    Ok(looker.observed)
}

struct Looker<'a, S: Storage> {
    fs: &'a dyn Fs,
    table: &'a DiskTable<S>,
    ignore: &'a mut IgnoreRules,
    /// Paths that have been looked at.
    looked: BTreeSet<RelPath>,
    /// Of these, directories with all that is below.
    deep: BTreeSet<RelPath>,
    observed: Vec<Observed>,
    /// How many of `observed` have had their inodes followed.
    followed: usize,
    /// Rows of directories that have turned up at other paths.
    came: BTreeMap<RelPath, RowId>,
    /// Directories that have rows.
    known: BTreeSet<RelPath>,
    /// Whether directories above the paths are on the disk.
    there: BTreeMap<RelPath, bool>,
}

impl<S: Storage> Looker<'_, S> {
    /// Finds the path to look at instead: the topmost directory above it that has no row, or the
    /// directory whose ignore rules have changed.
    fn climb(&mut self, at: &LookAt) -> Result<LookAt, ScanError> {
        let parent = at.path.parent();
        let known = parent.as_ref().is_none_or(|parent| self.known.contains(parent));
        let names = if known { 0 } else { at.path.names().len() - 1 };
        let mut above = RelPath::root();
        for name in &at.path.names()[..names] {
            let Ok(next) = above.join(name) else { break };
            above = next;
            if self.table.find_directory(&above)?.is_none() {
                return Ok(LookAt { path: above, deep: true, settled: false });
            }
            self.known.insert(above.clone());
        }
        let rules = at.path.name().is_some_and(|name| name.as_str() == IGNORE_FILE);
        match at.path.parent() {
            Some(path) if rules => Ok(LookAt { path, deep: true, settled: at.settled }),
            _ => Ok(at.clone()),
        }
    }

    fn parent_is_there(&mut self, path: &RelPath) -> Result<bool, ScanError> {
        let parent = match path.parent() {
            Some(parent) if !parent.is_root() => parent,
            _ => return Ok(true),
        };
        if let Some(there) = self.there.get(&parent) {
            return Ok(*there);
        }
        let stat = self.stat(&parent)?.ok().flatten();
        let there = stat.is_some_and(|stat| stat.kind == FileKind::Directory);
        self.there.insert(parent, there);
        Ok(there)
    }

    /// Looks at a path; an error that concerns only this path is the inner one.
    fn stat(&self, path: &RelPath) -> Result<Result<Option<Stat>, FsError>, ScanError> {
        match self.fs.stat(path) {
            Err(error) if fails_everywhere(error.kind()) => Err(error.into()),
            other => Ok(other),
        }
    }

    fn covered(&self, path: &RelPath) -> bool {
        let mut at = Some(path.clone());
        while let Some(dir) = at {
            if self.deep.contains(&dir) {
                return true;
            }
            at = dir.parent();
        }
        false
    }

    fn look_at(&mut self, at: LookAt) -> Result<(), ScanError> {
        let LookAt { path, deep, settled } = at;
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            let root = Enter { path, row: Some(RowId::ROOT), replaced: false };
            return self.enter(root, settled);
        };
        let row = self.table.find(&path)?;
        let stat = match self.stat(&path)? {
            Ok(stat) => stat,
            Err(error) => {
                self.observed.push(unreadable(path, error));
                return Ok(());
            }
        };
        let is_dir = stat.map_or_else(
            || row.as_ref().is_some_and(|row| row.kind == Kind::Directory),
            |stat| stat.kind == FileKind::Directory,
        );
        if self.ignore.is_ignored(&path, is_dir) {
            return Ok(());
        }
        let Some(stat) = stat else {
            if let Some(row) = row
                && settled
            {
                self.ignore.forget(&path);
                self.observed.push(Observed::Vanished { path, row: row.id });
            }
            return Ok(());
        };
        if self.covered(&path) {
            return Ok(());
        }
        let again = !self.looked.insert(path.clone());
        let above = Enter { path: parent, row: None, replaced: false };
        let mut diff = DirDiff::default();
        diff_entry(&above, name, row.as_ref(), &stat, self.ignore, &mut diff);
        if !again {
            self.observed.extend(diff.observed);
        }
        let enter = diff.enter.pop().filter(|enter| deep || enter.replaced || enter.row.is_none());
        enter.map_or(Ok(()), |enter| self.enter(enter, settled))
    }

    fn enter(&mut self, dir: Enter, settled: bool) -> Result<(), ScanError> {
        self.deep.insert(dir.path.clone());
        let mut found = Vec::new();
        let mut sink = |item| found.push(item);
        walk_from(self.fs, self.table, self.ignore, vec![dir], NonZeroUsize::MIN, &mut sink)?;
        if !settled {
            // What is missing may come back; only what another thing replaced is surely gone.
            let there: BTreeSet<RelPath> = (found.iter())
                .filter_map(|item| match item {
                    Observed::Appeared { path, .. } => Some(path.clone()),
                    _ => None,
                })
                .collect();
            found.retain(|item| match item {
                Observed::Vanished { path, .. } => there.contains(path),
                _ => true,
            });
        }
        self.observed.append(&mut found);
        Ok(())
    }

    /// Where something was found whose inode a row elsewhere has, looks at that row's path too:
    /// whether it is still there makes the difference between a hard link and a rename.
    fn follow_inodes(&mut self) -> Result<(), ScanError> {
        while let Some(found) = self.observed.get(self.followed) {
            self.followed += 1;
            let (Observed::Appeared { path, stat } | Observed::Changed { path, stat, .. }) = found
            else {
                continue;
            };
            let (path, stat) = (path.clone(), *stat);
            if self.came_along(&path, &stat)? {
                continue;
            }
            for row in self.table.by_inode(stat.ino)? {
                if let Some(old) = self.moved_from(&row, &path, &stat)? {
                    if row.kind == Kind::Directory {
                        self.came.insert(path.clone(), row.id);
                    }
                    self.look_at(LookAt { path: old, deep: false, settled: true })?;
                }
            }
        }
        Ok(())
    }

    /// Whether it is in a directory that has turned up here, as it was before: then its old path
    /// went with the directory's.
    fn came_along(&mut self, path: &RelPath, stat: &Stat) -> Result<bool, ScanError> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(false) };
        let Some(directory) = self.came.get(&parent) else { return Ok(false) };
        let row = self.table.child(*directory, name)?;
        let Some(row) = row.filter(|row| row.stat.ino == stat.ino) else { return Ok(false) };
        if row.kind == Kind::Directory {
            self.came.insert(path.clone(), row.id);
        }
        Ok(kind_of(stat) == Some(row.kind))
    }

    /// Where what was found may have stood before.
    fn moved_from(
        &self,
        row: &Row,
        path: &RelPath,
        stat: &Stat,
    ) -> Result<Option<RelPath>, ScanError> {
        let alike = stat.kind == FileKind::Directory
            || (row.stat.size == stat.size && row.stat.mtime_ns == stat.mtime_ns);
        if kind_of(stat) != Some(row.kind) || !alike {
            return Ok(None);
        }
        Ok(self.table.path(row.id)?.filter(|old| old != path))
    }
}

/// A mount point is no failure but a thing that cannot be synced.
fn unreadable(path: RelPath, error: FsError) -> Observed {
    match (error.kind(), path.parent(), path.name()) {
        (FsErrorKind::CrossDevice, Some(dir), Some(name)) => Observed::Unrepresentable {
            dir,
            shown: name.as_str().to_owned(),
            name: Some(name.clone()),
            reason: Obstacle::Skipped(SkipReason::MountPoint),
        },
        _ => Observed::Unreadable { path, error },
    }
}
