//! What this device has put on its disk, or has seen there: one row for each file, directory and
//! symlink of a folder.
//!
//! The rows say which item of the index stands at which path and how the file looked when it was
//! last seen, so that a scan can tell a user's change from the engine's own doing. They form a
//! tree by [`RowId`]: a row names its parent row and not a path, therefore moving a directory
//! with a million files below it changes one row.
//!
//! Goals: every read goes to the [`Storage`] behind (nothing is kept in memory for each row),
//! changes are staged in an overlay and visible at once, and an operation always reaches the disk
//! whole. Non-goals: the table does not look at the file system and does not decide anything.
//!
//! Inodes are looked up by number alone and not by (device, inode): a folder never crosses into
//! another file system, so all rows live on one device, and the device number of a file system
//! may differ after every restart of the machine.

mod blocks;
mod codec;
mod overlay;
mod redo;
#[cfg(test)]
mod tests;

use dunlin_identity::Hash;
use dunlin_index::{EntryId, IndexError, ItemKey, Kind, RelPath, SafeName, Storage, StorageError};

use self::overlay::Overlay;
use crate::fs::Stat;

pub use self::blocks::BlockLocation;

/// Rows that are read with one request when a directory is listed.
const PAGE_ROWS: usize = 256;
/// Directories above a row that are followed before the table is called damaged.
const DEPTH_MAX: usize = 4096;

/// Names a row of one folder's table. Numbers are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u64);

impl RowId {
    /// The folder's root directory; it is always there and has no row of its own.
    pub const ROOT: Self = Self(0);
    /// The parent of rows that hold no name at the moment; see [`DiskTable::detach`].
    pub const DETACHED: Self = Self(u64::MAX);
}

/// One thing on this device's disk, as it was last seen or put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// This row.
    pub id: RowId,
    /// The row of the directory that it is in.
    pub parent: RowId,
    /// Its name in that directory.
    pub name: SafeName,
    /// The item of the index that it shows: the entry, and the dot of the content value.
    pub item: ItemKey,
    /// What it is.
    pub kind: Kind,
    /// How it looked when it was last seen.
    pub stat: Stat,
    /// A file's content root; `None` for other kinds and for a file that was not hashed yet.
    pub root: Option<Hash>,
    /// Where a symlink leads.
    pub target: Option<String>,
    /// When this row was first put, in milliseconds since 1970. A file that is renamed over
    /// another while its own row is still young is taken for an editor's temporary file.
    pub created_ms: u64,
}

/// How many rows there are, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Regular files.
    pub files: u64,
    /// Directories, the root not among them.
    pub directories: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Bytes in regular files, as last seen.
    pub bytes: u64,
}

/// Why the table refused an operation or could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The storage behind the table failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A stored value does not decode or contradicts another; the rows must be built anew by a
    /// scan.
    #[error("the table of files on this disk is damaged: {0}")]
    Damaged(&'static str),
    /// There is no such row.
    #[error("row {} does not exist", .0.0)]
    NoRow(RowId),
    /// The parent is not there or is no directory.
    #[error("row {} is no directory", .0.0)]
    NotADirectory(RowId),
    /// Another row has this name in that directory.
    #[error("the name is taken by row {}", .0.0)]
    NameTaken(RowId),
    /// The directory would come to lie below itself.
    #[error("row {} would lie below itself", .0.0)]
    Cycle(RowId),
    /// A directory that still has rows below it was to be removed alone.
    #[error("the directory of row {} is not empty", .0.0)]
    NotEmpty(RowId),
}

/// A folder acts on errors of the index and of this table alike.
impl From<DiskError> for IndexError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Storage(error) => Self::Storage(error),
            DiskError::Damaged(what) => Self::Damaged(what),
            _ => Self::Damaged("the table of files on this disk contradicts itself"),
        }
    }
}

/// The rows of one folder; see the module's documentation.
#[derive(Debug)]
pub struct DiskTable<S: Storage> {
    overlay: Overlay<S>,
    counts: DiskCounts,
    next_id: u64,
    /// No row with this number or a higher one was ever put.
    unused_from: u64,
    /// The row that was put last, if it was new then: no blocks are known of it.
    newest: Option<RowId>,
    /// The number of the last changes that were kept elsewhere, too; see [`DiskTable::to_redo`].
    redo: u64,
    meta_dirty: bool,
}

