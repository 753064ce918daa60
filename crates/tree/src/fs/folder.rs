//! The safe order of operations: how a file is put in place, moved and kept.
//!
//! Three orders matter, and each is written so that a crash between any two operations, or a user who
//! saves between them, loses nothing:
//!
//! - **Put in place of another** ([`Fs::install`]): the new file moves into the version store, at the
//!   place where the old one shall be kept, and then the two are exchanged in one step. What came out
//!   is in the version store from that instant on. If it is not what was expected, they are exchanged
//!   back.
//! - **Move away** ([`Fs::keep`], [`Fs::rename`]): it is moved first, looked at where it is then, and
//!   moved back if it is not what was expected. Looking first and moving then would leave a gap.
//! - **Put where nothing is**: by a rename that fails if something is there.
//!
//! File systems without `RENAME_EXCHANGE` get the old file moved to the version store and then the new
//! one moved in: a reader may find nothing there for some microseconds, but nothing is lost. Those
//! without `RENAME_NOREPLACE` get a hard link made and the old name removed. On those without hard
//! links either (exFAT through old drivers) it is looked at first and then renamed: only there a file
//! that the user makes within these microseconds can be replaced.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dunlin_index::{Millis, RelPath, SafeName};

use super::error::{FsError, FsErrorKind as Kind};
use super::types::{
    FileKind, Installed, Kept, Listing, Moved, ObjectName, Space, Stat, TempName, Version,
    VersionId,
};
use super::volume::{OBJECTS_DIR, Place, RenameHow, TEMP_DIR, VERSIONS_DIR, Volume};
use super::{Fs, ReadAt, WriteAt};
use crate::marker::{MARKER_MAX, Marker, RootError};
use crate::versions::{
    BATCHES_PER_SECOND_MAX, Policy, Pruned, StoreState, batch_name, parse_batch,
};

mod install;
mod objects;
mod store;
mod undo;

/// The marker's name in the private area.
const MARKER: &str = "folder";
/// The name under which a new marker is written.
const MARKER_NEW: &str = "folder.new";
/// The name of the version store's journal in its directory.
const JOURNAL: &str = "journal";
/// Where a file passes through on its way between two user paths, on file systems without `NOREPLACE`.
const MOVING: &str = "moving";

/// A synced folder over a [`Volume`].
#[derive(Debug)]
pub struct Folder<V> {
    volume: V,
    /// The root as it was when it was opened.
    root: Stat,
    /// Bytes in each batch of the version store; `None` where they must be measured again. Empty until
    /// the store is first pruned.
    batches: Mutex<Option<BTreeMap<SafeName, Option<u64>>>>,
    /// Held by whoever uses [`MOVING`].
    moving: Mutex<()>,
    /// What a failing disk has kept from being put back, as much as was under way then.
    left: Mutex<Vec<undo::Left>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is valid after every single statement, so a panic elsewhere spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_found(operation: &'static str, place: Place<'_>) -> FsError {
    FsError::new(Kind::NotFound, operation, place)
}

/// Treats "it is there already" as done.
fn unless_exists(result: Result<(), FsError>) -> Result<(), FsError> {
    match result {
        Err(error) if error.kind() == Kind::Exists => Ok(()),
        other => other,
    }
}

impl<V: Volume> Folder<V> {
    /// Opens the folder on that volume.
    ///
    /// # Errors
    /// [`RootError::Missing`], [`RootError::NotADirectory`].
    pub fn on(volume: V) -> Result<Self, RootError> {
        let root = volume.stat_by_path()?.ok_or(RootError::Missing)?;
        if root.kind != FileKind::Directory {
            return Err(RootError::NotADirectory);
        }
        Ok(Self {
            volume,
            root,
            batches: Mutex::new(None),
            moving: Mutex::new(()),
            left: Mutex::new(Vec::new()),
        })
    }

    /// The volume below.
    pub fn volume(&self) -> &V {
        &self.volume
    }

    /// Looks whether the root's path still leads to the directory that was opened.
    fn check_path(&self) -> Result<Stat, RootError> {
        let now = self.volume.stat_by_path()?.ok_or(RootError::Missing)?;
        if now.kind != FileKind::Directory {
            return Err(RootError::NotADirectory);
        }
        if (now.ino, now.dev) != (self.root.ino, self.root.dev) {
            return Err(RootError::Replaced);
        }
        Ok(now)
    }

