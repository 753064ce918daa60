//! Conflicts of a folder: what they are on this disk, and how its user ends them.

use std::collections::BTreeMap;

use dunlin_blocks::FileHash;
use dunlin_identity::Hash;
use dunlin_index::{
    Conflict, Content, EntryId, Index, IndexError, Item, ItemKey, Kind, Millis, RelPath,
    Resolution, SafeName, Storage,
};
use dunlin_tree::disk::DiskTable;
use dunlin_tree::fs::{Fs, Installed, TempName};

use super::Folder;
use super::history::End;
use super::rows::{is_in_place, path_in, row_of_directory, row_of_item, set_content};
use crate::conflict::{ConflictBase, ConflictError, ConflictInfo, ConflictSide, Keep};
use crate::history::How;
use crate::settings::{DeviceNames, device_names};
use crate::types::{Event, kind_name};

/// More conflicts than this are not listed, and no events tell of them.
pub const CONFLICTS_MAX: usize = 10_000;
/// Names that are tried for a copy that is to become an ordinary file.
const NAMES_MAX: u32 = 10_000;
/// What device names may take of a file's name, in bytes.
const DEVICE_BYTES_MAX: usize = 40;

/// A conflict whose sides have places on this disk.
#[derive(Clone, Debug)]
pub struct OpenConflict {
    /// What the index shows.
    pub conflict: Conflict,
    /// The path that all sides claim; where nothing may have it, that of the first copy.
    pub path: RelPath,
    /// Where each side is, in the order of [`Conflict::sides`].
    pub paths: Vec<RelPath>,
    /// What all sides replaced, if the logs tell.
    pub base: Option<Content>,
}

impl OpenConflict {
    /// The sides with their paths, the winner first.
    pub fn sides(&self) -> impl Iterator<Item = (&Item, &RelPath)> {
        self.conflict.sides().zip(&self.paths)
    }

    /// Names the versions that are in conflict; others have other names.
    pub fn ids(&self) -> Vec<String> {
        self.conflict.sides().map(|side| side_id(&side.key)).collect()
    }
}

/// A merged content that waits in a temporary file, complete and durable.
#[derive(Clone, Debug)]
pub struct MergedFile {
    /// Where it is.
    pub temp: TempName,
    /// Its root hash.
    pub root: Hash,
    /// Its bytes.
    pub size: u64,
    /// Its blocks, unless it is small.
    pub hash: Option<FileHash>,
}

/// What the user decides about a conflict.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Some of the sides stay as they are.
    Keep(Keep),
    /// This takes the place of all sides.
    Merged(MergedFile),
}

/// The conflicts that were told of.
#[derive(Debug, Default)]
pub(super) struct Told {
    copies: BTreeMap<ItemKey, RelPath>,
    /// The state that was looked at last.
    print: Option<Hash>,
}

