//! What can go wrong on the way to a user's disk.

use std::fmt;

/// The kinds of failure that the engine tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FsErrorKind {
    /// Nothing stands at that path, or a directory above it is missing.
    NotFound,
    /// Something stands there already.
    Exists,
    /// A file stands where a directory was expected.
    NotADirectory,
    /// A directory stands where a file was expected.
    IsADirectory,
    /// A FIFO, socket, device or symlink stands where a regular file was expected. It was not opened.
    NotAFile,
    /// The directory is not empty.
    NotEmpty,
    /// The disk, or the user's quota of it, is full.
    NoSpace,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The operating system refuses access.
    Permission,
    /// The disk failed (`EIO`), or failed in a way that has no kind of its own.
    Io,
    /// The path leads out of the folder, for example through a symlink that stands for a directory.
    Escapes,
    /// The path leads onto another mounted file system.
    CrossDevice,
    /// The folder's root is not what it was when it was opened.
    Unmounted,
    /// The name or symlink target cannot be written as UTF-8 text and so cannot travel.
    Unrepresentable,
    /// The name or path is longer than the file system takes.
    TooLong,
    /// The process or the system has too many open files, or no memory for another.
    TooManyOpen,
    /// The file is in use, or changed while it was worked on.
    Busy,
    /// The file system does not know this operation.
    Unsupported,
}

impl FsErrorKind {
    /// Whether the whole folder should pause, because the next path will fail in the same way.
    pub fn pauses_folder(self) -> bool {
        matches!(self, Self::NoSpace | Self::ReadOnly | Self::Io | Self::Unmounted)
    }

    /// Half a sentence for the user, that follows "cannot write notes/a.txt: ".
    pub fn explanation(self) -> &'static str {
        match self {
            Self::NotFound => "it is not there",
            Self::Exists => "something is there already",
            Self::NotADirectory => "a file is where a directory should be",
            Self::IsADirectory => "a directory is where a file should be",
            Self::NotAFile => "it is not a regular file",
            Self::NotEmpty => "the directory is not empty",
            Self::NoSpace => "the disk is full",
            Self::ReadOnly => "the file system is read-only",
            Self::Permission => "permission denied",
            Self::Io => "the disk reported an error",
            Self::Escapes => "the path leads out of the folder through a symlink",
            Self::CrossDevice => "the path leads onto another file system",
            Self::Unmounted => "the folder is not mounted",
            Self::Unrepresentable => "the name is not valid UTF-8",
            Self::TooLong => "the name is too long for this file system",
            Self::TooManyOpen => "too many files are open",
            Self::Busy => "it changed or was in use meanwhile",
            Self::Unsupported => "the file system does not support this",
        }
    }
}

/// A failed operation on the file system: what was tried, where, and why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsError {
    kind: FsErrorKind,
    operation: &'static str,
    path: String,
    errno: Option<i32>,
}

impl FsError {
    /// Makes an error that the operating system did not report with a number.
    pub fn new(kind: FsErrorKind, operation: &'static str, path: impl fmt::Display) -> Self {
        Self { kind, operation, path: path.to_string(), errno: None }
    }

    /// Adds the operating system's error number.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.errno = Some(errno);
        self
    }

    /// The kind, to act on.
    pub fn kind(&self) -> FsErrorKind {
        self.kind
    }

    /// The path relative to the folder's root, as shown to the user; empty for the root itself.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The verb of what was tried, such as "read".
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The operating system's error number, where there was one.
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "the folder" } else { self.path.as_str() };
        write!(f, "cannot {} {place}: {}", self.operation, self.kind.explanation())?;
        match self.errno {
            Some(errno) => write!(f, " ({})", std::io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FsError {}

impl From<FsError> for std::io::Error {
    fn from(error: FsError) -> Self {
        let kind = match error.kind {
            FsErrorKind::NotFound => std::io::ErrorKind::NotFound,
            FsErrorKind::Exists => std::io::ErrorKind::AlreadyExists,
            FsErrorKind::NoSpace => std::io::ErrorKind::StorageFull,
            FsErrorKind::ReadOnly => std::io::ErrorKind::ReadOnlyFilesystem,
            FsErrorKind::Permission => std::io::ErrorKind::PermissionDenied,
            _ => std::io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