impl<S: Storage> DiskTable<S> {
    /// Opens the table in `storage`, whose key space must be its own.
    ///
    /// # Errors
    /// Fails when the storage does, or when what it holds is not a table's header.
    pub fn open(storage: S) -> Result<Self, DiskError> {
        let overlay = Overlay::new(storage);
        let codec::Meta { counts, next_id, redo } = match overlay.get(codec::META_KEY)? {
            Some(bytes) => codec::decode_meta(&bytes)?,
            None => codec::Meta { counts: DiskCounts::default(), next_id: 1, redo: 0 },
        };
        let unused_from = next_id;
        let (newest, meta_dirty) = (None, false);
        Ok(Self { overlay, counts, next_id, unused_from, newest, redo, meta_dirty })
    }

    /// Returns a number that no row has had before.
    pub fn next_id(&mut self) -> RowId {
        let id = RowId(self.next_id);
        self.next_id += 1;
        self.meta_dirty = true;
        id
    }

    /// Counts the rows, detached ones included.
    #[must_use]
    pub fn counts(&self) -> DiskCounts {
        self.counts
    }

    /// Returns how many keys wait for [`DiskTable::write_back`].
    #[must_use]
    pub fn staged(&self) -> usize {
        self.overlay.len()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// Fails when the storage does or the table is damaged; so do all other reads.
    pub fn get(&self, id: RowId) -> Result<Option<Row>, DiskError> {
        let Some(place) = self.overlay.get(&codec::row_key(id))? else { return Ok(None) };
        match self.overlay.get(&place)? {
            Some(value) => codec::decode_row(&place, &value).map(Some),
            None => Err(DiskError::Damaged("a row's place is empty")),
        }
    }

    /// Reads the row that has this name in this directory.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn child(&self, parent: RowId, name: &SafeName) -> Result<Option<Row>, DiskError> {
        let place = codec::child_key(parent, name);
        match self.overlay.get(&place)? {
            Some(value) => codec::decode_row(&place, &value).map(Some),
            None => Ok(None),
        }
    }