impl Told {
    /// Begins with those that are there when the folder is taken up.
    pub(super) fn begin<S: Storage>(index: &Index<S>, rows: &DiskTable<S>) -> Self {
        // What cannot be read now is told of later.
        Self { copies: copies_of(index, rows).unwrap_or_default(), print: None }
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// The conflicts whose sides have places on this disk, by path: all, or the one that `at` is a
    /// side of. At most [`CONFLICTS_MAX`].
    ///
    /// # Errors
    /// Fails when the database does.
    pub fn conflicts(&self, at: Option<&RelPath>) -> Result<Vec<OpenConflict>, IndexError> {
        let conflicts = match at {
            None => self.index.conflicts(CONFLICTS_MAX)?,
            Some(path) => match self.item_at(path)? {
                Some(item) => self.index.conflict_of(&item.key)?.into_iter().collect(),
                None => Vec::new(),
            },
        };
        let mut open = Vec::new();
        for conflict in conflicts {
            open.extend(open_conflict(&self.index, &self.rows, conflict)?);
        }
        open.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(open)
    }

    /// A conflict in the words of the command line and the API.
    ///
    /// # Errors
    /// Fails when the database does.
    pub fn conflict_info(&self, open: &OpenConflict) -> Result<ConflictInfo, IndexError> {
        let devices = self.device_names();
        let mut sides = Vec::new();
        for (item, path) in open.sides() {
            let here = stands(&self.rows, item)?;
            let winner = !item.conflict;
            sides.push(ConflictSide { winner, here, ..side_info(item, path, &devices) });
        }
        Ok(ConflictInfo {
            folder: self.name.clone(),
            path: open.path.to_string(),
            sides,
            base: open
                .base
                .as_ref()
                .map(|content| ConflictBase { size: content.size(), modified: modified(content) }),
        })
    }

    /// Ends the conflict that the thing at `path` is a side of, here and on all devices. What does
    /// not stay goes to the version store. With `expect`, only if these are still its versions
    /// ([`OpenConflict::ids`]).
    ///
    /// # Errors
    /// See [`ConflictError`]; nothing has changed then, unless the database failed.
    pub fn resolve(
        &mut self,
        path: &RelPath,
        decision: &Decision,
        expect: Option<&[String]>,
        now: Millis,
    ) -> Result<(), ConflictError> {
        if !self.is_running() {
            return Err(ConflictError::NotRunning);
        }
        if !self.writable {
            return Err(ConflictError::ReadOnly);
        }
        let shown = || path.to_string();
        let open = self.conflicts(Some(path))?.pop();
        let open = open.ok_or_else(|| ConflictError::NoConflict(shown()))?;
        if expect.is_some_and(|expect| open.ids() != expect) {
            return Err(ConflictError::Changed(shown()));
        }
        self.check_here(&open, now)?;
        let done = match decision {
            Decision::Keep(keep) => self.keep_sides(&open, path, *keep, now),
            Decision::Merged(merged) => self.put_merged(&open, merged, now),
        };
        // What was staged in the index is signed also when the disk failed afterwards.
        self.commit_local(Vec::new(), now);
        self.work(now);
        self.tell(now);
        done
    }

    /// Checks that all sides are on this disk as the index shows them: a decision must not meet
    /// what its user has not seen.
    fn check_here(&mut self, open: &OpenConflict, now: Millis) -> Result<(), ConflictError> {
        for (item, path) in open.sides() {
            let row = row_of_item(&self.rows, &item.key)?;
            let stands = stands(&self.rows, item)?;
            let Some(row) = row.filter(|_| stands) else {
                return Err(ConflictError::NotHere(path.to_string()));
            };
            if !self.fs.stat(path)?.is_some_and(|stat| stat.same_version(&row.stat)) {
                self.look_again(path.clone(), now);
                return Err(ConflictError::NotHere(path.to_string()));
            }
        }
        Ok(())
    }

    fn keep_sides(
        &mut self,
        open: &OpenConflict,
        path: &RelPath,
        keep: Keep,
        now: Millis,
    ) -> Result<(), ConflictError> {
        let Some(kept) = side_to_keep(open, path, keep)? else {
            let names = self.names_for_copies(&open.conflict)?;
            return self.settle_conflict(open, &Resolution::KeepAll(names), now);
        };
        if kept.conflict
            && let Some(winner) = &open.conflict.winner
        {
            if winner.kind == Kind::Directory {
                return Err(ConflictError::Directory(open.path.to_string()));
            }
            self.settle_conflict(open, &Resolution::Keep(kept.key), now)?;
            return self.lose_name(winner, now);
        }
        self.settle_conflict(open, &Resolution::Keep(kept.key), now)
    }

    /// Does it in the index, and lets the rows of what stays follow, so that their files are
    /// renamed rather than made anew.
    fn settle_conflict(
        &mut self,
        open: &OpenConflict,
        resolution: &Resolution,
        now: Millis,
    ) -> Result<(), ConflictError> {
        for (old, new) in self.index.resolve(now, &open.conflict, resolution)? {
            if let Some(mut row) = row_of_item(&self.rows, &old)? {
                row.item = new;
                self.rows.put(&row)?;
            }
        }
        // Durable before anything moves: a power cut in between must not look like a deletion.
        self.commit_local(Vec::new(), now);
        Ok(())
    }

    /// Brings what has lost its name to a copy into the version store. Where the user was faster,
    /// what stands there now becomes a version beside.
    fn lose_name(&mut self, item: &Item, now: Millis) -> Result<(), ConflictError> {
        let Some(row) = row_of_item(&self.rows, &item.key)? else { return Ok(()) };
        let end = End { how: How::Edited, by: Some(self.signer.device()), staged: None };
        self.put_aside(&row, end, now)?;
        Ok(())
    }

    /// Puts a merged content in the winner's place.
    fn put_merged(
        &mut self,
        open: &OpenConflict,
        merged: &MergedFile,
        now: Millis,
    ) -> Result<(), ConflictError> {
        let shown = || open.path.to_string();
        if open.conflict.sides().any(|side| side.kind != Kind::File) {
            return Err(ConflictError::NotFiles(shown()));
        }
        let winner =
            open.conflict.winner.as_ref().ok_or_else(|| ConflictError::NotFiles(shown()))?;
        let row = row_of_item(&self.rows, &winner.key)?;
        let mut row = row.ok_or_else(|| ConflictError::NotHere(shown()))?;
        self.fs.temp_create(&merged.temp, 0)?.set_mode(winner.mode)?;
        let installed = self.fs.install(&merged.temp, &open.path, Some(&row.stat), now)?;
        let Installed::Replaced { stat, version, .. } = installed else {
            self.look_again(open.path.clone(), now);
            return Err(ConflictError::NotHere(shown()));
        };
        let by = Some(self.signer.device());
        let end = End { how: How::Merged, by, staged: Some(&version) };
        self.ended(&row, &open.path, end, now)?;
        self.unsynced.name(&open.path);
        let (root, size, mtime_ns) = (merged.root, merged.size, stat.mtime_ns);
        let content = Content::File { root, size, mtime_ns, text: None };
        let resolution = Resolution::Replace(content.clone());
        let kept = match self.index.resolve(now, &open.conflict, &resolution) {
            Ok(kept) => kept,
            Err(error) => {
                // It is on disk: what the index does not know of is an edit.
                self.look_again(open.path.clone(), now);
                return Err(error.into());
            }
        };
        row.item = kept.first().map_or(row.item, |(_, new)| *new);
        row.stat = stat;
        set_content(&mut row, &content);
        self.rows.put(&row)?;
        self.remember_blocks(row.id, &content, merged.hash.as_ref())?;
        Ok(())
    }

    /// Names for copies that are to be ordinary files: after the device that wrote each.
    fn names_for_copies(&self, conflict: &Conflict) -> Result<Vec<SafeName>, IndexError> {
        let devices = self.device_names();
        let mut names = Vec::new();
        for copy in &conflict.copies {
            // The name that all claim; where nothing may have it, what it was derived from.
            let base = conflict.winner.as_ref().map_or(&copy.name, |winner| &winner.name);
            let device = name_part(&author_name(&devices, copy));
            let mut free = None;
            for number in 1..=NAMES_MAX {
                let Some(name) = numbered(base, &device, number) else { break };
                let row = row_of_directory(&self.rows, copy.parent)?;
                let on_disk = match row {
                    Some(row) => self.rows.child(row, &name)?.is_some(),
                    None => false,
                };
                let shown = self.index.lookup(copy.parent, &name)?.is_some();
                if !on_disk && !shown && !names.contains(&name) {
                    free = Some(name);
                    break;
                }
            }
            names.push(free.ok_or(IndexError::Taken)?);
        }
        Ok(names)
    }

    /// What the folder's devices are called.
    pub(crate) fn device_names(&self) -> DeviceNames {
        device_names(&self.index.members(), self.settings())
    }

    /// What the view shows at a path; nothing for the root.
    pub(super) fn item_at(&self, path: &RelPath) -> Result<Option<Item>, IndexError> {
        let mut dir = EntryId::ROOT;
        let mut found = None;
        for name in path.names() {
            let Some(item) = self.index.lookup(dir, name)? else { return Ok(None) };
            dir = item.key.entry;
            found = Some(item);
        }
        Ok(found)
    }

    /// Tells of conflicts that are new, and of those that are over, whoever ended them.
    pub(super) fn tell_conflicts(&mut self) {
        let print = self.index.fingerprint();
        if self.told_conflicts.print == Some(print) {
            return;
        }
        self.told_conflicts.print = Some(print);
        let none = self.told_conflicts.copies.is_empty() && self.index.counts().conflicts == 0;
        if none || self.index.counts().conflicts > CONFLICTS_MAX as u64 {
            return;
        }
        // A database that cannot be read shows in the folder's state.
        let Ok(copies) = copies_of(&self.index, &self.rows) else { return };
        let old = std::mem::replace(&mut self.told_conflicts.copies, copies);
        let now = &self.told_conflicts.copies;
        let folder = &self.name;
        let new = now
            .iter()
            .filter(|(key, _)| !old.contains_key(key))
            .map(|(_, path)| Event::Conflict { folder: folder.clone(), path: path.to_string() });
        let over = old.iter().filter(|(key, _)| !now.contains_key(key)).map(|(_, path)| {
            Event::ConflictResolved { folder: folder.clone(), path: path.to_string() }
        });
        let events: Vec<Event> = over.chain(new).collect();
        for event in events {
            self.event_out(event);
        }
    }
}

/// The side that is to stay alone; `None` when all are.
fn side_to_keep<'a>(
    open: &'a OpenConflict,
    path: &RelPath,
    keep: Keep,
) -> Result<Option<&'a Item>, ConflictError> {
    let number = open.paths.len();
    let side = match keep {
        Keep::Both => return Ok(None),
        Keep::This => open.sides().find(|(_, at)| *at == path),
        Keep::That if number != 2 => {
            return Err(ConflictError::ManySides(path.to_string(), number));
        }
        Keep::That => open.sides().find(|(_, at)| *at != path),
        Keep::Newest => {
            if open.conflict.sides().any(|side| side.kind != Kind::File) {
                return Err(ConflictError::NotFiles(path.to_string()));
            }
            open.sides().max_by_key(|(item, _)| (mtime_ns(&item.content), !item.conflict))
        }
    };
    let side = side.ok_or_else(|| ConflictError::NoConflict(path.to_string()))?;
    Ok(Some(side.0))
}

