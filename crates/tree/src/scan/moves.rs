//! Decides what the differences that a scan found mean: renames, edits, creations, deletions.
//!
//! The rules, of which the second and third are rule 3 of the design:
//!
//! 1. A directory is known by its inode. Where a row's directory is found at another path, it has
//!    moved, and its rows are compared with what is in it there. Inode numbers are used again, so
//!    a directory whose row has children counts only if one of these children came along.
//! 2. A file follows its name. While something of the same kind is at a row's path, that row was
//!    edited, wherever its old inode is now: editors keep the old inode as a backup.
//! 3. A file that is renamed over another row's path is an edit of that row, unless the moved file
//!    had a row of its own for longer than [`YOUNG_MS`]: then it is a move that replaces the
//!    other, which is deleted.
//! 4. Otherwise a file whose path is empty and whose inode, size and mtime are found at another
//!    path has moved there. Symlinks are treated like files.
//! 5. What is left over appeared or vanished.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dunlin_index::{Kind, Millis, RelPath, SafeName, Storage};

use super::{Difference, Observed, ScanError, compare, kind_of};
use crate::disk::{DiskTable, Row, RowId};
use crate::fs::Stat;
use crate::ignore::IgnoreRules;

/// For how long, in milliseconds, a row is taken for an editor's temporary file when it is renamed
/// over another.
pub const YOUNG_MS: Millis = 10_000;

/// Children of a directory that are tried as witnesses of its move.
const WITNESSES_MAX: usize = 64;

/// Rows of one directory that are kept in memory; those of a larger one are read one by one.
const NEIGHBOURS_MAX: usize = 10_000;

/// One thing that the user did.
///
/// `displaces` names the row that still has the name when this change's turn comes: what became
/// of it comes later in the list. [`DiskTable::detach`] takes the name away from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalChange {
    /// Something new is there.
    Created {
        /// Where; its directory has a row, or was created or moved earlier in the list.
        path: RelPath,
        /// What.
        stat: Stat,
        /// The row whose name it takes.
        displaces: Option<RowId>,
    },
    /// The content of a file or symlink may be another; the mode may be as well. Of a directory,
    /// only the row's stat is out of date, and perhaps the mode.
    Changed {
        /// Where it is at the end of the list.
        path: RelPath,
        /// Its row.
        row: RowId,
        /// How it is now.
        stat: Stat,
    },
    /// Only the permission bits differ.
    ModeOnly {
        /// Where it is at the end of the list.
        path: RelPath,
        /// Its row.
        row: RowId,
        /// How it is now.
        stat: Stat,
    },
    /// It was renamed, with everything below it; the mode may have changed as well.
    Moved {
        /// Its row, still at its old place.
        row: RowId,
        /// Where it is now.
        to: RelPath,
        /// How it is now.
        stat: Stat,
        /// The row whose name it takes.
        displaces: Option<RowId>,
    },
    /// It was deleted, with everything below its row that was not moved out before.
    Vanished {
        /// Its row.
        row: RowId,
        /// Where it was before anything in the list.
        path: RelPath,
    },
}

/// What a scan came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paired {
    /// What the user did, in an order in which it can be carried out one by one: a directory
    /// before what is in it, deletions last and only the topmost of each deleted tree.
    pub changes: Vec<LocalChange>,
    /// What cannot be synced or read: only [`Observed::Unrepresentable`] and
    /// [`Observed::Unreadable`].
    pub notices: Vec<Observed>,
}

/// Decides what the differences mean; see the module's rules. `now_ms` is compared with
/// [`Row::created_ms`].
///
/// # Errors
/// Fails when the table cannot be read.
pub fn pair_moves<S: Storage>(
    observed: Vec<Observed>,
    table: &DiskTable<S>,
    ignore: &IgnoreRules,
    now_ms: Millis,
) -> Result<Paired, ScanError> {
    let mut pairing = Pairing::new(observed, table, ignore, now_ms);
    pairing.match_directories()?;
    pairing.decide_directories()?;
    pairing.decide_replacements()?;
    pairing.decide_files()?;
    let deleted = pairing.deletions()?;
    Ok(pairing.finish(deleted))
}