    /// Reads at most `limit` rows of a directory in name order, those strictly after `after`.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn children_page(
        &self,
        parent: RowId,
        after: Option<&SafeName>,
        limit: usize,
    ) -> Result<Vec<Row>, DiskError> {
        let after = after.map(|name| codec::child_key(parent, name));
        let found = self.overlay.scan(&codec::child_prefix(parent), after.as_deref(), limit)?;
        found.iter().map(|(key, value)| codec::decode_row(key, value)).collect()
    }

    /// Goes through the rows of a directory in name order, a page at a time.
    #[must_use]
    pub fn children(&self, parent: RowId) -> Children<'_, S> {
        Children { table: self, parent, after: None, page: Vec::new().into_iter(), done: false }
    }

    /// Lists the rows that hold no name; empty unless a batch of changes was interrupted between
    /// a [`DiskTable::detach`] and what was to follow.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn detached(&self) -> Result<Vec<Row>, DiskError> {
        let found = self.overlay.scan(&codec::child_prefix(RowId::DETACHED), None, usize::MAX)?;
        found.iter().map(|(key, value)| codec::decode_row(key, value)).collect()
    }

    /// Lists the rows that show this entry: its winner and the copies of losing values.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn by_entry(&self, entry: EntryId) -> Result<Vec<Row>, DiskError> {
        self.by_index(&codec::entry_prefix(entry))
    }

    /// Lists the rows last seen with this inode number; several for hard links.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn by_inode(&self, ino: u64) -> Result<Vec<Row>, DiskError> {
        self.by_index(&codec::inode_prefix(ino))
    }

    fn by_index(&self, prefix: &[u8]) -> Result<Vec<Row>, DiskError> {
        let mut rows = Vec::new();
        for (key, _) in self.overlay.scan(prefix, None, usize::MAX)? {
            let id = codec::id_at_end(&key)?;
            rows.push(self.get(id)?.ok_or(DiskError::Damaged("an index names a lost row"))?);
        }
        Ok(rows)
    }

    /// Returns where a row is, or `None` when it does not exist or it, or a directory above it,
    /// is detached.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn path(&self, id: RowId) -> Result<Option<RelPath>, DiskError> {
        let mut names = Vec::new();
        let mut at = id;
        while at != RowId::ROOT {
            let Some(row) = self.get(at)? else { return Ok(None) };
            names.push(row.name);
            at = row.parent;
            if at == RowId::DETACHED {
                return Ok(None);
            }
            if names.len() > DEPTH_MAX {
                return Err(DiskError::Damaged("rows form a cycle"));
            }
        }
        let mut path = RelPath::root();
        for name in names.into_iter().rev() {
            path = path.join(&name).map_err(|_| DiskError::Damaged("a stored path is not safe"))?;
        }
        Ok(Some(path))
    }

    /// Reads the row at a path; `None` for the root, which has no row.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn find(&self, path: &RelPath) -> Result<Option<Row>, DiskError> {
        let mut parent = RowId::ROOT;
        let mut found = None;
        for name in path.names() {
            match self.child(parent, name)? {
                Some(row) => {
                    parent = row.id;
                    found = Some(row);
                }
                None => return Ok(None),
            }
        }
        Ok(found)
    }

    /// Returns the row id of the directory at a path, the root included.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn find_directory(&self, path: &RelPath) -> Result<Option<RowId>, DiskError> {
        if path.is_root() {
            return Ok(Some(RowId::ROOT));
        }
        Ok(self.find(path)?.filter(|row| row.kind == Kind::Directory).map(|row| row.id))
    }

    /// Puts a row: a new one, or a change of the one with this id, its place included. When the
    /// content root differs from before, the row's block locations are dropped.
    ///
    /// # Errors
    /// [`DiskError::NameTaken`], [`DiskError::NotADirectory`] (the parent is not one) and
    /// [`DiskError::Cycle`]; nothing changes then. Otherwise see [`DiskTable::get`].
    pub fn put(&mut self, row: &Row) -> Result<(), DiskError> {
        if row.id == RowId::ROOT || row.id == RowId::DETACHED || row.parent == RowId::DETACHED {
            return Err(DiskError::NoRow(row.id));
        }
        let is_new = row.id.0 >= self.unused_from;
        let old = if is_new { None } else { self.get(row.id)? };
        let moved = old.as_ref().is_none_or(|old| old.parent != row.parent || old.name != row.name);
        if moved {
            self.check_place(row.id, row.parent, &row.name)?;
        }
        if let Some(old) = &old {
            if old.kind == Kind::Directory && row.kind != Kind::Directory {
                self.check_childless(row.id)?;
            }
            if old.root != row.root {
                self.remove_blocks(row.id, old.root)?;
            }
            self.unlink(old);
        }
        self.link(row)?;
        self.unused_from = self.unused_from.max(row.id.0.saturating_add(1));
        self.next_id = self.next_id.max(self.unused_from);
        self.newest = is_new.then_some(row.id);
        Ok(())
    }

    /// Moves a row, with everything below it, to another directory or name.
    ///
    /// # Errors
    /// As [`DiskTable::put`]; [`DiskError::NoRow`] when the row is not there.
    pub fn move_row(&mut self, id: RowId, parent: RowId, name: &SafeName) -> Result<(), DiskError> {
        let mut row = self.get(id)?.ok_or(DiskError::NoRow(id))?;
        row.parent = parent;
        row.name = name.clone();
        self.put(&row)
    }

    /// Takes a row's name away, so that another can have it before the row's own new place is
    /// known or free; a swap of two names needs this. Everything below stays below it.
    ///
    /// # Errors
    /// [`DiskError::NoRow`] when the row is not there; see also [`DiskTable::get`].
    pub fn detach(&mut self, id: RowId) -> Result<(), DiskError> {
        let old = self.get(id)?.ok_or(DiskError::NoRow(id))?;
        let row = Row { parent: RowId::DETACHED, ..old.clone() };
        self.unlink(&old);
        self.link(&row)
    }

    /// Removes a row that has none below it; does nothing when it is not there.
    ///
    /// # Errors
    /// [`DiskError::NotEmpty`]; see also [`DiskTable::get`].
    pub fn remove(&mut self, id: RowId) -> Result<(), DiskError> {
        let Some(row) = self.get(id)? else { return Ok(()) };
        self.check_childless(id)?;
        self.remove_blocks(id, row.root)?;
        self.unlink(&row);
        self.overlay.delete(codec::row_key(id));
        Ok(())
    }

    /// Removes a row and all below it, children before parents, and returns how many there were.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn remove_tree(&mut self, id: RowId) -> Result<u64, DiskError> {
        let mut removed = 0;
        let mut stack = vec![id];
        while let Some(&top) = stack.last() {
            let page = self.children_page(top, None, PAGE_ROWS)?;
            if page.is_empty() {
                stack.pop();
                removed += u64::from(self.get(top)?.is_some());
                self.remove(top)?;
                continue;
            }
            for row in page {
                if row.kind == Kind::Directory {
                    stack.push(row.id);
                } else {
                    self.remove(row.id)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Writes all staged changes as one atomic batch; when `durable`, they are on the disk when
    /// this returns. Until then they are in memory, and nowhere else: when they are written, and so
    /// may become durable, is for the caller to say.
    ///
    /// # Errors
    /// Fails when the storage does; the changes stay staged then.
    pub fn write_back(&mut self, durable: bool) -> Result<(), DiskError> {
        self.stage_meta();
        Ok(self.overlay.write_back(durable)?)
    }

    fn stage_meta(&mut self) {
        if self.meta_dirty {
            let (counts, next_id, redo) = (self.counts, self.next_id, self.redo);
            let meta = codec::Meta { counts, next_id, redo };
            self.overlay.put(codec::META_KEY.to_vec(), codec::encode_meta(&meta));
            self.meta_dirty = false;
        }
    }

    fn check_childless(&self, id: RowId) -> Result<(), DiskError> {
        match self.children_page(id, None, 1)?.is_empty() {
            true => Ok(()),
            false => Err(DiskError::NotEmpty(id)),
        }
    }

    /// Checks that `id` may stand at `name` in `parent`.
    fn check_place(&self, id: RowId, parent: RowId, name: &SafeName) -> Result<(), DiskError> {
        if let Some(other) = self.child(parent, name)?
            && other.id != id
        {
            return Err(DiskError::NameTaken(other.id));
        }
        let mut at = parent;
        for depth in 0..=DEPTH_MAX {
            if at == RowId::ROOT || at == RowId::DETACHED {
                return Ok(());
            }
            if at == id {
                return Err(DiskError::Cycle(id));
            }
            match self.get(at)? {
                Some(row) if depth > 0 || row.kind == Kind::Directory => at = row.parent,
                _ => return Err(DiskError::NotADirectory(at)),
            }
        }
        Err(DiskError::Damaged("rows form a cycle"))
    }

    fn count(&mut self, row: &Row, add: bool) {
        let step = |number: &mut u64, by: u64| {
            *number = if add { number.saturating_add(by) } else { number.saturating_sub(by) };
        };
        match row.kind {
            Kind::File => {
                step(&mut self.counts.files, 1);
                step(&mut self.counts.bytes, row.stat.size);
            }
            Kind::Directory => step(&mut self.counts.directories, 1),
            Kind::Symlink => step(&mut self.counts.symlinks, 1),
        }
        self.meta_dirty = true;
    }

    fn link(&mut self, row: &Row) -> Result<(), DiskError> {
        let place = codec::place_key(row);
        self.overlay.put(place.clone(), codec::encode_row(row)?);
        self.overlay.put(codec::row_key(row.id), place);
        self.overlay.put(codec::entry_key(row.item.entry, row.id), Vec::new());
        self.overlay.put(codec::inode_key(row.stat.ino, row.id), Vec::new());
        self.count(row, true);
        Ok(())
    }

    fn unlink(&mut self, row: &Row) {
        self.overlay.delete(codec::place_key(row));
        self.overlay.delete(codec::entry_key(row.item.entry, row.id));
        self.overlay.delete(codec::inode_key(row.stat.ino, row.id));
        self.count(row, false);
    }
}

/// Rows of a directory in name order; made by [`DiskTable::children`].
#[derive(Debug)]
pub struct Children<'a, S: Storage> {
    table: &'a DiskTable<S>,
    parent: RowId,
    after: Option<SafeName>,
    page: std::vec::IntoIter<Row>,
    done: bool,
}

impl<S: Storage> Iterator for Children<'_, S> {
    type Item = Result<Row, DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.page.next() {
            return Some(Ok(row));
        }
        if self.done {
            return None;
        }
        match self.table.children_page(self.parent, self.after.as_ref(), PAGE_ROWS) {
            Ok(rows) => {
                self.done = rows.len() < PAGE_ROWS;
                self.after = rows.last().map(|row| row.name.clone());
                self.page = rows.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}
