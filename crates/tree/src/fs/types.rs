//! The values that the [`Fs`](super::Fs) trait speaks in.

use std::fmt;

use dunlin_identity::Hash;
use dunlin_index::{Millis, RelPath, SafeName};

use super::error::{FsError, FsErrorKind};

/// What kind of thing stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, never followed.
    Symlink,
    /// A FIFO, socket or device: seen, never opened, never synced.
    Other,
}

/// What the file system says of one inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes.
    pub size: u64,
    /// Time of the last change of the content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of content or attributes, in nanoseconds since 1970. A rename sets it.
    pub ctime_ns: i64,
    /// Number of the inode, unique on its device while it lives.
    pub ino: u64,
    /// The device (`st_dev`).
    pub dev: u64,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Number of hard links.
    pub nlink: u64,
}

impl Stat {
    /// Whether `other` is the same inode with the same content and mode, as far as can be told without
    /// reading it.
    ///
    /// `ctime` is left out because a rename sets it. Of a directory only the inode counts: its size and
    /// mtime follow what is created in it.
    pub fn same_version(&self, other: &Stat) -> bool {
        let same_inode = self.kind == other.kind && self.ino == other.ino && self.dev == other.dev;
        same_inode
            && (self.kind == FileKind::Directory
                || (self.size == other.size
                    && self.mtime_ns == other.mtime_ns
                    && self.mode == other.mode))
    }
}

/// Everything in one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// What can be synced, or is at least known by a name, sorted by name.
    pub entries: Vec<(SafeName, Stat)>,
    /// What is there and cannot be synced: it must neither be taken for vanished nor be entered.
    pub unrepresentable: Vec<Skipped>,
}

/// Something in a directory that cannot be synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name for the user, with replacement characters where it is not UTF-8.
    pub shown: String,
    /// Its name, where it has a legal one (a mount point has).
    pub name: Option<SafeName>,
    /// Why it is left out.
    pub reason: SkipReason,
}

/// Why something in a directory cannot be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SkipReason {
    /// Its name is not valid UTF-8.
    NotUtf8,
    /// Its name is not allowed in a folder.
    BadName,
    /// Another file system is mounted there.
    MountPoint,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "its name is not valid UTF-8",
            Self::BadName => "its name is not allowed in a folder",
            Self::MountPoint => "another file system is mounted there",
        })
    }
}

/// The name of a temporary file: 1 to 100 bytes of lowercase letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TempName(SafeName);

impl TempName {
    /// Greatest length in bytes.
    pub const MAX: usize = 100;

    /// Checks a name.
    ///
    /// # Errors
    /// [`FsErrorKind::Unrepresentable`] when it is empty, too long, or has other characters.
    pub fn parse(name: &str) -> Result<Self, FsError> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let refused = || FsError::new(FsErrorKind::Unrepresentable, "name temporary file", name);
        if name.len() > Self::MAX || !name.bytes().all(allowed) {
            return Err(refused());
        }
        SafeName::parse(name).map(Self).map_err(|_| refused())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for TempName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of an object of the version store: a hash, 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// The object with this content.
    pub fn of(hash: &Hash) -> Self {
        Self(hash.to_string())
    }

    /// The content's hash.
    pub fn hash(&self) -> Hash {
        self.0.parse().expect("the name was made from a hash")
    }

    /// Reads a file's name; `None` when it is no object's.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let hash: Hash = name.parse().ok()?;
        let object = Self::of(&hash);
        (object.as_str() == name).then_some(object)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that the object is in.
    pub fn shard(&self) -> &str {
        &self.0[..2]
    }
}

/// Where in the version store something is kept: the batch of that second, and its path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId {
    /// The batch, as `20261121-100254` (UTC), with `-1`, `-2`… when a path was kept twice in one second.
    pub batch: SafeName,
    /// The path that it had in the folder.
    pub path: RelPath,
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.batch, self.path)
    }
}

/// One kept version of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Where it is.
    pub id: VersionId,
    /// When it was kept, in milliseconds since 1970, to the second.
    pub kept_at: Millis,
    /// What it is.
    pub stat: Stat,
}

/// What [`Fs::install`](super::Fs::install) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// Nothing was there; the file is in place.
    Created {
        /// The file that was put in place.
        stat: Stat,
    },
    /// The expected file was there; it was moved into the version store and the new one is in place.
    Replaced {
        /// The file that was put in place.
        stat: Stat,
        /// What came out. A program that still has it open may write to it: it can be watched there.
        out: Stat,
        /// Where that is now.
        version: VersionId,
    },
    /// What was there was not what was expected: the user's version is in place, untouched.
    Surprise {
        /// What is there now.
        found: Option<Stat>,
        /// Set when the user changed the path more than once meanwhile, and an older version of the
        /// user's went to the version store for that reason.
        version: Option<VersionId>,
        /// Whether the temporary file is still there. It is gone when the user replaced it in turn.
        temp_left: bool,
    },
}

/// What [`Fs::rename`](super::Fs::rename) and [`Fs::restore`](super::Fs::restore) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It is at the new path.
    Done {
        /// What was moved.
        stat: Stat,
    },
    /// What was at the old path was not what was expected: it is still, or again, there.
    Surprise {
        /// What is at the old path now.
        found: Option<Stat>,
    },
    /// Something is at the new path already; nothing was moved.
    Occupied {
        /// What is there, if it can still be seen.
        found: Option<Stat>,
    },
}

/// What [`Fs::keep`](super::Fs::keep) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is in the version store.
    Done {
        /// Where.
        version: VersionId,
        /// What was moved there.
        stat: Stat,
    },
    /// What was there was not what was expected: it is still, or again, there.
    Surprise {
        /// What is at the path now.
        found: Option<Stat>,
        /// Set when the path was taken again before what had been moved could be put back: that is in
        /// the version store then.
        version: Option<VersionId>,
    },
}

/// Room on the file system that holds the folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What a user without privileges may still write.
    pub free: u64,
    /// Size of the file system.
    pub total: u64,
}