struct Seen {
    stat: Stat,
    /// Whether all that is in this directory was reported too.
    complete: bool,
    /// The row that the comparison by path took it for.
    row: Option<RowId>,
}

/// Where a directory's row is now.
#[derive(Clone)]
enum Whereabouts {
    At { path: RelPath, complete: bool },
    Gone,
}

enum Decision {
    Created {
        displaces: Option<RowId>,
    },
    Changed(RowId),
    ModeOnly(RowId),
    Moved {
        row: RowId,
        displaces: Option<RowId>,
    },
    /// Nothing to do.
    Kept,
}

/// The rows in one directory.
struct Neighbours {
    directory: RowId,
    /// None if they are too many.
    rows: Option<HashMap<SafeName, Row>>,
}

struct Pairing<'a, S: Storage> {
    table: &'a DiskTable<S>,
    ignore: &'a IgnoreRules,
    now_ms: Millis,
    seen: BTreeMap<RelPath, Seen>,
    vanished: BTreeMap<RowId, RelPath>,
    /// Paths of which nothing is known and from which nothing may be concluded.
    opaque: HashSet<RelPath>,
    notices: Vec<Observed>,
    /// Where a directory's inode was seen, if that is not where its row stands.
    matched: HashMap<RowId, RelPath>,
    /// The row that was found to be at a path, whether moved or not; only for seen paths.
    placed: BTreeMap<RelPath, RowId>,
    whereabouts: HashMap<RowId, RelPath>,
    displaced: BTreeSet<RowId>,
    decisions: BTreeMap<RelPath, Decision>,
    memo: HashMap<RowId, Whereabouts>,
    /// The directory that was asked about last, since paths come in order.
    neighbours: RefCell<Option<Neighbours>>,
}

impl<'a, S: Storage> Pairing<'a, S> {
    fn new(
        observed: Vec<Observed>,
        table: &'a DiskTable<S>,
        ignore: &'a IgnoreRules,
        now_ms: Millis,
    ) -> Self {
        let mut pairing = Self {
            table,
            ignore,
            now_ms,
            seen: BTreeMap::new(),
            vanished: BTreeMap::new(),
            opaque: HashSet::new(),
            notices: Vec::new(),
            matched: HashMap::new(),
            placed: BTreeMap::new(),
            whereabouts: HashMap::new(),
            displaced: BTreeSet::new(),
            decisions: BTreeMap::new(),
            memo: HashMap::new(),
            neighbours: RefCell::new(None),
        };
        for item in observed {
            pairing.add(item);
        }
        for path in &pairing.opaque {
            if let Some(seen) = pairing.seen.get_mut(path) {
                seen.complete = false;
            }
        }
        pairing
    }

    fn add(&mut self, item: Observed) {
        match item {
            Observed::Appeared { path, stat } => {
                self.seen.insert(path, Seen { stat, complete: true, row: None });
            }
            Observed::Changed { path, row, stat } | Observed::Same { path, row, stat } => {
                self.seen.insert(path, Seen { stat, complete: true, row: Some(row) });
            }
            Observed::ModeOnly { path, row, stat } => {
                self.seen.insert(path, Seen { stat, complete: false, row: Some(row) });
            }
            Observed::Vanished { path, row } => {
                self.vanished.insert(row, path);
            }
            Observed::Unrepresentable { dir, shown, name, reason } => {
                // A FIFO at a row's path is no obstacle to the row's having vanished.
                let hides = !matches!(reason, super::Obstacle::SpecialFile);
                if let Some(path) = name.as_ref().and_then(|name| dir.join(name).ok())
                    && hides
                {
                    self.opaque.insert(path);
                }
                self.notices.push(Observed::Unrepresentable { dir, shown, name, reason });
            }
            Observed::Unreadable { path, error } => {
                self.opaque.insert(path.clone());
                self.notices.push(Observed::Unreadable { path, error });
            }
        }
    }

