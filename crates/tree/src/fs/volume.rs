//! The single operations of a file system that a [`Folder`](super::Folder) is built on.
//!
//! A volume resolves every path beneath its root, never through a symlink and never onto another
//! mounted file system, and never opens anything but regular files and directories. It makes no
//! decisions: whether an operation is safe is the folder's business.

use std::fmt;

use dunlin_index::{PRIVATE_NAME, RelPath, SafeName};

use super::error::FsError;
use super::types::{Listing, ObjectName, Space, Stat, TempName};
use super::{ReadAt, WriteAt};

/// A place on a volume: in the user's tree, or in the private area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// Below the root.
    Tree(&'a RelPath),
    /// Something of our own directly in `.dunlin`; with an empty name, `.dunlin` itself.
    Own(&'static str),
    /// A temporary file.
    Temp(&'a TempName),
    /// A kept version: its batch, and its path there.
    Kept(&'a SafeName, &'a RelPath),
    /// Something of our own directly in the version store.
    Store(&'static str),
    /// The directory of the objects whose names begin so.
    Shard(&'a str),
    /// An object of the version store.
    Object(&'a ObjectName),
}

/// The directory of temporary files.
pub(crate) const TEMP_DIR: &str = "tmp";
/// The directory of the version store.
pub(crate) const VERSIONS_DIR: &str = "versions";
/// The directory of the objects, in that of the version store.
pub(crate) const OBJECTS_DIR: &str = "objects";

impl<'a> Place<'a> {
    /// The components from the volume's root on; none for the root itself.
    pub fn components(self) -> Vec<&'a str> {
        let names = |path: &'a RelPath| path.names().iter().map(SafeName::as_str);
        match self {
            Self::Tree(path) => names(path).collect(),
            Self::Own("") => vec![PRIVATE_NAME],
            Self::Own(name) => vec![PRIVATE_NAME, name],
            Self::Temp(name) => vec![PRIVATE_NAME, TEMP_DIR, name.as_str()],
            Self::Kept(batch, path) => {
                let area = [PRIVATE_NAME, VERSIONS_DIR, batch.as_str()];
                area.into_iter().chain(names(path)).collect()
            }
            Self::Store(name) => vec![PRIVATE_NAME, VERSIONS_DIR, name],
            Self::Shard(shard) => vec![PRIVATE_NAME, VERSIONS_DIR, OBJECTS_DIR, shard],
            Self::Object(name) => {
                vec![PRIVATE_NAME, VERSIONS_DIR, OBJECTS_DIR, name.shard(), name.as_str()]
            }
        }
    }

    /// Whether this is the volume's root.
    pub fn is_root(self) -> bool {
        matches!(self, Self::Tree(path) if path.is_root())
    }

    /// Whether only Dunlin writes there.
    pub fn is_private(self) -> bool {
        !matches!(self, Self::Tree(_))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.components().join("/"))
    }
}

/// What a rename does with what stands at the new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameHow {
    /// It fails with `Exists`.
    NoReplace,
    /// Both names are exchanged in one step.
    Exchange,
    /// It is replaced. Only for files of our own.
    Replace,
}

/// The operations of a file system below one root.
///
/// # Errors
/// All fail with an [`FsError`] that names the place. [`Volume::rename`] reports
/// [`Unsupported`](super::FsErrorKind::Unsupported) for a way of renaming that the file system lacks.
#[allow(missing_docs)] // Each operation is the system call of that name.
pub trait Volume: Send + Sync {
    /// What stands at the path that the root was opened by, to compare with the root itself.
    fn stat_by_path(&self) -> Result<Option<Stat>, FsError>;
    /// A number that tells this file system from others, stable over mounts where there is one; 0 if not.
    fn file_system_id(&self) -> Result<u64, FsError>;
    /// What is at `place`; `None` when nothing is, or when a parent is missing or no directory. Fails with
    /// `CrossDevice` at a mount point.
    fn stat(&self, place: Place<'_>) -> Result<Option<Stat>, FsError>;
    /// All in a directory, sorted by name; at the root without the private area.
    fn list(&self, place: Place<'_>) -> Result<Listing, FsError>;
    /// Opens a regular file for reading.
    fn open(&self, place: Place<'_>) -> Result<Box<dyn ReadAt>, FsError>;
    /// Opens a regular file for reading and writing, or makes it; true when it was made.
    fn open_write(&self, place: Place<'_>) -> Result<(Box<dyn WriteAt>, bool), FsError>;
    fn read_link(&self, place: Place<'_>) -> Result<String, FsError>;
    fn symlink(&self, target: &str, place: Place<'_>) -> Result<(), FsError>;
    fn mkdir(&self, place: Place<'_>, mode: u32) -> Result<(), FsError>;
    fn rmdir(&self, place: Place<'_>) -> Result<(), FsError>;
    fn unlink(&self, place: Place<'_>) -> Result<(), FsError>;
    /// Makes a second name for a file or symlink; fails with `Exists` when the name is taken.
    fn link(&self, from: Place<'_>, to: Place<'_>) -> Result<(), FsError>;
    fn rename(&self, from: Place<'_>, to: Place<'_>, how: RenameHow) -> Result<(), FsError>;
    fn set_mode(&self, place: Place<'_>, mode: u32) -> Result<(), FsError>;
    fn set_mtime(&self, place: Place<'_>, mtime_ns: i64) -> Result<(), FsError>;
    /// Size of all that is below `place`, in bytes, mounted file systems left out.
    fn measure(&self, place: Place<'_>) -> Result<u64, FsError>;
    /// Removes a directory of the private area with all that is in it; fails at a mount point.
    fn remove_tree(&self, place: Place<'_>) -> Result<(), FsError>;
    fn sync_dir(&self, place: Place<'_>) -> Result<(), FsError>;
    fn sync_all(&self) -> Result<(), FsError>;
    fn space(&self) -> Result<Space, FsError>;
}
