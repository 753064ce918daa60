//! The only road to a user's disk.
//!
//! Everything that touches a synced folder goes through the [`Fs`] trait: on a real disk by [`RealFs`],
//! in tests and simulations by [`MemFs`]. Both are a [`Folder`] over a [`Volume`]: the volume knows the
//! single operations of a file system, the folder the safe order to use them in, so that the simulator
//! runs, and crashes, exactly the code that ships.
//!
//! Goals: no path leaves the folder or crosses into another mounted file system, whatever symlinks
//! stand there; nothing of the user's is ever overwritten or removed, only moved into the version store
//! after a look at what was really moved; a crash at any instant leaves every user file whole.
//!
//! Non-goals: nothing here decides what should be on disk, and nothing is cached that the user could
//! change behind our back.
//!
//! Paths are [`RelPath`]s below the folder's root. The private area `.dunlin` cannot be named by one; it
//! is reached through [`TempName`]s, [`VersionId`]s and the marker alone.

mod error;
mod folder;
mod mem;

mod real;
mod types;
mod volume;

use std::any::Any;

use dunlin_index::{Millis, RelPath};

pub use error::{FsError, FsErrorKind};
pub use folder::Folder;
pub use mem::{Acted, Contents, Fault, MemFs, Memory, TOUCHED_MAX, Touched, UserOp};

pub use real::{Kernel, RealFs};
pub use types::{
    FileKind, Installed, Kept, Listing, Moved, ObjectName, SkipReason, Skipped, Space, Stat,
    TempName, Version, VersionId,
};
pub use volume::{Place, RenameHow, Volume};

use crate::marker::{Marker, RootError};
use crate::versions::{Policy, Pruned};

/// A regular file, open for reading at any place.
pub trait ReadAt: Send + Sync {
    /// Reads into `buffer` from `offset`, and returns how many bytes it got: fewer only at the end of
    /// the file.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FsError>;

    /// Where the first byte at or after `offset` is that is not in a hole; `None` if there is none.
    /// Holes read as zeros. A file system that knows none says that all is data.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn next_data(&self, offset: u64) -> Result<Option<u64>, FsError> {
        Ok(Some(offset))
    }

    /// What the open file is now, wherever its name has gone.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn stat(&self) -> Result<Stat, FsError>;

    /// Makes the content durable, whoever wrote it; its name is another matter.
    ///
    /// # Errors
    /// Whatever the disk reports; what was written lately must be taken for lost then.
    fn sync(&self) -> Result<(), FsError>;

    /// The implementation behind it, so that two files of one kind can share blocks.
    fn as_any(&self) -> &dyn Any;
}

/// A temporary file, open for reading and writing at any place.
pub trait WriteAt: ReadAt {
    /// Writes all of `bytes` at `offset`. Zeros that would go where the file has a hole are left out,
    /// so that sparse files stay sparse: call [`WriteAt::set_len`] for the length.
    ///
    /// # Errors
    /// [`FsErrorKind::NoSpace`] and whatever else the disk reports.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FsError>;

    /// Sets the length in bytes.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn set_len(&self, len: u64) -> Result<(), FsError>;

    /// Copies `len` bytes from `source`, without moving them through memory, or sharing the blocks,
    /// where the file system can. Returns how many were copied: fewer only at the end of `source`.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn copy_from(
        &self,
        source: &dyn ReadAt,
        source_offset: u64,
        offset: u64,
        len: u64,
    ) -> Result<u64, FsError>;

    /// Sets the permission bits.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn set_mode(&self, mode: u32) -> Result<(), FsError>;

    /// Sets the time of the last change, in nanoseconds since 1970. Later writes change it again.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn set_mtime(&self, mtime_ns: i64) -> Result<(), FsError>;
}

/// One synced folder on a disk. All calls block; all paths are below the folder's root.
///
/// # Errors
/// Every method fails with [`FsErrorKind::Escapes`] when a symlink stands in the path and with
/// [`FsErrorKind::CrossDevice`] when the path enters another mount, besides what it names itself.
pub trait Fs: Send + Sync {
    /// Makes the private area where it is missing, and writes the marker: this folder is now ours.
    ///
    /// # Errors
    /// [`RootError`], when the root is not a directory or a marker of another folder or device is there.
    fn init(&self, marker: &Marker) -> Result<Marker, RootError>;