/// Whether a side is on this disk. A text that was made of several versions holds none of their
/// contents: there, the row alone tells.
fn stands<S: Storage>(rows: &DiskTable<S>, item: &Item) -> Result<bool, IndexError> {
    if item.merged.is_empty() {
        return is_in_place(rows, item);
    }
    Ok(row_of_item(rows, &item.key)?.is_some())
}

fn copies_of<S: Storage>(
    index: &Index<S>,
    rows: &DiskTable<S>,
) -> Result<BTreeMap<ItemKey, RelPath>, IndexError> {
    let mut copies = BTreeMap::new();
    for conflict in index.conflicts(CONFLICTS_MAX)? {
        for copy in &conflict.copies {
            if let Some(path) = path_of_item(rows, copy)? {
                copies.insert(copy.key, path);
            }
        }
    }
    Ok(copies)
}

fn open_conflict<S: Storage>(
    index: &Index<S>,
    rows: &DiskTable<S>,
    conflict: Conflict,
) -> Result<Option<OpenConflict>, IndexError> {
    let mut paths = Vec::new();
    for side in conflict.sides() {
        match path_of_item(rows, side)? {
            Some(path) => paths.push(path),
            // Its directory is not on this disk yet.
            None => return Ok(None),
        }
    }
    let Some(path) = paths.first().cloned() else { return Ok(None) };
    let values: Vec<_> = conflict.sides().filter_map(|side| side.key.dot).collect();
    let base = if values.len() == paths.len() { index.base_of(&values)? } else { None };
    Ok(Some(OpenConflict { conflict, path, paths, base }))
}

