//! Mass overwrites wait for the user's word (rule 10): most of a folder's files replaced within
//! minutes is what ransomware does, and hardly anybody else.
//!
//! Here, on the device where it happens: the first few edits go out at once, as ever. As soon as
//! they might become a mass, further ones wait until the burst is over, and are then judged as a
//! whole. On a device where it arrives, each pass counts what it would replace.
//!
//! What counts is when the files were changed, not when that is found out: a device that was away
//! for a month finds many changes at once, and none of them is held.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_blocks::{SMALL_MAX, address};
use dunlin_index::{Content, Dot, EntryId, IndexError, Kind, Millis, RelPath, Storage};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::{FileKind, Fs, Stat};
use dunlin_tree::scan::LocalChange;

use super::Folder;
use super::hold::{Burst, HOLD_ABOVE, Held};
use super::rows::{holds, path_of};
use crate::serve::read_whole;

/// Overwrites within this time of each other count together.
const WINDOW_MS: Millis = 5 * 60 * 1000;
/// From this part of a folder's files on (one in so many), further overwrites wait for a moment.
const SUSPECT_SHARE: u64 = 8;
/// Files of which it is remembered when they were overwritten: half of the largest folder planned.
const SEEN_MAX: usize = 500_000;
/// Files of which it is remembered what they held before, so that it can be brought back.
const BEFORE_MAX: usize = 10_000;

/// Files that hold another content than before, with when they were changed.
type Differing = BTreeMap<RowId, (Millis, LocalChange)>;

/// Overwrites of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Overwrites {
    /// Seen on this disk, and told to nobody before the burst is over.
    pub(super) burst: Burst,
    /// When files were overwritten here, and the others were told.
    told: BTreeMap<RowId, Millis>,
    /// What these held before.
    before: BTreeMap<RowId, Content>,
    /// When files were overwritten elsewhere that were then replaced here, and when that was.
    taken: BTreeMap<RowId, (Millis, Millis)>,
    /// Nothing is held until then: the user has spoken.
    excused_until: Millis,
    /// What the user has let through here, on a device that can tell nobody.
    cleared: BTreeSet<Dot>,
}

impl Overwrites {
    /// Forgets what is long ago.
    fn prune(&mut self, now: Millis) {
        self.told.retain(|_, at| at.saturating_add(WINDOW_MS) >= now);
        self.taken.retain(|_, (_, at)| at.saturating_add(WINDOW_MS) >= now);
        let told = &self.told;
        self.before.retain(|row, _| told.contains_key(row));
    }