    /// Looks whether the root is there, is the directory that was opened, and carries the marker of
    /// `expected`'s folder and device on the file system that it was made on. Returns the marker found.
    /// Then it puts back what could not be put back while the disk failed.
    ///
    /// # Errors
    /// A [`RootError`] for each way in which the folder may be unmounted, moved or copied.
    fn root_check(&self, expected: &Marker) -> Result<Marker, RootError>;

    /// Replaces the marker, atomically and durably.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn write_marker(&self, marker: &Marker) -> Result<(), FsError>;

    /// Removes the marker: this directory is not synced any more.
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`], and whatever else the disk reports.
    fn remove_marker(&self) -> Result<(), FsError>;

    /// What is at `path`; `None` when nothing is. A symlink is not followed.
    ///
    /// # Errors
    /// [`FsErrorKind::NotADirectory`] never: what cannot exist is `None`.
    fn stat(&self, path: &RelPath) -> Result<Option<Stat>, FsError>;

    /// All that is in the directory `dir`, but for the private area.
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`], [`FsErrorKind::NotADirectory`].
    fn list(&self, dir: &RelPath) -> Result<Listing, FsError>;

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`]; [`FsErrorKind::NotAFile`] for anything that is not a regular file,
    /// which is then not opened.
    fn open(&self, path: &RelPath) -> Result<Box<dyn ReadAt>, FsError>;

    /// The target of the symlink at `path`.
    ///
    /// # Errors
    /// [`FsErrorKind::Unrepresentable`] when it is not UTF-8, [`FsErrorKind::Unsupported`] when `path`
    /// is no symlink.
    fn read_link(&self, path: &RelPath) -> Result<String, FsError>;

    /// Makes a directory with the permission bits `mode`, whatever the umask.
    ///
    /// # Errors
    /// [`FsErrorKind::Exists`], [`FsErrorKind::NotFound`] when its parent is missing.
    fn mkdir(&self, path: &RelPath, mode: u32) -> Result<Stat, FsError>;

    /// Sets the permission bits of a file or directory.
    ///
    /// # Errors
    /// [`FsErrorKind::NotAFile`] for a symlink or special file.
    fn set_mode(&self, path: &RelPath, mode: u32) -> Result<Stat, FsError>;

    /// Sets the mtime of whatever is at `path`, in nanoseconds since 1970.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn set_mtime(&self, path: &RelPath, mtime_ns: i64) -> Result<Stat, FsError>;

    /// Removes an empty directory. Returns false when it is not empty, or not a directory (any more).
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`].
    fn rmdir(&self, path: &RelPath) -> Result<bool, FsError>;

    /// Makes a symlink under a temporary name, to be installed; an older temporary one is replaced.
    ///
    /// # Errors
    /// [`FsErrorKind::TooLong`], and whatever the disk reports.
    fn temp_symlink(&self, temp: &TempName, target: &str) -> Result<(), FsError>;

    /// Opens the temporary file of that name, or makes it (mode `0o600`). What an earlier run wrote
    /// into it is still there.
    ///
    /// # Errors
    /// [`FsErrorKind::NoSpace`] when the file is new and `size_hint` bytes are not free.
    fn temp_create(&self, temp: &TempName, size_hint: u64) -> Result<Box<dyn WriteAt>, FsError>;

    /// Writes a small content into the temporary file of that name, made or emptied for it, with its
    /// permission bits and its mtime in nanoseconds since 1970. It is not durable yet.
    ///
    /// # Errors
    /// [`FsErrorKind::NoSpace`] and whatever else the disk reports.
    fn temp_write(
        &self,
        temp: &TempName,
        content: &[u8],
        mode: u32,
        mtime_ns: i64,
    ) -> Result<(), FsError>;

    /// Removes a temporary file; it may be missing.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn temp_remove(&self, temp: &TempName) -> Result<(), FsError>;

    /// All temporary files, sorted by name.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn temp_list(&self) -> Result<Vec<(TempName, Stat)>, FsError>;

    /// Puts the temporary file or symlink in place at `path`, whole or not at all, if what is there is
    /// what was `expect`ed. What it replaces goes into the version store.
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`] when the temporary file or the parent directory is missing;
    /// [`FsErrorKind::IsADirectory`] when `expect` is a directory.
    fn install(
        &self,
        temp: &TempName,
        path: &RelPath,
        expect: Option<&Stat>,
        now: Millis,
    ) -> Result<Installed, FsError>;

    /// Moves what was `expect`ed from one path to another, where nothing may be.
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`] when the new parent directory is missing.
    fn rename(&self, from: &RelPath, to: &RelPath, expect: &Stat) -> Result<Moved, FsError>;

    /// Moves what was `expect`ed from `path` into the version store; a directory with all that is in it.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn keep(&self, path: &RelPath, expect: &Stat, now: Millis) -> Result<Kept, FsError>;

    /// All kept versions of `path`, newest first. A directory that was only the parent of something
    /// kept is listed too.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn versions(&self, path: &RelPath) -> Result<Vec<Version>, FsError>;

    /// What is now at the place of a kept version: a program that still had the file open when it was
    /// replaced may have written to it.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn version_stat(&self, version: &VersionId) -> Result<Option<Stat>, FsError>;

    /// Opens a kept regular file.
    ///
    /// # Errors
    /// As [`Fs::open`].
    fn version_open(&self, version: &VersionId) -> Result<Box<dyn ReadAt>, FsError>;

    /// The target of a kept symlink.
    ///
    /// # Errors
    /// As [`Fs::read_link`].
    fn version_read_link(&self, version: &VersionId) -> Result<String, FsError>;

    /// All that is in a kept directory; with an empty path, in a batch.
    ///
    /// # Errors
    /// As [`Fs::list`].
    fn version_list(&self, version: &VersionId) -> Result<Listing, FsError>;

    /// All batches of the version store, oldest first: the batch and when it was begun.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn version_batches(&self) -> Result<Vec<(dunlin_index::SafeName, Millis)>, FsError>;

    /// Moves a kept version back into the folder, to a path where nothing may be.
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`] when the new parent directory is missing.
    fn restore(&self, version: &VersionId, to: &RelPath) -> Result<Moved, FsError>;

    /// Moves a kept version back to `path`; where something stands there, to a free name beside it, as
    /// `notes (recovered 1).txt`.
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`] when the parent directory is missing, [`FsErrorKind::Exists`] when
    /// no name beside it is free.
    fn recover(&self, version: &VersionId, path: &RelPath) -> Result<(), FsError>;

    /// Moves a temporary file into the version store, as if it had stood at `path`.
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`] when there is no such temporary file.
    fn keep_temp(&self, temp: &TempName, path: &RelPath, now: Millis)
    -> Result<VersionId, FsError>;

    /// Removes a kept file, symlink or empty directory, and the directories of its batch that are
    /// empty then. It may be missing.
    ///
    /// # Errors
    /// [`FsErrorKind::NotEmpty`], and whatever the disk reports.
    fn version_remove(&self, version: &VersionId) -> Result<(), FsError>;

    /// Puts a temporary file into the store of objects; an object of that name that is there stays,
    /// and the temporary file goes.
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`] when there is no such temporary file.
    fn object_put(&self, temp: &TempName, object: &ObjectName) -> Result<(), FsError>;

    /// Opens an object; `None` when it is not there.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn object_open(&self, object: &ObjectName) -> Result<Option<Box<dyn ReadAt>>, FsError>;

    /// Removes an object; it may be missing.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn object_remove(&self, object: &ObjectName) -> Result<(), FsError>;

    /// All objects whose hashes begin with this byte, sorted by name, with their sizes in bytes.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn objects(&self, first_byte: u8) -> Result<Vec<(ObjectName, u64)>, FsError>;

    /// Opens the journal of the version store, making it if it is missing.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn journal(&self) -> Result<Box<dyn WriteAt>, FsError>;

    /// Puts a temporary file in place of the journal, durably; its content must be durable.
    ///
    /// # Errors
    /// [`FsErrorKind::NotFound`] when there is no such temporary file.
    fn journal_replace(&self, temp: &TempName) -> Result<(), FsError>;

    /// Removes the oldest batches of the version store until it keeps to `policy`.
    ///
    /// # Errors
    /// Whatever the disk reports; what was removed before stays removed.
    fn prune(&self, policy: &Policy, now: Millis) -> Result<Pruned, FsError>;

    /// Makes everything written so far durable (`syncfs`).
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn sync_all(&self) -> Result<(), FsError>;

    /// Makes the names in one directory durable.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn sync_dir(&self, dir: &RelPath) -> Result<(), FsError>;

    /// Room on the file system.
    ///
    /// # Errors
    /// Whatever the disk reports.
    fn free_space(&self) -> Result<Space, FsError>;
}

#[cfg(test)]
mod tests;