    fn read_marker(&self) -> Result<Option<Marker>, RootError> {
        let file = match self.volume.open(Place::Own(MARKER)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        // One byte more than is allowed, so that a longer one is noticed.
        let mut buffer = [0; MARKER_MAX + 1];
        let len = file.read_at(&mut buffer, 0)?;
        Marker::decode(&buffer[..len]).map(Some)
    }

    fn check_marker(
        &self,
        expected: &Marker,
        found: Marker,
        at: &Stat,
    ) -> Result<Marker, RootError> {
        found.check_owner(expected)?;
        found.check_file_system(at.dev, self.volume.file_system_id()?)?;
        Ok(found)
    }

    fn make_private_area(&self) -> Result<(), FsError> {
        for name in ["", TEMP_DIR, VERSIONS_DIR] {
            unless_exists(self.volume.mkdir(Place::Own(name), 0o700))?;
        }
        Ok(())
    }

    /// Keeps what a crash left on its way between two user paths; its ctime is when that was.
    fn recover_moving(&self) -> Result<(), FsError> {
        if let Some(stat) = self.volume.stat(Place::Own(MOVING))? {
            let then = u64::try_from(stat.ctime_ns).unwrap_or(0) / 1_000_000;
            let path = RelPath::parse("recovered").expect("a plain word is a path");
            self.move_to_store(Place::Own(MOVING), &path, then)?;
        }
        Ok(())
    }

    /// The stat of what must be there.
    fn stat_of(&self, operation: &'static str, place: Place<'_>) -> Result<Stat, FsError> {
        self.volume.stat(place)?.ok_or_else(|| not_found(operation, place))
    }

    /// What to remember of something that was just put at `place`, and was `put` before.
    ///
    /// When the user has changed it since, the stat from before the move is returned, so that the next
    /// scan sees the change.
    fn settled(&self, put: Stat, place: Place<'_>) -> Stat {
        match self.volume.stat(place) {
            Ok(Some(now)) if now.same_version(&put) => now,
            _ => put,
        }
    }

    /// Opens a temporary file, and tells whether it was made.
    fn open_temp(&self, place: Place<'_>) -> Result<(Box<dyn WriteAt>, bool), FsError> {
        match self.volume.open_write(place) {
            Err(error) if error.kind() == Kind::NotFound => {
                self.make_private_area()?;
                self.volume.open_write(place)
            }
            other => other,
        }
    }

    /// Renames to a name that must be free; `Exists` when it is not.
    fn rename_new(&self, from: Place<'_>, to: Place<'_>) -> Result<(), FsError> {
        match self.volume.rename(from, to, RenameHow::NoReplace) {
            Err(error) if error.kind() == Kind::Unsupported => self.rename_new_by_hand(from, to),
            other => other,
        }
    }

    /// [`Self::rename_new`] for file systems without `RENAME_NOREPLACE`; see the module's head.
    fn rename_new_by_hand(&self, from: Place<'_>, to: Place<'_>) -> Result<(), FsError> {
        let kind = self.stat_of("move", from)?.kind;
        if to.is_private() || kind == FileKind::Directory {
            // Only we write to private places; a directory can replace nothing but an empty one.
            return self.look_and_rename(from, to);
        }
        if from.is_private() {
            return match self.volume.link(from, to) {
                Ok(()) => self.volume.unlink(from),
                Err(error) if matches!(error.kind(), Kind::Unsupported | Kind::Permission) => {
                    self.look_and_rename(from, to)
                }
                Err(error) => Err(error),
            };
        }
        // Between two user paths: removing `from` after linking could remove what the user has just
        // saved there, so it goes through a place of our own.
        let _moving = lock(&self.moving);
        if self.volume.stat(to)?.is_some() {
            return Err(FsError::new(Kind::Exists, "move to", to));
        }
        self.volume.rename(from, Place::Own(MOVING), RenameHow::Replace)?;
        let moved = self.rename_new_by_hand(Place::Own(MOVING), to);
        if moved.is_err() {
            self.rename_new_by_hand(Place::Own(MOVING), from)?;
        }
        moved
    }

    fn look_and_rename(&self, from: Place<'_>, to: Place<'_>) -> Result<(), FsError> {
        if self.volume.stat(to)?.is_some() {
            return Err(FsError::new(Kind::Exists, "move to", to));
        }
        self.volume.rename(from, to, RenameHow::Replace)
    }
}

impl<V: Volume> Fs for Folder<V> {
    fn init(&self, marker: &Marker) -> Result<Marker, RootError> {
        let at = self.check_path()?;
        if let Some(found) = self.read_marker()? {
            let found = self.check_marker(marker, found, &at)?;
            self.make_private_area()?;
            self.recover_moving()?;
            return Ok(found);
        }
        self.make_private_area()?;
        self.write_marker(marker)?;
        self.read_marker()?.ok_or(RootError::NoMarker)
    }