    /// Lets everything through for a while, because the user has said so.
    pub(super) fn excuse(&mut self, now: Millis) {
        self.excused_until = now + WINDOW_MS;
        self.told.clear();
        self.before.clear();
        self.taken.clear();
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Whether mass deletions and mass overwrites wait for the user's word; they do unless this is
    /// called. What is held already still waits.
    pub fn set_hold(&mut self, hold: bool) {
        self.hold = hold;
    }

    fn judges_overwrites(&self, now: Millis) -> bool {
        self.hold && now >= self.overwrites.excused_until
    }

    /// Takes overwrites out of a batch that may be part of a mass: they wait until the burst is
    /// over.
    pub(super) fn defer_overwrites(
        &mut self,
        changes: Vec<LocalChange>,
        now: Millis,
    ) -> Result<Vec<LocalChange>, IndexError> {
        let judges = self.writable && self.judges_overwrites(now);
        if !judges && self.held.overwritten.is_empty() {
            return Ok(changes);
        }
        let mut overwrites = Vec::new();
        let mut rest = Vec::with_capacity(changes.len());
        for change in changes {
            match self.overwritten_by(&change)? {
                // It is held already.
                Some(row) if self.held.overwritten.contains(&row) => {}
                Some(row) if judges => overwrites.push((row, change)),
                _ => rest.push(change),
            }
        }
        self.overwrites.prune(now);
        let count = overwrites.len() as u64;
        // What is being hashed is told as soon as that is done.
        let sum = count + (self.overwrites.told.len() + self.hashing.len()) as u64;
        let suspect = sum > HOLD_ABOVE && sum * SUSPECT_SHARE > self.rows.counts().files;
        if count > HOLD_ABOVE || suspect || !self.overwrites.burst.is_empty() {
            self.overwrites.burst.goes_on(now);
            self.overwrites.burst.add(overwrites.into_iter().map(|(row, _)| row), now);
        } else {
            rest.extend(overwrites.into_iter().map(|(_, change)| change));
        }
        Ok(rest)
    }

    /// The row of a file whose content a change may replace.
    fn overwritten_by(&self, change: &LocalChange) -> Result<Option<RowId>, IndexError> {
        let LocalChange::Changed { row, stat, .. } = change else { return Ok(None) };
        if stat.kind != FileKind::File {
            return Ok(None);
        }
        let known = self.rows.get(*row)?;
        Ok(known.filter(|row| row.kind == Kind::File).map(|row| row.id))
    }

    /// Tells the others of the overwrites of a burst that is over, or holds them for the user's
    /// word.
    pub(super) fn take_overwritten(&mut self, now: Millis) {
        if self.overwrites.burst.next_due().is_none_or(|at| at > now) || !self.check_root(now) {
            return;
        }
        let rows = self.overwrites.burst.take();
        let (mut changes, differing) = match self.look_at_overwritten(&rows, now) {
            Ok(found) => found,
            Err(error) => return self.storage_fault(&error, now),
        };
        let files = self.rows.counts().files;
        let told = self.overwrites.told.iter().filter(|(row, _)| !differing.contains_key(row));
        let times = told.map(|(_, at)| *at).chain(differing.values().map(|(at, _)| *at)).collect();
        // What is held happened a moment ago, and goes on.
        let count = densest(times) + self.held.overwritten.len() as u64;
        if self.judges_overwrites(now) && Held::is_mass(count, files) {
            self.held.overwritten.extend(differing.into_keys());
        } else {
            changes.extend(differing.into_values().map(|(_, change)| change));
        }
        self.carry_out(changes, false, now);
        self.work(now);
    }

    /// What rows that were overwritten have become, as changes: those whose content is the same,
    /// and those whose content is another one. What is no file any more is looked at as what it is.
    fn look_at_overwritten(
        &mut self,
        rows: &BTreeSet<RowId>,
        now: Millis,
    ) -> Result<(Vec<LocalChange>, Differing), IndexError> {
        let (mut same, mut differing) = (Vec::new(), Differing::new());
        for id in rows {
            let Some(row) = self.rows.get(*id)? else { continue };
            let path = path_of(&self.rows, *id)?;
            match self.fs.stat(&path) {
                Ok(Some(stat)) if stat.kind == FileKind::File && row.kind == Kind::File => {
                    let differs = row.stat.size > 0 && self.differs(&row, &path, &stat)?;
                    let change = LocalChange::Changed { path, row: *id, stat };
                    if differs {
                        differing.insert(*id, (millis(stat.ctime_ns), change));
                    } else {
                        same.push(change);
                    }
                    // What came from elsewhere meanwhile has its turn afterwards.
                    self.dirty.insert(row.item.entry);
                }
                Ok(_) => self.look_again(path, now),
                Err(error) => {
                    // They are found again by the look after the fault.
                    self.set_fault(&error, now);
                    return Ok((Vec::new(), Differing::new()));
                }
            }
        }
        Ok((same, differing))
    }

    /// Whether a file's content is another one than its row's: known for small files, and guessed
    /// for large ones by their length and first block.
    fn differs(&self, row: &Row, path: &RelPath, stat: &Stat) -> Result<bool, IndexError> {
        let Some(root) = row.root.filter(|_| row.stat.size == stat.size) else { return Ok(true) };
        let (wanted, len) = if stat.size <= SMALL_MAX {
            (root, u32::try_from(stat.size).expect("a small file is below 4 GiB"))
        } else {
            let blocks = self.rows.blocks_of(row.id)?;
            let Some((_, first)) = blocks.first() else { return Ok(true) };
            (first.hash, first.len)
        };
        let read = self.fs.open(path).ok().and_then(|file| read_whole(&*file, 0, len));
        Ok(read.is_none_or(|data| address(&data) != wanted))
    }

    /// Notes that the others are told of another content of a row's file.
    pub(super) fn note_overwrite(&mut self, row: &Row, stat: &Stat, now: Millis) {
        let full = self.overwrites.told.len() >= SEEN_MAX;
        // With an empty file nothing is lost. It is mostly one that was seen before its writer came
        // to its first byte.
        let empty = row.kind != Kind::File || row.stat.size == 0;
        if empty || full || !self.judges_overwrites(now) {
            return;
        }
        self.overwrites.told.insert(row.id, millis(stat.ctime_ns));
        if let Some(root) = row.root
            && self.overwrites.before.len() < BEFORE_MAX
        {
            let (size, mtime_ns) = (row.stat.size, row.stat.mtime_ns);
            let content = Content::File { root, size, mtime_ns, text: None };
            self.overwrites.before.entry(row.id).or_insert(content);
        }
    }

    /// Whether a row's file stays as it is until its overwriting has been judged, or decided about.
    pub(super) fn waits_for_word(&self, row: RowId) -> bool {
        self.held.arrived.contains(&row)
            || self.held.overwritten.contains(&row)
            || self.overwrites.burst.contains(&row)
    }

    /// Notes which rows of a pass must not be replaced before the user has spoken.
    pub(super) fn judge_arrivals(
        &mut self,
        batch: &BTreeSet<EntryId>,
        now: Millis,
    ) -> Result<(), IndexError> {
        let most = batch.len() + self.overwrites.taken.len();
        if !self.judges_overwrites(now) || most as u64 <= HOLD_ABOVE {
            return Ok(());
        }
        self.overwrites.prune(now);
        let mut arriving: BTreeMap<RowId, Millis> = BTreeMap::new();
        for entry in batch {
            self.arrivals_of(*entry, &mut arriving)?;
        }
        let taken = self.overwrites.taken.iter().filter(|(row, _)| !arriving.contains_key(row));
        let times = taken.map(|(_, (changed, _))| changed).chain(arriving.values());
        let times = times.copied().collect();
        if Held::is_mass(densest(times), self.rows.counts().files) {
            self.held.arrived.extend(arriving.into_keys());
        } else if self.overwrites.taken.len() < SEEN_MAX {
            let arriving = arriving.into_iter().map(|(row, changed)| (row, (changed, now)));
            self.overwrites.taken.extend(arriving);
        }
        Ok(())
    }

    /// Adds the rows of an entry whose files would be replaced, with the time of the new content.
    fn arrivals_of(
        &self,
        entry: EntryId,
        arriving: &mut BTreeMap<RowId, Millis>,
    ) -> Result<(), IndexError> {
        let rows = self.rows.by_entry(entry)?;
        let [row] = rows.as_slice() else { return Ok(()) };
        // Where the hash is missing, the old content is on its way back.
        if row.kind != Kind::File || row.root.is_none() {
            return Ok(());
        }
        let items = self.index.items(entry)?;
        let Some(item) = items.first().filter(|item| item.merged.is_empty()) else {
            return Ok(());
        };
        let Content::File { mtime_ns, .. } = item.content else { return Ok(()) };
        let cleared = item.key.dot.is_some_and(|dot| {
            self.index.is_approved(&dot.author, dot.seq) || self.overwrites.cleared.contains(&dot)
        });
        if !cleared && !holds(row, &item.content) {
            arriving.insert(row.id, millis(mtime_ns));
        }
        Ok(())
    }

    /// Lets overwrites through that were held.
    pub(super) fn release_overwrites(
        &mut self,
        held: &Held,
        now: Millis,
    ) -> Result<(), IndexError> {
        if !held.has_overwrites() {
            return Ok(());
        }
        self.overwrites.excuse(now);
        let (mut changes, differing) = self.look_at_overwritten(&held.overwritten, now)?;
        changes.extend(differing.into_values().map(|(_, change)| change));
        self.carry_out(changes, false, now);
        for row in &held.arrived {
            let Some(row) = self.rows.get(*row)? else { continue };
            let items = self.index.items(row.item.entry)?;
            self.overwrites.cleared.extend(items.iter().filter_map(|item| item.key.dot));
        }
        Ok(())
    }

    /// Brings back what overwrites that were held have replaced, and those that were told a moment
    /// before as the beginning of the same burst. Where only deletions were held, edits stay.
    pub(super) fn take_back_overwrites(
        &mut self,
        held: &Held,
        now: Millis,
    ) -> Result<(), IndexError> {
        if !held.has_overwrites() {
            return Ok(());
        }
        let before = std::mem::take(&mut self.overwrites.before);
        for row in &held.overwritten {
            let Some(mut row) = self.rows.get(*row)? else { continue };
            let path = path_of(&self.rows, row.id)?;
            match self.fs.stat(&path) {
                Ok(Some(stat)) if stat.kind == FileKind::File => {
                    // What is there now is taken for seen: it stays until the old content is here,
                    // and goes to the version store then.
                    row.stat = stat;
                    row.root = None;
                    self.dirty.insert(row.item.entry);
                    self.rows.put(&row)?;
                }
                _ => self.forget_rows(&row)?,
            }
        }
        for (row, content) in before {
            let row = self.rows.get(row)?;
            let Some(row) = row.filter(|row| !held.overwritten.contains(&row.id)) else { continue };
            self.write_anew(row, content, now)?;
        }
        for row in &held.arrived {
            let Some(row) = self.rows.get(*row)? else { continue };
            let Some(root) = row.root else { continue };
            // It is still on this disk.
            let (size, mtime_ns) = (row.stat.size, row.stat.mtime_ns);
            self.write_anew(row, Content::File { root, size, mtime_ns, text: None }, now)?;
        }
        self.overwrites.excuse(now);
        Ok(())
    }

    /// Gives a file an old content as a new one.
    fn write_anew(
        &mut self,
        mut row: Row,
        content: Content,
        now: Millis,
    ) -> Result<(), IndexError> {
        let items = self.index.items(row.item.entry)?;
        let shown = items.iter().find(|item| item.key == row.item).or(items.first());
        let Some(key) = shown.map(|item| item.key).filter(|_| self.writable) else {
            return Ok(());
        };
        row.item = self.index.write(now, &key, content)?;
        self.dirty.insert(row.item.entry);
        Ok(self.rows.put(&row)?)
    }
}

/// The greatest number of these moments that lie within [`WINDOW_MS`] of each other.
fn densest(mut times: Vec<Millis>) -> u64 {
    times.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for (last, at) in times.iter().enumerate() {
        while times[first].saturating_add(WINDOW_MS) < *at {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most as u64
}

fn millis(ns: i64) -> Millis {
    u64::try_from(ns / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
