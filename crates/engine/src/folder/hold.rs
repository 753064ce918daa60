//! Mass deletions wait for the user's word (rule 10); what waits, of overwrites too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dunlin_index::{Context, EntryId, IndexError, Millis, Storage};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::Fs;
use dunlin_tree::scan::LocalChange;
use dunlin_tree::settle::{RENAME_WINDOW_MS, RawKind};

use super::Folder;
use super::error::Blocked;
use super::rows::{is_below, path_of, total, tree_rows};

/// More than this many entries, and more than half of the folder, at once is a mass.
pub(super) const HOLD_ABOVE: u64 = 20;

/// A burst of deletions is taken as a whole when none came for so long…
pub(super) const QUIET_MS: Millis = RENAME_WINDOW_MS + 50;
/// …or when it has lasted so long.
pub(super) const BURST_MS_MAX: Millis = 5_000;
/// New things of which it is remembered that they are new.
const MADE_MAX: usize = 500_000;
/// Deletions count together for so long, so that a slow mass deletion is one too.
const RECENT_MS: Millis = 60_000;

/// A burst of changes on this disk, which is judged as a whole when it is over.
#[derive(Debug, Default)]
pub(super) struct Burst {
    rows: BTreeSet<RowId>,
    first_at: Millis,
    last_at: Millis,
}

impl Burst {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether a row waits.
    pub(super) fn contains(&self, row: &RowId) -> bool {
        self.rows.contains(row)
    }

    /// Adds rows. Nothing is waited for when the burst last went on [`QUIET_MS`] ago.
    pub(super) fn add(&mut self, rows: impl IntoIterator<Item = RowId>, now: Millis) {
        if self.rows.is_empty() {
            self.first_at = now;
            self.last_at = self.last_at.max(now.saturating_sub(QUIET_MS));
        }
        self.rows.extend(rows);
    }

    /// Notes that it goes on.
    pub(super) fn goes_on(&mut self, now: Millis) {
        self.last_at = now;
    }

    /// Whether it may have begun and is not over yet.
    fn is_on(&self, now: Millis) -> bool {
        !self.rows.is_empty() || self.last_at + QUIET_MS >= now
    }

    /// When it can be judged as a whole.
    pub(super) fn next_due(&self) -> Option<Millis> {
        let due = (self.last_at + QUIET_MS).min(self.first_at + BURST_MS_MAX);
        (!self.rows.is_empty()).then_some(due)
    }

    /// Takes its rows, and begins another one.
    pub(super) fn take(&mut self) -> BTreeSet<RowId> {
        std::mem::take(&mut self.rows)
    }
}

/// Deletions on this disk that are not yet told to anyone.
#[derive(Debug, Default)]
pub(super) struct Vanishing {
    pub(super) burst: Burst,
    /// How much was deleted when.
    recent: VecDeque<(Millis, Deleted)>,
    /// What was made on this disk a moment ago. A program that puts new files in the place of old
    /// ones, under other names, deletes the old ones none the less.
    made: BTreeMap<RowId, Millis>,
    /// Rows of which the files were gone already when something came for them.
    late: BTreeMap<RowId, Late>,
}

/// What came for a file that was gone already.
#[derive(Clone, Copy, Debug, Default)]
struct Late {
    /// Another user had moved it.
    moved: bool,
}

/// How many entries were deleted.
#[derive(Clone, Copy, Debug, Default)]
struct Deleted {
    all: u64,
    /// Those that were not made a moment before.
    old: u64,
}

impl Deleted {
    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.old += other.old;
    }
}

impl Vanishing {
    /// Notes that something was removed: what had come for files before that is seen.
    fn begins(&mut self, now: Millis) {
        if !self.burst.is_on(now) {
            self.late.clear();
        }
    }

    /// Notes that something was moved on this disk: it was not removed.
    pub(super) fn moved(&mut self, row: &RowId) {
        self.late.remove(row);
    }

    /// Notes that something was made on this disk.
    pub(super) fn made(&mut self, row: RowId, now: Millis) {
        if self.made.len() >= MADE_MAX {
            self.made.retain(|_, at| *at + RECENT_MS >= now);
        }
        if self.made.len() < MADE_MAX {
            self.made.insert(row, now);
        }
    }