pub(super) fn path_of_item<S: Storage>(
    rows: &DiskTable<S>,
    item: &Item,
) -> Result<Option<RelPath>, IndexError> {
    match row_of_directory(rows, item.parent)? {
        Some(parent) => path_in(rows, parent, &item.name).map(Some),
        None => Ok(None),
    }
}

fn side_info(item: &Item, path: &RelPath, names: &DeviceNames) -> ConflictSide {
    let author = item.key.dot.map(|dot| dot.author.device);
    let target = match &item.content {
        Content::Symlink { target } => Some(target.clone()),
        _ => None,
    };
    ConflictSide {
        id: side_id(&item.key),
        path: path.to_string(),
        winner: false,
        kind: kind_name(item.kind).to_owned(),
        size: item.content.size(),
        modified: modified(&item.content),
        target,
        device: author.map(|device| device.to_string()),
        device_name: author.and_then(|device| names.get(&device).cloned()),
        here: false,
    }
}

/// Sixteen hexadecimal digits for one version of one thing.
fn side_id(key: &ItemKey) -> String {
    let bytes = bincode::encode_to_vec(key, bincode::config::standard())
        .expect("encoding into memory cannot fail");
    Hash::of(&bytes).to_string()[..16].to_owned()
}

/// The name of the device that wrote an item; empty when it is not known.
pub(crate) fn author_name(devices: &DeviceNames, item: &Item) -> String {
    let author = item.key.dot.map(|dot| dot.author.device);
    author.and_then(|author| devices.get(&author).cloned()).unwrap_or_default()
}

/// A device's name as it can stand in a file's name.
fn name_part(name: &str) -> String {
    let mut plain: String = name.chars().filter(|c| !c.is_control() && *c != '/').collect();
    while plain.len() > DEVICE_BYTES_MAX {
        plain.pop();
    }
    if plain.trim().is_empty() { "copy".to_owned() } else { plain }
}

/// `notes (nas).txt`, `notes (nas 2).txt`, …; `None` when the name has no room for it.
fn numbered(base: &SafeName, device: &str, number: u32) -> Option<SafeName> {
    let base = base.as_str();
    let (stem, extension) = match base.rfind('.') {
        Some(at) if at > 0 => base.split_at(at),
        _ => (base, ""),
    };
    let added = if number == 1 { device.to_owned() } else { format!("{device} {number}") };
    let mut stem = stem.to_owned();
    loop {
        if let Ok(name) = SafeName::parse(&format!("{stem} ({added}){extension}")) {
            return Some(name);
        }
        stem.pop()?;
    }
}

fn mtime_ns(content: &Content) -> Option<i64> {
    match content {
        Content::File { mtime_ns, .. } => Some(*mtime_ns),
        _ => None,
    }
}

fn modified(content: &Content) -> Option<String> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(mtime_ns(content)?)).ok()?;
    Some(time.to_string())
}