    fn seen_of(&self, kind_is_directory: bool) -> Vec<(RelPath, Stat)> {
        let wanted = |stat: &Stat| (kind_of(stat) == Some(Kind::Directory)) == kind_is_directory;
        let seen = self.seen.iter().filter(|(_, seen)| wanted(&seen.stat));
        seen.map(|(path, seen)| (path.clone(), seen.stat)).collect()
    }

    /// Rule 1: finds rows whose directories have turned up elsewhere.
    fn match_directories(&mut self) -> Result<(), ScanError> {
        for (path, stat) in self.seen_of(true) {
            for row in self.table.by_inode(stat.ino)? {
                let elsewhere = row.kind == Kind::Directory
                    && !self.matched.contains_key(&row.id)
                    && self.table.path(row.id)?.as_ref() != Some(&path);
                if elsewhere && self.came_along(&row, &path)? {
                    self.matched.insert(row.id, path.clone());
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether a row's directory can be the one at `path`: it had nothing in it, or some of it is
    /// there.
    fn came_along(&self, row: &Row, path: &RelPath) -> Result<bool, ScanError> {
        let mut any = false;
        for child in self.table.children(row.id).take(WITNESSES_MAX) {
            let child = child?;
            any = true;
            let there = path.join(&child.name).ok().and_then(|path| self.seen.get(&path));
            if there.is_some_and(|seen| seen.stat.ino == child.stat.ino) {
                return Ok(true);
            }
        }
        Ok(!any)
    }

    /// The row that stands at `path` once every directory above it is where it now is.
    fn occupant(&self, path: &RelPath) -> Result<Option<Row>, ScanError> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(None) };
        if let Some(row) = self.placed.get(&parent) {
            return self.child(*row, name);
        }
        if self.seen.contains_key(&parent) {
            // A new directory: nothing in it can have a row yet.
            return Ok(None);
        }
        match self.seen.get(path).and_then(|seen| seen.row) {
            Some(row) => Ok(self.table.get(row)?),
            None => Ok(self.table.find(path)?),
        }
    }

    /// The row that has this name in a directory. All rows of the directory are read with it, which
    /// costs little more than one of them.
    fn child(&self, directory: RowId, name: &SafeName) -> Result<Option<Row>, ScanError> {
        let mut neighbours = self.neighbours.borrow_mut();
        if neighbours.as_ref().is_none_or(|known| known.directory != directory) {
            let page = self.table.children_page(directory, None, NEIGHBOURS_MAX)?;
            let rows = (page.len() < NEIGHBOURS_MAX)
                .then(|| page.into_iter().map(|row| (row.name.clone(), row)).collect());
            *neighbours = Some(Neighbours { directory, rows });
        }
        match &*neighbours {
            Some(Neighbours { rows: Some(rows), .. }) => Ok(rows.get(name).cloned()),
            _ => Ok(self.table.child(directory, name)?),
        }
    }

    /// From the top down, so that the directory above is always decided.
    fn decide_directories(&mut self) -> Result<(), ScanError> {
        let turned_up: HashMap<RelPath, RowId> =
            self.matched.iter().map(|(row, path)| (path.clone(), *row)).collect();
        for (path, stat) in self.seen_of(true) {
            let occupant = self.occupant(&path)?;
            let stays = occupant.as_ref().filter(|row| {
                row.kind == Kind::Directory
                    && match turned_up.get(&path) {
                        Some(found) => *found == row.id,
                        None => !self.matched.contains_key(&row.id),
                    }
            });
            if let Some(row) = stays {
                self.place(&path, row.id);
                self.decide_in_place(path, row, &stat);
                continue;
            }
            let displaces = occupant.map(|row| row.id);
            self.displaced.extend(displaces);
            let decision = match turned_up.get(&path) {
                Some(&row) => {
                    self.place(&path, row);
                    Decision::Moved { row, displaces }
                }
                None => Decision::Created { displaces },
            };
            self.decisions.insert(path, decision);
        }
        Ok(())
    }

    fn place(&mut self, path: &RelPath, row: RowId) {
        self.placed.insert(path.clone(), row);
        self.whereabouts.insert(row, path.clone());
    }

    fn decide_in_place(&mut self, path: RelPath, row: &Row, stat: &Stat) {
        let decision = match compare(&row.stat, stat) {
            Difference::Content => Decision::Changed(row.id),
            Difference::Mode => Decision::ModeOnly(row.id),
            Difference::None => Decision::Kept,
        };
        self.decisions.insert(path, decision);
    }

    /// Rule 3: files that were renamed over others.
    fn decide_replacements(&mut self) -> Result<(), ScanError> {
        for (path, stat) in self.seen_of(false) {
            let Some(occupant) = self.occupant(&path)? else { continue };
            if kind_of(&stat) != Some(occupant.kind) || occupant.stat.ino == stat.ino {
                continue;
            }
            let now_ms = self.now_ms;
            let mover = self.mover(&stat, |row| {
                row.id != occupant.id && row.created_ms.saturating_add(YOUNG_MS) <= now_ms
            })?;
            if let Some(row) = mover {
                self.place(&path, row);
                self.displaced.insert(occupant.id);
                let displaces = Some(occupant.id);
                self.decisions.insert(path, Decision::Moved { row, displaces });
            }
        }
        Ok(())
    }

    /// Rules 2, 4 and 5, for files and symlinks.
    fn decide_files(&mut self) -> Result<(), ScanError> {
        for (path, stat) in self.seen_of(false) {
            if self.decisions.contains_key(&path) {
                continue;
            }
            let occupant = self.occupant(&path)?;
            if let Some(row) = &occupant
                && kind_of(&stat) == Some(row.kind)
            {
                self.place(&path, row.id);
                self.decide_in_place(path, row, &stat);
                continue;
            }
            let displaces = occupant.map(|row| row.id);
            self.displaced.extend(displaces);
            let decision = match self.mover(&stat, |_| true)? {
                Some(row) => {
                    self.place(&path, row);
                    Decision::Moved { row, displaces }
                }
                None => Decision::Created { displaces },
            };
            self.decisions.insert(path, decision);
        }
        Ok(())
    }

    /// Finds a row that is no longer where it was and may be this very file or symlink: of several,
    /// the one that has seen it last, by its time of change. A file that is renamed over another one
    /// and then renamed again has two, until it is certain that the first is gone.
    fn mover(
        &mut self,
        stat: &Stat,
        also: impl Fn(&Row) -> bool,
    ) -> Result<Option<RowId>, ScanError> {
        let mut found: Option<Row> = None;
        for row in self.table.by_inode(stat.ino)? {
            let alike = kind_of(stat) == Some(row.kind)
                && row.stat.size == stat.size
                && row.stat.mtime_ns == stat.mtime_ns;
            if alike
                && !self.whereabouts.contains_key(&row.id)
                && also(&row)
                && (self.displaced.contains(&row.id) || self.is_gone(&row)?)
                && found.as_ref().is_none_or(|found| found.stat.ctime_ns < row.stat.ctime_ns)
            {
                found = Some(row);
            }
        }
        Ok(found.map(|row| row.id))
    }

    /// Whether nothing of its kind is where a file's row should be now.
    fn is_gone(&mut self, row: &Row) -> Result<bool, ScanError> {
        let Whereabouts::At { path: dir, complete } = self.directory(row.parent)? else {
            return Ok(true);
        };
        let Ok(path) = dir.join(&row.name) else { return Ok(true) };
        if let Some(seen) = self.seen.get(&path) {
            return Ok(kind_of(&seen.stat) != Some(row.kind));
        }
        Ok(self.is_missing(row, &path, complete))
    }

    /// Whether a row whose path was not seen is missing from the disk.
    fn is_missing(&self, row: &Row, path: &RelPath, complete: bool) -> bool {
        if self.opaque.contains(path) {
            return false;
        }
        match complete {
            true => !self.ignore.is_ignored(path, row.kind == Kind::Directory),
            false => self.vanished.contains_key(&row.id),
        }
    }

    /// Finds where a directory's row is now.
    fn directory(&mut self, id: RowId) -> Result<Whereabouts, ScanError> {
        if id == RowId::ROOT {
            return Ok(Whereabouts::At { path: RelPath::root(), complete: false });
        }
        if let Some(path) = self.whereabouts.get(&id) {
            let complete = self.seen.get(path).is_some_and(|seen| seen.complete);
            return Ok(Whereabouts::At { path: path.clone(), complete });
        }
        if let Some(known) = self.memo.get(&id) {
            return Ok(known.clone());
        }
        let found = self.find_directory(id)?;
        self.memo.insert(id, found.clone());
        Ok(found)
    }

    fn find_directory(&mut self, id: RowId) -> Result<Whereabouts, ScanError> {
        let Some(row) = self.table.get(id)? else { return Ok(Whereabouts::Gone) };
        let Whereabouts::At { path: dir, complete } = self.directory(row.parent)? else {
            return Ok(Whereabouts::Gone);
        };
        let Ok(path) = dir.join(&row.name) else { return Ok(Whereabouts::Gone) };
        // A directory seen there would have been placed, so that what is seen is another thing.
        let gone = self.seen.contains_key(&path)
            || self.displaced.contains(&id)
            || self.is_missing(&row, &path, complete);
        Ok(if gone { Whereabouts::Gone } else { Whereabouts::At { path, complete: false } })
    }

    /// Finds the topmost rows of all that is gone.
    fn deletions(&mut self) -> Result<BTreeMap<RelPath, RowId>, ScanError> {
        let mut rows: BTreeSet<RowId> = self.vanished.keys().copied().collect();
        rows.append(&mut self.displaced.clone());
        let complete: Vec<RowId> = (self.placed.iter())
            .filter(|(path, _)| self.seen.get(*path).is_some_and(|seen| seen.complete))
            .map(|(_, row)| *row)
            .collect();
        for dir in complete {
            for child in self.table.children(dir) {
                rows.insert(child?.id);
            }
        }
        let mut deleted = BTreeMap::new();
        for id in rows {
            if self.whereabouts.contains_key(&id) {
                continue;
            }
            let Some(row) = self.table.get(id)? else { continue };
            let Whereabouts::At { path: dir, complete } = self.directory(row.parent)? else {
                // It goes with the directory above it.
                continue;
            };
            let Ok(path) = dir.join(&row.name) else { continue };
            let gone = self.displaced.contains(&id)
                || (self.seen.contains_key(&path) && complete)
                || self.is_missing(&row, &path, complete);
            if gone && let Some(path) = self.table.path(id)? {
                deleted.insert(path, id);
            }
        }
        Ok(deleted)
    }

    fn finish(self, deleted: BTreeMap<RelPath, RowId>) -> Paired {
        let mut changes = Vec::new();
        let mut moved = HashSet::new();
        for (path, decision) in self.decisions {
            let stat = self.seen[&path].stat;
            // A row that was moved earlier in the list holds its old name no more.
            let still =
                |row: Option<RowId>, moved: &HashSet<RowId>| row.filter(|row| !moved.contains(row));
            changes.push(match decision {
                Decision::Kept => continue,
                Decision::Created { displaces } => {
                    LocalChange::Created { path, stat, displaces: still(displaces, &moved) }
                }
                Decision::Changed(row) => LocalChange::Changed { path, row, stat },
                Decision::ModeOnly(row) => LocalChange::ModeOnly { path, row, stat },
                Decision::Moved { row, displaces } => {
                    let displaces = still(displaces, &moved);
                    moved.insert(row);
                    LocalChange::Moved { row, to: path, stat, displaces }
                }
            });
        }
        changes.extend(deleted.into_iter().map(|(path, row)| LocalChange::Vanished { row, path }));
        Paired { changes, notices: self.notices }
    }
}