    fn deleted_recently(&mut self, now: Millis) -> Deleted {
        self.made.retain(|_, at| *at + RECENT_MS >= now);
        while self.recent.front().is_some_and(|(at, _)| at + RECENT_MS < now) {
            self.recent.pop_front();
        }
        let mut sum = Deleted::default();
        for (_, deleted) in &self.recent {
            sum.add(*deleted);
        }
        sum
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Notes that something was removed, so that the burst it belongs to is judged as a whole.
    pub(super) fn note_removal(&mut self, kind: RawKind, now: Millis) {
        if matches!(kind, RawKind::Remove | RawKind::MovedFrom { .. }) {
            self.vanishing.begins(now);
            self.vanishing.burst.goes_on(now);
        }
    }

    /// What is known, if the user may have removed something a moment ago.
    pub(super) fn known_at_removal(&self, now: Millis) -> Option<Context> {
        self.vanishing.burst.is_on(now).then(|| self.index.context().clone())
    }

    /// Notes what came for things that the user has removed a moment ago, when so much was known.
    pub(super) fn note_late(
        &mut self,
        changed: &BTreeSet<EntryId>,
        known: &Context,
    ) -> Result<(), IndexError> {
        for entry in changed {
            for row in self.rows.by_entry(*entry)? {
                match self.stands(&row) {
                    Ok(false) => {
                        let moved = self.index.is_moved_since(&row.item, known)?;
                        self.vanishing.late.entry(row.id).or_default().moved |= moved;
                    }
                    Ok(true) | Err(Blocked::Fs(_)) => {}
                    Err(Blocked::Index(error)) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Whether another user has moved what a row stands for, or written what it holds as well, and that
    /// came only after it was removed here: then it stays, as does all that whoever deletes has not
    /// seen.
    pub(super) fn is_anew(&self, row: &Row) -> Result<bool, IndexError> {
        let Some(late) = self.vanishing.late.get(&row.id) else { return Ok(false) };
        Ok(late.moved || self.index.has_twin(&row.item)?)
    }

    /// Whether that is so of anything in a directory.
    pub(super) fn has_anew(&self, directory: RowId) -> Result<bool, IndexError> {
        for id in self.vanishing.late.keys() {
            let Some(row) = self.rows.get(*id)? else { continue };
            if is_below(&self.rows, *id, directory)? && self.is_anew(&row)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the deletions out of a batch: they wait until the burst is over.
    pub(super) fn defer_deletions(
        &mut self,
        changes: Vec<LocalChange>,
        now: Millis,
    ) -> Vec<LocalChange> {
        let displaced: BTreeSet<RowId> = changes.iter().filter_map(displaced_by).collect();
        let mut rest = Vec::with_capacity(changes.len());
        for change in changes {
            match change {
                // It is held already.
                LocalChange::Vanished { row, .. } if self.is_held(row) => {}
                // What has lost its name to another in this batch is not part of a burst.
                LocalChange::Vanished { row, .. } if !displaced.contains(&row) => {
                    self.vanishing.begins(now);
                    self.vanishing.burst.add([row], now);
                }
                change => rest.push(change),
            }
        }
        rest
    }

    /// Carries out the deletions of a burst that is over, or holds them for the user's word.
    pub(super) fn take_vanished(&mut self, now: Millis) {
        if self.vanishing.burst.next_due().is_none_or(|at| at > now) || !self.check_root(now) {
            return;
        }
        let rows = self.vanishing.burst.take();
        let mut gone = Vec::new();
        let recent = self.vanishing.deleted_recently(now);
        // A directory and what is in it may have vanished one after the other.
        let mut going = BTreeSet::new();
        for id in rows {
            let Ok(Some(row)) = self.rows.get(id) else { continue };
            let Ok(path) = path_of(&self.rows, id) else { continue };
            // What has come back meanwhile is looked at as what it is now.
            match self.fs.stat(&path) {
                Ok(None) => {}
                Ok(Some(_)) => {
                    self.look_again(path, now);
                    continue;
                }
                Err(error) => return self.set_fault(&error, now),
            }
            match tree_rows(&self.rows, &row) {
                Ok(rows) => going.extend(rows),
                Err(error) => return self.storage_fault(&error, now),
            }
            gone.push(LocalChange::Vanished { row: id, path });
        }
        let old = going.iter().filter(|row| !self.vanishing.made.contains_key(row)).count();
        let deleted = Deleted { all: going.len() as u64, old: old as u64 };
        let (all, made) = (total(&self.rows), self.vanishing.made.len() as u64);
        let mass = Held::is_mass(deleted.all + recent.all, all + recent.all)
            || Held::is_mass(deleted.old + recent.old, all.saturating_sub(made) + recent.old);
        if self.writable && self.hold && mass {
            for change in gone {
                if let LocalChange::Vanished { row, .. } = change {
                    self.held.local.insert(row);
                }
            }
            self.held.entries = deleted.all;
            return;
        }
        self.vanishing.recent.push_back((now, deleted));
        self.carry_out(gone, false, now);
        self.vanishing.late.clear();
        self.work(now);
    }

    /// Whether a row, or a directory above it, waits for the user's word.
    pub(super) fn is_held(&self, row: RowId) -> bool {
        let mut at = Some(row);
        while let Some(id) = at {
            if self.held.local.contains(&id) {
                return true;
            }
            at = match self.rows.get(id) {
                Ok(Some(row)) if row.parent != RowId::ROOT => Some(row.parent),
                _ => None,
            };
        }
        false
    }
}

/// The row that has to give its name to this change.
fn displaced_by(change: &LocalChange) -> Option<RowId> {
    match change {
        LocalChange::Created { displaces, .. } | LocalChange::Moved { displaces, .. } => *displaces,
        _ => None,
    }
}

/// Deletions and overwrites that wait for `folder approve` or `folder undo`.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Topmost rows that vanished from this disk; the folder's other devices do not know yet.
    pub(super) local: BTreeSet<RowId>,
    /// Rows that other devices deleted; they are still on this disk.
    pub(super) remote: BTreeSet<RowId>,
    /// Rows that were held and are judged anew: what came may approve it, or bring them back.
    earlier: BTreeSet<RowId>,
    /// How many entries that would be in all.
    pub(super) entries: u64,
    /// Rows whose files were overwritten on this disk; the folder's other devices do not know yet.
    pub(super) overwritten: BTreeSet<RowId>,
    /// Rows whose files other devices have overwritten; they are still as before on this disk.
    pub(super) arrived: BTreeSet<RowId>,
}

impl Held {
    /// Whether deleting or replacing `entries` of `total` at once needs the user's word.
    pub(super) fn is_mass(entries: u64, total: u64) -> bool {
        entries > HOLD_ABOVE && entries * 2 > total
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.local.is_empty() && self.remote.is_empty() && !self.has_overwrites()
    }

    /// Whether overwrites wait.
    pub(super) fn has_overwrites(&self) -> bool {
        !self.overwritten.is_empty() || !self.arrived.is_empty()
    }

    /// Has the deletions that came from elsewhere judged anew; gives their rows.
    pub(super) fn judge_again(&mut self) -> BTreeSet<RowId> {
        let rows = std::mem::take(&mut self.remote);
        self.earlier.extend(&rows);
        rows
    }

    /// Forgets what was to be judged anew.
    pub(super) fn has_judged(&mut self) {
        self.earlier.clear();
    }

    /// Whether the user was asked about the deletion of a row, and has not spoken yet.
    pub(super) fn asks_about(&self, row: RowId) -> bool {
        self.remote.contains(&row) || self.earlier.contains(&row)
    }

    /// Forgets all, once the user has spoken.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// What waits and what to do, for the user.
    pub(super) fn reason(&self, name: &str) -> Option<String> {
        let deleted = where_made(&self.local, &self.remote).map(|place| {
            format!(
                "{} entries, more than half of the folder, were deleted {place} at once",
                self.entries
            )
        });
        let replaced = where_made(&self.overwritten, &self.arrived).map(|place| {
            let count = self.overwritten.len() + self.arrived.len();
            format!(
                "{count} files were replaced {place}, more than half of the folder within minutes"
            )
        });
        let what: Vec<String> = deleted.into_iter().chain(replaced).collect();
        if what.is_empty() {
            return None;
        }
        Some(format!(
            "{}: `dunlin folder approve {name}` lets that happen everywhere, \
             `dunlin folder undo {name}` brings back what was there",
            what.join("; ")
        ))
    }
}

fn where_made(here: &BTreeSet<RowId>, elsewhere: &BTreeSet<RowId>) -> Option<&'static str> {
    match (here.is_empty(), elsewhere.is_empty()) {
        (true, true) => None,
        (false, _) => Some("on this device"),
        (true, false) => Some("on another device"),
    }
}