    fn root_check(&self, expected: &Marker) -> Result<Marker, RootError> {
        let at = self.check_path()?;
        let found = self.read_marker()?.ok_or(RootError::NoMarker)?;
        let found = self.check_marker(expected, found, &at)?;
        self.put_back_left()?;
        Ok(found)
    }

    fn remove_marker(&self) -> Result<(), FsError> {
        self.volume.unlink(Place::Own(MARKER))
    }

    fn write_marker(&self, marker: &Marker) -> Result<(), FsError> {
        let marker = Marker {
            device_number: self.root.dev,
            file_system: self.volume.file_system_id()?,
            ..*marker
        };
        let (file, _) = self.volume.open_write(Place::Own(MARKER_NEW))?;
        file.set_len(0)?;
        file.write_at(marker.encode().as_bytes(), 0)?;
        file.sync()?;
        self.volume.rename(Place::Own(MARKER_NEW), Place::Own(MARKER), RenameHow::Replace)?;
        self.volume.sync_dir(Place::Own(""))
    }

    fn stat(&self, path: &RelPath) -> Result<Option<Stat>, FsError> {
        self.volume.stat(Place::Tree(path))
    }

    fn list(&self, dir: &RelPath) -> Result<Listing, FsError> {
        self.volume.list(Place::Tree(dir))
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn ReadAt>, FsError> {
        self.volume.open(Place::Tree(path))
    }

    fn read_link(&self, path: &RelPath) -> Result<String, FsError> {
        self.volume.read_link(Place::Tree(path))
    }

    fn mkdir(&self, path: &RelPath, mode: u32) -> Result<Stat, FsError> {
        let place = Place::Tree(path);
        self.volume.mkdir(place, 0o700)?;
        // Set apart, because the umask would cut it.
        self.volume.set_mode(place, mode)?;
        self.stat_of("make directory", place)
    }

    fn set_mode(&self, path: &RelPath, mode: u32) -> Result<Stat, FsError> {
        self.volume.set_mode(Place::Tree(path), mode)?;
        self.stat_of("set the mode of", Place::Tree(path))
    }

    fn set_mtime(&self, path: &RelPath, mtime_ns: i64) -> Result<Stat, FsError> {
        self.volume.set_mtime(Place::Tree(path), mtime_ns)?;
        self.stat_of("set the time of", Place::Tree(path))
    }

    fn rmdir(&self, path: &RelPath) -> Result<bool, FsError> {
        match self.volume.rmdir(Place::Tree(path)) {
            Ok(()) => Ok(true),
            Err(error) => match error.kind() {
                Kind::NotEmpty | Kind::Exists | Kind::NotADirectory => Ok(false),
                _ => Err(error),
            },
        }
    }

    fn temp_symlink(&self, temp: &TempName, target: &str) -> Result<(), FsError> {
        self.temp_remove(temp)?;
        match self.volume.symlink(target, Place::Temp(temp)) {
            Err(error) if error.kind() == Kind::NotFound => {
                self.make_private_area()?;
                self.volume.symlink(target, Place::Temp(temp))
            }
            other => other,
        }
    }

    fn temp_create(&self, temp: &TempName, size_hint: u64) -> Result<Box<dyn WriteAt>, FsError> {
        let place = Place::Temp(temp);
        let (file, made) = self.open_temp(place)?;
        if made && size_hint > self.volume.space()?.free {
            self.volume.unlink(place)?;
            return Err(FsError::new(Kind::NoSpace, "make room for", place));
        }
        Ok(file)
    }

    fn temp_write(
        &self,
        temp: &TempName,
        content: &[u8],
        mode: u32,
        mtime_ns: i64,
    ) -> Result<(), FsError> {
        // Few system calls, since there may be many thousand such files: a look for room, as for
        // large ones, would only say earlier what the write says as well.
        let (file, made) = self.open_temp(Place::Temp(temp))?;
        if !made {
            file.set_len(0)?;
        }
        file.write_at(content, 0)?;
        if content.last() == Some(&0) {
            // Zeros at the end may have been left out as a hole.
            file.set_len(content.len() as u64)?;
        }
        file.set_mode(mode)?;
        file.set_mtime(mtime_ns)
    }

    fn temp_remove(&self, temp: &TempName) -> Result<(), FsError> {
        match self.volume.unlink(Place::Temp(temp)) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    fn temp_list(&self) -> Result<Vec<(TempName, Stat)>, FsError> {
        let listing = self.volume.list(Place::Own(TEMP_DIR))?;
        let named = |(name, stat): (SafeName, Stat)| {
            TempName::parse(name.as_str()).ok().map(|name| (name, stat))
        };
        Ok(listing.entries.into_iter().filter_map(named).collect())
    }

    fn install(
        &self,
        temp: &TempName,
        path: &RelPath,
        expect: Option<&Stat>,
        now: Millis,
    ) -> Result<Installed, FsError> {
        match expect {
            None => self.install_new(temp, path),
            Some(expect) if expect.kind == FileKind::Directory => {
                Err(FsError::new(Kind::IsADirectory, "replace", path))
            }
            Some(expect) => self.install_over(temp, path, expect, now),
        }
    }

    fn rename(&self, from: &RelPath, to: &RelPath, expect: &Stat) -> Result<Moved, FsError> {
        self.move_in_tree(from, to, expect)
    }

    fn keep(&self, path: &RelPath, expect: &Stat, now: Millis) -> Result<Kept, FsError> {
        self.keep_path(path, expect, now)
    }

    fn versions(&self, path: &RelPath) -> Result<Vec<Version>, FsError> {
        self.versions_of(path)
    }

    fn version_stat(&self, version: &VersionId) -> Result<Option<Stat>, FsError> {
        self.volume.stat(Place::Kept(&version.batch, &version.path))
    }

    fn version_open(&self, version: &VersionId) -> Result<Box<dyn ReadAt>, FsError> {
        self.volume.open(Place::Kept(&version.batch, &version.path))
    }

    fn version_read_link(&self, version: &VersionId) -> Result<String, FsError> {
        self.volume.read_link(Place::Kept(&version.batch, &version.path))
    }

    fn version_list(&self, version: &VersionId) -> Result<Listing, FsError> {
        self.volume.list(Place::Kept(&version.batch, &version.path))
    }

    fn version_batches(&self) -> Result<Vec<(SafeName, Millis)>, FsError> {
        Ok(self.batches_by_age()?.into_iter().map(|(begun, _, name)| (name, begun)).collect())
    }

    fn restore(&self, version: &VersionId, to: &RelPath) -> Result<Moved, FsError> {
        self.restore_to(version, to)
    }

    fn recover(&self, version: &VersionId, path: &RelPath) -> Result<(), FsError> {
        let kept = Place::Kept(&version.batch, &version.path);
        self.forget_size(&version.batch);
        match self.rename_new(kept, Place::Tree(path)) {
            Err(error) if error.kind() == Kind::Exists => self.put_beside(kept, path),
            other => other,
        }
    }

    fn keep_temp(
        &self,
        temp: &TempName,
        path: &RelPath,
        now: Millis,
    ) -> Result<VersionId, FsError> {
        let stat = self.stat_of("keep", Place::Temp(temp))?;
        let version = self.move_to_store(Place::Temp(temp), path, now)?;
        self.count_kept(&version.batch, &stat);
        Ok(version)
    }

    fn version_remove(&self, version: &VersionId) -> Result<(), FsError> {
        self.remove_kept(version)
    }

    fn object_put(&self, temp: &TempName, object: &ObjectName) -> Result<(), FsError> {
        self.put_object(temp, object)
    }

    fn object_open(&self, object: &ObjectName) -> Result<Option<Box<dyn ReadAt>>, FsError> {
        match self.volume.open(Place::Object(object)) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn object_remove(&self, object: &ObjectName) -> Result<(), FsError> {
        match self.volume.unlink(Place::Object(object)) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    fn objects(&self, first_byte: u8) -> Result<Vec<(ObjectName, u64)>, FsError> {
        self.list_objects(first_byte)
    }

    fn journal(&self) -> Result<Box<dyn WriteAt>, FsError> {
        let place = Place::Store(JOURNAL);
        match self.volume.open_write(place) {
            Err(error) if error.kind() == Kind::NotFound => {
                self.make_private_area()?;
                Ok(self.volume.open_write(place)?.0)
            }
            other => Ok(other?.0),
        }
    }

    fn journal_replace(&self, temp: &TempName) -> Result<(), FsError> {
        self.volume.rename(Place::Temp(temp), Place::Store(JOURNAL), RenameHow::Replace)?;
        self.volume.sync_dir(Place::Own(VERSIONS_DIR))
    }

    fn prune(&self, policy: &Policy, now: Millis) -> Result<Pruned, FsError> {
        self.prune_store(policy, now)
    }

    fn sync_all(&self) -> Result<(), FsError> {
        self.volume.sync_all()
    }

    fn sync_dir(&self, dir: &RelPath) -> Result<(), FsError> {
        self.volume.sync_dir(Place::Tree(dir))
    }

    fn free_space(&self) -> Result<Space, FsError> {
        self.volume.space()
    }
}
